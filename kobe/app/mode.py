"""`kobe mode`: what the system may do, who says so, and how each source is made to take its word back."""

from decimal import Decimal, InvalidOperation

from kobe.app import desk, equity
from kobe.app.context import Context
from kobe.core.clock import NEW_YORK, from_ns, new_york_date
from kobe.core.errors import ExitCode, RefusedError, UsageError
from kobe.core.ports import Event
from kobe.core.types import Mode
from kobe.reports.document import Document, Section, Table
from kobe.risk import drawdown, mode
from kobe.risk.mode import DRAWDOWN_DAY, DRAWDOWN_MONTH, OPERATOR


def run_mode_show(ctx: Context) -> Document:
    """Show the mode in force, every source that holds something back, and what lifts each."""
    state = desk.current_mode(ctx)
    return _document(state, (_told(state),))


def run_mode_set(
    ctx: Context, wanted: str, reason: str, factor: Decimal | None = None, *, dry_run: bool = False
) -> Document:
    """Say the operator's word. What another source holds back stays held back, and is named.

    Raises:
        UsageError: there is no such mode, no reason was given, or the factor makes no sense.
    """
    chosen = _checked(wanted, reason, factor)
    if not dry_run:
        desk.set_mode(ctx, OPERATOR, chosen, " ".join(reason.split()), factor)
    state = desk.current_mode(ctx)
    if dry_run:
        return _document(state, (f"would say {chosen.name} as {OPERATOR} (--dry-run)", _told(state)))
    if state.mode <= chosen:
        return _document(state, (_told(state),))
    holds = [r for r in state.reasons if r.mode > chosen]
    told = tuple(f"{r.source} still holds {r.mode.name} ({r.reason}); next: {lifted_by(r.source)}" for r in holds)
    return _document(state, (f"The operator said {chosen.name}; the mode stays {state.mode.name}", *told),
                     code=ExitCode.PARTIAL)  # fmt: skip


def parse_factor(given: str | None) -> Decimal | None:
    """Read a factor as it is typed.

    Raises:
        UsageError: it is no number.
    """
    try:
        return None if given is None else Decimal(given)
    except InvalidOperation as error:
        raise UsageError("not a factor", seen=given, expected="such as 0.5") from error


def _checked(wanted: str, reason: str, factor: Decimal | None) -> Mode:
    chosen = Mode.__members__.get(wanted.upper())
    if chosen is None:
        raise UsageError("no such mode", seen=wanted, expected=", ".join(Mode.__members__))
    if not reason.strip():
        raise UsageError("a mode needs a reason", expected="--reason WHY")
    if factor is not None and (chosen is not Mode.REDUCED or not factor.is_finite() or not 0 < factor < 1):
        raise UsageError("a factor goes with REDUCED", seen=factor, expected="above 0 and below 1, such as 0.5")
    return chosen


def lifted_by(source: str) -> str:
    """Return the command that makes a source speak again."""
    return mode.LIFTED_BY.get(source, "kobe status")


def _told(state: mode.State) -> str:
    size = f" at {state.factor} of a normal size" if state.mode is Mode.REDUCED else ""
    return f"Mode {state.mode.name}{size}" + (f": {state.why}" if state.why else "")


def _document(state: mode.State, summary: tuple[str, ...], *, code: ExitCode = ExitCode.OK) -> Document:
    lines = [
        {"source": r.source, "mode": r.mode.name, "factor": str(r.factor), "reason": r.reason,
         "since": r.since.isoformat(), "lifted_by": lifted_by(r.source)}
        for r in state.reasons
    ]  # fmt: skip
    columns = ("source", "mode", "size", "since (ET)", "reason", "lifted by")
    rows = tuple(
        (r.source, r.mode.name, str(r.factor), f"{r.since.astimezone(NEW_YORK):%Y-%m-%d %H:%M}", r.reason,
         lifted_by(r.source))
        for r in state.reasons
    )  # fmt: skip
    return Document(
        schema="kobe.mode/1",
        title="Mode",
        summary=summary,
        sections=(Section(title="Who holds what back", table=Table(columns=columns, rows=rows)),) if rows else (),
        data={"mode": state.mode.name, "factor": str(state.factor), "why": state.why, "reasons": lines},
        exit_code=code,
    )


def watch_drawdown(
    ctx: Context, equity_usd: Decimal | None, last_equity_usd: Decimal | None, month_peak_usd: Decimal | None
) -> None:
    """Keep SAFE_MODE beyond the moment that triggered it, restarts included (DOMAIN 7).

    The day's word waits for an operator's acknowledgement from the next session on, the month's for an operator at any
    time; either is followed by one session at half size. An equity nobody knows changes nothing here: its gate refuses.
    """
    fault = drawdown.fault(equity_usd, last_equity_usd, month_peak_usd, ctx.limits)
    session = ctx.calendar.previous_or_same(ctx.today)
    for source, code in ((DRAWDOWN_DAY, drawdown.DAY), (DRAWDOWN_MONTH, drawdown.MONTH)):
        if fault == code:
            reason = f"{code}: equity {equity_usd}, last close {last_equity_usd}, month's peak {month_peak_usd}"
            desk.set_mode(ctx, source, Mode.REDUCE_ONLY, reason)
            continue
        last = _last_word(ctx, source)
        if last is not None and mode.word(last).mode is Mode.REDUCED and session > equity.coming_session(ctx, last):
            desk.set_mode(ctx, source, Mode.NORMAL, "a session at half size is over")


def lift_drawdown(ctx: Context, source: str, reason: str, *, dry_run: bool = False) -> Document:
    """Take SAFE_MODE back as the operator: the coming session is traded at half size.

    Raises:
        RefusedError: it is the session of the loss still.
        UsageError: no reason was given.
    """
    if not reason.strip():
        raise UsageError("lifting SAFE_MODE needs a reason", expected="--reason WHY")
    last = _last_word(ctx, source)
    if last is None or mode.word(last).mode <= Mode.REDUCED:
        return _document(desk.current_mode(ctx), (f"{source} holds nothing back: nothing to lift",))
    lost = ctx.calendar.previous_or_same(new_york_date(from_ns(last.at_ns)))
    coming = ctx.calendar.next(ctx.calendar.last_complete(ctx.clock.now()))
    if source == DRAWDOWN_DAY and coming <= lost:
        raise RefusedError(
            "the session of the loss is not over", seen=lost, expected="after its close",
            next_command=mode.LIFTED_BY[source],
        )  # fmt: skip
    if dry_run:
        return _document(desk.current_mode(ctx), (f"would lift {source} to half size for {coming} (--dry-run)",))
    desk.set_mode(ctx, source, Mode.REDUCED, " ".join(reason.split()), mode.HALF)
    return _document(desk.current_mode(ctx), (f"{source} is lifted: {coming} is traded at half size",))


def _last_word(ctx: Context, source: str) -> Event | None:
    events = ctx.ledger.events(mode.STREAM, entity=source)
    return events[-1] if events else None
