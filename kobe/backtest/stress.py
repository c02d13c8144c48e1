"""What a market break would do to a book: shocks scaled by beta, stops filled where they would have filled."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from kobe.backtest.fills import STAY, STOP, TICK_USD, exit_at_open, exit_inside
from kobe.backtest.montecarlo import Share, share_of
from kobe.backtest.scenarios import SCENARIOS, Scenario
from kobe.core.compiled import njit
from kobe.core.errors import DataError
from kobe.core.panel import Floats, Ints
from kobe.core.types import Side

__all__ = ["SCENARIOS", "Book", "Holding", "HoldingResult", "StressResult", "apply"]

DRAWS = 1000
CORRELATION = 0.8  # of the holdings' own moves: in a break what was diversified moves together (DOMAIN 7)
LONG_MAINTENANCE, SHORT_MAINTENANCE = 0.25, 0.30  # of market value, the broker's house minimum
REPORTED = 0.95  # the draw that is reported: one in twenty is worse


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """One position as the stress sees it.

    Attributes:
        shares: more than 0, for shorts as well.
        price: last price, raw dollars.
        stop: protective stop in raw dollars, or None.
        beta: sensitivity to the market.
        own_volatility: daily standard deviation of what the market does not explain, a fraction.
        half_spread: half the usual spread, a fraction of the price.
    """

    symbol: str
    side: Side
    shares: float
    price: float
    stop: float | None
    beta: float
    own_volatility: float
    half_spread: float = 0.0

    def __post_init__(self) -> None:
        numbers = (self.shares, self.price, self.beta, self.own_volatility, self.half_spread, self.stop or 1.0)
        fine = all(np.isfinite(numbers)) and min(self.shares, self.price) > 0
        if not (fine and min(self.own_volatility, self.half_spread) >= 0):
            raise DataError(
                "a holding's numbers cannot be used", seen=self, expected="finite, price and shares above 0"
            )

    @property
    def sign(self) -> int:
        """1 for long, -1 for short."""
        return 1 if self.side is Side.LONG else -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """Holdings and cash, raw dollars; what short sales brought is in the cash, a margin loan is negative cash."""

    holdings: tuple[Holding, ...]
    cash_usd: float

    @property
    def equity_usd(self) -> float:
        """Cash and holdings at their last prices."""
        return self.cash_usd + sum(h.sign * h.shares * h.price for h in self.holdings)

    @property
    def gross_usd(self) -> float:
        """Market value of longs and shorts together."""
        return sum(h.shares * h.price for h in self.holdings)


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldingResult:
    """What became of a holding; `price_after` is the fill of its stop or the last mark, after the spread.

    `stopped_on` is the session of the scenario whose prices reached the stop, 1 for the first, None: still held.
    """

    holding: Holding
    price_after: float
    stopped_on: int | None
    loss_usd: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StressResult:
    """What became of the book, dollars; the figures are of one draw of the holdings' own moves.

    It is the draw whose loss one in twenty exceeds. A loss is positive.

    Attributes:
        worst_usd: lowest equity inside any session, everything at its low (or at its high) at once.
        deficit_usd: largest shortfall of equity under the maintenance margin at any of these marks; 0 is none.
        survives: equity stayed above 0 and above the maintenance margin.
        median_loss_usd: of the middle draw.
        survival: share of all draws that survive.
    """

    scenario: str
    sessions: int
    equity_before_usd: float
    equity_after_usd: float
    loss_usd: float
    loss_share: float
    stops_hit: int
    worst_usd: float
    deficit_usd: float
    survives: bool
    median_loss_usd: float
    survival: Share
    holdings: tuple[HoldingResult, ...]


class Legs(NamedTuple):
    """Holdings as columns; a stop that is not there is NaN and is never reached."""

    side: npt.NDArray[np.int8]
    shares: Floats
    price: Floats
    stop: Floats
    beta: Floats
    half_spread: Floats


class Terms(NamedTuple):
    """What holds in every session; `days` is float64[sessions, 5]: open, low, high, close, stop_slip."""

    days: Floats
    own_at_open: bool
    spread_factor: float
    cash_usd: float


def apply(book: Book, scenario: Scenario, *, seed: int, draws: int = DRAWS) -> StressResult:
    """Put a book through a scenario.

    Each holding moves by beta times the market plus its own part; the own parts are normal with the scenario's
    volatility and share a common factor that makes every pair correlate at .8. Stops fill by the rules of `fills`:
    at the open when the open is beyond them, else inside the session at the stop or worse.

    Args:
        book: at least one holding.
        scenario: of `SCENARIOS`, or one whose days were replaced by recorded bars.
        seed: of the own moves; the same seed draws the same moves for every scenario.
        draws: how many times the own moves are drawn.

    Raises:
        DataError: an empty book.
    """
    if not book.holdings:
        raise DataError("nothing is held", seen="an empty book", expected="one position or more")
    legs = _legs(book)
    days = np.array([[d.open, d.low, d.high, d.close, d.stop_slip] for d in scenario.days])
    own = _own_moves(book, scenario, draws, len(days), seed)
    terms = Terms(days, scenario.own_at_open, scenario.spread_factor, float(book.cash_usd))
    equity, worst, deficit, price, stopped = _walk(legs, terms, own)
    lives = (worst > 0.0) & (deficit <= 0.0)
    before = book.equity_usd
    order = np.argsort(-equity, kind="stable")
    k = int(order[int(np.ceil(REPORTED * draws)) - 1])
    results = tuple(_result(h, float(p), int(s)) for h, p, s in zip(book.holdings, price[k], stopped[k], strict=True))
    return StressResult(
        scenario=scenario.name,
        sessions=len(days),
        equity_before_usd=before,
        equity_after_usd=float(equity[k]),
        loss_usd=before - float(equity[k]),
        loss_share=1.0 - float(equity[k]) / before if before > 0 else float("nan"),
        stops_hit=sum(r.stopped_on is not None for r in results),
        worst_usd=float(worst[k]),
        deficit_usd=max(0.0, float(deficit[k])),
        survives=bool(lives[k]),
        median_loss_usd=before - float(equity[order[(draws - 1) // 2]]),
        survival=share_of(lives),
        holdings=results,
    )


def _legs(book: Book) -> Legs:
    h = book.holdings
    return Legs(
        np.array([x.sign for x in h], np.int8),
        np.array([x.shares for x in h], np.float64),
        np.array([x.price for x in h], np.float64),
        np.array([np.nan if x.stop is None else x.stop for x in h], np.float64),
        np.array([x.beta for x in h], np.float64),
        np.array([x.half_spread for x in h], np.float64),
    )


def _own_moves(book: Book, scenario: Scenario, draws: int, sessions: int, seed: int) -> Floats:
    """Own moves as fractions, float64[draws, sessions, holdings]; two lots of one symbol move as one."""
    rng = np.random.default_rng(seed)
    symbols, back = np.unique([h.symbol for h in book.holdings], return_inverse=True)
    shared = rng.standard_normal((draws, sessions, 1))
    alone = rng.standard_normal((draws, sessions, len(symbols)))[:, :, back]
    sizes = np.array([h.own_volatility for h in book.holdings]) * scenario.volatility_factor
    moves = sizes * (np.sqrt(CORRELATION) * shared + np.sqrt(1.0 - CORRELATION) * alone)
    return np.ascontiguousarray(moves)  # one layout, one compiled version


def _result(holding: Holding, price: float, stopped: int) -> HoldingResult:
    loss = holding.sign * holding.shares * (holding.price - price)
    return HoldingResult(
        holding=holding, price_after=price, stopped_on=stopped + 1 if stopped >= 0 else None, loss_usd=loss
    )


@njit(cache=True, nogil=True)
def _stop_fill(side: int, open_: float, low: float, high: float, stop: float, slip: float) -> float:
    """Price at which a stop fills in a session, NaN where it is not reached."""
    if exit_at_open(side, open_, stop, np.nan, False) != STAY:
        return open_
    if exit_inside(side, high, low, stop, np.nan, TICK_USD, True)[0] != STOP:
        return np.nan
    return stop + slip * ((low if side > 0 else high) - stop)


@njit(cache=True, nogil=True)
def _step(i: int, legs: Any, terms: Any, t: int, own: float, before: float) -> tuple[float, Floats]:
    """Move holding i through session t: the fill of its stop or NaN, and its prices at market low, high and close."""
    day, beta = terms.days[t], legs.beta[i]
    open_ = max(before * (1.0 + beta * day[0] + (own if terms.own_at_open else 0.0)), 0.0)
    marks = np.maximum(before * (1.0 + beta * day[1:4] + own), 0.0)
    low, high = min(open_, marks.min()), max(open_, marks.max())
    return _stop_fill(legs.side[i], open_, low, high, legs.stop[i], day[4]), marks


@njit(cache=True, nogil=True)
def _walk(legs: Legs, terms: Terms, own: Floats) -> tuple[Floats, Floats, Floats, Floats, Ints]:
    """Walk every draw: equity at the end, lowest equity, largest margin shortfall, last price and stop session."""
    draws, sessions, n = own.shape
    equity, worst, deficit = np.empty(draws), np.full(draws, np.inf), np.full(draws, -np.inf)
    price, stopped = np.empty((draws, n)), np.full((draws, n), -1, np.int64)
    for d in range(draws):
        cash = terms.cash_usd
        close = legs.price.copy()
        for t in range(sessions):
            value, required = np.zeros(3), np.zeros(3)  # at the market's low, high and close
            for i in range(n):
                if stopped[d, i] >= 0:
                    continue
                side, shares = legs.side[i], legs.shares[i]
                fill, marks = _step(i, legs, terms, t, own[d, t, i], close[i])
                if not np.isnan(fill):
                    price[d, i] = fill * (1.0 - side * legs.half_spread[i] * terms.spread_factor)
                    stopped[d, i] = t
                    cash += side * shares * price[d, i]
                    continue
                close[i] = marks[2]
                widened = 1.0 - side * legs.half_spread[i] * (terms.spread_factor - 1.0)  # usual marks are mid prices
                value += side * shares * marks * widened
                required += shares * marks * widened * (LONG_MAINTENANCE if side > 0 else SHORT_MAINTENANCE)
                price[d, i] = marks[2] * widened
            worst[d] = min(worst[d], (cash + value).min())
            deficit[d] = max(deficit[d], (required - cash - value).max())
            equity[d] = cash + value[2]
    return equity, worst, deficit, price, stopped
