"""The registry forgets nothing: a question keeps its name, each combination counts once, a holdout opens once."""

from datetime import UTC, datetime

import pytest

from kobe.core.clock import SteppingClock
from kobe.core.errors import IntegrityError, UsageError
from kobe.infra.records.artifacts import FileArtifacts
from kobe.infra.records.ledger import SqlLedger
from kobe.learning.experiments import Experiments, Question, differences, trial_rows

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.fixture
def registry(tmp_path):
    ledger = SqlLedger(tmp_path / "kobe.db", SteppingClock(NOW))
    yield Experiments(tmp_path / "experiments", ledger, FileArtifacts())
    ledger.close()


def question(kind="walk_forward", market="real", seed=81, **request) -> Question:
    return Question(kind=kind, request=request, inputs={"bars": "b", "market": market}, seed=seed)


def rows(*names: str, strategy="ibs_rsi"):
    return trial_rows([{"strategy": strategy, "params_hash": n, "params": "{}", "trades": 30, "objective": None,
                        "sharpe": 0.01} for n in names])  # fmt: skip


def test_the_same_question_has_the_same_name_and_each_run_of_it_is_kept(registry):
    first = registry.record(question(grid="full"), rows("a", "b"), {"sharpe": 1.0}, {}, code="c1")
    again = registry.record(question(grid="full"), rows("b", "a"), {"sharpe": 1.0}, {}, code="c2")
    other = registry.record(question(grid="one"), rows("a"), {"sharpe": 0.5}, {}, code="c2")
    assert first.experiment_id == again.experiment_id != other.experiment_id
    assert [r.number for r in registry.runs()] == [1, 2, 1]
    assert first.results_digest == again.results_digest
    assert first.trials_file == again.trials_file, "the order in which combinations were tried is not what was tried"
    assert registry.find(first.experiment_id[:6]).code == "c2"
    assert registry.trials_of(first).get_column("params_hash").to_list() == ["a", "b"]


def test_what_was_looked_at_counts_once_over_all_runs_of_a_strategy_and_a_market(registry):
    registry.record(question(grid="full"), rows("a", "b"), {}, {}, code="c")
    registry.record(question(kind="optimize", tries=3), rows("b", "c", "d"), {}, {}, code="c")
    registry.record(question(market="synthetic"), rows("e"), {}, {}, code="c")
    registry.record(question(kind="backtest"), rows("f", strategy="turtle_soup"), {}, {}, code="c")
    assert registry.looked_at("ibs_rsi", "real") == {"a", "b", "c", "d"}
    assert registry.looked_at("ibs_rsi", "synthetic") == {"e"}
    assert registry.looked_at("turtle_soup", "real") == {"f"}
    assert registry.looked_at("nobody", "real") == set()


def test_a_holdout_opens_once_and_the_second_asker_is_told_who_was_first(registry):
    registry.open_holdout("span-1", {"who": "anna", "for": "ibs_rsi"})
    with pytest.raises(UsageError, match=r"anna.*ibs_rsi"):
        registry.open_holdout("span-1", {"who": "bert", "for": "turtle_soup"})
    registry.open_holdout("span-2", {"who": "bert", "for": "turtle_soup"})
    assert [h["who"] for h in registry.holdouts()] == ["anna", "bert"]


def test_a_name_that_is_none_or_two_is_refused_and_lost_trials_stop_the_line(registry):
    run = registry.record(question(), rows("a"), {}, {}, code="c")
    registry.record(question(grid="x"), rows("b"), {}, {}, code="c")
    with pytest.raises(UsageError, match="no such"):
        registry.find("zz")
    with pytest.raises(UsageError, match="several"):
        registry.find("")
    (registry.folder / run.trials_file).write_bytes(b"torn")
    with pytest.raises(IntegrityError, match="trials"):
        registry.looked_at("ibs_rsi", "real")


def test_differences_name_the_key_and_both_values():
    assert differences({"a": 1, "b": {"c": 2, "d": 3}}, {"a": 1, "b": {"c": 5}, "e": 0}) == [
        ("b.c", 2, 5), ("b.d", 3, None), ("e", None, 0),
    ]  # fmt: skip
