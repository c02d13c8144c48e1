"""Checks of the doctor: ledger, audit chain and backups."""

from datetime import UTC, datetime, timedelta

from kobe.app import desk
from kobe.app.audit import audit_report
from kobe.app.context import Context
from kobe.app.doctor.finding import Finding, fail, has_run, is_pretended, ok, warn
from kobe.core.errors import ExitCode
from kobe.infra.records import backup, restore
from kobe.infra.records.ledger import SqlLedger

BACKUP_AGE = timedelta(days=4)  # a night's copy may be missed over a long weekend
_BACKUP = "kobe backup create"


def ledger(ctx: Context) -> list[Finding]:
    """Is the ledger whole, and can the books be folded from it?"""
    if isinstance(ctx.ledger, SqlLedger):
        if ctx.ledger.path is not None and not ctx.ledger.path.is_file():
            return [ok("no records yet")]
        ctx.ledger.check()
    return [ok(f"{len(desk.manager(ctx).orders())} orders")]


def audit(ctx: Context) -> list[Finding]:
    """Does every record of the audit chain follow from the one before, up to its anchor?"""
    report = audit_report(ctx)
    if not report.ok:
        seen = f"the audit chain is damaged: {report.problem}, {report.detail}"
        return [fail(seen, "kobe audit verify", ExitCode.INTEGRITY)]
    return [ok(f"{report.records:,} records verify" if report.records else "no records yet")]


def backups(ctx: Context) -> list[Finding]:
    """Is there a backup, is it new enough, and is it whole?"""
    if restore.unfinished(ctx.paths.state):
        return [fail("a restore was cut short", _BACKUP, ExitCode.INTEGRITY)]
    newest = next(iter(backup.found(ctx.paths.state / "backups")), None)
    if newest is None:
        return [warn("no backup yet", _BACKUP)]
    manifest = backup.verify(newest)
    found = [ok(f"{newest.name} is whole: {len(manifest.files)} files")]
    age = ctx.clock.now() - datetime.fromisoformat(manifest.made).astimezone(UTC)
    if age > BACKUP_AGE and has_run(ctx) and not is_pretended(ctx):
        found = [warn(f"the newest backup is {age.days} days old", _BACKUP)]
    return found
