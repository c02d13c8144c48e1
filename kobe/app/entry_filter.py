"""What keeps entries away from earnings: asked by the backtest's account, the scan and the order alike."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from kobe.app.settings import EarningsSettings
from kobe.core.panel import Ints, Panel
from kobe.data import earnings
from kobe.data.earnings import CLEAR, UNKNOWN
from kobe.data.reference import ReferenceStore


@dataclass(frozen=True, kw_only=True)
class EarningsFilter:
    """Says per signal whether earnings are near its entry session, from what was known before its close.

    Attributes:
        events: the table `earnings` with all revisions.
        before, after: sessions around an announcement, inclusive.
        trusted: kinds of rows that prove that a calendar was there.
        unknown_passes: whether a symbol nobody has a calendar for may be entered.
    """

    events: pl.DataFrame
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

    def allowed(self, panel: Panel, rows: Ints) -> npt.NDArray[np.bool_]:
        """Mark the signals whose entry is not held back; what the account of the backtest asks."""
        return np.array([self.passes(state) for state in self.states(panel, rows)], dtype=np.bool_)


def entry_filter(chosen: EarningsSettings, held: ReferenceStore) -> EarningsFilter | None:
    """Return the filter of the settings, or None where it is off.

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
