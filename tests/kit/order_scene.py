"""A small home that trades on the made-up Alpaca: a market of a few stocks in memory, and use cases by name.

Nothing here reads a bar store. The clock stands still but for the waits of the code under test, and takes the
server's clock along, so that both always agree.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from kit import panels
from kit.alpaca_desk import KEY, SECRET, AlpacaDesk

from kobe.app import audit, desk, entry_order, protect, reconcile, submit_totd, wiring
from kobe.app.context import Context
from kobe.app.flatten import FlattenRequest, run_flatten
from kobe.app.manage_exits import run_manage_exits
from kobe.app.start_up import order_desk
from kobe.core.clock import NEW_YORK, SteppingClock
from kobe.core.errors import KobeError
from kobe.core.panel import Panel
from kobe.core.types import Candidate, Order, OrderStatus, Side, Signal
from kobe.execution import order
from kobe.execution.oms import Oms

D = Decimal
DAY, NEXT_DAY, AFTER = date(2024, 11, 12), date(2024, 11, 13), date(2024, 11, 14)  # Tuesday to Thursday
AT_BROKER = (OrderStatus.ACCEPTED, OrderStatus.PARTIAL)
SYMBOLS = {"AAA": 10.0, "BBB": 8.0, "CCC": 15.0, "DDD": 12.0, "EEE": 9.0, "FFF": 17.0, "GGG": 11.0, "HHH": 14.0}
SETTINGS = """[run]
mode = "paper"
[broker]
base_url = "{url}"
data_url = "{url}"
requests_per_minute = 1000
connect_timeout_s = 20
read_timeout_s = {read_timeout_s}
[risk]
day_max_usd = {day_max_usd}
max_positions = 20
max_gross = 1.0
max_name = 1.0
max_sector = 1.0
max_correlation = 1.0
[exits]
trail_atr = 1.0
[strategies.ibs_rsi]
hold_bars = 1
[strategies.turtle_soup]
hold_bars = 10
"""


def make_home(folder: Path, url: str, *, read_timeout_s: float = 20, day_max_usd: int = 300) -> Path:
    """Write the settings and keys of a home that trades at an address."""
    (folder / "config").mkdir(parents=True)
    text = SETTINGS.format(url=url, read_timeout_s=read_timeout_s, day_max_usd=day_max_usd)
    (folder / "config" / "kobe.toml").write_text(text, encoding="utf-8")
    (folder / ".env").write_text(f"APCA_API_KEY_ID={KEY}\nAPCA_API_SECRET_KEY={SECRET}\n", encoding="utf-8")
    return folder


def market() -> Panel:
    """Return the bars: eighty sessions of random walks up to `DAY`, which rose a little."""
    made, number = {}, panels.CALENDAR.number(DAY)
    first = panels.CALENDAR.sessions[number - 79]
    for k, (symbol, price) in enumerate({**SYMBOLS, "SPY": 400.0}.items()):
        walk = panels.random_walk(np.random.default_rng(k), 80, price=price, volatility=0.02)
        shape = {c: getattr(walk, c) * (price / walk.close[-2]) for c in panels.PRICES}
        shape = {c: np.append(v[:-1], v[-2] * 1.02) for c, v in shape.items()}
        made[symbol] = panels.history(**shape, volume=1e6, first=first)
    return panels.panel(made, source="test")


def quotes(of: Panel) -> dict[str, tuple[str, str]]:
    """Return bid and ask of every stock around its close before `DAY`."""
    number = of.calendar.number(DAY)
    found = {}
    for symbol in SYMBOLS:
        mine = of.until(number - 1)[symbol]
        cents = round(float(mine.close[-1]) * 100)
        found[symbol] = (str(D(cents - 1) / 100), str(D(cents + 1) / 100))
    return found


def at(day: date, hour: int, minute: int) -> datetime:
    """Return a New York time."""
    return datetime(day.year, day.month, day.day, hour, minute, tzinfo=NEW_YORK)


class InStep(SteppingClock):
    """A stepping clock that takes the server's along."""

    def __init__(self, instant: datetime, server: AlpacaDesk) -> None:
        super().__init__(instant)
        self.server = server
        server.set_clock(instant)

    def set(self, instant: datetime) -> None:
        """Move both to an instant."""
        super().set(instant)
        self.server.set_clock(instant)

    def advance(self, *, seconds: float) -> None:
        """Move both forward."""
        self.set(self.now() + timedelta(seconds=seconds))


@dataclass(frozen=True)
class Made:
    """A made-up market in memory: the bars, and a signal of each stock."""

    panel: Panel

    def context(self, home: Path, url: str, instant: datetime) -> Context:
        """Build the context of a home at an instant."""
        ctx = wiring.build(home, clock=InStep(instant, AlpacaDesk(url)))
        last = SimpleNamespace(last=max(d for d in (DAY, NEXT_DAY) if d <= instant.date()))
        store: Any = SimpleNamespace(manifest=lambda: last)  # newer bars than there are: staleness is not the matter
        bars: Any = lambda: self.panel  # noqa: E731 - it stands for a cache
        return replace(ctx, store=store, panel=bars)

    def candidate(self, symbol: str, strategy: str, target_r: float | None) -> Candidate:
        """Return the candidate of a stock for `DAY`."""
        day_before = self.panel.calendar.previous(DAY)
        close = float(self.panel.until(self.panel.calendar.number(day_before))[symbol].close[-1])
        atr = close * 0.03
        signal = Signal(
            signal_id=f"signal-{symbol}", strategy=strategy, symbol=symbol, side=Side.LONG, signal_date=day_before,
            valid_session=DAY, reference_close=close, stop=close - 2 * atr, stop_distance=2 * atr, target=None,
            target_r=target_r, atr=atr, score=1.0, params_hash="0",
        )  # fmt: skip
        return Candidate(signal=signal, probability=None, gate=0.6, expected_r=None, model_id=None, adv_usd=1e7,
                         raw_close=close, rank=1, features={})  # fmt: skip


class Real:
    """A home with bars, a model and a scan of its own."""

    def __init__(self) -> None:
        import kit.alpaca_client  # noqa: F401 - so that no child has to

    def context(self, home: Path, url: str, instant: datetime) -> Context:
        """Build the context of a home at an instant."""
        return wiring.build(home, clock=InStep(instant, AlpacaDesk(url)))


# -- use cases -------------------------------------------------------------------------------------------------


def enter(
    scene: Made, ctx: Context, symbol: str, *, target: str = "", strategy: str = "ibs_rsi", retry: str = ""
) -> str:
    """Do what `submit-totd` does once the decision was read and computed anew."""
    candidate = scene.candidate(symbol, strategy, float(target) if target else None)
    signal_id = candidate.signal.signal_id
    with order_desk(ctx) as oms:
        past = desk.last_panel(ctx)
        attempt, mine = submit_totd._attempt(oms, signal_id, retry=bool(retry))
        if attempt is None:
            said = f"already {mine.status.word}" if mine else "nothing to retry"
        else:
            done = _sent(ctx, oms, past, candidate, attempt, mine)
            said = f"{done.status}: {done.message}"
        return f"{said} {protect.guard(ctx, oms, past, signal_id).note}"


def _sent(ctx: Context, oms: Oms, past: Panel, candidate: Candidate, attempt: int, mine: Order | None) -> Any:
    quote = ctx.quotes.quotes([candidate.signal.symbol]).get(candidate.signal.symbol)
    if mine is not None and not mine.status.is_final:
        return submit_totd._resume(ctx, oms, mine, candidate, quote, past, dry_run=False)
    draft = entry_order.draft(candidate, quote, attempt)
    return submit_totd._enter(ctx, oms, candidate, draft, quote, past, submit_totd.SubmitRequest())


def submit(_scene: Any, ctx: Context, *, retry: str = "") -> str:
    """Run `submit-totd`."""
    return "; ".join(submit_totd.run_submit_totd(ctx, submit_totd.SubmitRequest(retry=bool(retry))).summary)


def leave(_scene: Any, ctx: Context) -> str:
    """Run `manage-exits`."""
    return "; ".join(run_manage_exits(ctx).summary)


def flatten(_scene: Any, ctx: Context) -> str:
    """Run `flatten`."""
    return "; ".join(run_flatten(ctx, FlattenRequest(reason="test")).summary)


def compare(_scene: Any, ctx: Context) -> str:
    """Run `reconcile`."""
    return "; ".join(reconcile.run_reconcile(ctx).summary)


def pause(_scene: Any, _ctx: Context, seconds: str) -> str:
    """Let some real time pass, so that processes meet differently."""
    time.sleep(float(seconds))
    return "paused"


DEEDS: dict[str, Callable[..., str]] = {
    "enter": enter, "submit": submit, "leave": leave, "flatten": flatten, "compare": compare, "pause": pause,
}  # fmt: skip


def perform(scene: Made, ctx: Context, deeds: Sequence[str]) -> list[str]:
    """Do deeds such as `enter AAA target=3` in turn; each tells how it went, and none keeps the next back."""
    told = []
    for deed in deeds:
        name, *words = deed.split()
        plain, named = [w for w in words if "=" not in w], dict(w.split("=") for w in words if "=" in w)
        try:
            told.append(DEEDS[name](scene, ctx, *plain, **named))
        except KobeError as error:
            told.append(f"{type(error).__name__}: {error}")
    return told


def look(ctx: Context, later: str | None) -> dict[str, Any]:
    """Compare both books without repairing anything, and return what the records say.

    With `later`, an instant, what has no end yet is given one by a `reconcile` then, as the next day would.
    """
    oms, told = desk.manager(ctx), ""
    if later and any(not o.status.is_final and o.status not in AT_BROKER for o in oms.orders().values()):
        ctx.clock.set(datetime.fromisoformat(later))
        told = "; ".join(reconcile.run_reconcile(ctx).summary)
    compared = reconcile.run_reconcile(ctx, reconcile.ReconcileRequest(dry_run=True))
    verdict = audit.run_audit_verify(ctx)
    state = desk.current_mode(ctx)
    orders = [
        {**order.request_json(o.request), "status": o.status.word, "final": o.status.is_final, "filled": o.filled,
         "detail": o.detail}
        for o in oms.orders().values()
    ]  # fmt: skip
    return {
        "orders": orders, "positions": {p.signal_id: [p.symbol, p.quantity] for p in oms.book().positions},
        "chain": [int(verdict.exit_code), *verdict.summary], "mode": state.mode.name, "why": state.why, "later": told,
        "reconcile": [int(compared.exit_code), *compared.summary], "differences": compared.data["differences"],
    }  # fmt: skip
