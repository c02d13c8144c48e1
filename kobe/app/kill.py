"""`kobe kill` and `kobe resume`: the file that stops every order, and what it leaves behind at the broker."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from kobe.app import desk
from kobe.app.context import Context
from kobe.core.errors import ExitCode, ExternalError, KobeError
from kobe.core.ports import BrokerOrder
from kobe.core.types import Effect, OrderStatus
from kobe.infra.locks import Lease
from kobe.reports.document import Document, Section

OURS, OPENS = "kobe-", "-open-"
LOOKED_BACK = timedelta(days=1)
POLL_S = 0.2


@dataclass(frozen=True, kw_only=True)
class KillRequest:
    """Why; whether open openings are cancelled at the broker as well, and with `everything` the protection too."""

    reason: str = "operator"
    cancel: bool = False
    everything: bool = False
    dry_run: bool = False


@dataclass(slots=True)
class Silence:
    """What tripping the switch did: seconds from the start, what was cancelled, and what did not work and why."""

    silent_s: float | None = None
    cancelled_s: float | None = None
    ended: list[BrokerOrder] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def run_kill(ctx: Context, request: KillRequest) -> Document:
    """Block every order from now on; cancelling stays possible, and `cancel` does it.

    Nothing but the switch's own file is needed: records that cannot be written are told of and hold nothing up.
    """
    if request.dry_run:
        return _document(ctx, "would switch on (--dry-run)", Silence())
    done = trip(ctx, request.reason)
    if request.cancel:
        cancel_all(ctx, done, everything=request.everything)
    return _document(ctx, "Kill switch is on: nothing is sent", done, cancel=request.cancel)


def trip(ctx: Context, reason: str, now: Callable[[], float] = time.perf_counter) -> Silence:
    """Put the switch in its place, then write down that it was done.

    Raises:
        ConfigError, ExternalError: the switch could not be put there, and nothing blocks already.
    """
    began, done = now(), Silence()
    try:
        ctx.kill_switch.engage(reason)
    except KobeError as error:
        if ctx.kill_switch.reason() is None:
            raise
        done.faults.append(f"the switch has no durable file, what stands there blocks: {error.what}")
    done.silent_s = now() - began
    try:
        ctx.audit.append("kill_switch", {"on": True, "reason": reason})
    except KobeError as error:
        done.faults.append(f"not written to the audit chain: {error.what} ({error.seen})")
    return done


def cancel_all(ctx: Context, done: Silence, *, everything: bool, now: Callable[[], float] = time.perf_counter) -> None:
    """Cancel our open orders at the broker, openings first, and wait for their ends; the records come afterwards."""
    began = now()
    names = _names(ctx, done, everything=everything)
    ended = [(name, _ended(ctx, name, done)) for name in names]
    left = [name for name, told in ended if told is None or not told.status.is_final]
    done.ended = [told for _, told in ended if told is not None and told.status.is_final]
    if not left and not _may_be_more(done):
        done.cancelled_s = (done.silent_s or 0.0) + now() - began
    _record(ctx, done)


NOT_ASKED = "the broker could not be asked for its open orders"


def _may_be_more(done: Silence) -> bool:
    """Whether orders may be open that nobody could name."""
    return any(fault.startswith(NOT_ASKED) for fault in done.faults)


def _names(ctx: Context, done: Silence, *, everything: bool) -> list[str]:
    """Return our open orders by the broker's word and by the ledger's, openings first; either may be out of reach."""
    found: dict[str, bool] = {}
    try:
        for told in ctx.broker.orders(ctx.today - LOOKED_BACK):
            if not told.status.is_final and told.client_order_id.startswith(OURS):
                found[told.client_order_id] = OPENS in told.client_order_id
    except KobeError as error:
        done.faults.append(f"{NOT_ASKED}: {error.what} ({error.seen})")
    try:
        for name, known in desk.manager(ctx).orders().items():
            if not known.status.is_final and known.status is not OrderStatus.INTENT:  # that one never left
                found[name] = known.request.effect is Effect.OPEN
    except KobeError as error:
        done.faults.append(f"the ledger could not be read: {error.what} ({error.seen})")
    chosen = [name for name, opens in found.items() if opens or everything]
    return sorted(chosen, key=lambda name: (not found[name], name))


def _ended(ctx: Context, name: str, done: Silence) -> BrokerOrder | None:
    """Cancel one order and wait until the broker says how it ended; None when that was not to be learned."""
    try:
        told, waited = ctx.broker.cancel(name), 0.0
        while told is not None and not told.status.is_final and waited < ctx.settings.broker.poll_deadline_s:
            ctx.wait(POLL_S)
            waited += POLL_S
            told = ctx.broker.lookup(name)
    except KobeError as error:
        done.faults.append(f"{name} not cancelled: {error.what} ({error.seen})")
        return None
    if told is None:
        done.faults.append(f"{name} is not known to the broker; if it is on its way it may still arrive")
    elif not told.status.is_final:
        done.faults.append(f"{name} is still {told.status.word} at the broker")
    return told


def _record(ctx: Context, done: Silence) -> None:
    """Write down how the orders ended, if nobody else is at the desk; the next visitor asks the broker anyway."""
    try:
        with Lease(ctx.paths.locks, "orders", ctx.clock):
            oms = desk.manager(ctx)
            for told in done.ended:
                if oms.order(told.client_order_id) is not None:
                    oms.adopt(told)
        ctx.audit.append("kill_cancel", {"ended": [o.client_order_id for o in done.ended], "faults": done.faults})
    except ExternalError as error:
        done.faults.append(f"the ends are not in the ledger yet: {error.what} ({error.seen})")
    except KobeError as error:
        done.faults.append(f"the ends could not be recorded: {error.what} ({error.seen})")


def run_resume(ctx: Context, *, dry_run: bool = False) -> Document:
    """Remove the block; orders that were stopped are not sent again by themselves."""
    was = ctx.kill_switch.reason() if ctx.paths.state.is_dir() else None
    if was is None:
        return _document(ctx, "Kill switch was not on: nothing to do", Silence())
    if not dry_run:
        ctx.kill_switch.release()
        ctx.audit.append("kill_switch", {"on": False, "was": was})
    message = "would switch off (--dry-run)" if dry_run else f"Kill switch is off; it was on because: {was}"
    return _document(ctx, message, Silence())


def _document(ctx: Context, message: str, done: Silence, *, cancel: bool = False) -> Document:
    path = ctx.paths.state / "KILL_SWITCH"
    lines = [f"{o.client_order_id}: {o.status.word}, {o.filled} filled" for o in done.ended]
    told = []
    if done.silent_s is not None:
        told.append(f"silent after {done.silent_s * 1000:.1f} ms")
    if cancel:
        until = "not all cancelled" if done.cancelled_s is None else f"after {done.cancelled_s * 1000:.1f} ms"
        told.append(f"{len(done.ended)} orders ended, {until}")
    sections = [Section(title="Orders", lines=tuple(lines))] if lines else []
    return Document(
        schema="kobe.kill_switch/1", title=str(path),
        summary=("; ".join((message, *told)), *done.faults), sections=tuple(sections),
        data={
            "on": ctx.kill_switch.reason() is not None if ctx.paths.state.is_dir() else path.exists(),
            "message": message, "silent_s": done.silent_s, "cancelled_s": done.cancelled_s,
            "ended": [o.client_order_id for o in done.ended], "faults": done.faults,
        },
        exit_code=ExitCode.PARTIAL if done.faults else ExitCode.OK,
    )  # fmt: skip
