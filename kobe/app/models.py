"""`kobe models list | show | diff | rollback`: who speaks, on what evidence, and the way back."""

import math
from typing import Any

from kobe.app.context import Context
from kobe.core.errors import ExitCode, UsageError
from kobe.learning import registry
from kobe.learning.dataset import FEATURE_COLUMNS
from kobe.learning.model import MetaModel
from kobe.reports.document import Document, Section, Table


def resolve(ctx: Context, given: str) -> str:
    """Return the one model whose id starts with some characters, or `champion`.

    Raises:
        UsageError: none or several do.
    """
    entries = ctx.models.entries()
    if given == registry.CHAMPION:
        found = [e.model_id for e in entries if e.state == registry.CHAMPION]
    else:
        found = [e.model_id for e in entries if e.model_id.startswith(given)]
    if len(found) != 1:
        raise UsageError(
            "no such model" if not found else "several models begin like that", seen=given,
            expected="an id of kobe models list", next_command="kobe models list",
        )  # fmt: skip
    return found[0]


def run_models_list(ctx: Context) -> Document:
    """List every model with its state."""
    entries = ctx.models.entries()
    rows = tuple((e.model_id, e.kind, e.state, str(e.knowable_from), e.why) for e in entries)
    columns = ("model", "kind", "state", "evidence to", "why")
    speaks = next((e.model_id for e in entries if e.state == registry.CHAMPION), None)
    return Document(
        schema="kobe.models/1",
        title="Models",
        summary=(f"Champion: {speaks}" if speaks else "No champion: nothing is traded. Next: kobe promote",),
        sections=(Section(title="", table=Table(columns=columns, rows=rows)),),
        data={"champion": speaks, "models": [dict(zip(columns, row, strict=True)) for row in rows]},
    )


def run_models_show(ctx: Context, given: str) -> Document:
    """Show a model's card: what it claims, on what, and its coefficients."""
    model_id = resolve(ctx, given)
    model, facts = ctx.models.load(model_id)
    entry = next(e for e in ctx.models.entries() if e.model_id == model_id)
    records = Table(
        columns=("strategy", "trades", "won", "mean win R", "mean loss R", "base rate", "gate"),
        rows=tuple(
            (name, r.trades, r.wins, r.average_win_r, r.average_loss_r, r.base_rate, r.gate)
            for name, r in model.records.items()
        ),
    )
    sections = [Section(title="Record up to the evidence's end", table=records)]
    weights = _weights(model)
    if weights:
        told = sorted(weights.items(), key=lambda w: -abs(w[1]))
        table = Table(columns=("input", "log-odds per standard deviation"), rows=tuple(told))
        sections.append(Section(title="Weights", table=table))
    report = facts.get("report", {})
    figures = {k: v for k, v in report.items() if not isinstance(v, dict | list)}
    if figures:
        rows = tuple(figures.items())
        sections.append(Section(title="Holdout", table=Table(columns=("figure", "value"), rows=rows)))
    return Document(
        schema="kobe.model/1",
        title=f"Model {model_id}",
        summary=(f"{entry.state}, {model.kind}, evidence to {entry.knowable_from}", entry.why,
                 "card, signature and schema are as registered"),
        banners=tuple(facts.get("banners", ())),
        sections=tuple(sections),
        data={"model_id": model_id, "state": entry.state, "kind": model.kind, "facts": facts, "weights": weights,
              "strategy_params": model.strategy_params},
    )  # fmt: skip


def _weights(model: MetaModel) -> dict[str, float]:
    """Return the log-odds per standard deviation of every input, indicators of the unknown included."""
    if model.logistic is None:
        return {}
    names = [*FEATURE_COLUMNS, *(f"{FEATURE_COLUMNS[k]} unknown" for k in model.logistic.indicators)]
    scale = 1.0 if model.logistic.sigmoid is None else -model.logistic.sigmoid[0]
    return {n: scale * w for n, w in zip(names, model.logistic.coefficients, strict=True)}


def run_models_diff(ctx: Context, one: str, other: str) -> Document:
    """Say in what two models differ: parameters, records, gates, weights, figures."""
    ids = [resolve(ctx, one), resolve(ctx, other)]
    flat = [_flat(*ctx.models.load(model_id)) for model_id in ids]
    rows = tuple(
        (key, flat[0].get(key), flat[1].get(key))
        for key in sorted({*flat[0], *flat[1]})
        if not _same(flat[0].get(key), flat[1].get(key))
    )
    return Document(
        schema="kobe.models_diff/1",
        title=f"{ids[0]} and {ids[1]}",
        summary=("they say the same" if not rows else f"{len(rows)} values differ",),
        sections=(Section(title="", table=Table(columns=("value", *ids), rows=rows)),) if rows else (),
        data={"models": ids, "differences": [dict(zip(("value", "one", "other"), r, strict=True)) for r in rows]},
    )


def _same(one: Any, other: Any) -> bool:
    both_nan = all(isinstance(v, float) and math.isnan(v) for v in (one, other))
    return both_nan or one == other


def _flat(model: MetaModel, facts: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"kind": model.kind, "evidence to": facts["knowable_from"], "rows": facts["rows"]}
    for name, params in model.strategy_params.items():
        found |= {f"{name}.{key}": value for key, value in params.items()}
    for name, record in model.records.items():
        found |= {f"{name}.trades": record.trades, f"{name}.base_rate": record.base_rate, f"{name}.gate": record.gate}
    found |= {f"weight {name}": value for name, value in _weights(model).items()}
    report = facts.get("report", {})
    return found | {f"holdout {k}": v for k, v in report.items() if not isinstance(v, dict | list)}


def run_models_rollback(ctx: Context, *, dry_run: bool) -> Document:
    """Make the champion before the present one champion again; nothing to go back to is refused with a reason."""
    champion = next((e.model_id for e in ctx.models.entries() if e.state == registry.CHAMPION), None)
    before = ctx.models.before()
    data: dict[str, Any] = {"was": champion, "champion": before or champion, "dry_run": dry_run}
    if before is None:
        return Document(
            schema="kobe.models_rollback/1", title="Rollback", summary=("there is no champion before this one",),
            data=data, exit_code=ExitCode.REFUSED,
        )  # fmt: skip
    ctx.models.load(before)  # one that cannot speak must not be put in charge
    if not dry_run:
        ctx.models.promote(before, f"rollback from {champion}")
        ctx.audit.append("rollback", {"champion": before, "was": champion})
    told = f"{before} is champion again, {champion} is retired" if not dry_run else f"{before} would be champion again"
    return Document(schema="kobe.models_rollback/1", title="Rollback", summary=(told,), data=data)
