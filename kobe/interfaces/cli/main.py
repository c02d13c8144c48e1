"""The root of the command line."""

import functools
import gc
import os
from pathlib import Path
from typing import Annotated

import typer
import typer.main

from kobe import __version__
from kobe.app import warm
from kobe.interfaces.cli import (
    audit,
    backup,
    books,
    broker,
    data,
    drift,
    exits,
    experiments,
    models,
    notify,
    ops,
    pick,
    reference,
    reports,
    research,
    risk,
    schedule,
    screen,
    setup,
    trade,
    universe,
    watch,
)
from kobe.interfaces.cli.shell import OPTIONS

app = typer.Typer(
    name="kobe",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Rules-based trading of US stocks: evidence, picks, orders once and only once, all of it on record.",
)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"kobe {__version__}")
        raise typer.Exit


@app.callback()
def root(
    home: Annotated[Path | None, typer.Option(help="Kobe's home folder.", envvar="KOBE_HOME")] = None,
    config: Annotated[Path | None, typer.Option(help="Settings file instead of the home's.")] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print nothing but errors (and --json).")] = False,
    no_color: Annotated[bool, typer.Option("--no-color", help="No colours; NO_COLOR does the same.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Rules-based trading of US stocks: evidence, picks, orders once and only once, all of it on record."""
    del version
    OPTIONS.home = home.expanduser().resolve() if home else None
    OPTIONS.config, OPTIONS.debug, OPTIONS.quiet = config, debug, quiet
    OPTIONS.color = not (no_color or os.environ.get("NO_COLOR"))


app.add_typer(data.app, name="data")
app.add_typer(universe.app, name="universe")
app.add_typer(reference.earnings_app, name="earnings")
app.add_typer(reference.news_app, name="news")
app.add_typer(experiments.app, name="experiments")
app.add_typer(screen.app, name="research")
research.register(app)
models.register(app)
pick.register(app)
trade.register(app)
books.register(app)
exits.register(app)
risk.register(app)
broker.register(app)
app.add_typer(audit.app, name="audit")
app.add_typer(schedule.app, name="schedule")
setup.register(app)
notify.register(app)
ops.register(app)
backup.register(app)
drift.register(app)
watch.register(app)
reports.register(app)


@functools.cache
def _look_at_each_command_once() -> None:
    """Keep what typer reads from a command's function; it reads it twice, for a hundred commands at every start."""
    name = "get_params_from_function"
    setattr(typer.main, name, functools.cache(getattr(typer.main, name)))


def main() -> None:
    """Run the command line; nothing made while it starts is garbage, so nobody looks for any until the work begins."""
    gc.disable()
    warm.keep_what_dataclasses_write()
    _look_at_each_command_once()
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # else every package there is gets asked for some
    app()
