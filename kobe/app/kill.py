"""`kobe kill` and `kobe resume`: the file that stops every order."""

from kobe.app.context import Context
from kobe.reports.document import Document


def run_kill(ctx: Context, reason: str, *, dry_run: bool = False) -> Document:
    """Block every order from now on; cancelling stays possible."""
    if not dry_run:
        ctx.kill_switch.engage(reason)
        ctx.audit.append("kill_switch", {"on": True, "reason": reason})
    return _document(ctx, "Kill switch is on: nothing is sent" if not dry_run else "would switch on (--dry-run)")


def run_resume(ctx: Context, *, dry_run: bool = False) -> Document:
    """Remove the block; orders that were stopped are not sent again by themselves."""
    was = ctx.kill_switch.reason() if ctx.paths.state.is_dir() else None
    if was is None:
        return _document(ctx, "Kill switch was not on: nothing to do")
    if not dry_run:
        ctx.kill_switch.release()
        ctx.audit.append("kill_switch", {"on": False, "was": was})
    message = "would switch off (--dry-run)" if dry_run else f"Kill switch is off; it was on because: {was}"
    return _document(ctx, message)


def _document(ctx: Context, message: str) -> Document:
    path = ctx.paths.state / "KILL_SWITCH"
    return Document(
        schema="kobe.kill_switch/1",
        title=str(path),
        summary=(message,),
        data={"on": path.exists(), "message": message},
    )
