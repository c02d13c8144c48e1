"""`kobe doctor`: is this home fit to run? Each failure comes with its remedy."""

import os
import shutil
from collections.abc import Callable

from kobe.app import desk
from kobe.app.audit import audit_report
from kobe.app.context import Context
from kobe.core.errors import ExitCode, KobeError, StaleDataError
from kobe.core.types import Mode
from kobe.infra.records.ledger import SqlLedger
from kobe.reports.document import Document, Section, Table

LEAST_FREE_BYTES = 200 * 2**20
STALE_SESSIONS = 1


def _folders(ctx: Context) -> str:
    for folder in (ctx.paths.home, ctx.paths.state, ctx.paths.bars):
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise KobeError("a folder cannot be written", seen=folder, next_command=f"make {folder} writable")
    return f"{ctx.paths.home} can be written"


def _disk(ctx: Context) -> str:
    free = shutil.disk_usage(ctx.paths.home).free
    if free < LEAST_FREE_BYTES:
        raise KobeError("the disk is nearly full", seen=f"{free / 2**20:.0f} MiB", next_command="free some space")
    return f"{free / 2**30:.1f} GiB free"


def _calendar(ctx: Context) -> str:
    next_session = ctx.calendar.next(ctx.today)
    return f"{ctx.calendar.version}, next session {next_session}"


def _bars(ctx: Context) -> str:
    m = ctx.store.manifest()
    ctx.panel()
    newest = ctx.calendar.last_complete(ctx.clock.now())
    behind = max(len(ctx.calendar.between(m.last, newest)) - 1, 0)
    if behind > STALE_SESSIONS:
        raise StaleDataError(
            f"bars are {behind} sessions old", seen=m.last, expected=newest, next_command="kobe data import FILE"
        )
    return f"{m.symbols} symbols to {m.last}"


def _ledger(ctx: Context) -> str:
    if isinstance(ctx.ledger, SqlLedger):
        ctx.ledger.check()
    return f"{len(desk.manager(ctx).orders())} orders"


def _audit(ctx: Context) -> str:
    report = audit_report(ctx)
    if not report.ok:
        raise KobeError(
            f"the audit chain is damaged: {report.problem}", seen=report.detail, next_command="kobe audit verify"
        )
    return f"{report.records} records verify"


def _model(ctx: Context) -> str:
    model_id = ctx.models.champion(ctx.calendar.last_complete(ctx.clock.now()))
    if model_id is None:
        raise KobeError("no model was promoted", next_command="kobe walk-forward, kobe train-meta, kobe promote")
    ctx.models.load(model_id)
    return f"champion {model_id} loads"


def _switches(ctx: Context) -> str:
    reason = ctx.kill_switch.reason()
    if reason is not None:
        raise KobeError("the kill switch is on", seen=reason, next_command="kobe resume")
    state = desk.current_mode(ctx)
    if state.mode is not Mode.NORMAL:
        raise KobeError(f"mode is {state.mode.name}", seen=state.why, next_command="kobe reconcile")
    return "kill switch off, mode NORMAL"


def _broker(ctx: Context) -> str:
    account = ctx.broker.account()
    return f"{ctx.broker.name}: cash {account.cash_usd:.2f} $"


CHECKS: dict[str, Callable[[Context], str]] = {
    "folders": _folders,
    "disk": _disk,
    "calendar": _calendar,
    "bars": _bars,
    "ledger": _ledger,
    "audit": _audit,
    "model": _model,
    "switches": _switches,
    "broker": _broker,
}


def run_doctor(ctx: Context) -> Document:
    """Run every check; a failed one does not hide the others."""
    rows, worst = [], ExitCode.OK
    for name, check in CHECKS.items():
        try:
            rows.append((name, "ok", check(ctx), ""))
        except KobeError as error:
            worst = max(worst, error.exit_code)
            rows.append(
                (name, "FAIL", error.what + (f": {error.seen}" if error.seen else ""), error.next_command or "")
            )
        except OSError as error:
            worst = max(worst, ExitCode.CONFIG)
            rows.append((name, "FAIL", str(error), f"check the permissions of {ctx.paths.home}"))
    failed = sum(r[1] == "FAIL" for r in rows)
    return Document(
        schema="kobe.doctor/1",
        title=f"Health of {ctx.paths.home}",
        summary=(f"{len(rows) - failed} of {len(rows)} checks pass",),
        sections=(Section(title="", table=Table(columns=("check", "result", "seen", "next"), rows=tuple(rows))),),
        data={"checks": [dict(zip(("check", "result", "seen", "next"), r, strict=True)) for r in rows]},
        exit_code=worst,
    )
