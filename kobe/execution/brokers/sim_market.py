"""The simulated market around a daily bar: what is quoted at an instant of a session, and until when a bar is known.

Assumptions, in one place: five minutes after the open the price is the open; five minutes before the close it is
the close; in between it moves on a straight line. The whole bar's range counts as traded from five minutes before
the close on. Spreads are those of the cost model, half of it on each side.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

import numpy as np

from kobe.backtest.costs import CostModel
from kobe.core.calendar import Calendar
from kobe.core.clock import Clock, new_york_date
from kobe.core.panel import Panel
from kobe.core.ports import Quote
from kobe.core.units import to_decimal
from kobe.execution.rounding import ceil_tick, floor_tick

EDGE = timedelta(minutes=5)
SHARE_OF_ADV_QUOTED = 1e-4  # displayed size as a share of a day's volume


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

    Nothing on kobe's side reads bars through here.
    """

    bars: Callable[[], Panel]
    calendar: Calendar
    clock: Clock
    costs: CostModel

    def bar(self, symbol: str, session: date) -> SimBar | None:
        """Return a symbol's bar of a session, None when it did not trade."""
        panel = self.bars()
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

    def _quote(self, symbol: str, now: datetime) -> Quote | None:
        today = new_york_date(now)
        seen = self.bar(symbol, today)
        if seen is None or seen.volume <= 0:
            return None
        open_, _, _, close = seen.bar
        mid = open_ + (close - open_) * self.phase(today, now)
        rates = self.costs.at(today)
        half = mid * float(self.costs.half_spread(rates, np.array([mid]), np.array([seen.adv_usd]))[0])
        size = max(100, int(seen.adv_usd * SHARE_OF_ADV_QUOTED / mid))
        bid, ask = floor_tick(_money(mid - half)), ceil_tick(_money(mid + half))
        return Quote(symbol=symbol, bid=bid, ask=ask, bid_size=size, ask_size=size, at=now, feed="sim")


def _money(value: float) -> Decimal:
    return to_decimal(round(value, 9))
