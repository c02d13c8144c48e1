"""How long the gates take for one order: `python -m scripts.bench.gates [REVIEWS]`.

Orders and facts are made beforehand and differ in price, side, effect, quote, money and what is unknown; each is
reviewed once. The time on the clock holds whatever else the machine does meanwhile, the thread's own time does not.
"""

import gc
import sys
import time
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

from kobe.core.ports import Asset, Quote
from kobe.core.types import Effect, Mode, OrderRequest, OrderType, Outcome, Side
from kobe.risk.facts import GateFacts, Limits
from kobe.risk.gates import GATES
from kobe.risk.review import review

REVIEWS, SEED, WARM_UP = 20_000, 81, 500
BOUND_MS = 0.5
OPEN = datetime(2024, 6, 3, 13, 30, tzinfo=UTC)
UNKNOWN = ("quote", "asset", "adv_usd", "equity_usd", "correlations", "breakers", "prohibited", "maintenance_usd")
Case = tuple[OrderRequest, GateFacts]


def money(rng: Random, low: float, high: float) -> Decimal:
    """A number of dollars and cents."""
    return Decimal(rng.randint(int(low * 100), int(high * 100))) / 100


def request_of(rng: Random, n: int, price: Decimal) -> OrderRequest:
    """An opening in four of five cases, else an exit."""
    return OrderRequest(
        client_order_id=f"kobe-ibs_rsi-S{n}-2024-05-31-long-open-1", signal_id=f"{n:016x}", strategy="ibs_rsi",
        symbol=f"S{n}", side=rng.choice((Side.LONG, Side.LONG, Side.LONG, Side.SHORT)),
        effect=Effect.CLOSE if rng.random() < 0.2 else Effect.OPEN, order_type=OrderType.IOC_LIMIT,
        quantity=rng.randint(1, 40), limit_price=price, stop_price=None, session=date(2024, 6, 3), reason="bench",
    )  # fmt: skip


def case(rng: Random, n: int) -> Case:
    """An order and what is known about it; in one of four cases something is not."""
    price, equity, now = money(rng, 1, 400), money(rng, 900, 30_000), OPEN + timedelta(seconds=rng.randint(0, 24_000))
    bid = price - Decimal(rng.randint(1, 20)) / 100
    quote = Quote(symbol=f"S{n}", bid=bid, ask=price, bid_size=100, ask_size=rng.choice((0, 200, 300)), feed="sip",
                  at=now - timedelta(seconds=rng.random() * 16), last=price, halted=rng.random() < 0.01)  # fmt: skip
    facts = GateFacts(
        now=now, opens_at=OPEN, closes_at=OPEN + timedelta(hours=6.5), kill_reason=None, mode=rng.choice(list(Mode)),
        environment=rng.choice(("sim", "paper", "live")), keys_fault="", armed=True, clock_skew_s=rng.gauss(0, 1),
        quote=quote,
        asset=Asset(symbol=f"S{n}", active=True, tradable=True, shortable=True, easy_to_borrow=rng.random() < 0.9),
        tradable=rng.random() < 0.95, prohibited=("news: x",) if rng.random() < 0.05 else (),
        clear_of_earnings=rng.random() < 0.9, raw_close=price * Decimal("1.01"), atr_usd=price * Decimal("0.03"),
        adv_usd=rng.random() * 1e8, adv_feed=rng.choice(("sip", "yahoo", "iex")), size_cap=rng.randint(0, 40),
        size_bound_by="order_cap", day_used_usd=money(rng, 0, 1000), open_positions=rng.randint(0, 6),
        symbol_positions=rng.randint(0, 1), gross_usd=money(rng, 0, 4000), name_usd=money(rng, 0, 500),
        sector_usd=money(rng, 0, 1000), equity_usd=equity, last_equity_usd=equity * Decimal("1.02"),
        month_peak_usd=equity * Decimal("1.1"), correlations={f"H{k}": rng.uniform(-1, 1) for k in range(5)},
        breakers={"error_rate": "5 errors in 600 s"} if rng.random() < 0.05 else {}, account_blocked=False,
        cash_usd=equity, buying_power_usd=equity, maintenance_usd=money(rng, 0, 1000), day_trades=rng.randint(0, 4),
        short_restricted=rng.random() < 0.1, may_short=True,
        already_ordered=rng.random() < 0.02, luld_tier=rng.choice((1, 2, None)),
    )  # fmt: skip
    if rng.random() < 0.25:
        nothing: dict[str, Any] = {rng.choice(UNKNOWN): None}
        facts = replace(facts, **nothing)
    return request_of(rng, n, price), facts


def measured(cases: list[Case], limits: Limits) -> tuple[list[int], list[int], set[str]]:
    """Return the nanoseconds of each review by the clock and by the thread, sorted, and which gates refused."""
    clock, thread, refused = [], [], set[str]()
    for request, facts in cases:
        begin, own = time.perf_counter_ns(), time.thread_time_ns()
        verdicts = review(request, facts, limits)
        own, begin = time.thread_time_ns() - own, time.perf_counter_ns() - begin
        clock.append(begin)
        thread.append(own)
        refused.update(v.gate for v in verdicts if v.outcome is Outcome.REJECT)
    return sorted(clock), sorted(thread), refused


def told(name: str, times: list[int]) -> float:
    """Print quantiles in milliseconds and return the 99th percentile."""
    p50, p99, most = (times[min(int(len(times) * q), len(times) - 1)] / 1e6 for q in (0.50, 0.99, 1.0))
    print(f"{name}: p50 {p50:.3f} ms, p99 {p99:.3f} ms, max {most:.3f} ms")
    return p99


def main() -> int:
    """Measure and print; 1 when the 99th percentile of the thread's time is above its bound."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else REVIEWS
    rng = Random(SEED)  # noqa: S311 - makes test cases
    cases = [case(rng, n) for n in range(count)]
    limits = Limits(allow_shorts=True)
    measured(cases[:WARM_UP], limits)
    gc.freeze()  # what is looked through for garbage is a review's own, not twenty thousand made-up cases
    clock, thread, refused = measured(cases, limits)
    print(f"{count:,} reviews of {len(GATES)} gates, {len(refused)} of which refused something")
    told("by the clock", clock)
    p99 = told("by the thread", thread)
    print(f"p99 may be {BOUND_MS} ms")
    return 0 if p99 <= BOUND_MS else 1


if __name__ == "__main__":
    sys.exit(main())
