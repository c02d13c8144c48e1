"""What an operator may tell the bot, each only after a confirmation: stop entries, resume, kill."""

from collections.abc import Callable
from dataclasses import dataclass

from kobe.app import desk
from kobe.app.context import Context
from kobe.app.kill import KillRequest, run_kill, run_resume
from kobe.core.types import Mode
from kobe.risk import mode

SAID_HERE = "telegram"


@dataclass(frozen=True, slots=True)
class Order:
    """Something that may be told: what it does, and how, given who told it."""

    does: str
    carry_out: Callable[[Context, str], str]


def _stop_entries(ctx: Context, who: str) -> str:
    """Say REDUCE_ONLY as the operator, unless the operator said something as strict already."""
    said = _operator_word(ctx)
    if said is not None and said[0] >= Mode.REDUCE_ONLY:
        return f"already {said[0].name} by the operator ({said[1]})"
    desk.set_mode(ctx, mode.OPERATOR, Mode.REDUCE_ONLY, f"{SAID_HERE} {who}")
    return f"no new entries from now on: mode {desk.current_mode(ctx).mode.name}; /resume takes it back"


def _resume(ctx: Context, who: str) -> str:
    """Take back the kill switch and what was said here; what was said at the desk is taken back at the desk."""
    done = list(run_resume(ctx).summary)
    said = _operator_word(ctx)
    if said is not None and said[0] > Mode.NORMAL and said[1].startswith(SAID_HERE):
        desk.set_mode(ctx, mode.OPERATOR, Mode.NORMAL, f"{SAID_HERE} {who}: resumed")
    state = desk.current_mode(ctx)
    return "\n".join([*done, f"mode {state.mode.name}" + (f": {state.why}" if state.why else "")])


def _kill(ctx: Context, who: str) -> str:
    """Trip the kill switch; orders that are open stay at the broker until a person looks."""
    return "\n".join(run_kill(ctx, KillRequest(reason=f"{SAID_HERE} {who}")).summary)


def _operator_word(ctx: Context) -> tuple[Mode, str] | None:
    events = ctx.ledger.events(mode.STREAM, entity=mode.OPERATOR)
    return (Mode[events[-1].payload["mode"]], str(events[-1].payload["reason"])) if events else None


KILL = "/kill"
ORDERS: dict[str, Order] = {
    "/stopentry": Order("no new entries; exits and stops go on", _stop_entries),
    "/resume": Order("take back /stopentry and the kill switch", _resume),
    KILL: Order("the kill switch: nothing is sent any more", _kill),
}
