"""`kobe limits`: every bound with its setting, what is used of it now, and the way back from what has stopped."""

from decimal import Decimal

from kobe.app import breakers, desk, mode
from kobe.app.context import Context
from kobe.core.types import Effect
from kobe.execution import book
from kobe.reports.document import Document, Section, Table
from kobe.risk.gates.codes import SETTINGS
from kobe.risk.mode import DRAWDOWN_DAY, DRAWDOWN_MONTH

SECTIONS = ("risk", "breakers")


def run_limits_show(ctx: Context) -> Document:
    """Show every bound of `[risk]` and `[breakers]`, what is used of it, and which gate asks."""
    used = _used(ctx)
    asked: dict[str, list[str]] = {}
    for gate, keys in SETTINGS.items():
        for key in keys:
            asked.setdefault(key, []).append(gate)
    lines = []
    for section in SECTIONS:
        for name, value in getattr(ctx.settings, section).model_dump().items():
            key = f"{section}.{name}"
            lines.append(
                (key, str(value), used.get(key), ", ".join(asked.get(key, [])), ctx.origins.get(key, "default"))
            )
    columns = ("setting", "value", "used now", "asked by", "set in")
    return Document(
        schema="kobe.limits/1",
        title="Limits",
        summary=(f"Mode: {desk.current_mode(ctx).mode.name}; what is used is told by the ledger",),
        sections=(Section(title="", table=Table(columns=columns, rows=tuple(lines))),),
        data={
            "limits": [dict(zip(("setting", "value", "used", "gates", "origin"), line, strict=True)) for line in lines]
        },
    )


def _used(ctx: Context) -> dict[str, str]:
    """What the ledger says is used of a bound, reservations included."""
    oms = desk.manager(ctx)
    positions = oms.book().positions
    pending = [
        o for o in oms.orders().values() if not o.status.is_final and o.request.effect is Effect.OPEN and o.remaining
    ]
    cost = sum((p.average_price * p.quantity for p in positions), Decimal(0))
    cost += sum(((o.request.limit_price or Decimal(0)) * o.remaining for o in pending), Decimal(0))
    signals = {p.signal_id for p in positions} | {o.request.signal_id for o in pending}
    return {
        "risk.day_max_usd": f"{book.day_used_usd(oms.intents(), ctx.clock.now()):.2f}",
        "risk.max_positions": str(len(signals)),
        "risk.max_gross": f"{cost:.2f} $ at cost",
    }


def run_limits_reset(ctx: Context, name: str, reason: str, *, dry_run: bool = False) -> Document:
    """Let one breaker's probe through, or lift SAFE_MODE to half size; an operator's act, with a reason."""
    if name in (DRAWDOWN_DAY, DRAWDOWN_MONTH):
        return mode.lift_drawdown(ctx, name, reason, dry_run=dry_run)
    return breakers.run_breakers_reset(ctx, name, reason, dry_run=dry_run)
