"""A screen counts every look before it shows one, never sees the holdout, and says plainly what it cannot say."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from kit.command import kobe, one_line

from kobe.app import output, wiring
from kobe.app.research_screen import ScreenRequest, run_research_screen
from kobe.app.signals_file import DATASET
from kobe.core.errors import MissingDataError, ModelError, UsageError
from kobe.learning import train
from kobe.learning.alphas import ALPHAS
from kobe.learning.dataset import FEATURE_COLUMNS


@pytest.fixture
def ctx(home):
    built = wiring.build(home)
    yield built
    built.ledger.close()


def dataset(ctx) -> pl.DataFrame:
    return pl.read_parquet(ctx.paths.walk_forward / DATASET)


def holdout_from(frame: pl.DataFrame) -> int:
    return train.blocks(frame.get_column("session").to_numpy(), frame.get_column("exit_session").to_numpy()).starts[2]


def test_every_look_is_on_record_and_asking_again_adds_a_look_but_no_question(ctx):
    first = run_research_screen(ctx, ScreenRequest()).data
    run = ctx.experiments.runs()[-1]
    assert (run.experiment_id, run.question.kind) == (first["experiment"], "research_screen")
    trials = ctx.experiments.trials_of(run)
    assert (trials.get_column("strategy") == "alpha").sum() == len(ALPHAS)
    assert (trials.get_column("strategy") == "meta_model").sum() == 1, "looking at the model is a look, too"
    count = len(ALPHAS)
    assert first["looks"] == {"now": count, "on_record": count, "different": count, "screens": 1}
    again = run_research_screen(ctx, ScreenRequest()).data
    assert again["looks"] == {"now": count, "on_record": 2 * count, "different": count, "screens": 2}
    assert {k: v for k, v in again.items() if k != "looks"} == {k: v for k, v in first.items() if k != "looks"}
    assert ctx.experiments.runs()[-1].results_digest == run.results_digest
    assert len(ctx.experiments.looked_at("ibs_rsi", "synthetic")) == 36, "no strategy's own trials are touched"


def test_an_earlier_look_makes_every_later_one_harder(ctx):
    one = ScreenRequest(alphas=("range_shock",))
    alone = run_research_screen(ctx, one).data
    run_research_screen(ctx, ScreenRequest(alphas=("momentum_12_1", "lottery_4"), strategy="ibs_rsi"))
    after = run_research_screen(ctx, one).data
    p = alone["alphas"]["range_shock"]["p"]
    assert alone["alphas"]["range_shock"]["p_holm"] == p
    assert after["looks"]["different"] == 3
    assert after["alphas"]["range_shock"]["p_holm"] == pytest.approx(3 * p)


def test_nothing_of_the_holdout_is_looked_at(ctx):
    frame = dataset(ctx)
    border = holdout_from(frame)
    whole = run_research_screen(ctx, ScreenRequest()).data
    rng = np.random.default_rng(1)
    late = (pl.col("session") >= border) | (pl.col("exit_session") >= border)
    columns = ("r_net", "ibs", "volume_z")
    spoiled = frame.with_columns(
        [pl.when(late).then(pl.Series(rng.normal(size=len(frame)))).otherwise(pl.col(c)).alias(c) for c in columns]
    ).with_columns(y=pl.when(late).then(1 - pl.col("y")).otherwise(pl.col("y")))
    spoiled.write_parquet(ctx.paths.walk_forward / DATASET)
    panel = ctx.panel()
    noisy = np.where(panel.session >= border, panel.close * rng.uniform(0.5, 2.0, len(panel)), panel.close)
    other = replace(panel, close=noisy, high=np.maximum(panel.high, noisy), low=np.minimum(panel.low, noisy))
    again = run_research_screen(replace(ctx, panel=lambda: other), ScreenRequest()).data
    assert {k: v for k, v in again.items() if k != "looks"} == {k: v for k, v in whole.items() if k != "looks"}
    assert again["looks"]["different"] == whole["looks"]["different"]
    assert whole["seen"]["last"] < whole["seen"]["holdout_from"] == str(ctx.calendar.sessions[border])


def test_other_outcomes_before_the_holdout_are_another_question(ctx):
    before = run_research_screen(ctx, ScreenRequest()).data
    frame = dataset(ctx)
    frame.with_columns(r_net=pl.col("r_net") + 0.01).write_parquet(ctx.paths.walk_forward / DATASET)
    after = run_research_screen(ctx, ScreenRequest()).data
    assert after["looks"]["different"] == 2 * before["looks"]["different"]


def test_the_made_market_s_reversal_is_found_and_the_model_is_explained(ctx):
    document = run_research_screen(ctx, ScreenRequest())
    told = document.data["alphas"]["range_shock"]
    assert told["verdict"] == "worth a trial"
    assert told["stated_sign"] == np.sign(told["ic"])
    assert document.data["alphas"]["turnover_shock"]["like_feature"]["name"] == "volume_z"
    model = document.data["model"]
    assert set(model["features"]) == set(FEATURE_COLUMNS)
    assert model["rows"] >= 30
    assert 0 < model["base_probability"] < 1
    assert json.loads(output.as_json(document))["schema"] == "kobe.research_screen/1"


def test_one_strategy_s_signals_are_fewer_and_signals_to_sell_are_left_out(ctx):
    both = run_research_screen(ctx, ScreenRequest()).data["seen"]
    one = run_research_screen(ctx, ScreenRequest(strategy="ibs_rsi")).data["seen"]
    assert one["signals"] < both["signals"]
    assert one["holdout_from"] == both["holdout_from"], "the border is the model's, whoever is looked at"
    frame = dataset(ctx)
    side = np.where(np.arange(len(frame)) % 3 == 0, -1, 1)
    frame.with_columns(side=pl.Series(side).cast(frame.get_column("side").dtype)).write_parquet(
        ctx.paths.walk_forward / DATASET
    )
    document = run_research_screen(ctx, ScreenRequest())
    assert document.data["seen"]["signals"] + document.data["seen"]["shorts"] == both["signals"]
    assert any("signals to sell are left out" in line for line in document.summary)


def test_without_a_logistic_model_it_says_so(ctx):
    bare = replace(ctx, models=SimpleNamespace(entries=list))
    document = run_research_screen(bare, ScreenRequest(alphas=("reversal_3",)))
    assert document.data["model"] is None
    assert document.sections[-1].lines == ("No logistic model yet: kobe train-meta makes one.",)


@pytest.mark.parametrize(
    "request_",
    [ScreenRequest(alphas=("reversal_3", "luck")), ScreenRequest(strategy="nobody")],
    ids=["alpha", "strategy"],
)
def test_what_is_unknown_is_refused_and_is_no_look(ctx, request_):
    before = len(ctx.experiments.runs())
    with pytest.raises(UsageError, match="unknown"):
        run_research_screen(ctx, request_)
    assert len(ctx.experiments.runs()) == before


def test_a_record_that_is_not_there_or_not_of_these_bars_is_refused_and_is_no_look(ctx):
    path, frame = ctx.paths.walk_forward / DATASET, dataset(ctx)
    before = len(ctx.experiments.runs())
    frame.with_columns(symbol=pl.lit("NOBODY")).write_parquet(path)
    with pytest.raises(ModelError, match="no bars"):
        run_research_screen(ctx, ScreenRequest())
    frame.drop("volume_z").write_parquet(path)
    with pytest.raises(ModelError, match="other columns"):
        run_research_screen(ctx, ScreenRequest())
    frame.filter(pl.col("strategy") == "ibs_rsi").write_parquet(path)
    with pytest.raises(MissingDataError, match="no signals to buy"):
        run_research_screen(ctx, ScreenRequest(strategy="turtle_soup"))
    path.write_bytes(b"PAR1nonsense")
    with pytest.raises(ModelError, match="cannot be read"):
        run_research_screen(ctx, ScreenRequest())
    path.unlink()
    with pytest.raises(MissingDataError, match="kobe walk-forward"):
        run_research_screen(ctx, ScreenRequest())
    assert len(ctx.experiments.runs()) == before


def test_the_command_speaks_to_people_and_to_programs(home, tmp_path):
    told = json.loads(
        kobe(home, "research", "screen", "--alpha", "reversal_3", "--alpha", "lottery_4", "--json").stdout
    )
    assert list(told["alphas"]) == ["reversal_3", "lottery_4"]
    shown = kobe(home, "research", "screen", "--strategy", "ibs_rsi").stdout
    for words in ("Looks at alphas: 12 now, 14 on record", "SYNTHETIC", "stays closed", "Judge block"):
        assert words in shown
    one_line(kobe(home, "research", "screen", "--alpha", "luck"), 2, "unknown alpha", "reversal_3")
    one_line(kobe(tmp_path / "empty", "research", "screen"), 4, "no walk-forward", "kobe walk-forward")
