"""What holds entries back though the signal stands: asked by the backtest's account and the scan alike.

To add a filter: a class with `codes`, and one line in `entry_filter`.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from kobe.app.settings import EarningsSettings, Settings
from kobe.core.frames import pl
from kobe.core.panel import Ints, Panel
from kobe.data import earnings
from kobe.data.earnings import BLOCKED, CLEAR, UNKNOWN
from kobe.data.reference import ReferenceStore
from kobe.features.table import FeatureTable

EARNINGS_NEAR, EARNINGS_UNKNOWN = "earnings_near", "earnings_unknown"
AGAINST_REGIME, REGIME_UNKNOWN = "against_regime", "regime_unknown"
TREND_BARS = 200


class Filter(Protocol):
    """Says per signal row why its entry is held back, or None."""

    def codes(self, panel: Panel, rows: Ints) -> list[str | None]:
        """Return a reason code or None per row, from what was known at the row's close."""
        ...


@dataclass(frozen=True, kw_only=True)
class EarningsFilter:
    """Says per signal whether earnings are near its entry session, from what was known before its close.

    Attributes:
        events: the table `earnings` with all revisions.
        before, after: sessions around an announcement, inclusive.
        trusted: kinds of rows that prove that a calendar was there.
        unknown_passes: whether a symbol nobody has a calendar for may be entered.
    """

    events: "pl.DataFrame"
    before: int
    after: int
    trusted: tuple[str, ...]
    unknown_passes: bool

    def states(self, panel: Panel, rows: Ints) -> list[str]:
        """Return `blocked`, `clear` or `unknown` for an entry in the session after each row's."""
        symbols = [panel.symbols[k] for k in panel.symbol_of_row[rows]]
        decided = [panel.calendar.sessions[n] for n in panel.session[rows].tolist()]
        asked = pl.DataFrame(
            {"symbol": symbols, "session": [panel.calendar.next(day) for day in decided], "decided": decided},
            schema={"symbol": pl.String, "session": pl.Date, "decided": pl.Date},
        )
        found = earnings.window(
            self.events, asked, panel.calendar, before=self.before, after=self.after, trusted=self.trusted
        )
        return found.get_column("state").to_list()

    def passes(self, state: str) -> bool:
        """Say whether a state lets an entry through; unknown only where the settings say so."""
        return state == CLEAR or (state == UNKNOWN and self.unknown_passes)

    def codes(self, panel: Panel, rows: Ints) -> list[str | None]:
        """Return why each entry is held back, or None."""
        told = {BLOCKED: EARNINGS_NEAR, UNKNOWN: EARNINGS_UNKNOWN}
        return [None if self.passes(state) else told[state] for state in self.states(panel, rows)]


@dataclass(frozen=True, kw_only=True)
class RegimeFilter:
    """Holds every entry back while the market closes at or below its 200-day average, or has no bar to tell by."""

    market_symbol: str

    def codes(self, panel: Panel, rows: Ints) -> list[str | None]:
        """Return why each entry is held back, or None."""
        market = panel.select({self.market_symbol})
        average = FeatureTable(market).column("sma", TREND_BARS) if len(market) else np.empty(0)
        told = dict(zip(market.session.tolist(), (market.close > average).tolist(), strict=True))
        codes = {True: None, False: AGAINST_REGIME, None: REGIME_UNKNOWN}
        return [codes[told.get(number)] for number in panel.session[rows].tolist()]


@dataclass(frozen=True, kw_only=True)
class EntryFilter:
    """Every filter that is on; the first that objects gives the code."""

    parts: tuple[Filter, ...]

    def codes(self, panel: Panel, rows: Ints) -> list[str | None]:
        """Return why each entry is held back, or None."""
        found: list[str | None] = [None] * len(rows)
        for part in self.parts:
            found = [old or new for old, new in zip(found, part.codes(panel, rows), strict=True)]
        return found

    def allowed(self, panel: Panel, rows: Ints) -> npt.NDArray[np.bool_]:
        """Mark the signals whose entry is not held back; what the account of the backtest asks."""
        return np.array([code is None for code in self.codes(panel, rows)], dtype=np.bool_)


def entry_filter(settings: Settings, held: ReferenceStore) -> EntryFilter | None:
    """Return the filters of the settings, or None where all are off.

    Args:
        settings: sections `earnings` and `scan`.
        held: the small tables.
    """
    parts: list[Filter] = []
    if settings.scan.regime == "market_trend":
        parts.append(RegimeFilter(market_symbol=settings.market.symbol))
    near_earnings = earnings_filter(settings.earnings, held)
    if near_earnings is not None:
        parts.append(near_earnings)
    return EntryFilter(parts=tuple(parts)) if parts else None


def earnings_filter(chosen: EarningsSettings, held: ReferenceStore) -> EarningsFilter | None:
    """Return the filter of the settings, or None where it is off; the gates of an order ask it too.

    Args:
        chosen: the section `earnings` of the settings.
        held: the small tables.
    """
    if not chosen.enabled:
        return None
    return EarningsFilter(
        events=held.read("earnings"), before=chosen.before_sessions, after=chosen.after_sessions,
        trusted=chosen.trusted, unknown_passes=chosen.unknown == "pass",
    )  # fmt: skip
