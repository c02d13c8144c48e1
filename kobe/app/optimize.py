"""`kobe optimize`: search parameters or rules in training alone; every genome counts; the holdout opens once."""

import getpass
import math
import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from kobe.app import experiments, shipping
from kobe.app.context import Context
from kobe.backtest import engine, metrics, overfit
from kobe.backtest.engine import Assumptions
from kobe.backtest.folds import Fold, in_test
from kobe.core.errors import MissingDataError, UsageError
from kobe.core.ids import short_digest
from kobe.core.panel import Panel
from kobe.features.table import FeatureTable
from kobe.learning import genetic, rule_genes, samplers, search
from kobe.learning.search import RULE, SearchResult
from kobe.learning.spaces import SPACES, Genome
from kobe.reports.document import Document, Section, Table, jsonable
from kobe.strategies import STRATEGIES
from kobe.strategies.spec import BaseParams, params_hash

METHODS = ("genetic", "tpe", "nsga2", "grid")
SHOWN = 12
LEAST_HOLDOUT = 63


@dataclass(frozen=True, kw_only=True)
class OptimizeRequest:
    """What to search.

    Attributes:
        strategy: a strategy's id, or `rule` for rules made from the expression language.
        method: one of `METHODS`.
        trials: genomes to evaluate (tpe, nsga2), or population times generations (genetic).
        holdout_sessions: last sessions set apart; the search never sees them.
        open_holdout: judge the chosen genome on them, which can be done once for a strategy and a span.
    """

    strategy: str
    method: str = "genetic"
    trials: int = 240
    holdout_sessions: int = 252
    open_holdout: bool = False


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the chosen genome did in the holdout, deflated by everything ever tried."""

    sharpe: float
    profit_factor: float
    trades: int
    trials: int
    dsr: float

    @property
    def promoted(self) -> bool:
        """Whether it passes the usual gates and survives its own search."""
        gates = self.sharpe > 1.0 and self.profit_factor > 1.5 and self.trades >= 30
        return gates and self.dsr >= 0.95 and self.sharpe <= 5.0


def run_optimize(ctx: Context, request: OptimizeRequest) -> Document:
    """Search in training, record every genome, and judge the best one on the holdout if asked.

    Raises:
        UsageError: unknown strategy or method, a grid too large, or a holdout that was opened before.
        MissingDataError: too little history.
    """
    if request.strategy not in (*STRATEGIES, RULE) or request.method not in METHODS:
        raise UsageError(
            "this cannot be searched", seen=f"{request.strategy} by {request.method}",
            expected=f"{', '.join((*STRATEGIES, RULE))}; {', '.join(METHODS)}",
        )  # fmt: skip
    panel, assumptions = ctx.panel(), ctx.assumptions()
    fold = _fold(ctx, panel, request.holdout_sessions)
    holdout = _holdout_name(ctx, panel, fold, request.strategy)
    if request.open_holdout:
        ctx.experiments.check_closed(holdout)
    base = ctx.strategy_params().get(request.strategy, BaseParams())
    evaluate = shipping.evaluator(
        ctx, panel, fold, base, assumptions, ctx.settings.walk_forward.purge_sessions
    )  # fmt: skip
    found = _search(ctx, request, evaluate)
    chosen = found.chosen
    verdict = None
    if request.open_holdout and chosen is not None:
        _open(ctx, holdout, request, fold, chosen)
        verdict = _judge(ctx, panel, fold, base, assumptions, request, found, chosen)
    run = _remember(ctx, panel, fold, base, request, found, verdict)
    return _document(ctx, request, fold, found, verdict, run)


def _fold(ctx: Context, panel: Panel, holdout: int) -> Fold:
    w = ctx.settings.walk_forward
    first, last = panel.first_session + w.warm_up_sessions, panel.last_session - holdout
    if holdout < LEAST_HOLDOUT or last - first + 1 < w.train_sessions:
        raise MissingDataError(
            "too little history to search in and to keep a holdout", seen=f"{last - first + 1} sessions to train on",
            expected=f"{w.train_sessions} or more, and a holdout of {LEAST_HOLDOUT} or more",
            next_command="kobe data import FILE",
        )  # fmt: skip
    return Fold(number=1, train_first=first, train_last=last, test_first=last + 1, test_last=panel.last_session)


def _search(ctx: Context, request: OptimizeRequest, evaluate: search.Evaluate) -> SearchResult:
    kind, seed = request.strategy, ctx.settings.run.seed
    if request.method == "genetic":
        population = max(4, min(40, request.trials // 6))
        evolution = genetic.Evolution(
            population=population, generations=max(1, request.trials // population), elite=max(1, population // 20),
            tournament=min(3, population), seed=seed,
        )  # fmt: skip
        breeder: genetic.Breeder = (
            rule_genes.RuleBreeder() if kind == RULE else genetic.ParameterBreeder(kind=kind, space=SPACES[kind])
        )
        return genetic.evolve(breeder, evaluate, evolution, progress=ctx.progress)
    if kind == RULE:
        raise UsageError("rules take the genetic search", seen=request.method, expected="--method genetic")
    if request.method == "grid":
        return search.grid(kind, SPACES[kind], evaluate, seconds_per_trial=_seconds_per_trial(kind, evaluate))
    sampler = samplers.tpe if request.method == "tpe" else samplers.nsga2
    return sampler(kind, SPACES[kind], evaluate, trials=request.trials, seed=seed)


def _seconds_per_trial(kind: str, evaluate: search.Evaluate) -> float:
    """Time one evaluation of the space's middle, after one that fills the caches."""
    rng = np.random.default_rng(0)
    probe = genetic.ParameterBreeder(kind=kind, space=SPACES[kind]).random(rng)
    evaluate([probe])
    started = time.perf_counter()
    evaluate([probe])
    return time.perf_counter() - started


def _span(ctx: Context, fold: Fold) -> str:
    days = ctx.calendar.sessions
    return f"{days[fold.test_first]} to {days[fold.test_last]}"


def _holdout_name(ctx: Context, panel: Panel, fold: Fold, strategy: str) -> str:
    return short_digest([strategy, panel.digest, _span(ctx, fold)])


def _open(ctx: Context, holdout: str, request: OptimizeRequest, fold: Fold, chosen: Genome) -> None:
    """Open the holdout in the registry before anything of it is looked at."""
    facts = {"who": getpass.getuser(), "for": f"{request.strategy} {chosen.digest}", "span": _span(ctx, fold)}
    ctx.experiments.open_holdout(holdout, facts)
    ctx.audit.append("holdout_opened", {"holdout": holdout, **facts})


def holdout_verdict(
    panel: Panel, fold: Fold, base: BaseParams, assumptions: Assumptions, chosen: Genome, *, trials: int,
    market_symbol: str = "SPY",
) -> Verdict:  # fmt: skip
    """Judge a genome on the sessions of a fold's test, deflated by the number of genomes it was the best of.

    Nobody may look at the losers' holdout, so how much chance scatters Sharpe ratios is taken from its length: without
    skill their variance per session is one over the sessions (DOMAIN 2.8).
    """
    strategy, params, _ = search.resolve(chosen, base)
    features = FeatureTable(panel, market_symbol)
    outcomes = engine.evaluate(panel, features, strategy.signals(panel, features, params), assumptions)
    mine = outcomes.take(in_test(fold, outcomes.session))
    returns = engine.run_portfolio(panel, mine, assumptions, fold.test_first, fold.test_last).returns
    done = mine.take(engine.one_per_symbol(mine) & mine.closed)
    deflated = overfit.deflated_sharpe(returns, trials=trials, trial_variance=1.0 / len(returns))
    return Verdict(
        sharpe=metrics.sharpe(returns), profit_factor=metrics.profit_factor(done.net_r), trades=len(done),
        trials=trials, dsr=deflated.probability,
    )  # fmt: skip


def _judge(
    ctx: Context, panel: Panel, fold: Fold, base: BaseParams, assumptions: Assumptions, request: OptimizeRequest,
    found: SearchResult, chosen: Genome,
) -> Verdict:  # fmt: skip
    market = experiments.SYNTHETIC if panel.is_synthetic else experiments.REAL
    names = {_name(t.genome, base) for t in found.trials}
    trials = len(ctx.experiments.looked_at(request.strategy, market) | names)
    return holdout_verdict(
        panel, fold, base, assumptions, chosen, trials=trials, market_symbol=ctx.settings.market.symbol
    )


def _name(genome: Genome, base: BaseParams) -> str:
    """Return the name under which a combination counts, whoever tried it: a walk-forward names it the same."""
    strategy, params, _ = search.resolve(genome, base)
    return params_hash(strategy.name, params)


def _remember(
    ctx: Context, panel: Panel, fold: Fold, base: BaseParams, request: OptimizeRequest, found: SearchResult,
    verdict: Verdict | None,
) -> str:  # fmt: skip
    asked = experiments.question(ctx, panel, "optimize", asdict(request))
    rows = [
        experiments.trial(
            request.strategy, dict(t.genome.values), _name(t.genome, base), t.fitness.trades, t.fitness.t, math.nan
        )
        for t in found.trials
    ]
    best = found.best
    results: dict[str, Any] = {
        "train_last": str(ctx.calendar.sessions[fold.train_last]), "trials": len(found.trials),
        "best": best and {"genome": dict(best.genome.values), "t": best.fitness.t, "score": best.score},
        "plateau": found.plateau and asdict(found.plateau), "chosen": found.chosen and found.chosen.digest,
    }  # fmt: skip
    deflated = {"holdout": verdict and asdict(verdict)}
    return experiments.record(ctx, asked, rows, jsonable(results), {}, deflated=deflated).experiment_id


def _document(
    ctx: Context, request: OptimizeRequest, fold: Fold, found: SearchResult, verdict: Verdict | None, run: str
) -> Document:
    days = ctx.calendar.sessions
    shown = search.ranked(found.trials)[:SHOWN]
    rows = tuple(
        (t.number, t.step, t.score, t.fitness.t, t.fitness.trades, t.fitness.mean_r, _words(t.genome)) for t in shown
    )
    columns = ("trial", "step", "score", "t", "trades", "mean R", "genome")
    span = f"{days[fold.train_first]} to {days[fold.train_last]}"
    summary = [f"{len(found.trials):,} genomes tried in training, {span}; experiment {run}."]
    if found.best is None:
        summary.append("No genome had enough trades: keep the defaults.")
    elif found.plateau is not None:
        state = "stands on a plateau" if found.plateau.passed else "is a lone peak: keep the defaults"
        summary.append(f"The best {state} ({found.plateau.why}).")
    summary.append(_said(verdict, request, found))
    return Document(
        schema="kobe.optimize/1",
        title=f"Search of {request.strategy} by {request.method}",
        summary=tuple(summary),
        banners=ctx.panel().banners,
        sections=(Section(title="Best trials", table=Table(columns=columns, rows=rows)),),
        data={
            "experiment": run, "trials": len(found.trials), "chosen": _values(found.chosen),
            "best": [{"genome": _values(t.genome), **asdict(t.fitness), "score": t.score} for t in shown],
            "plateau": asdict(found.plateau) if found.plateau else None,
            "front": [{"genome": _values(t.genome), **asdict(t.fitness)} for t in found.front[:SHOWN]],
            "holdout": None if verdict is None else asdict(verdict) | {"promoted": verdict.promoted},
        },
    )  # fmt: skip


def _values(genome: Genome | None) -> dict[str, Any] | None:
    return None if genome is None else dict(genome.values)


def _words(genome: Genome) -> str:
    return " ".join(f"{name}={value}" for name, value in genome.values.items() if value != "")


def _said(verdict: Verdict | None, request: OptimizeRequest, found: SearchResult) -> str:
    if verdict is None:
        why = "nothing was chosen" if request.open_holdout and found.chosen is None else "--open-holdout opens it, once"
        return f"The holdout of {request.holdout_sessions} sessions stays closed: {why}."
    state = "promoted as a candidate for walk-forward" if verdict.promoted else "not promoted"
    return (
        f"Holdout: Sharpe {verdict.sharpe:.2f}, profit factor {verdict.profit_factor:.2f}, {verdict.trades} trades; "
        f"deflated by {verdict.trials:,} trials: {verdict.dsr:.3f} (0.95 is asked). It is {state}."
    )
