"""Runs are recorded, compared and run again to the same digest; other bars or other code are named."""

import pytest
from kit.home import SPEC

from kobe.app import experiments, judgement, reproduce, wiring
from kobe.app.backtest import BacktestRequest, run_backtest
from kobe.app.walk_forward import WalkForwardRequest, run_walk_forward
from kobe.core.errors import ExitCode, UsageError


@pytest.fixture
def ctx(home):
    built = wiring.build(home)
    yield built
    built.ledger.close()


def until(ctx):
    return ctx.calendar.sessions[ctx.calendar.number(SPEC.last_session) - 16]


def test_the_made_home_s_walk_forward_is_reproduced_to_the_digest_without_touching_its_files(ctx):
    before = {p: p.read_bytes() for p in ctx.paths.walk_forward.rglob("*") if p.is_file()}
    run = ctx.experiments.runs()[0]
    assert (run.question.kind, run.trials) == ("walk_forward", 44)
    document = reproduce.run_reproduce(ctx, run.experiment_id)
    assert document.exit_code is ExitCode.OK, document.data["differs"]
    assert {p: p.read_bytes() for p in ctx.paths.walk_forward.rglob("*") if p.is_file()} == before
    assert len(ctx.experiments.runs()) == 2, "running it again is a look, too"


def test_a_backtest_is_a_trial_and_other_parameters_are_another_experiment(ctx):
    run_backtest(ctx, BacktestRequest(strategy="ibs_rsi", changes={"ibs_max": 0.15}))
    run_backtest(ctx, BacktestRequest(strategy="ibs_rsi", changes={"ibs_max": 0.123}))
    one, other = ctx.experiments.runs()[-2:]
    assert one.experiment_id != other.experiment_id
    assert len(ctx.experiments.looked_at("ibs_rsi", "synthetic")) == 37, "0.15 is in the grid, 0.123 is new"
    told = {d["key"]: (d["one"], d["other"]) for d in
            experiments.run_diff(ctx, one.experiment_id, other.experiment_id).data["differs"]}  # fmt: skip
    assert told["asked.changes.ibs_max"] == (0.15, 0.123)
    assert reproduce.run_reproduce(ctx, other.experiment_id).exit_code is ExitCode.OK


def test_other_settings_are_named_and_the_digest_differs(ctx):
    run_backtest(ctx, BacktestRequest(strategy="ibs_rsi", changes={}))
    asked = ctx.experiments.runs()[-1].experiment_id
    from dataclasses import replace

    account = ctx.settings.account.model_copy(update={"cash_usd": 5_000.0})
    poorer = replace(ctx, settings=ctx.settings.model_copy(update={"account": account}))
    document = reproduce.run_reproduce(poorer, asked)
    assert document.exit_code is ExitCode.INTEGRITY
    keys = {d["key"] for d in document.data["differs"]}
    assert "inputs.settings" in keys
    assert "results.sharpe" in keys
    assert "inputs.bars" not in keys


def test_everything_ever_tried_deflates_the_record(ctx, monkeypatch):
    few = next(r for r in ctx.experiments.runs()).results["ibs_rsi"]
    for k in range(6):
        run_backtest(ctx, BacktestRequest(strategy="ibs_rsi", changes={"ibs_max": 0.2 + 0.001 * (k + 1)}))
    run_walk_forward(ctx, WalkForwardRequest(until=until(ctx)))
    many = ctx.experiments.runs()[-1].results["ibs_rsi"]
    assert (few["trials"], many["trials"]) == (36, 42)
    assert many["expected_max_sharpe"] > few["expected_max_sharpe"]
    assert many["dsr"] < few["dsr"]
    assert many["psr"] == few["psr"]
    first = ctx.experiments.runs()[0]
    assert ctx.experiments.runs()[-1].results_digest == first.results_digest, "what was tried since changes no result"
    document = reproduce.run_reproduce(ctx, first.experiment_id)
    assert document.exit_code is ExitCode.OK


def test_a_thorough_run_also_asks_chance_and_cash(ctx, monkeypatch):
    run_walk_forward(ctx, WalkForwardRequest(strategy="turtle_soup", until=until(ctx), thorough=True, grid="one"))
    found = ctx.experiments.runs()[-1].results["turtle_soup"]
    assert 0.0 < found["random_mean_r_p"] <= 1.0
    assert 0.0 <= found["spa_cash"] <= 1.0
    assert found["pbo"] is None, "one combination cannot be chosen wrongly"
    assert judgement.DRAWS >= 200


def test_a_grid_that_is_none_and_a_kind_that_cannot_be_run_again_are_refused(ctx):
    with pytest.raises(UsageError, match="unknown grid"):
        run_walk_forward(ctx, WalkForwardRequest(grid="huge"))
    asked = experiments.question(ctx, ctx.panel(), "research", {"n": 1})
    experiments.record(ctx, asked, [experiments.trial("ibs_rsi", {}, "x", 1, float("nan"), 0.0)], {}, {})
    with pytest.raises(UsageError, match="cannot be run again"):
        reproduce.run_reproduce(ctx, asked.name)


def test_the_list_shows_every_look(ctx):
    document = experiments.run_list(ctx, None)
    assert "44 looks" in document.summary[0]
    shown = experiments.run_show(ctx, ctx.experiments.runs()[0].experiment_id[:8])
    assert shown.data["trials"] == 44
    assert len(shown.data["best"]) == 10


def test_a_strategy_that_never_trades_gets_a_verdict_that_passes_nothing(home, tmp_path):
    config = tmp_path / "never.toml"
    config.write_text("[strategies.ibs_rsi]\nmin_price_usd = 1e9\n[strategies.turtle_soup]\nmin_price_usd = 1e9\n")
    ctx = wiring.build(home, config=config)
    document = run_walk_forward(ctx, WalkForwardRequest(until=until(ctx), thorough=True))
    for told in document.data["strategies"]:
        assert told["trades"]["trades"] == 0
        passed = {line["name"]: line["passed"] for line in told["verdict"]["lines"]}
        assert [name for name, good in passed.items() if good] in ([], ["Sessions out of sample"])
    ctx.ledger.close()
