"""The commands of watching as processes: exit codes, JSON, and nothing written by those that only look."""

import json

from kit.command import kobe


def test_a_home_that_is_not_there_yet_is_degraded_and_stays_away(tmp_path):
    done = kobe(tmp_path / "none", "health", "--json")
    assert (done.returncode, json.loads(done.stdout)["troubles"][0]["name"]) == (7, "model_missing")
    assert not (tmp_path / "none").exists()


def test_what_is_wrong_is_printed_for_people_and_numbers_for_programs(home):
    checked = kobe(home, "alerts", "check", "--dry-run")
    assert checked.returncode == 7
    assert "sessions behind what is due" in checked.stdout
    numbers = json.loads(kobe(home, "metrics", "--json", "--write", "kobe.prom").stdout)
    assert (home / "kobe.prom").read_text(encoding="utf-8") == numbers["text"]
