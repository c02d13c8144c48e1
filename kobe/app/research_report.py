"""The research screen as a document: evidence of each alpha, what it resembles, why it should work, the model."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl

from kobe.app.context import Context
from kobe.core.panel import Floats
from kobe.learning import alphas, importance
from kobe.learning.alphas import ALPHAS, Evidence, Likeness
from kobe.learning.dataset import FEATURE_COLUMNS
from kobe.reports.document import Cell, Document, Section, Table, jsonable

SIGNS = {1: "+", -1: "-", 0: "0"}


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What may be looked at: out-of-sample signals before the final holdout.

    Attributes:
        long: signals to buy; an alpha's sign is about the price going up.
        fit, judge: rows of the model's fit and judge blocks, to explain it by.
        holdout_from: first session of the final holdout.
        held_back: signals that are in it or reach into it.
        shorts: signals to sell, which are left out.
    """

    long: pl.DataFrame
    fit: pl.DataFrame
    judge: pl.DataFrame
    holdout_from: int
    held_back: int
    shorts: int


@dataclass(frozen=True, kw_only=True)
class Looked:
    """What was found about the chosen alphas: by name, in the order of the table."""

    evidence: Mapping[str, Evidence]
    columns: Mapping[str, Floats]
    by_feature: Mapping[str, Likeness | None]
    by_alpha: Mapping[str, Likeness | None]


@dataclass(frozen=True, kw_only=True)
class Explained:
    """What a model looks at in the judge block; arrays run over `FEATURE_COLUMNS`."""

    model_id: str
    state: str
    rows: int
    dates: int
    permuted: importance.Importance
    log_odds: importance.Attribution
    probability: importance.Attribution


@dataclass(frozen=True, kw_only=True)
class Looks:
    """How often anybody looked: this time, in all, and how many of these looks are different questions."""

    now: int
    on_record: int
    different: int
    screens: int


def model_json(e: Explained) -> dict[str, Any]:
    """Return what the model looks at, JSON-ready."""
    columns = zip(FEATURE_COLUMNS, e.permuted.rise, e.permuted.spread, e.log_odds.size, e.probability.size, strict=True)
    keys = ("brier_rise", "brier_rise_sd", "shap_log_odds", "shap_probability")
    features = {name: dict(zip(keys, map(float, figures), strict=True)) for name, *figures in columns}
    return {"model_id": e.model_id, "state": e.state, "rows": e.rows, "dates": e.dates, "brier": e.permuted.brier,
            "base_log_odds": e.log_odds.base, "base_probability": e.probability.base, "features": features}  # fmt: skip


def build(
    ctx: Context, seen: Seen, looked: Looked, model: tuple[Explained | None, str], looks: Looks,
    judged: tuple[Mapping[str, float], Mapping[str, str]], run: str,
) -> Document:  # fmt: skip
    """Build the document of a screen."""
    corrected, said = judged
    days, session = ctx.calendar.sessions, seen.long.get_column("session")
    first, last = days[int(session.min())], days[int(session.max())]  # type: ignore[arg-type]
    worth = [name for name, word in said.items() if word == alphas.WORTH]
    left_out = f"; {seen.shorts:,} signals to sell are left out" if seen.shorts else ""
    summary = (
        f"Worth a trial: {', '.join(worth) or 'none'}.",
        f"Looks at alphas: {looks.now} now, {looks.on_record:,} on record (screens: {looks.screens:,}).",
        f"Different looks, the family Holm's correction is for: {looks.different:,}; experiment {run}.",
        f"Signals: {len(session):,} out of sample on {session.n_unique():,} dates, {first} to {last}{left_out}.",
        f"The final holdout from {days[seen.holdout_from]} stays closed; signals alive in it: {seen.held_back:,}.",
    )
    explained, why_not = model
    return Document(
        schema="kobe.research_screen/1",
        title="Screen of alpha candidates",
        summary=summary,
        banners=ctx.panel().banners,
        sections=(
            _evidence_section(looked, corrected, said), _likeness_section(looked), _reasons_section(tuple(said)),
            _model_section(explained, why_not),
        ),
        data={
            "experiment": run, "looks": asdict(looks),
            "seen": {"signals": len(session), "dates": session.n_unique(), "first": str(first), "last": str(last),
                     "holdout_from": str(days[seen.holdout_from]), "held_back": seen.held_back, "shorts": seen.shorts},
            "alphas": {name: _alpha_json(name, looked, corrected, said) for name in said}, "worth_a_trial": worth,
            "model": None if explained is None else jsonable(model_json(explained)), "no_model": why_not or None,
        },
    )  # fmt: skip


def _evidence_section(looked: Looked, corrected: Mapping[str, float], said: Mapping[str, str]) -> Section:
    rows = tuple(
        (name, f"{e.coverage:.1%}", e.dates, e.ic, e.t, f"{e.years_alike} of {e.years}", SIGNS[ALPHAS[name].sign],
         SIGNS[int(np.sign(np.nan_to_num(e.ic)))], e.p, corrected[name], said[name])
        for name, e in sorted(looked.evidence.items(), key=lambda item: -abs(np.nan_to_num(item[1].t)))
    )  # fmt: skip
    columns = ("alpha", "known", "dates", "rank IC", "t", "years alike", "stated", "found", "p", "p by Holm", "verdict")
    told = (
        "Rank IC: Spearman correlation with net R among the signals of one date and strategy, mean over dates.",
        f"t clusters whole dates in runs of {alphas.BLOCK_SESSIONS} sessions.",
    )
    return Section(title="Do they rank signals?", lines=told, table=Table(columns=columns, rows=rows))


def _likeness_section(looked: Looked) -> Section:
    rows: list[tuple[Cell, ...]] = []
    for name in looked.evidence:
        feature, alpha = looked.by_feature[name], looked.by_alpha[name]
        found = (feature.name, feature.rho) if feature else (None, None)
        twin = (alpha.name, alpha.rho) if alpha else (None, None)
        same = feature is not None and abs(feature.rho) >= alphas.SAME
        rows.append((name, *found, *twin, f"says what {found[0]} says already" if same else ""))
    columns = ("alpha", "model input most alike", "Spearman", "alpha most alike", "Spearman ", "screen")
    return Section(title="Do they say anything new?", table=Table(columns=columns, rows=tuple(rows)))


def _reasons_section(names: tuple[str, ...]) -> Section:
    rows = tuple((n, SIGNS[ALPHAS[n].sign], ALPHAS[n].expression, ALPHAS[n].reason) for n in names)
    return Section(title="Why they should", table=Table(columns=("alpha", "stated", "expression", "reason"), rows=rows))


def _model_section(explained: Explained | None, why_not: str) -> Section:
    title = "What the model looks at"
    if explained is None:
        return Section(title=title, lines=(why_not,))
    figures = model_json(explained)["features"]
    rows = tuple((n, *f.values()) for n, f in sorted(figures.items(), key=lambda item: -item[1]["brier_rise"]))
    told = (
        f"Logistic model {explained.model_id} ({explained.state}), newest that is not retired.",
        f"Judge block: {explained.rows:,} signals on {explained.dates:,} dates, Brier {explained.permuted.brier:.4f}.",
        "Brier rise: what dealing a feature's values to other dates, whole dates at a time, costs.",
        "Mean |SHAP|: exact in log-odds; in probability by orders walked there and back.",
    )
    columns = ("feature", "Brier rise", "sd", "mean |SHAP|, log-odds", "mean |SHAP|, probability")
    return Section(title=title, lines=told, table=Table(columns=columns, rows=rows))


def _alpha_json(name: str, looked: Looked, corrected: Mapping[str, float], said: Mapping[str, str]) -> dict[str, Any]:
    alpha = ALPHAS[name]
    facts: dict[str, Any] = jsonable({
        **asdict(looked.evidence[name]), "p_holm": corrected[name], "verdict": said[name], "stated_sign": alpha.sign,
        "expression": alpha.expression, "reason": alpha.reason, "like_feature": _like_json(looked.by_feature[name]),
        "like_alpha": _like_json(looked.by_alpha[name]),
    })  # fmt: skip
    return facts


def _like_json(like: Likeness | None) -> dict[str, Any] | None:
    return None if like is None else asdict(like)
