"""Where the protective stop of a position stands in a session, from what was known before that session (DOMAIN 7).

The initial stop is the backtest's (`fills.initial_stop`), anchored to the fill. Two rules may move it, and both are
off by default because the backtest knows neither: break-even moves it to the entry plus costs once a close was some R
in favour, trailing keeps it some ATR behind the best close since the entry. A stop only ever moves towards the
market. It is computed from closes of complete sessions before the session it acts in: the close of t moves the stop
of t + 1. All prices are raw dollars in the shares of the session asked about.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from kobe.backtest import fills
from kobe.core.types import Side
from kobe.core.units import to_decimal
from kobe.execution.rounding import ceil_tick, floor_tick

LEAST_USD = 0.0001


@dataclass(frozen=True, slots=True, kw_only=True)
class StopRule:
    """How a stop moves (settings `exits`); 0 turns a part off.

    Attributes:
        breakeven_r: R in favour, on a close, from which the stop stands at the entry plus costs.
        trail_atr: ATR of the signal day between the best close and the stop.
    """

    breakeven_r: float = 0.0
    trail_atr: float = 0.0

    @property
    def is_off(self) -> bool:
        """Whether the initial stop stays where it is."""
        return self.breakeven_r <= 0 and self.trail_atr <= 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Close:
    """The close of a session, complete or not."""

    session: date
    price: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What a stop is measured from.

    Attributes:
        side: of the position.
        price: average of its opening fills.
        distance: from the price to the initial stop; None where it stands at a level.
        level: of the initial stop; None where it is a distance.
        target_r: target in R, or None.
        atr: of the signal day.
        costs_usd: of both sides, for each share.
    """

    side: Side
    price: float
    distance: float | None
    level: float | None
    target_r: float | None
    atr: float
    costs_usd: float = 0.0

    @property
    def sign(self) -> int:
        """+1 for a long, -1 for a short position."""
        return 1 if self.side is Side.LONG else -1

    @property
    def initial(self) -> float:
        """The stop of the entry session, not rounded."""
        nan = float("nan")
        distance = nan if self.distance is None else self.distance
        return float(fills.initial_stop(self.sign, self.price, distance, nan if self.level is None else self.level))


@dataclass(frozen=True, slots=True, kw_only=True)
class Levels:
    """Stop and target of a protective order, in ticks; `moved` says that the stop is not the initial one."""

    stop: Decimal
    target: Decimal | None
    moved: bool = False


def levels(entry: Entry, rule: StopRule, closes: Iterable[Close], session: date) -> Levels:
    """Return where stop and target of a position stand in a session.

    Args:
        entry: what they are measured from.
        rule: how the stop moves.
        closes: since the entry session, in any order; those of `session` and later are not looked at.
        session: in which the protective order acts.
    """
    sign, outward, inward = entry.sign, floor_tick, ceil_tick
    if sign < 0:
        outward, inward = ceil_tick, floor_tick
    first = outward(_price(entry.initial))
    target = None
    if entry.target_r is not None:
        target = inward(_price(entry.price + sign * entry.target_r * abs(entry.price - entry.initial)))
    known = [c.price for c in closes if c.session < session]
    candidates = [first]
    if known:
        best = max(known) if sign > 0 else min(known)
        if rule.breakeven_r > 0 and _reached(entry, rule, best):
            candidates.append(inward(_price(entry.price + sign * entry.costs_usd)))
        if rule.trail_atr > 0:
            candidates.append(outward(_price(best - sign * rule.trail_atr * entry.atr)))
    stop = nearer(entry.side, *candidates)
    return Levels(stop=stop, target=target, moved=stop != first)


def nearer(side: Side, *stops: Decimal) -> Decimal:
    """Return the stop that stands nearest to the market: the highest of a long, the lowest of a short position."""
    return max(stops) if side is Side.LONG else min(stops)


def is_through(side: Side, stop: Decimal, bid: Decimal, ask: Decimal) -> bool:
    """Say whether the market already stands at or beyond a stop, where no broker takes it any more."""
    return bid <= stop if side is Side.LONG else ask >= stop


def _reached(entry: Entry, rule: StopRule, best: float) -> bool:
    risk = abs(entry.price - entry.initial)
    return risk > 0 and entry.sign * (best - entry.price) >= rule.breakeven_r * risk


def _price(value: float) -> Decimal:
    """Return a level as money; one at or below zero, as of a stop wider than the price, is the least price there is."""
    return to_decimal(round(max(value, LEAST_USD), 9))
