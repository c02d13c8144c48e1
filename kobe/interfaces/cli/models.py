"""What may speak for a signal: the data set, the training, the registry and who is champion."""

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kobe.interfaces.cli.shell import DryRun, Json, execute, parse_day

if TYPE_CHECKING:
    from kobe.app.context import Context
    from kobe.app.output import Document

meta_app = typer.Typer(no_args_is_help=True, help="The meta-model's data set.")
models_app = typer.Typer(no_args_is_help=True, help="The model registry: list, show, compare, go back.")
Model = Annotated[str, typer.Argument(help="An id, its first characters, or: champion.")]


@meta_app.command("dataset")
def meta_dataset(json: Json = False) -> None:
    """Describe what the meta-model may learn from: one row per out-of-sample signal, taken or not.

    Example: kobe meta dataset --json
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.train_meta import run_meta_dataset

        return run_meta_dataset(ctx)

    execute(use_case, json=json)


def train_meta(
    holdout_from: Annotated[
        date | None, typer.Option(parser=parse_day, metavar="DATE", help="First day the training never sees.")
    ] = None,
    also: Annotated[
        list[Path] | None, typer.Option("--with", help="wf_outputs of another home to learn from as well; repeatable.")
    ] = None,
    json: Json = False,
) -> None:
    """Train the calibrated meta-model on the walk-forward's out-of-sample trades; it may find no skill, and says so.

    Example: kobe train-meta --holdout-from 2016-01-01
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.train_meta import TrainRequest, run_train_meta

        return run_train_meta(ctx, TrainRequest(holdout_from=holdout_from, also=tuple(also or ())))

    execute(use_case, json=json)


def promote(dry_run: DryRun = False, json: Json = False) -> None:
    """Judge the newest candidate against the champion; nothing to promote is a success that says why.

    Example: kobe promote --dry-run
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.promote import run_promote

        return run_promote(ctx, dry_run=dry_run)

    execute(use_case, json=json)


@models_app.command("list")
def models_list(json: Json = False) -> None:
    """List every model with its state: candidate, shadow, champion or retired.

    Example: kobe models list
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.models import run_models_list

        return run_models_list(ctx)

    execute(use_case, json=json)


@models_app.command("show")
def models_show(model: Model, json: Json = False) -> None:
    """Show a model's card after checking its digest and signature: record, gates, weights, holdout figures.

    Example: kobe models show champion
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.models import run_models_show

        return run_models_show(ctx, model)

    execute(use_case, json=json)


@models_app.command("diff")
def models_diff(model: Model, other: Model, json: Json = False) -> None:
    """Say in what two models differ.

    Example: kobe models diff champion 4f1c
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.models import run_models_diff

        return run_models_diff(ctx, model, other)

    execute(use_case, json=json)


@models_app.command("rollback")
def models_rollback(dry_run: DryRun = False, json: Json = False) -> None:
    """Make the champion before the present one champion again; 6 where there is none.

    Example: kobe models rollback --dry-run
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.models import run_models_rollback

        return run_models_rollback(ctx, dry_run=dry_run)

    execute(use_case, json=json)


def register(app: typer.Typer) -> None:
    """Put the commands of this file on the root."""
    app.command("train-meta")(train_meta)
    app.command()(promote)
    app.add_typer(meta_app, name="meta")
    app.add_typer(models_app, name="models")
