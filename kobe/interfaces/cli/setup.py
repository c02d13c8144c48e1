"""Making a home and keeping it fit."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kobe.interfaces.cli import shell
from kobe.interfaces.cli.shell import AsOf, DryRun, Json, show

if TYPE_CHECKING:
    from kobe.app.output import Document


def init(
    home: Annotated[Path | None, typer.Option(help="The folder, instead of kobe's own.")] = None,
    mode: Annotated[str | None, typer.Option(metavar="MODE", help="sim, paper or live.")] = None,
    data: Annotated[str | None, typer.Option(metavar="SOURCE", help="files, polygon, yahoo, stooq or alpaca.")] = None,
    feed: Annotated[str | None, typer.Option(metavar="FEED", help="iex or sip, at Alpaca.")] = None,
    day_max_usd: Annotated[str | None, typer.Option(metavar="USD", help="Budget of a day.")] = None,
    order_max_usd: Annotated[str | None, typer.Option(metavar="USD", help="Cap of one order.")] = None,
    notify: Annotated[
        str | None,
        typer.Option(metavar="CHANNEL", help="none, console, telegram, slack, discord, email or webhook."),
    ] = None,
    notify_to: Annotated[str | None, typer.Option(metavar="TO", help="Chat, e-mail address or URL.")] = None,
    notify_host: Annotated[str | None, typer.Option(metavar="HOST", help="Mail server, for email.")] = None,
    backups: Annotated[str | None, typer.Option(metavar="DIR", help="Where backups are kept.")] = None,
    runner: Annotated[
        str | None, typer.Option(metavar="WHO", help="runner, cron, systemd, windows or kubernetes.")
    ] = None,
    env: Annotated[bool, typer.Option("--env", help="Also make an empty .env, readable by you alone.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing: options, else what is there.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace files that differ; keep copies.")] = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Make a home from a few answers: settings, folders, names of the secrets, STATUS.md. Overwrites nothing.

    Asks only on a terminal; leaves with 7 where a file that differs was left as it is.

    Example: kobe init --mode paper --data polygon --yes
    """
    told = {
        "mode": mode, "data": data, "feed": feed, "day_max_usd": day_max_usd, "order_max_usd": order_max_usd,
        "notify": notify, "notify_to": notify_to, "notify_host": notify_host, "backups": backups, "runner": runner,
    }  # fmt: skip

    def run() -> "Document":
        from kobe.app import wiring
        from kobe.app.init import InitRequest, run_init

        folder = (home.expanduser() if home else shell.OPTIONS.home or wiring.default_home()).absolute()
        given = {name: value for name, value in told.items() if value is not None}
        if not (yes or json) and sys.stdin.isatty():
            given = _ask(folder, given)
        return run_init(InitRequest(home=folder, given=given, env=env, force=force, dry_run=dry_run))

    show(run, json=json)


def _ask(home: Path, given: dict[str, str]) -> dict[str, str]:
    """Ask what was not given; return says what stands in brackets."""
    from kobe.app.init import present
    from kobe.app.init_answers import QUESTIONS

    answers = {**present(home), **given}
    for question in QUESTIONS:
        if question.name in given or not question.applies(answers):
            continue
        words = question.ask + (f" ({'/'.join(question.choices)})" if question.choices else "")
        while True:
            silence = answers[question.name]
            said = str(typer.prompt(words, default=silence, show_default=bool(silence), err=True)).strip()
            fault = question.fault(said)
            if not fault:
                break
            typer.echo(f"expected: {fault}", err=True)
        answers[question.name] = said
    return answers


def doctor(
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="NAME", help="Only this check; repeatable.")
    ] = None,
    fix: Annotated[bool, typer.Option("--fix", help="Mend what is safe to mend, and say so.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what --fix would do; change nothing.")] = False,
    as_of: AsOf = None,
    json: Json = False,
) -> None:
    """Examine this home: machine, settings, bars, records, keys, broker, timetable; each finding with its remedy.

    Warnings alone leave with 0; a failure leaves with the code of its family.

    Example: kobe doctor --fix
    """

    def run() -> "Document":
        from kobe.app.doctor.checks import DoctorRequest, run_doctor_at
        from kobe.core.clock import SteppingClock

        request = DoctorRequest(only=tuple(only or ()), fix=fix, dry_run=dry_run)
        clock = None if as_of is None else SteppingClock(as_of)
        return run_doctor_at(shell.OPTIONS.home, request, config=shell.OPTIONS.config, clock=clock)

    show(run, json=json)


def register(app: typer.Typer) -> None:
    """Put the commands of this file on the root."""
    app.command()(init)
    app.command()(doctor)
