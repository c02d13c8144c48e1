"""What every command shares: options, the one error handler, progress. Heavy imports happen inside `execute`."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import typer

from kobe.core.errors import ExitCode, KobeError, UsageError

if TYPE_CHECKING:
    from kobe.app.context import Context
    from kobe.app.output import Document


@dataclass(slots=True)
class Options:
    """What was given before the command."""

    home: Path | None = None
    config: Path | None = None
    debug: bool = False
    quiet: bool = False
    color: bool = True


OPTIONS = Options()


def parse_day(text: str) -> date:
    """Read a date.

    Raises:
        typer.BadParameter: it is not one.
    """
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not a date like 2020-03-05") from error


def parse_instant(text: str) -> datetime:
    """Read an instant; without an offset it is New York time.

    Raises:
        typer.BadParameter: it is not one.
    """
    from kobe.core.clock import NEW_YORK

    try:
        instant = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not an instant like 2020-03-06T09:35") from error
    return instant if instant.tzinfo else instant.replace(tzinfo=NEW_YORK)


Json = Annotated[bool, typer.Option("--json", help="Print one JSON document with a schema version.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would happen; change nothing.")]
Session = Annotated[date | None, typer.Option(parser=parse_day, metavar="DATE", help="Session, such as 2020-03-05.")]
Backend = Annotated[
    Literal["serial", "processes", "dask"] | None,
    typer.Option("--backend", help="Where bulk work runs; else compute.backend of the settings. Same digits."),
]
Workers = Annotated[
    int | None, typer.Option("--workers", min=0, max=1024, help="Processes on this machine; 0 is one for each core.")
]
Scheduler = Annotated[
    str | None, typer.Option("--scheduler", metavar="ADDRESS", help="A dask scheduler, such as tcp://10.0.0.5:8786.")
]
Live = Annotated[bool, typer.Option("--live", help="Needs run.mode = live in the settings as well.")]
AsOf = Annotated[
    datetime | None,
    typer.Option(parser=parse_instant, metavar="INSTANT", help="Pretend it is then (New York); simulated broker only."),
]


def on_backend(
    ctx: Context, given: tuple[str | None, int | None, str | None], work: Callable[[Context], Document]
) -> Document:
    """Run a use case on the compute backend of the options (backend, workers, scheduler), and let its workers go."""
    from kobe.app.wiring import with_compute

    backend, workers, scheduler = given
    chosen = with_compute(ctx, backend=backend, workers=workers, scheduler=scheduler)
    try:
        return work(chosen)
    finally:
        chosen.compute.close()


def execute(
    use_case: Callable[[Context], Document], *, json: bool, as_of: datetime | None = None, progress: bool = False,
    text: Callable[[Document], str] | None = None,
) -> None:  # fmt: skip
    """Build the context, run a use case and print what it says, or what `text` makes of it; every error ends here."""

    def run() -> Document:
        from kobe.app import wiring
        from kobe.core.clock import SteppingClock

        clock = None if as_of is None else SteppingClock(as_of)
        callback = progress_bar() if progress and not json else None
        ctx = wiring.build(OPTIONS.home, config=OPTIONS.config, clock=clock, progress=callback)
        _begin_collecting()
        return use_case(ctx)

    show(run, json=json, collects=True, text=text)


def _begin_collecting() -> None:
    """Look for garbage from here on, and not among what the start has made (`main` turned it off)."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    gc.enable()


def show(
    run: Callable[[], Document], *, json: bool, collects: bool = False, text: Callable[[Document], str] | None = None
) -> None:
    """Run something that returns a document, print it, and leave with its exit code.

    Args:
        run: returns the document.
        json: print it for a program.
        text: makes of it what is printed instead.
        collects: `run` begins to look for garbage by itself, once it has started; else that begins now.
    """
    from kobe.app.warm import use_kernel_cache

    use_kernel_cache()
    if not collects:
        _begin_collecting()
    lost = _LostInterrupts()
    try:
        with lost:
            document = run()
        _print(document, json=json, text=text)
    except KobeError as error:
        _fail(error, json=json)
    except (KeyboardInterrupt, typer.Abort):
        _leave("interrupted", ExitCode.INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(0) from None
    except Exception as error:
        if lost.noticed:
            _leave("interrupted", ExitCode.INTERRUPTED)
        if OPTIONS.debug:
            raise
        fault = KobeError(f"fault: {type(error).__name__}: {error}", next_command="run again with --debug")
        _say(fault, json=json)
        _leave(fault.message, ExitCode.FAULT)
    if document.exit_code is not ExitCode.OK:
        raise typer.Exit(int(document.exit_code))


class _LostInterrupts:
    """Notices Ctrl-C where Python can report it but not raise it: in a callback from C, such as a kernel being loaded.

    What was being loaded then fails for a reason of its own, and that failure is the keyboard's doing.
    """

    noticed = False

    def __enter__(self) -> None:
        self._before, sys.unraisablehook = sys.unraisablehook, self._notice

    def __exit__(self, *_: object) -> None:
        sys.unraisablehook = self._before

    def _notice(self, unraisable: sys.UnraisableHookArgs) -> None:
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            self.noticed = True
        else:
            self._before(unraisable)


def _print(document: Document, *, json: bool, text: Callable[[Document], str] | None) -> None:
    from kobe.app import output

    if text is not None:
        sys.stdout.write(text(document))
    elif json:
        sys.stdout.write(output.as_json(document) + "\n")
    elif not OPTIONS.quiet:
        output.print_document(document, color=OPTIONS.color)
    sys.stdout.flush()


def _fail(error: KobeError, *, json: bool) -> NoReturn:
    if OPTIONS.debug:
        raise error
    _say(error, json=json)
    _leave(f"error: {error.message}", error.exit_code)


def _say(error: KobeError, *, json: bool) -> None:
    """Tell a program, on stdout, what a person is told on stderr."""
    if json:
        from kobe.app import output

        sys.stdout.write(output.error_json(error) + "\n")


def _leave(message: str, code: ExitCode) -> NoReturn:
    line = "".join(c if c.isprintable() else repr(c)[1:-1] for c in message.replace("\n", " "))
    sys.stderr.write(line + "\n")
    raise typer.Exit(int(code)) from None


def progress_bar() -> Callable[[int, int, str], None] | None:
    """Return a callback that draws progress on stderr, or None where nobody watches."""
    if OPTIONS.quiet or not sys.stderr.isatty():
        return None
    from rich.console import Console
    from rich.progress import Progress

    bar = Progress(console=Console(stderr=True), transient=True)
    tasks: dict[str, Any] = {}

    def update(done: int, total: int, label: str) -> None:
        name = label if total > 1 else "work"
        if not tasks:
            bar.start()
        if name not in tasks:
            tasks[name] = bar.add_task(name, total=total)
        bar.update(tasks[name], completed=done, total=total)
        if all(task.finished for task in bar.tasks):
            bar.stop()
            tasks.clear()

    return update


def key_values(pairs: list[str]) -> dict[str, float | str]:
    """Read `name=value` pairs; numbers become numbers.

    Raises:
        UsageError: a pair is malformed.
    """
    found: dict[str, float | str] = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not sign or not name:
            raise UsageError("--param wants NAME=VALUE", seen=pair, expected="such as ibs_max=0.15")
        try:
            found[name] = float(value)
        except ValueError:
            found[name] = value
    return found
