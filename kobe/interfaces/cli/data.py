"""`kobe data ...`: bars into the store, and what is there."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kobe.interfaces.cli.shell import DryRun, Json, execute

if TYPE_CHECKING:
    from kobe.app.context import Context
    from kobe.app.output import Document

app = typer.Typer(no_args_is_help=True, help="Bars: import, inspect.", rich_markup_mode=None)


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="A .parquet or .csv file of daily bars.")],
    map_: Annotated[list[str] | None, typer.Option("--map", help="OURS=THEIRS column name; repeatable.")] = None,
    source: Annotated[str | None, typer.Option(help="Name of the source; default: the file's name.")] = None,
    feed: Annotated[str, typer.Option(help="Which tape the volume counts.")] = "consolidated",
    adjustment: Annotated[str, typer.Option(help="split, raw or total-return.")] = "split",
    universe: Annotated[str, typer.Option(help="static-current or point-in-time.")] = "static-current",
    replace: Annotated[bool, typer.Option("--replace", help="Make this file the whole store.")] = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Check a file of bars and bring the good ones into the store; bad ones are set aside with reasons.

    Example: kobe data import bars.csv --map close=Close --map date=Date
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app import import_bars

        provenance = import_bars.provenance(source or file.stem, feed, adjustment, universe)
        mapping = import_bars.parse_mapping(map_ or [])
        request = import_bars.ImportRequest(
            file=file, mapping=mapping, provenance=provenance, replace=replace, dry_run=dry_run
        )
        return import_bars.run_import(ctx, request)

    execute(use_case, json=json)


@app.command("status")
def status(json: Json = False) -> None:
    """Show what the store holds and how old it is.

    Example: kobe data status --json
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app import import_bars

        return import_bars.run_data_status(ctx)

    execute(use_case, json=json)
