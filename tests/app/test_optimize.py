"""A search counts every genome, never sees its holdout before it is opened, and gives the same digits anywhere."""

from dataclasses import replace

import numpy as np
import pytest

from kobe.app import optimize, shipping, wiring
from kobe.app.optimize import OptimizeRequest, run_optimize
from kobe.core.errors import MissingDataError, UsageError
from kobe.strategies import STRATEGIES


@pytest.fixture
def ctx(home):
    built = wiring.build(home)
    yield built
    built.compute.close()
    built.ledger.close()


def test_every_genome_is_a_counted_trial_and_the_same_seed_gives_the_same_search(ctx):
    request = OptimizeRequest(strategy="ibs_rsi", trials=24)
    first, second = (run_optimize(ctx, request).data for _ in range(2))
    assert {k: v for k, v in first.items() if k != "banners"} == {k: v for k, v in second.items() if k != "banners"}
    one, two = ctx.experiments.runs()[-2:]
    assert one.results_digest == two.results_digest
    assert one.trials == first["trials"] >= 24
    named = ctx.experiments.trials_of(one).get_column("params_hash")
    assert named.n_unique() == len(named)
    assert len(ctx.experiments.looked_at("ibs_rsi", "synthetic")) >= one.trials


def test_nothing_of_the_holdout_reaches_the_search(ctx):
    request = OptimizeRequest(strategy="turtle_soup", trials=12, holdout_sessions=126)
    whole = run_optimize(ctx, request).data
    panel = ctx.panel()
    border = panel.last_session - 126
    rng = np.random.default_rng(1)
    noisy = np.where(panel.session > border, panel.close * rng.uniform(0.5, 2.0, len(panel)), panel.close)
    other = replace(panel, close=noisy, high=np.maximum(panel.high, noisy), low=np.minimum(panel.low, noisy))
    again = run_optimize(replace(ctx, panel=lambda: other), request).data
    assert [b["t"] for b in again["best"]] == [b["t"] for b in whole["best"]]
    assert again["chosen"] == whole["chosen"]


def test_the_holdout_opens_once_and_its_verdict_is_deflated_by_all_that_was_tried(ctx):
    closed = run_optimize(ctx, OptimizeRequest(strategy="ibs_rsi", trials=24))
    assert closed.data["holdout"] is None
    opened = run_optimize(ctx, OptimizeRequest(strategy="ibs_rsi", trials=24, open_holdout=True)).data
    if opened["chosen"] is None:
        pytest.skip("nothing stood on a plateau")
    assert opened["holdout"]["trials"] >= opened["trials"] + 30, "the walk-forward's combinations count as well"
    with pytest.raises(UsageError, match="opened before"):
        run_optimize(ctx, OptimizeRequest(strategy="ibs_rsi", trials=12, open_holdout=True))
    assert len(ctx.experiments.holdouts()) == 1


@pytest.mark.parametrize(
    ("request_", "error", "words"),
    [
        (OptimizeRequest(strategy="nobody"), UsageError, "cannot be searched"),
        (OptimizeRequest(strategy="ibs_rsi", method="luck"), UsageError, "cannot be searched"),
        (OptimizeRequest(strategy="ibs_rsi", method="grid"), UsageError, "too large"),
        (OptimizeRequest(strategy="rule", method="tpe"), UsageError, "genetic"),
        (OptimizeRequest(strategy="ibs_rsi", holdout_sessions=900), MissingDataError, "too little history"),
        (OptimizeRequest(strategy="ibs_rsi", holdout_sessions=10), MissingDataError, "holdout of 63"),
    ],
)
def test_what_cannot_be_searched_is_refused_before_anything_is_tried(ctx, request_, error, words):
    before = len(ctx.experiments.runs())
    with pytest.raises(error, match=words):
        run_optimize(ctx, request_)
    assert len(ctx.experiments.runs()) == before


def test_processes_give_the_digits_of_serial(ctx):
    panel, assumptions = ctx.panel(), ctx.assumptions()
    strategy = STRATEGIES["turtle_soup"]
    combinations = strategy.combinations(strategy.defaults)[:4]
    span = (panel.last_session - 300, panel.last_session - 50)
    here = wiring.with_compute(ctx, backend="processes", workers=2)
    try:
        made = shipping.record_maker(here, panel, assumptions)("turtle_soup", combinations, span)
    finally:
        here.compute.close()
    from kobe.backtest import walk_forward
    from kobe.features.table import FeatureTable

    own = walk_forward.records(panel, FeatureTable(panel), strategy, combinations, assumptions, span)
    for a, b in zip(made, own, strict=True):
        assert a.params_hash == b.params_hash
        for name in ("session", "exit_session", "net_r", "returns"):
            assert np.array_equal(getattr(a, name), getattr(b, name)), name


def test_a_verdict_too_good_to_be_true_promotes_nothing():
    good = optimize.Verdict(sharpe=2.0, profit_factor=2.0, trades=200, trials=10, dsr=0.99)
    assert good.promoted
    for change in ({"sharpe": 5.1}, {"sharpe": 1.0}, {"profit_factor": 1.5}, {"trades": 29}, {"dsr": 0.949},
                   {"profit_factor": float("nan")}):  # fmt: skip
        assert not replace(good, **change).promoted
