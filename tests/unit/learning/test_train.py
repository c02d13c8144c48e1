"""Training in time order: skill is found where it is planted, denied where it is not, and the future never helps."""

import json
from datetime import date, timedelta
from itertools import pairwise

import numpy as np
import polars as pl
import pytest

from kobe.core.errors import IntegrityError, ModelError
from kobe.infra.clock import SystemClock
from kobe.infra.records.artifacts import FileArtifacts
from kobe.infra.records.ledger import SqlLedger
from kobe.infra.records.signing import FileSigner
from kobe.learning import promote, train
from kobe.learning.dataset import FEATURE_COLUMNS
from kobe.learning.model import MetaModel, StrategyRecord, from_json, to_json
from kobe.learning.registry import ModelRegistry


def world(seed: int, skill: float, n: int = 2400, win: float = 0.0) -> pl.DataFrame:
    """Trades on 600 dates whose chance of a win depends on two inputs by `skill` (log-odds per deviation)."""
    rng = np.random.default_rng(seed)
    session = np.sort(rng.integers(0, 600, n)).astype(np.int32)
    x = {name: rng.normal(size=n) for name in FEATURE_COLUMNS}
    x["volatility_rank"][rng.random(n) < 0.1] = np.nan
    odds = win + skill * (x["ibs"] - x["breadth"]) / np.sqrt(2)
    y = (rng.random(n) < 1 / (1 + np.exp(-odds))).astype(np.int8)
    size = rng.exponential(1.0, n)
    return pl.DataFrame(
        {
            "signal_date": [date(2015, 1, 1) + timedelta(days=int(s)) for s in session],
            "session": session, "exit_session": session + rng.integers(1, 6, n).astype(np.int32),
            "symbol": [f"S{k}" for k in range(n)], "strategy": rng.choice(["ibs_rsi", "turtle_soup"], n),
            "y": y, "r_net": np.where(y == 1, size, -size), "r_gross": np.where(y == 1, size, -size) + 0.02,
            "taken": True, "weight": 1.0, **x,
        }
    )  # fmt: skip


SEARCH = promote.Search(trials=45, trial_sharpe_sd=0.3, pbo=0.1)


def judged(trained: train.Trained, search: promote.Search = SEARCH) -> list[promote.Line]:
    holdout = trained.holdout.with_columns(p_champion=pl.col("p_base"))
    champion = train.base_rate_model(holdout, {})
    return promote.judge(holdout, trained.candidate, champion, trained.report, search, seed=1)


def test_planted_skill_is_found_calibrated_and_promoted():
    trained = train.train(world(1, 0.8), {}, seed=1)
    assert trained.skill, trained.why
    assert trained.report["brier_skill"] > 0.1
    assert trained.report["ece"] <= trained.report["ece_null_95"]
    assert all(line.passed for line in judged(trained)), judged(trained)


def test_skill_too_good_to_be_true_is_not_promoted():
    refused = [line.name for line in judged(train.train(world(1, 1.5), {}, seed=1)) if not line.passed]
    assert refused == ["gated Sharpe, too good to be true"]


@pytest.mark.long
def test_pure_noise_is_called_no_skill_and_never_promoted_in_twenty_worlds():
    results = [train.train(world(seed, 0.0, n=900), {}, seed=1) for seed in range(20)]
    promoted = sum(all(line.passed for line in judged(t)) for t in results)
    assert promoted <= 1
    assert sum(t.skill for t in results) <= 3


def test_no_block_reaches_into_the_next():
    frame = world(2, 0.5)
    session, exits = frame.get_column("session").to_numpy(), frame.get_column("exit_session").to_numpy()
    cut = train.blocks(session, exits)
    parts = [cut.fit, cut.calibrate, cut.judge, cut.holdout]
    for before, after in pairwise(parts):
        assert exits[before].max() < session[after].min()
        assert not (before & after).any()


def test_what_happens_in_the_holdout_changes_nothing_the_model_learned():
    """The mutant that scales, imputes or calibrates on all rows would fail here."""
    frame = world(3, 0.8)
    cut = train.blocks(frame.get_column("session").to_numpy(), frame.get_column("exit_session").to_numpy())
    spoiled = frame.with_columns(
        [
            pl.when(pl.Series(cut.holdout)).then(pl.col(c) * 50 + 7).otherwise(pl.col(c)).alias(c)
            for c in FEATURE_COLUMNS
        ]
    )
    assert train.train(frame, {}, seed=1).candidate == train.train(spoiled, {}, seed=1).candidate


def test_too_little_to_learn_from_is_refused():
    with pytest.raises(ModelError, match="too few"):
        train.train(world(4, 1.0, n=200), {}, seed=1)


def test_a_card_comes_back_as_it_was_and_other_features_are_refused():
    model = train.train(world(5, 1.0), {"ibs_rsi": {"ibs_max": 0.1}}, seed=1).candidate
    card = json.loads(json.dumps(to_json(model)))
    assert from_json(card) == model
    with pytest.raises(ModelError, match="other features"):
        from_json({**card, "schema_hash": "0"})


@pytest.mark.parametrize(("win", "loss", "gate"), [(0.8, 1.0, 0.60), (0.5, 1.0, 2 / 3 + 0.02), (0.0, 1.0, 1.02)])
def test_the_gate_knows_the_break_even(win, loss, gate):
    record = StrategyRecord(trades=100, wins=60, average_win_r=win, average_loss_r=loss)
    assert record.gate == pytest.approx(gate)


def test_a_model_speaks_only_from_its_evidence_on_and_a_changed_card_is_refused(tmp_path):
    ledger = SqlLedger(tmp_path / "kobe.db", SystemClock())
    registry = ModelRegistry(tmp_path / "models", ledger, FileArtifacts(), FileSigner(tmp_path / "keys"))
    record = {"ibs_rsi": StrategyRecord(trades=10, wins=6, average_win_r=1, average_loss_r=1)}
    model = MetaModel(kind="base_rate", records=record, strategy_params={}, logistic=None)
    ids = [registry.add(model, {"knowable_from": day, "why": day}, None) for day in ("2019-06-03", "2020-06-01")]
    for model_id in ids:
        registry.promote(model_id, "test")
    assert registry.champion(date(2019, 6, 2)) is None
    assert registry.champion(date(2019, 6, 3)) == ids[0]
    assert registry.champion(date(2020, 6, 1)) == ids[1]
    assert [e.state for e in registry.entries()] == ["retired", "champion"]
    card = tmp_path / "models" / ids[0] / "card.json"
    card.write_bytes(card.read_bytes().replace(b'"wins":6', b'"wins":9'))
    with pytest.raises(IntegrityError, match="changed"):
        registry.load(ids[0])
    ledger.close()
