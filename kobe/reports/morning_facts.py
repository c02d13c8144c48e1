"""What a morning report is made from: the day, the market, the pick, the session before, what is held and what ails."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from kobe.core.types import Order
from kobe.reports.book_tables import Holding, Refused
from kobe.reports.render.svg_bars import Ohlc
from kobe.reports.status import Problem


@dataclass(frozen=True, kw_only=True)
class Hours:
    """The exchange's day and the days ahead that are not like others."""

    opens: datetime
    closes: datetime
    half_day: bool
    next_holiday: date | None
    next_half_day: date | None


@dataclass(frozen=True, kw_only=True)
class Market:
    """The market symbol at the last close; fractions, None where there are too few bars.

    Attributes:
        symbol, session: whose and of which close; no session means there are no bars of it.
        above_sma: whether it closed above its 200-day average, and by which fraction.
        day, month, volatility: return of one session and of 21, and the yearly volatility of the last 21.
        vix: level with the session it is of; None without one, and `vix_silence` says why.
    """

    symbol: str
    session: date | None
    close: float | None = None
    above_sma: float | None = None
    day: float | None = None
    month: float | None = None
    volatility: float | None = None
    vix: tuple[float, date] | None = None
    vix_silence: str = "not known"

    @property
    def words(self) -> str:
        """The regime in a few words."""
        if self.session is None or self.above_sma is None:
            return f"the trend of {self.symbol} is not known"
        return f"{self.symbol} {'above' if self.above_sma > 0 else 'below'} its 200-day average"


@dataclass(frozen=True, kw_only=True)
class Pick:
    """One pick with its chart; prices as recorded, `bars` and `levels` in raw dollars of the signal's day."""

    row: Mapping[str, Any]
    bars: Sequence[Ohlc]
    levels: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """What the scan of the last close says.

    Attributes:
        signal_date: of the scan.
        recorded: whether it is on record; else it was worked out for this report and is recorded after the open.
        action, reason, signal_id: of the decision.
        picks: the first three.
        silence: why there is nothing to say; empty otherwise.
    """

    signal_date: date
    recorded: bool = False
    action: str = ""
    reason: str = ""
    signal_id: str | None = None
    picks: Sequence[Pick] = ()
    silence: str = ""

    @property
    def best(self) -> Pick | None:
        """The trade of the day."""
        return next((p for p in self.picks if p.row["signal_id"] == self.signal_id), None)


@dataclass(frozen=True, kw_only=True)
class Yesterday:
    """What became of the session before.

    Attributes:
        session: which.
        decision: its row of `trade_of_day`; None when nobody scanned for it.
        orders: of that session; refused: by gates; silence: why refusals are not known.
        said: (job, what it said) of the jobs that enter.
    """

    session: date
    decision: Mapping[str, Any] | None
    orders: Sequence[Order]
    refused: Sequence[Refused]
    silence: str
    said: Sequence[tuple[str, str]]


@dataclass(frozen=True, kw_only=True)
class Morning:
    """Everything the report is made from.

    Attributes:
        session, as_of: the day, and the instant up to which things are told.
        hours, market: see there.
        mode, mode_why: what the system may do.
        holdings: what is held; silence: why no quotes came.
        earnings: (symbol, held or pick, state, next date known) lines; earnings_words: what kind of calendar speaks.
        chosen, yesterday: see there.
        problems: what needs a human.
        runs: (job, session, status, detail) of the newest runs that did not end well; ran: how many there were.
    """

    session: date
    as_of: datetime
    hours: Hours
    market: Market
    mode: str
    mode_why: str
    holdings: Sequence[Holding]
    silence: str
    earnings: Sequence[tuple[str, str, str, str]]
    earnings_words: str
    chosen: Chosen
    yesterday: Yesterday
    problems: Sequence[Problem]
    runs: Sequence[tuple[str, str, str, str]]
    ran: int
    banners: tuple[str, ...]
