"""`kobe leakcheck` as a program meets it: one JSON document, 0 when nothing leaks, 8 when something does."""

import json

import pytest
from kit import command


def kobe(home, *words):
    return command.kobe(home, "leakcheck", *words)


def test_an_honest_pipeline_is_0_and_a_leaking_one_is_8(tmp_path):
    small = ("--synthetic", "--symbols", "10", "--cuts", "1", "--json")
    done = kobe(tmp_path, *small)
    told = json.loads(done.stdout)
    assert (done.returncode, told["schema"], told["alarms"]) == (0, "kobe.leakcheck/1", [])
    assert {"clean", "nothing to compare"} >= {p["verdict"] for p in told["probes"]}
    assert any("SYNTHETIC" in b for b in told["banners"])
    leaking = kobe(tmp_path, *small, "--plant", "exits_of_tomorrow")
    assert leaking.returncode == 8
    assert {a["probe"] for a in json.loads(leaking.stdout)["alarms"]} >= {"signals"}


def test_an_empty_store_says_what_to_do(tmp_path):
    done = kobe(tmp_path)
    assert done.returncode == 4
    assert "kobe data import" in done.stderr


@pytest.mark.long
def test_every_mutant_is_named_with_what_caught_it(tmp_path):
    done = kobe(tmp_path, "--synthetic", "--symbols", "12", "--cuts", "2", "--mutants", "--json")
    told = json.loads(done.stdout)
    assert done.returncode == 0
    assert len(told["mutants"]) >= 15
    for mutant in told["mutants"]:
        assert mutant["caught"], mutant["mutant"]
        assert set(mutant["alarm"]) >= {"probe", "test", "cut", "symbol", "session", "column", "whole", "known"}
