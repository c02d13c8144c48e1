"""The bad days a book is held against: checked facts of four market breaks, as values (DOMAIN 7)."""

from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt

from kobe.core.errors import DataError
from kobe.core.panel import Floats

HALT_SLIP = 0.5  # in a halt or without bids a stop fills beyond its level; how far nobody recorded: half the way


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """An index level before and after, in points."""

    index: str
    before: float
    after: float

    @property
    def change(self) -> float:
        """Fraction of the level before, negative for a fall."""
        return self.after / self.before - 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketDay:
    """What the market did in one session, each a fraction of the close before.

    Attributes:
        open, low, high, close: the session's prices.
        stop_slip: how far beyond its stop an order fills inside the session, as a share of the way to the extreme.
    """

    open: float
    low: float
    high: float
    close: float
    stop_slip: float = 0.0

    def __post_init__(self) -> None:
        if not -1.0 <= self.low <= min(self.open, self.close) <= max(self.open, self.close) <= self.high:
            raise DataError("a market day's prices are out of order", seen=self, expected="low <= open, close <= high")


def gap(change: float) -> MarketDay:
    """Return a session whose whole move is there at the open: no stop fills in between."""
    return MarketDay(open=change, low=change, high=change, close=change)


def straight_path(change: float, sessions: int) -> tuple[MarketDay, ...]:
    """Return equal log returns that end at a change, each a gap: how a day moved inside is not known."""
    return (gap(float((1.0 + change) ** (1.0 / sessions) - 1.0)),) * sessions


def path_of_bars(bars: Floats, halted: npt.NDArray[np.bool_]) -> tuple[MarketDay, ...]:
    """Return the days of recorded bars.

    Args:
        bars: float64[n + 1, 4], open, high, low, close in dollars; the first row only gives the close before.
        halted: bool[n], sessions with a market-wide halt.
    """
    moves = bars[1:] / bars[:-1, 3:] - 1.0
    return tuple(
        MarketDay(open=o, high=h, low=low, close=c, stop_slip=HALT_SLIP if stopped else 0.0)
        for (o, h, low, c), stopped in zip(np.asarray(moves).tolist(), halted.tolist(), strict=True)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One market break.

    Attributes:
        days: what the market did, session by session.
        facts: the checked levels the numbers come from.
        source: where they were read, in words.
        assumption: what is taken for granted beyond them.
        volatility_factor: on every holding's own volatility.
        spread_factor: on every holding's spread.
        own_at_open: a holding's own move is there at the open too (stops do not cap it), else inside the session.
        span: the close before and the last session, where daily bars could tell the path.
        halts: sessions of the span with a market-wide halt.
    """

    name: str
    title: str
    days: tuple[MarketDay, ...]
    facts: tuple[Fact, ...]
    source: str
    assumption: str
    volatility_factor: float = 1.0
    spread_factor: float = 1.0
    own_at_open: bool = True
    span: tuple[date, date] | None = None
    halts: tuple[date, ...] = ()


_SP_1987 = Fact(index="S&P 500", before=282.70, after=224.84)
_DOW_1987 = Fact(index="Dow Jones", before=2246.74, after=1738.74)
_SP_2020 = Fact(index="S&P 500", before=3386.15, after=2237.40)
_DOW_2010_LOW = Fact(index="Dow Jones, low", before=10868.12, after=9869.62)
_DOW_2010 = Fact(index="Dow Jones, close", before=10868.12, after=10520.32)
_VIX_2018 = Fact(index="VIX", before=17.31, after=37.32)

BLACK_MONDAY = Scenario(
    name="black_monday",
    title="Black Monday, 1987-10-19",
    days=(gap(_SP_1987.change),),
    facts=(_SP_1987, _DOW_1987),
    source="closing levels of both indices on 1987-10-16 and 1987-10-19",
    assumption="the whole fall is there at the open: a stop fills at the shocked price",
)
COVID = Scenario(
    name="covid",
    title="COVID crash, 2020-02-19 to 2020-03-23",
    days=straight_path(_SP_2020.change, 23),
    facts=(_SP_2020,),
    source="closing levels of 2020-02-19 and 2020-03-23; market-wide halts on 9, 12, 16 and 18 March",
    assumption="a straight line of 23 equal log returns to the same end, each a gap at the open",
    span=(date(2020, 2, 19), date(2020, 3, 23)),
    halts=(date(2020, 3, 9), date(2020, 3, 12), date(2020, 3, 16), date(2020, 3, 18)),
)
FLASH_CRASH = Scenario(
    name="flash_crash",
    title="Flash crash, 2010-05-06",
    days=(MarketDay(open=0.0, low=_DOW_2010_LOW.change, high=0.0, close=_DOW_2010.change, stop_slip=HALT_SLIP),),
    facts=(_DOW_2010_LOW, _DOW_2010),
    source="level at the low and at the close of 2010-05-06 against the close before",
    assumption="stops reached at the low fill half the way from the stop to it, though the close recovers",
    own_at_open=False,
)
VOLATILITY_DOUBLING = Scenario(
    name="volatility_doubling",
    title="Volatility doubles, 2018-02-05",
    days=(gap(0.0),),
    facts=(_VIX_2018,),
    source="VIX at the closes of 2018-02-02 and 2018-02-05, its only doubling from close to close",
    assumption="the market stands still; each holding's own volatility doubles and spreads triple",
    volatility_factor=2.0,
    spread_factor=3.0,
)
SCENARIOS: dict[str, Scenario] = {s.name: s for s in (BLACK_MONDAY, COVID, FLASH_CRASH, VOLATILITY_DOUBLING)}
