"""`kobe experiments reproduce`: the same question again, beside the home's own files, and whether the digests agree."""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

from kobe.app.backtest import BacktestRequest, run_backtest
from kobe.app.context import Context, Paths
from kobe.app.experiments import facts_of, word
from kobe.app.optimize import OptimizeRequest, run_optimize
from kobe.app.walk_forward import WalkForwardRequest, run_walk_forward
from kobe.core.errors import ExitCode, UsageError
from kobe.learning.experiments import differences
from kobe.reports.document import Document, Section, Table

Again = Callable[[Context, Mapping[str, Any]], object]


def _walk_forward(ctx: Context, request: Mapping[str, Any]) -> object:
    until = request.get("until")
    return run_walk_forward(
        ctx, WalkForwardRequest(strategy=request["strategy"], until=date.fromisoformat(until) if until else None,
                                resume=False, thorough=bool(request["thorough"]), grid=request["grid"]),
    )  # fmt: skip


def _backtest(ctx: Context, request: Mapping[str, Any]) -> object:
    until = request.get("until")
    day = date.fromisoformat(until) if until else None
    return run_backtest(ctx, BacktestRequest(strategy=request["strategy"], changes=request["changes"], until=day))


def _optimize(ctx: Context, request: Mapping[str, Any]) -> object:
    if request["open_holdout"]:
        raise UsageError(
            "a search that opened its holdout cannot be run again", seen="open_holdout", expected="a closed one",
            next_command="kobe experiments show",
        )  # fmt: skip
    return run_optimize(ctx, OptimizeRequest(**request))


REPRODUCED: dict[str, Again] = {"walk_forward": _walk_forward, "backtest": _backtest, "optimize": _optimize}
"""Kind of experiment -> what runs its request again."""


def run_reproduce(ctx: Context, experiment_id: str) -> Document:
    """Run an experiment again from its record, beside the home's own files, and compare the digests.

    Raises:
        UsageError: its kind cannot be run again.
    """
    before = ctx.experiments.find(experiment_id)
    again = REPRODUCED.get(before.question.kind)
    if again is None:
        raise UsageError(
            "experiments of this kind cannot be run again", seen=before.question.kind, expected=", ".join(REPRODUCED)
        )
    with tempfile.TemporaryDirectory(prefix="kobe-again-") as folder:
        again(replace(ctx, paths=replace_outputs(ctx.paths, Path(folder))), before.question.request)
    after = ctx.experiments.runs()[-1]
    same = after.results_digest == before.results_digest
    why = differences(facts_of(before), facts_of(after))
    said = "The same digests: it is reproduced." if same else "Other digests; what differs stands below."
    rows = tuple((key, word(x), word(y)) for key, x, y in why)
    return Document(
        schema="kobe.experiments_reproduce/1",
        title=f"Experiment {before.experiment_id} again",
        summary=(said,),
        sections=(Section(title="What differs", table=Table(columns=("what", "then", "now"), rows=rows)),)
        if rows else (),
        data={"id": before.experiment_id, "reproduced": same, "then": before.results_digest,
              "now": after.results_digest, "differs": [{"key": k, "then": x, "now": y} for k, x, y in why]},
        exit_code=ExitCode.OK if same else ExitCode.INTEGRITY,
    )  # fmt: skip


def replace_outputs(paths: Paths, folder: Path) -> Paths:
    """Return paths that read what the home holds and write outputs into another folder."""
    return replace(paths, outputs=folder)
