"""`kobe research screen`: do alpha candidates rank signals as their reasons say, and what does the model look at?

Signals of the final holdout are not looked at, and the bars after it begins are cut off. Every alpha is on record as a
trial before anything is shown.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from kobe.app import experiments
from kobe.app.context import Context
from kobe.app.walk_forward import DATASET
from kobe.core.errors import MissingDataError, ModelError, UsageError
from kobe.core.expressions import digest as meaning
from kobe.core.expressions import text
from kobe.core.ids import short_digest
from kobe.core.panel import Floats, Ints, Panel
from kobe.features.table import FeatureTable
from kobe.learning import alphas, importance, train
from kobe.learning.alphas import ALPHAS, Evidence, Likeness
from kobe.learning.dataset import FEATURE_COLUMNS
from kobe.learning.model import LOGISTIC, Logistic
from kobe.reports.document import Cell, Document, Section, Table, jsonable
from kobe.strategies import STRATEGIES

KIND, LOOKS, MODEL_LOOKS = "research_screen", "alpha", "meta_model"
BACKGROUND_ROWS = 100
FACTS = ("signal_date", "session", "exit_session", "symbol", "strategy", "side", "y", "r_net")
SIGNS = {1: "+", -1: "-", 0: "0"}


@dataclass(frozen=True, kw_only=True)
class ScreenRequest:
    """What to look at.

    Attributes:
        strategy: `both`, or one whose signals are ranked.
        alphas: names from the table; none for all.
    """

    strategy: str = "both"
    alphas: tuple[str, ...] = ()


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


def run_research_screen(ctx: Context, request: ScreenRequest) -> Document:
    """Judge alphas by rank within each date, put every look on record, and explain the newest logistic model.

    Raises:
        UsageError: unknown alpha or strategy.
        MissingDataError: no walk-forward, or none of this strategy.
        ModelError: the data set cannot be read or cut, or is not of these bars.
    """
    names = _chosen(request)
    seen = _seen(ctx, request.strategy)
    panel = ctx.panel().until(seen.holdout_from - 1)
    looked = _look(ctx, panel, seen.long, names)
    explained, why_not = _explain(ctx, seen)
    asked = experiments.question(ctx, panel, KIND, {"strategy": request.strategy, "alphas": list(names)})
    rows = _trials(seen.long, request, looked, explained)
    looks = _looks(ctx, str(asked.inputs["market"]), rows)
    p = np.array([e.p for e in looked.evidence.values()])
    corrected = dict(zip(names, alphas.holm(p, looks.different).tolist(), strict=True))
    signs = {name: ALPHAS[name].sign for name in names}
    said = alphas.verdicts(looked.evidence, corrected, signs, looked.columns, looked.by_feature)
    results = {
        "alphas": {name: asdict(e) for name, e in looked.evidence.items()},
        "model": None if explained is None else _model_json(explained),
    }  # fmt: skip
    deflated = {"looks": looks.different, "alphas": {n: {"p_holm": corrected[n], "verdict": said[n]} for n in names}}
    run = experiments.record(ctx, asked, rows, results, {}, deflated=deflated).experiment_id
    return _document(ctx, seen, looked, (explained, why_not), looks, (corrected, said), run)


def _chosen(request: ScreenRequest) -> tuple[str, ...]:
    unknown = [n for n in request.alphas if n not in ALPHAS]
    if unknown:
        raise UsageError("unknown alpha", seen=unknown[0], expected=", ".join(ALPHAS))
    if request.strategy not in ("both", *STRATEGIES):
        raise UsageError("unknown strategy", seen=request.strategy, expected=f"both, {', '.join(STRATEGIES)}")
    return tuple(n for n in ALPHAS if not request.alphas or n in request.alphas)


def _seen(ctx: Context, strategy: str) -> Seen:
    path = ctx.paths.walk_forward / DATASET
    try:
        frame = pl.read_parquet(path)
    except FileNotFoundError as error:
        raise MissingDataError("no walk-forward to look at", seen=path, next_command="kobe walk-forward") from error
    except pl.exceptions.PolarsError as error:
        raise ModelError("the data set cannot be read", seen=error, next_command="kobe walk-forward") from error
    missing = [c for c in (*FACTS, *FEATURE_COLUMNS) if c not in frame.columns]
    if missing:
        raise ModelError("the data set lacks columns", seen=missing, next_command="kobe walk-forward")
    cut = train.blocks(frame.get_column("session").to_numpy(), frame.get_column("exit_session").to_numpy())
    marked = frame.with_columns(pl.Series("_fit", cut.fit), pl.Series("_judge", cut.judge))
    mine = marked if strategy == "both" else marked.filter(pl.col("strategy") == strategy)
    before = mine.filter((pl.col("session") < cut.starts[2]) & (pl.col("exit_session") < cut.starts[2]))
    long = before.filter(pl.col("side") > 0)
    if long.is_empty():
        raise MissingDataError(
            "no signals to buy before the final holdout", seen=strategy, next_command="kobe walk-forward"
        )
    return Seen(
        long=long, fit=before.filter("_fit"), judge=before.filter("_judge"), holdout_from=cut.starts[2],
        held_back=len(mine) - len(before), shorts=len(before) - len(long),
    )  # fmt: skip


def _rows_in(panel: Panel, frame: pl.DataFrame) -> Ints:
    """Return the panel's row of each signal."""
    place = {symbol: k for k, symbol in enumerate(panel.symbols)}
    symbol = np.array([place.get(s, -1) for s in frame.get_column("symbol")], dtype=np.int64)
    width = panel.last_session + 1
    wanted = symbol * width + frame.get_column("session").to_numpy()
    have = panel.symbol_of_row.astype(np.int64) * width + panel.session
    rows: Ints = np.minimum(np.searchsorted(have, wanted), len(have) - 1)
    lost = (symbol < 0) | (have[rows] != wanted)
    if lost.any():
        raise ModelError(
            "the data set holds signals of which there are no bars", seen=f"{int(lost.sum())} of {len(lost)}",
            expected="the bars it was made from", next_command="kobe walk-forward",
        )  # fmt: skip
    return rows


def _look(ctx: Context, panel: Panel, long: pl.DataFrame, names: tuple[str, ...]) -> Looked:
    features, rows = FeatureTable(panel, ctx.settings.market.symbol), _rows_in(panel, long)
    columns = {name: alphas.values(features, alpha)[rows] for name, alpha in ALPHAS.items()}
    inputs = {name: long.get_column(name).to_numpy().astype(np.float64) for name in FEATURE_COLUMNS}
    session, r_net = long.get_column("session").to_numpy(), long.get_column("r_net").to_numpy()
    stratum = np.unique(long.get_column("strategy").to_numpy(), return_inverse=True)[1].astype(np.int64)
    year = long.get_column("signal_date").dt.year().to_numpy().astype(np.int64)
    return Looked(
        evidence={n: alphas.rank_evidence(columns[n], r_net, session, stratum, year) for n in names},
        columns=columns,
        by_feature={n: alphas.most_alike(columns[n], inputs) for n in names},
        by_alpha={n: alphas.most_alike(columns[n], {o: columns[o] for o in columns if o != n}) for n in names},
    )


def _explain(ctx: Context, seen: Seen) -> tuple[Explained | None, str]:
    """Explain the newest logistic model that is candidate or champion; else say why there is nothing to explain."""
    known = [e for e in ctx.models.entries() if e.kind == LOGISTIC and e.state != "retired"]
    if not known:
        return None, "No logistic model yet: kobe train-meta makes one."
    if seen.judge.is_empty() or seen.fit.is_empty():
        return None, "The fit or judge block holds no signals of this strategy to explain a model by."
    newest = known[-1]
    try:
        model = ctx.models.load(newest.model_id)[0].logistic
    except ModelError as error:
        return None, f"The newest logistic model {newest.model_id} cannot be read: {error.message}"
    if model is None:
        return None, f"The newest logistic model {newest.model_id} holds no coefficients."
    return _explained(model, newest.model_id, newest.state, seen, ctx.settings.run.seed), ""


def _explained(model: Logistic, model_id: str, state: str, seen: Seen, seed: int) -> Explained:
    fit, matrix = (f.select(FEATURE_COLUMNS).to_numpy() for f in (seen.fit, seen.judge))
    background = fit[np.unique(np.linspace(0, len(fit) - 1, BACKGROUND_ROWS).astype(np.int64))]
    y = seen.judge.get_column("y").to_numpy().astype(np.float64)
    session: npt.NDArray[np.int32] = seen.judge.get_column("session").to_numpy()
    return Explained(
        model_id=model_id, state=state, rows=len(matrix), dates=len(np.unique(session)),
        permuted=importance.permutation_importance(model.probability, matrix, y, session, seed=seed),
        log_odds=importance.linear_shap(model, matrix, background),
        probability=importance.permutation_shap(model, matrix, background, seed=seed),
    )  # fmt: skip


def _trials(
    long: pl.DataFrame, request: ScreenRequest, looked: Looked, explained: Explained | None
) -> list[dict[str, Any]]:
    """Return the looks as trials: each alpha's name is what it means and the outcomes it was held against."""
    outcomes = short_digest(long.select("session", "symbol", "strategy", "r_net").write_csv())
    rows = []
    for name, e in looked.evidence.items():
        tree = ALPHAS[name].tree
        params = {"alpha": name, "expression": text(tree), "strategy": request.strategy, "outcomes": outcomes}
        rows.append(
            experiments.trial(LOOKS, params, short_digest([meaning(tree), outcomes]), e.rows, e.t, float("nan"))
        )
    if explained is not None:
        params = {"model": explained.model_id, "block": "judge", "strategy": request.strategy, "outcomes": outcomes}
        rows.append(
            experiments.trial(
                MODEL_LOOKS, params, short_digest([explained.model_id, outcomes]), explained.rows, float("nan"),
                float("nan"),
            )
        )  # fmt: skip
    return rows


def _looks(ctx: Context, market: str, rows: list[dict[str, Any]]) -> Looks:
    """Count the looks at alphas on this kind of market; the same question asked again of the same outcomes is one."""
    now = {row["params_hash"] for row in rows if row["strategy"] == LOOKS}
    runs = [r for r in ctx.experiments.runs() if r.question.kind == KIND and r.question.inputs["market"] == market]
    before = sum(int((ctx.experiments.trials_of(r).get_column("strategy") == LOOKS).sum()) for r in runs)
    different = len(ctx.experiments.looked_at(LOOKS, market) | now)
    return Looks(now=len(now), on_record=before + len(now), different=different, screens=len(runs) + 1)


def _model_json(e: Explained) -> dict[str, Any]:
    columns = zip(FEATURE_COLUMNS, e.permuted.rise, e.permuted.spread, e.log_odds.size, e.probability.size, strict=True)
    keys = ("brier_rise", "brier_rise_sd", "shap_log_odds", "shap_probability")
    features = {name: dict(zip(keys, map(float, figures), strict=True)) for name, *figures in columns}
    return {"model_id": e.model_id, "state": e.state, "rows": e.rows, "dates": e.dates, "brier": e.permuted.brier,
            "base_log_odds": e.log_odds.base, "base_probability": e.probability.base, "features": features}  # fmt: skip


def _document(
    ctx: Context, seen: Seen, looked: Looked, model: tuple[Explained | None, str], looks: Looks,
    judged: tuple[Mapping[str, float], Mapping[str, str]], run: str,
) -> Document:  # fmt: skip
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
            "model": None if explained is None else jsonable(_model_json(explained)), "no_model": why_not or None,
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
    figures = _model_json(explained)["features"]
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
