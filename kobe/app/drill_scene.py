"""The throw-away home of a drill: a made-up market, a simulated broker, a position, and orders ready to leave."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path

from kobe.app import desk, import_bars, order_facts, protect, start_up, wiring
from kobe.app.context import Context
from kobe.core.clock import NEW_YORK, SteppingClock
from kobe.core.errors import KobeError
from kobe.core.ids import client_order_id
from kobe.core.ports import Quote
from kobe.core.types import ClearedOrder, Effect, Order, OrderRequest, OrderType, Side, TradePlan
from kobe.data.manifest import Provenance
from kobe.data.providers.synthetic import SyntheticSpec, synthetic_market
from kobe.execution import exits
from kobe.execution.oms import Oms
from kobe.execution.rounding import buy_limit
from kobe.risk import review

SESSION, HOUR = date(2024, 11, 12), time(10, 0)
SPEC = SyntheticSpec(symbols=12, years=1, seed=7)
SETTINGS = """[sim]
no_fill_share = 0.0
partial_share = 0.0
[risk]
order_max_usd = 1000
day_max_usd = 5000
max_gross = 1.0
max_name = 1.0
max_sector = 1.0
max_correlation = 1.0
"""
PAPER = """[run]
mode = "paper"
[broker]
base_url = "{url}"
data_url = "{url}"
connect_timeout_s = 0.5
read_timeout_s = 0.5
poll_deadline_s = 0.5
"""
STRATEGY, SHARES = "ibs_rsi", 3
STRAY = "kobe-drill-open-1"
OPEN_ORDERS = 2
"""Orders that rest at the simulated broker before the trip: what protects the position, and the stray one."""
_SECRETS = ("APCA_", "ALPACA_")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """Orders that every gate let through before the switch was tripped."""

    opening: ClearedOrder
    closing: ClearedOrder
    moving: ClearedOrder
    guard: str


@contextmanager
def own_environment() -> Iterator[None]:
    """Hide settings and keys of the environment, so that nothing real can be meant by the drill."""
    hidden = {k: v for k, v in os.environ.items() if (k.startswith("KOBE_") and "__" in k) or k.startswith(_SECRETS)}
    for name in hidden:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(hidden)


def make_home(folder: Path) -> Path:
    """Make a home with bars and a protected position, and an open order the ledger knows nothing of."""
    settings = folder / "config" / "kobe.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text(SETTINGS, encoding="utf-8")
    ctx = wiring.build(folder)  # of today: bars of a future session would be set aside
    bars = synthetic_market(SPEC, ctx.calendar)
    import_bars.keep(ctx, bars, Provenance(source="synthetic"), "the drill's market", replace=True)
    close(ctx)
    ctx = context(folder)
    with start_up.order_desk(ctx) as oms:
        signal = _enter(ctx, oms)
        protect.protect(ctx, oms, desk.last_panel(ctx), signal)
    held = oms.book().positions[0].symbol
    ctx.broker.submit(_stray(ctx, next(s for s in _stocks(ctx) if s != held)))
    close(ctx)
    return folder


def context(folder: Path) -> Context:
    """Build the context of a home, at ten o'clock of the session."""
    return wiring.build(folder, clock=SteppingClock(datetime.combine(SESSION, HOUR, NEW_YORK)))


def on_paper(folder: Path, url: str) -> Context:
    """Build the context of a home whose broker answers at an address of this machine."""
    settings = folder / "config" / "kobe.toml"
    settings.write_text(SETTINGS + PAPER.format(url=url), encoding="utf-8")
    (folder / ".env").write_text("APCA_API_KEY_ID=PKDRILL\nAPCA_API_SECRET_KEY=drill\n", encoding="utf-8")
    return context(folder)


def copy(base: Path, folder: Path) -> Path:
    """Copy a home whole."""
    return Path(shutil.copytree(base, folder))


def close(ctx: Context) -> None:
    """Let go of the databases."""
    ctx.ledger.close()  # type: ignore[attr-defined]
    books = getattr(ctx.broker, "ledger", None)
    if books is not None:
        books.close()


def ready(ctx: Context) -> Ready:
    """Clear an opening, a closing and a moved stop by every gate, and send none of them."""
    oms, past = desk.manager(ctx), desk.last_panel(ctx)
    position = oms.book().positions[0]
    plan = oms.plans()[position.signal_id]
    guard = exits.guards(oms.orders().values(), position.signal_id)[0]
    closing = exits.rung(position, plan, None, ctx.today, 1, len(exits.LADDER_PADS), "drill")
    levels = protect.levels(ctx, oms, past, position, plan)
    raised = replace(levels, stop=levels.stop + Decimal("0.01"))
    moving = exits.protection(position, plan, raised, ctx.today, 2)
    opening = next(c for s in _stocks(ctx) if s != position.symbol and (c := _cleared(ctx, oms, s)) is not None)
    cleared = [protect.clear(ctx, oms, past, wish) for wish in (closing, moving)]
    if cleared[0] is None or cleared[1] is None:
        raise KobeError("the drill's own orders were refused", next_command="kobe gates last")
    return Ready(opening=opening, closing=cleared[0], moving=cleared[1], guard=guard.request.client_order_id)


def wish_of(ctx: Context, symbol: str, quote: Quote | None) -> OrderRequest | None:
    """Return an opening order for some shares of a symbol, None where nothing is quoted."""
    if quote is None:
        return None
    return OrderRequest(
        client_order_id=_name(ctx, symbol), signal_id=f"drill-{symbol}", strategy=STRATEGY, symbol=symbol,
        side=Side.LONG, effect=Effect.OPEN, order_type=OrderType.IOC_LIMIT, quantity=SHARES,
        limit_price=buy_limit(quote.ask), stop_price=None, session=ctx.today, reason="drill",
    )  # fmt: skip


def _cleared(ctx: Context, oms: Oms, symbol: str) -> ClearedOrder | None:
    quote = ctx.quotes.quotes([symbol]).get(symbol)
    wish = wish_of(ctx, symbol, quote)
    if wish is None:
        return None
    facts = order_facts.gather(ctx, oms, wish, quote, desk.last_panel(ctx))
    facts = replace(facts, size_cap=SHARES, size_bound_by="drill")
    return review.clear(wish, review.review(wish, facts, ctx.limits))


def _enter(ctx: Context, oms: Oms) -> str:
    """Buy the first stock that every gate lets through, and return the signal's name."""
    for symbol in _stocks(ctx):
        cleared = _cleared(ctx, oms, symbol)
        if cleared is None:
            continue
        made: Order = oms.submit(cleared, _plan(ctx, symbol))
        if made.filled:
            return made.request.signal_id
    raise KobeError("no stock of the drill's market passes the gates", next_command="kobe gates last")


def _plan(ctx: Context, symbol: str) -> TradePlan:
    seen = order_facts.standing(desk.last_panel(ctx), symbol)
    close_usd, atr_usd = float(seen.raw_close or 1), float(seen.atr_usd or 1)
    return TradePlan(
        signal_id=f"drill-{symbol}", strategy=STRATEGY, symbol=symbol, side=Side.LONG,
        signal_date=ctx.calendar.previous(ctx.today), entry_session=ctx.today,
        exit_session=ctx.calendar.offset(ctx.today, 4), stop_distance=2 * atr_usd, stop_level=None, target_r=None,
        atr=atr_usd, reference_close=close_usd, params={},
    )  # fmt: skip


def _stray(ctx: Context, symbol: str) -> OrderRequest:
    """A resting order that opens, as a process might have left it that died before its record was kept."""
    quote = ctx.quotes.quotes([symbol])[symbol]
    return OrderRequest(
        client_order_id=STRAY, signal_id="drill", strategy=STRATEGY, symbol=symbol, side=Side.LONG,
        effect=Effect.OPEN, order_type=OrderType.GTC_STOP, quantity=1, limit_price=None,
        stop_price=buy_limit(quote.ask * 2), session=ctx.today, reason="drill",
    )  # fmt: skip


def _name(ctx: Context, symbol: str) -> str:
    return client_order_id(
        strategy=STRATEGY, symbol=symbol, signal_date=ctx.calendar.previous(ctx.today), side=Side.LONG.value,
        effect="open", attempt=1,
    )  # fmt: skip


def _stocks(ctx: Context) -> list[str]:
    return [s for s in ctx.panel().symbols if s != ctx.settings.market.symbol]
