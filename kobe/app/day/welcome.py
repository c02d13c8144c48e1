"""What the runner says when it starts: what it will do in this home, what it lacks, and the command for each."""

from collections.abc import Iterator

from kobe.app.context import Context
from kobe.core.errors import KobeError
from kobe.reports.document import Document


def run_welcome(ctx: Context) -> Document:
    """Say in a few lines what kind of day this home will have."""
    mode = ctx.settings.run.mode
    trades = {
        "sim": "orders go to the simulated broker; nothing leaves this machine",
        "paper": "orders go to the broker's paper account",
        "live": "orders go to a LIVE account" if ctx.armed else "live, but without --live: every order is refused",
    }[mode]
    lacks = tuple(_lacks(ctx))
    return Document(
        schema="kobe.welcome/1",
        title=f"kobe runs the New York day in {ctx.paths.home}",
        summary=(f"{mode}: {trades}", *lacks, "Stop it with Ctrl-C or SIGTERM; look at it with kobe status."),
        data={"home": str(ctx.paths.home), "mode": mode, "lacks": list(lacks)},
    )


def _lacks(ctx: Context) -> Iterator[str]:
    """Yield what is not there yet, each with its remedy."""
    if not (ctx.paths.home / "config" / "kobe.toml").is_file():
        yield "No settings: the defaults hold. next: kobe init"
    try:
        held = ctx.store.held()
    except KobeError as error:
        yield error.message
        return
    if held is None:
        yield ("No bars: until there are some the day is checks, books, reports and backups, and nothing is traded. "
               "next: kobe data import FILE, or kobe demo for a whole day on a made-up market")  # fmt: skip
    elif ctx.models.champion(ctx.calendar.last_complete(ctx.clock.now())) is None:
        yield "No model: the scan shows signals and trades none. next: kobe walk-forward, kobe train-meta, kobe promote"
    if not ctx.settings.notify.channels:
        yield "Nobody is told: no channel is set. next: kobe init, or [[notify.channels]] in config/kobe.toml"
