"""The command line as a person and as a program meets it: exit codes, JSON, one-line errors, never a traceback."""

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from kit.command import kobe, one_line

from kobe.decisions import picks


def test_an_empty_home_says_what_to_do_next(tmp_path):
    one_line(kobe(tmp_path, "scan"), 4, "no bars", "kobe data import")
    one_line(kobe(tmp_path, "train-meta"), 4, "kobe walk-forward")
    one_line(kobe(tmp_path, "promote"), 4, "kobe train-meta")
    assert kobe(tmp_path, "audit", "verify").returncode == 0
    assert kobe(tmp_path, "status").returncode == 0
    assert (tmp_path / "STATUS.md").is_file()


def test_bad_words_are_usage_errors(tmp_path):
    assert kobe(tmp_path, "scan", "--session", "yesterday").returncode == 2
    assert kobe(tmp_path, "nonsense").returncode == 2
    one_line(kobe(tmp_path, "jobs", "run", "nonsense"), 2, "unknown job", "kobe jobs list")
    one_line(kobe(tmp_path, "data", "import", "x.csv", "--map", "nonsense"), 2, "OURS=THEIRS")


def test_picks_as_csv_are_the_file_and_no_pick_is_a_header(home):
    """A program reads the same columns every day, from the file, from stdout, and whether there is a pick or none."""
    told = {}
    for day in ("2024-12-12", "2024-12-30"):
        done = kobe(home, "scan", "--session", day, "--csv")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == (home / "reports" / day / "daily_picks.csv").read_text(encoding="utf-8")
        rows = [json.loads(line) for line in (home / "reports" / day / "daily_picks.jsonl").read_text().splitlines()]
        told[day] = list(csv.DictReader(io.StringIO(done.stdout)))
        assert all(row.keys() == set(picks.COLUMNS) for row in rows), "no column is missing"
        assert [(row["symbol"], float(row["raw_close"])) for row in told[day]] == [
            (row["symbol"], row["raw_close"]) for row in rows
        ]
        assert done.stdout.splitlines()[0] == ",".join(picks.COLUMNS)
    assert {bool(rows) for rows in told.values()} == {True, False}
    for odd in ("--json", "--why-not=SPY"):
        refused = kobe(home, "scan", "--csv", odd)
        assert (refused.returncode, refused.stdout) == (2, "")


def test_settings_that_cannot_be_used_are_refused_by_name(tmp_path):
    config = tmp_path / "config"
    config.mkdir()
    (config / "kobe.toml").write_text("[risk]\norder_max_usd = -5\n", encoding="utf-8")
    one_line(kobe(tmp_path, "config", "validate"), 3, "risk.order_max_usd")
    (config / "kobe.toml").write_text("[risk]\nordr_max_usd = 5\n", encoding="utf-8")
    one_line(kobe(tmp_path, "config", "validate"), 3, "ordr_max_usd")
    (config / "kobe.toml").write_text("not toml", encoding="utf-8")
    one_line(kobe(tmp_path, "config", "validate"), 3, "kobe.toml")


def test_the_environment_wins_over_the_file_and_origin_says_so(tmp_path):
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "kobe.toml").write_text("[risk]\nday_max_usd = 500\nmax_positions = 2\n", encoding="utf-8")
    done = kobe(tmp_path, "config", "show", "--json", env={"KOBE_RISK__DAY_MAX_USD": "750"})
    shown = json.loads(done.stdout)
    assert shown["values"]["risk.day_max_usd"] == "750"
    assert shown["origins"]["risk.day_max_usd"] == "environment"
    assert shown["origins"]["risk.max_positions"].endswith("kobe.toml")


def test_live_needs_both_keys(tmp_path):
    one_line(kobe(tmp_path, "submit-totd", "--live"), 3, "run.mode")


def test_scanning_the_future_a_holiday_and_a_day_before_the_bars(home):
    one_line(kobe(home, "scan", "--session", "2025-01-03"), 4, "no bars for the session", "kobe data import")
    one_line(kobe(home, "scan", "--session", "2024-12-25"), 4, "not a session")
    one_line(kobe(home, "scan", "--session", "1995-03-01"), 4, "no bars for the session")


def test_a_holiday_is_nothing_to_do(home):
    done = kobe(home, "submit-totd", "--as-of", "2024-12-25T09:35")
    assert done.returncode == 0
    assert "nothing to do" in done.stdout
    assert kobe(home, "jobs", "run", "scan", "--session", "2024-12-25").returncode == 0


def test_a_scan_speaks_json_and_its_files_say_the_same(home):
    done = kobe(home, "scan", "--session", "2024-12-20", "--json")
    told = json.loads(done.stdout)
    assert told["schema"] == "kobe.scan/2"
    assert any("SYNTHETIC" in b for b in told["banners"])
    written = (home / "reports" / "2024-12-20" / "daily_picks.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in written] == told["picks"]
    assert sum(told["funnel"].values()) == 101


def test_an_error_speaks_json_too(tmp_path):
    done = kobe(tmp_path, "scan", "--json")
    told = json.loads(done.stdout)
    assert (told["schema"], told["error"]["code"], told["error"]["exit_code"]) == ("kobe.error/1", "missing_data", 4)


def test_a_corrupt_parquet_and_a_missing_column_leave_the_store_as_it_was(home, tmp_path):
    before = (home / "data" / "bars" / "manifest.json").read_bytes()
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1nonsense")
    one_line(kobe(home, "data", "import", str(broken)), 4, "cannot be read")
    short = tmp_path / "short.csv"
    short.write_text("date,symbol,open\n2024-01-02,A,1\n", encoding="utf-8")
    one_line(kobe(home, "data", "import", str(short)), 4, "high, low, close, volume", "--map")
    assert (home / "data" / "bars" / "manifest.json").read_bytes() == before


def test_the_kill_switch_from_the_command_line(home):
    assert kobe(home, "kill", "drill").returncode == 0
    assert (home / "state" / "KILL_SWITCH").exists()
    done = kobe(home, "doctor", "--as-of", "2024-12-31T18:00")
    assert done.returncode != 0
    assert "drill" in done.stdout
    assert kobe(home, "resume").returncode == 0
    assert not (home / "state" / "KILL_SWITCH").exists()


def test_a_home_that_cannot_be_written_is_one_clear_error(tmp_path):
    blocker = tmp_path / "file"
    blocker.write_text("not a folder", encoding="utf-8")
    done = kobe(blocker / "home", "status")
    one_line(done, 3)


def test_a_database_somebody_else_holds_is_one_clear_error(home):
    import sqlite3

    connection = sqlite3.connect(home / "state" / "kobe.db", isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    try:
        one_line(kobe(home, "jobs", "run", "reconcile", "--session", "2024-12-30", "--as-of", "2024-12-30T16:20"), 5)
    finally:
        connection.execute("ROLLBACK")
        connection.close()


def test_a_damaged_audit_chain_is_named_and_exits_with_eight(home):
    path = home / "state" / "audit" / "audit.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], lines[2].replace(b"a", b"b", 1), *lines[3:]]))
    done = kobe(home, "audit", "verify")
    assert done.returncode == 8
    assert "DAMAGED" in done.stdout


def test_ctrl_c_that_falls_into_a_callback_from_c_is_an_interruption_no_fault():
    program = """
import ctypes, sys
from kobe.interfaces.cli import shell

@ctypes.CFUNCTYPE(None)
def loading():
    if sys.argv[1] == "interrupted":
        raise KeyboardInterrupt
    raise ValueError("seen by nobody but the log")

def run():
    loading()
    raise RuntimeError("no compiled object yet")

try:
    shell.show(run, json=False)
except shell.typer.Exit as done:
    sys.exit(done.exit_code)
"""
    command = [sys.executable, "-c", program]
    pressed = subprocess.run([*command, "interrupted"], capture_output=True, text=True, check=False)
    assert (pressed.returncode, pressed.stderr) == (130, "interrupted\n")
    broken = subprocess.run([*command, "broken"], capture_output=True, text=True, check=False)
    assert broken.returncode == 1
    assert "seen by nobody but the log" in broken.stderr
    assert "fault: RuntimeError: no compiled object yet" in broken.stderr


def test_the_demo_never_deletes_a_folder_that_is_not_its_own(tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_text("mine", encoding="utf-8")
    one_line(kobe(tmp_path, "demo", "--into", str(tmp_path / "precious")), 3, "not a demo's")
    assert (tmp_path / "precious" / "file").read_text(encoding="utf-8") == "mine"


def test_run_simulate_plays_sessions_and_run_once_does_what_is_due(home):
    done = kobe(home, "run", "--simulate", "2024-12-16", "2024-12-18", "--json")
    assert json.loads(done.stdout)["counts"] == {"ran": 36, "failed": 0, "already": 0}
    once = kobe(home, "run", "--once", "--as-of", "2024-12-19T09:35", "--json")
    assert [j[0] for j in json.loads(once.stdout)["jobs"]] == [
        "holdings",
        "reconcile-open",
        "exits-open",
        "scan",
        "submit",
    ]


def test_every_command_has_help_with_an_example():
    page = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")  # test_docs proves it fresh
    sections = dict(part.split("\n", 1) for part in page.split("## kobe ")[1:])
    assert len(sections) > 45
    assert [name for name, text in sections.items() if f"Example: kobe {name}" not in text] == []
    assert [name for name, text in sections.items() if "COMMAND [ARGS]" in text] == [], "a group whose commands miss"


@pytest.mark.parametrize("words", [("config", "show"), ("scan", "--session", "2024-12-12", "--dry-run")])
@pytest.mark.parametrize("more", [(), ("--json",)])
def test_a_reader_that_leaves_early_is_no_fault(home, words, more):
    command = [sys.executable, "-m", "kobe", "--home", str(home), *words, *more]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    told = process.stderr.read()
    process.stderr.close()
    assert (process.wait(), told) == (0, b"")
