"""A verdict passes only what was computed and holds; what is absurd, unknown or unasked passes nothing."""

import sys
from dataclasses import fields, replace
from types import SimpleNamespace

import pytest

from kobe.app.judgement import Statistics
from kobe.app.verdict import verdict

GOOD = Statistics(
    sessions=2000, sharpe=1.4, trades=900, win_rate=0.6, profit_factor=1.8, trials=40, trial_sharpe_sd=0.2, psr=0.99,
    expected_max_sharpe=0.4, dsr=0.97, needed_sessions=700.0, pbo=0.1, pbo_low=0.05, pbo_high=0.2, market_sharpe=0.7,
    market_cagr=0.1, costs_x2_profit_factor=1.4, absurd=False, spa_cash=0.01, random_mean_r_p=0.005,
    random_sharpe_p=0.005, random_excess_t=3.0,
)  # fmt: skip
EVIDENCE = SimpleNamespace(sharpe_interval=(0.5, 2.1), positive_windows=0.7)
NAN = float("nan")


def failed(**changes) -> list[str]:
    return [line.name for line in verdict(EVIDENCE, replace(GOOD, **changes)).lines if not line.passed]


def test_evidence_that_meets_every_condition_says_so():
    found = verdict(EVIDENCE, GOOD)
    assert all(line.passed for line in found.lines)
    assert "holds up" in found.headline
    assert found.does_not_support == ()


@pytest.mark.parametrize(
    ("name", "bound", "beyond"),
    [("sharpe", 1.0001, 1.0), ("profit_factor", 1.5001, 1.5), ("trades", 30, 29), ("sessions", 504, 503),
     ("dsr", 0.95, 0.9499), ("pbo", 0.20, 0.2001), ("spa_cash", 0.05, 0.0501), ("random_mean_r_p", 0.05, 0.0501),
     ("random_excess_t", 1.6451, 1.645), ("costs_x2_profit_factor", 1.2001, 1.2)],
)  # fmt: skip
def test_each_condition_holds_at_its_bound_and_fails_just_beyond(name, bound, beyond):
    assert failed(**{name: bound}) == []
    assert len(failed(**{name: beyond})) == 1
    assert "Trading it live." in verdict(EVIDENCE, replace(GOOD, **{name: beyond})).does_not_support


@pytest.mark.parametrize("name", ["spa_cash", "random_mean_r_p", "random_excess_t"])
def test_what_was_not_asked_and_what_cannot_be_had_pass_nothing(name):
    for value in (None, NAN):
        lines = verdict(EVIDENCE, replace(GOOD, **{name: value})).lines
        assert [line.passed for line in lines].count(None) == 1


def test_a_missing_library_is_named_with_the_command_that_brings_it(monkeypatch):
    said = {line.name: line.value for line in verdict(EVIDENCE, replace(GOOD, spa_cash=NAN)).lines}
    monkeypatch.setitem(sys.modules, "arch.bootstrap", None)
    without = {line.name: line.value for line in verdict(EVIDENCE, replace(GOOD, spa_cash=NAN)).lines}
    changed = {name: value for name, value in without.items() if value != said[name]}
    assert changed == {"Superior ability against cash, p": "not installed: pip install 'kobe[research]'"}


def test_unknown_figures_pass_nothing():
    numbers = [f.name for f in fields(Statistics) if f.name in {"sharpe", "profit_factor", "dsr", "pbo"}]
    assert len(failed(**dict.fromkeys(numbers, NAN))) == 4


def test_what_is_too_good_to_be_true_is_refused_whatever_else_holds():
    found = verdict(EVIDENCE, replace(GOOD, sharpe=7.0, absurd=True))
    assert found.headline.startswith("Too good to be true")
    assert failed(absurd=True) == ["Not too good to be true"]


def test_an_interval_that_includes_zero_is_no_edge():
    weak = SimpleNamespace(sharpe_interval=(-0.4, 0.9), positive_windows=0.5)
    found = verdict(weak, replace(GOOD, sharpe=0.3, dsr=0.2, needed_sessions=9000.0))
    assert found.headline.startswith("No edge is shown")
    assert any("9,000 sessions" in said for said in found.does_not_support)
    assert any("40 tries" in said for said in found.does_not_support)
