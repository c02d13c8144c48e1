"""Evidence: backtests, walk-forward, search, simulation, and the proofs about them."""

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kobe.interfaces.cli.shell import (
    AsOf,
    Backend,
    Json,
    Scheduler,
    Workers,
    execute,
    key_values,
    on_backend,
    parse_day,
    progress_bar,
    show,
)  # fmt: skip

if TYPE_CHECKING:
    from kobe.app.context import Context
    from kobe.app.output import Document

Until = Annotated[
    date | None, typer.Option(parser=parse_day, metavar="DATE", help="Cut everything after this session off.")
]


def backtest(
    strategy: Annotated[str, typer.Argument(help="ibs_rsi or turtle_soup.")],
    param: Annotated[list[str] | None, typer.Option(help="NAME=VALUE; repeatable.")] = None,
    until: Until = None,
    json: Json = False,
) -> None:
    """Run one strategy with fixed parameters over the whole history (in-sample; for evidence: walk-forward).

    Example: kobe backtest ibs_rsi --param ibs_max=0.15
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.backtest import BacktestRequest, run_backtest

        changes = key_values(param or [])
        return run_backtest(ctx, BacktestRequest(strategy=strategy, changes=changes, until=until))

    execute(use_case, json=json)


def walk_forward(
    strategy: Annotated[str, typer.Option(help="both, or one strategy.")] = "both",
    until: Until = None,
    grid: Annotated[str, typer.Option(help="full: every combination; one: the configured parameters alone.")] = "full",
    thorough: Annotated[
        bool, typer.Option("--thorough", help="Also ask chance (200 random books) and the test of superior ability.")
    ] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Do not take over splits of an earlier run.")] = False,
    backend: Backend = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
    json: Json = False,
) -> None:
    """Choose parameters in each train window, judge them in the next test window, write wf_outputs and a report.

    Example: kobe walk-forward --strategy both --grid full
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.walk_forward import WalkForwardRequest, run_walk_forward

        request = WalkForwardRequest(strategy=strategy, until=until, resume=not fresh, thorough=thorough, grid=grid)
        return on_backend(ctx, (backend, workers, scheduler), lambda there: run_walk_forward(there, request))

    execute(use_case, json=json, progress=True)


def montecarlo(
    strategy: Annotated[str, typer.Option(help="both, or one strategy.")] = "both",
    paths: Annotated[int, typer.Option(min=100, max=1_000_000, help="Simulated paths.")] = 10_000,
    horizon_sessions: Annotated[int, typer.Option(min=1, max=25_200, help="Sessions per path.")] = 252,
    seed: Annotated[int | None, typer.Option(min=0, help="Instead of run.seed.")] = None,
    backend: Backend = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
    json: Json = False,
) -> None:
    """Resample the walk-forward's out-of-sample days in blocks: drawdowns, VaR, CVaR, chances of profit and ruin.

    Example: kobe montecarlo --strategy ibs_rsi --horizon-sessions 504
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.montecarlo import MonteCarloRequest, run_montecarlo

        request = MonteCarloRequest(strategy=strategy, paths=paths, horizon_sessions=horizon_sessions, seed=seed)
        return on_backend(ctx, (backend, workers, scheduler), lambda there: run_montecarlo(there, request))

    execute(use_case, json=json)


def optimize(
    strategy: Annotated[str, typer.Argument(help="ibs_rsi, turtle_soup, or rule: conditions made from indicators.")],
    method: Annotated[str, typer.Option(help="genetic, tpe, nsga2 or grid.")] = "genetic",
    trials: Annotated[int, typer.Option(min=4, max=20_000, help="Genomes to evaluate; every one counts.")] = 240,
    holdout_sessions: Annotated[int, typer.Option(min=63, help="Last sessions the search never sees.")] = 252,
    open_holdout: Annotated[
        bool, typer.Option("--open-holdout", help="Judge the chosen one on them; possible once, and on record.")
    ] = False,
    backend: Backend = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
    json: Json = False,
) -> None:
    """Search parameters or rules in training alone; the best one must stand on a plateau and survive its own search.

    Example: kobe optimize ibs_rsi --method genetic --trials 240
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.optimize import OptimizeRequest, run_optimize

        request = OptimizeRequest(
            strategy=strategy, method=method, trials=trials, holdout_sessions=holdout_sessions,
            open_holdout=open_holdout,
        )  # fmt: skip
        return on_backend(ctx, (backend, workers, scheduler), lambda there: run_optimize(there, request))

    execute(use_case, json=json, progress=True)


def stress(
    scenario: Annotated[
        list[str] | None,
        typer.Option(help="black_monday, covid, flash_crash or volatility_doubling; repeatable, all when none."),
    ] = None,
    equity: Annotated[float | None, typer.Option(help="Dollars, instead of the account's equity.")] = None,
    of_walk_forward: Annotated[
        bool, typer.Option("--of-walk-forward", help="The fullest out-of-sample book instead of the broker's.")
    ] = False,
    as_of: AsOf = None,
    json: Json = False,
) -> None:
    """Put the book through Black Monday, March 2020, the flash crash and a volatility shock, stops and margin included.

    Example: kobe stress --scenario black_monday --json
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.stress import StressRequest, run_stress

        chosen = tuple(scenario or ())
        return run_stress(ctx, StressRequest(scenarios=chosen, equity_usd=equity, of_walk_forward=of_walk_forward))

    execute(use_case, json=json, as_of=as_of)


def leakcheck(
    mutants: Annotated[bool, typer.Option("--mutants", help="Plant every known leak and see it caught.")] = False,
    plant: Annotated[str | None, typer.Option(help="Put this one leak in and see the alarm it raises.")] = None,
    synthetic: Annotated[bool, typer.Option("--synthetic", help="A made-up market, not the store's bars.")] = False,
    cuts: Annotated[int, typer.Option(min=1, max=100, help="Sessions at which the future is cut off.")] = 8,
    seed: Annotated[int | None, typer.Option(min=0, help="Of sample, cuts and other futures.")] = None,
    symbols: Annotated[int, typer.Option(min=10, max=2000, help="How many symbols are sampled or made up.")] = 60,
    json: Json = False,
) -> None:
    """Prove that no stage sees the future: all of history and what was known must say the same; 8 where they do not.

    Example: kobe leakcheck --synthetic --mutants
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.leakcheck.report import LeakcheckRequest, run_leakcheck

        request = LeakcheckRequest(
            mutants=mutants, plant=plant, synthetic=synthetic, cuts=cuts, seed=seed, symbols=symbols
        )
        return run_leakcheck(ctx, request)

    execute(use_case, json=json, progress=True)


def verify_claims(
    only: Annotated[str | None, typer.Option(help="One claim, its topic or its source, such as bias.")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder of the test data.", envvar="KOBE_TEST_DATA")] = None,
    documents: Annotated[Path | None, typer.Option(help="Checkout whose documents are read; else this one.")] = None,
    json: Json = False,
) -> None:
    """Derive every figure of README.md and docs again and say which still hold; 8 where one differs, 7 without data.

    Example: kobe verify-claims --only bias --data shared/data
    """

    def run() -> "Document":
        from kobe.app.claims.verify import ClaimsRequest, run_verify_claims

        request = ClaimsRequest(documents=documents, data=data, only=only)
        return run_verify_claims(request, progress=None if json else progress_bar())

    show(run, json=json)


def register(app: typer.Typer) -> None:
    """Put the commands of this file on the root."""
    app.command()(backtest)
    app.command("walk-forward")(walk_forward)
    app.command()(montecarlo)
    app.command()(optimize)
    app.command()(stress)
    app.command()(leakcheck)
    app.command("verify-claims")(verify_claims)
