"""`kobe research screen`: do alpha candidates rank signals as their reasons say, and what does the model look at?

Signals of the final holdout are not looked at, and the bars after it begins are cut off. Every alpha is on record as a
trial before anything is shown.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from kobe.app import experiments, research_report
from kobe.app.context import Context
from kobe.app.research_report import Explained, Looked, Looks, Seen
from kobe.app.signals_file import read_signals
from kobe.core.errors import MissingDataError, ModelError, UsageError
from kobe.core.expressions import digest as meaning
from kobe.core.expressions import text
from kobe.core.ids import short_digest
from kobe.core.panel import Ints, Panel
from kobe.features.table import FeatureTable
from kobe.learning import alphas, importance, train
from kobe.learning.alphas import ALPHAS
from kobe.learning.dataset import FEATURE_COLUMNS
from kobe.learning.model import LOGISTIC, Logistic
from kobe.reports.document import Document
from kobe.strategies import STRATEGIES

KIND, LOOKS, MODEL_LOOKS = "research_screen", "alpha", "meta_model"
BACKGROUND_ROWS = 100
FACTS = ("signal_date", "session", "exit_session", "symbol", "strategy", "side", "y", "r_net")


@dataclass(frozen=True, kw_only=True)
class ScreenRequest:
    """What to look at.

    Attributes:
        strategy: `both`, or one whose signals are ranked.
        alphas: names from the table; none for all.
    """

    strategy: str = "both"
    alphas: tuple[str, ...] = ()


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
        "model": None if explained is None else research_report.model_json(explained),
    }  # fmt: skip
    deflated = {"looks": looks.different, "alphas": {n: {"p_holm": corrected[n], "verdict": said[n]} for n in names}}
    run = experiments.record(ctx, asked, rows, results, {}, deflated=deflated).experiment_id
    return research_report.build(ctx, seen, looked, (explained, why_not), looks, (corrected, said), run)


def _chosen(request: ScreenRequest) -> tuple[str, ...]:
    unknown = [n for n in request.alphas if n not in ALPHAS]
    if unknown:
        raise UsageError("unknown alpha", seen=unknown[0], expected=", ".join(ALPHAS))
    if request.strategy not in ("both", *STRATEGIES):
        raise UsageError("unknown strategy", seen=request.strategy, expected=f"both, {', '.join(STRATEGIES)}")
    return tuple(n for n in ALPHAS if not request.alphas or n in request.alphas)


def _seen(ctx: Context, strategy: str) -> Seen:
    frame = read_signals(ctx.paths.walk_forward, (*FACTS, *FEATURE_COLUMNS))
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
