"""A small home that trades: a made-up market of a few stocks, and positions opened in it through every gate."""

from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

from kit.home import at

from kobe.app import desk, import_bars, order_facts, start_up, wiring
from kobe.core.clock import NEW_YORK
from kobe.core.ids import client_order_id
from kobe.core.types import Effect, OrderRequest, OrderType, Side, TradePlan
from kobe.data.manifest import Provenance
from kobe.data.providers.synthetic import SyntheticSpec, synthetic_market
from kobe.execution.rounding import buy_limit

D = Decimal
DAY = date(2024, 11, 12)  # a Tuesday; the half day of the month is the 29th
SURE = """[sim]
no_fill_share = 0.0
partial_share = 0.0
[risk]
order_max_usd = 2000
day_max_usd = 9000
max_gross = 1.0
max_name = 1.0
max_sector = 1.0
max_correlation = 1.0
"""


def make(folder: Path, more: str = "", spec: SyntheticSpec | None = None) -> Path:
    """Import the market into a new home; `more` is appended to its settings."""
    settings = folder / "config" / "kobe.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text(SURE + more, encoding="utf-8")
    ctx = wiring.build(folder)
    bars = synthetic_market(spec or SyntheticSpec(symbols=12, years=2, seed=7), ctx.calendar)
    import_bars.keep(ctx, bars, Provenance(source="synthetic"), "synthetic", replace=True)
    ctx.ledger.close()
    return folder


def clock(day: date, hour: int, minute: int):
    """A clock that stands at a New York time."""
    return at(day, hour, minute)


def move(ctx, day: date, hour: int, minute: int, second: int = 0) -> None:
    """Set a context's clock."""
    ctx.clock.set(datetime(day.year, day.month, day.day, hour, minute, second, tzinfo=NEW_YORK))


def affordable(ctx, day: date) -> list[str]:
    """Return the stocks that cost 5 to 200 dollars the evening before a session and trade on it, in order."""
    past = ctx.panel().until(ctx.calendar.number(ctx.calendar.previous(day)))
    ctx.clock.set(ctx.calendar.opens_at(day) + (ctx.calendar.closes_at(day) - ctx.calendar.opens_at(day)) / 20)
    found = []
    for symbol in past.symbols:
        seen = order_facts.standing(past, symbol)
        quote = ctx.quotes.quotes([symbol]).get(symbol)
        good = seen.raw_close is not None and 5 <= seen.raw_close <= 200 and quote is not None
        if symbol != "SPY" and good and (seen.adv_usd or 0) >= 5e6:
            found.append(symbol)
    return found


def enter(ctx, symbol: str, quantity: int = 5, *, hold: int = 5, target_r: float | None = None,
          stop_atr: float = 2.0) -> str:  # fmt: skip
    """Open a position now, through every gate, with its plan; returns its signal id. It is not protected yet."""
    today = ctx.today
    signal_date = ctx.calendar.previous(today)
    past = desk.last_panel(ctx)
    mine = past.select({symbol})
    factor = float(mine.raw_factor[-1])
    close = float(mine.close[-1])
    atr = float(order_facts.standing(past, symbol).atr_usd) / factor
    signal_id = f"{symbol}-{today}"
    quote = ctx.quotes.quotes([symbol])[symbol]
    name = client_order_id(strategy="ibs_rsi", symbol=symbol, signal_date=signal_date, side="long", effect="open",
                           attempt=1)  # fmt: skip
    wish = OrderRequest(
        client_order_id=name, signal_id=signal_id, strategy="ibs_rsi", symbol=symbol, side=Side.LONG,
        effect=Effect.OPEN, order_type=OrderType.IOC_LIMIT, quantity=quantity, limit_price=buy_limit(quote.ask),
        stop_price=None, session=today, reason="test",
    )  # fmt: skip
    plan = TradePlan(
        signal_id=signal_id, strategy="ibs_rsi", symbol=symbol, side=Side.LONG, signal_date=signal_date,
        entry_session=today, exit_session=ctx.calendar.offset(today, hold - 1), stop_distance=stop_atr * atr,
        stop_level=None, target_r=target_r, atr=atr, reference_close=close, params={},
    )  # fmt: skip
    with start_up.order_desk(ctx) as oms:
        facts = replace(order_facts.gather(ctx, oms, wish, quote, past), size_cap=quantity, size_bound_by="test")
        order, verdicts = desk.send_judged(ctx, oms, wish, facts, plan)
        assert order is not None, [v for v in verdicts if v.code != "ok"]
    return signal_id
