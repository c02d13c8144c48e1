"""The simulated market around a daily bar: what is quoted at an instant of a session, and until when a bar is known.

Assumptions, in one place: five minutes after the open the price is the open; five minutes before the close it is
the close; in between it moves on a straight line. The whole bar's range counts as traded from five minutes before
the close on. Spreads are those of the cost model, half of it on each side. A halt freezes the quotes at its start;
when it ends, the price is where the line has got to.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import numpy as np

from kobe.backtest.costs import CostModel
from kobe.core.calendar import Calendar
from kobe.core.clock import Clock, new_york_date
from kobe.core.panel import Panel
from kobe.core.ports import Quote
from kobe.core.units import to_decimal
from kobe.execution.brokers.terms import luck
from kobe.execution.rounding import ceil_tick, floor_tick

EDGE = timedelta(minutes=5)
SHORTEST_HALT, LONGEST_HALT = timedelta(minutes=5), timedelta(minutes=120)
MOST_BARS = 1000  # kept; those of a few sessions are asked for again and again
SHARE_OF_ADV_QUOTED = 1e-4  # displayed size as a share of a day's volume
LEAST_SPLIT, LEAST_TOTAL_RETURN_SPLIT = 1e-4, 0.1  # factors of total-return prices also step at every dividend


@dataclass(frozen=True, slots=True, kw_only=True)
class SimBar:
    """One session of one symbol in raw dollars; `adv_usd` is what was known the day before."""

    session: date
    number: int
    bar: tuple[float, float, float, float]
    raw_factor: float
    adv_usd: float
    volume: float


@dataclass(frozen=True, kw_only=True)
class SimMarket:
    """Quotes made from the bars of the store; it may see today's bar, because it is the market.

    Nothing on kobe's side reads bars through here. `halt_share` of symbols are halted in a session.
    """

    bars: Callable[[], Panel]
    calendar: Calendar
    clock: Clock
    costs: CostModel
    halt_share: float = 0.0

    def bar(self, symbol: str, session: date) -> SimBar | None:
        """Return a symbol's bar of a session, None when it did not trade."""
        panel = self.bars()
        known: dict[tuple[str, date], SimBar | None] = panel.__dict__.setdefault("_sim_bars", {})
        if (symbol, session) not in known:
            if len(known) >= MOST_BARS:
                known.clear()
            known[symbol, session] = self._bar(panel, symbol, session)
        return known[symbol, session]

    def _bar(self, panel: Panel, symbol: str, session: date) -> SimBar | None:
        if symbol not in panel.symbols or session not in self.calendar:
            return None
        mine = panel[symbol]
        number = self.calendar.number(session)
        at = int(np.searchsorted(mine.session, number))
        if at == len(mine) or mine.session[at] != number:
            return None
        row = mine.first_row + at
        factor = float(panel.raw_factor[row])
        before = slice(max(0, at - 20), at)
        dollars = mine.close[before] * mine.volume[before]
        prices = tuple(float(getattr(mine, name)[at]) * factor for name in ("open", "high", "low", "close"))
        return SimBar(
            session=session, number=number, bar=prices,  # type: ignore[arg-type]
            raw_factor=factor, adv_usd=float(dollars.mean()) if len(dollars) else 0.0,
            volume=float(mine.volume[at]) / factor,
        )  # fmt: skip

    def is_open(self, now: datetime) -> bool:
        """Whether the exchange trades at an instant."""
        day = new_york_date(now)
        return day in self.calendar and self.calendar.opens_at(day) <= now < self.calendar.closes_at(day)

    def phase(self, session: date, now: datetime) -> float:
        """Return how much of a session's path is over, 0 at open + 5 min to 1 at close - 5 min."""
        first, last = self.calendar.opens_at(session) + EDGE, self.calendar.closes_at(session) - EDGE
        return min(max((now - first) / (last - first), 0.0), 1.0)

    def quotes(self, symbols: Sequence[str]) -> dict[str, Quote]:
        """Return quotes of the symbols that trade now; nothing outside the session."""
        now = self.clock.now()
        if not self.is_open(now):
            return {}
        found = {s: self._quote(s, now) for s in symbols}
        return {s: q for s, q in found.items() if q is not None}

    def price(self, seen: SimBar, at: datetime) -> float:
        """Return where the straight line of a bar stands at an instant, raw dollars."""
        open_, _, _, close = seen.bar
        return open_ + (close - open_) * self.phase(seen.session, at)

    def halt(self, symbol: str, session: date) -> tuple[datetime, datetime] | None:
        """Return when a symbol is halted in a session: by chance, one in five from the open on, none at the close."""
        name = f"halt:{symbol}:{session.isoformat()}"
        if luck(name) >= self.halt_share:
            return None
        opens, ends = self.calendar.opens_at(session), self.calendar.closes_at(session) - 3 * EDGE
        long = SHORTEST_HALT + (LONGEST_HALT - SHORTEST_HALT) * luck(f"{name}:long")
        wait = max(0.0, luck(f"{name}:start") * 1.25 - 0.25)
        start = opens + (ends - long - opens) * wait
        return start, start + long

    def splits(self, symbol: str, first: date, last: date) -> dict[date, Fraction]:
        """Return new shares for each old one by effective session: where the factor of the bars steps."""
        panel = self.bars()
        known: dict[str, dict[date, Fraction]] = panel.__dict__.setdefault("_splits", {})
        if symbol not in known:
            known[symbol] = self._all_splits(panel, symbol)
        return {day: ratio for day, ratio in known[symbol].items() if first <= day <= last}

    def _all_splits(self, panel: Panel, symbol: str) -> dict[date, Fraction]:
        if symbol not in panel.symbols:
            return {}
        mine = panel[symbol]
        factor = panel.raw_factor[mine.first_row : mine.first_row + len(mine)]
        ratio = np.concatenate(([1.0], factor[:-1] / factor[1:]))
        least = LEAST_TOTAL_RETURN_SPLIT if panel.adjustment == "total-return" else LEAST_SPLIT
        days = self.calendar.sessions
        steps = np.flatnonzero(np.abs(ratio - 1.0) >= least)
        return {days[mine.session[i]]: Fraction(float(ratio[i])).limit_denominator(1000) for i in steps}

    def _quote(self, symbol: str, now: datetime) -> Quote | None:
        today = new_york_date(now)
        seen = self.bar(symbol, today)
        if seen is None or seen.volume <= 0:
            return None
        halt = self.halt(symbol, today)
        halted = halt is not None and halt[0] <= now < halt[1]
        mid = self.price(seen, halt[0] if halted and halt else now)
        rates = self.costs.at(today)
        half = mid * float(self.costs.half_spread(rates, np.array([mid]), np.array([seen.adv_usd]))[0])
        size = max(100, int(seen.adv_usd * SHARE_OF_ADV_QUOTED / mid))
        bid, ask = floor_tick(_money(mid - half)), ceil_tick(_money(mid + half))
        return Quote(
            symbol=symbol, bid=bid, ask=ask, bid_size=size, ask_size=size, at=now, feed="sim",
            last=floor_tick(_money(mid)), halted=halted,
        )  # fmt: skip


def _money(value: float) -> Decimal:
    return to_decimal(round(value, 9))
