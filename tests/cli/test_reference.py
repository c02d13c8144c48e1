"""Earnings, headlines and VIX as a person brings them in: files good and odd, the answers of each command."""

import json
from datetime import UTC, date, datetime

import polars as pl
import pytest
from kit.command import kobe, one_line


def told(home, *words) -> dict:
    done = kobe(home, *words, "--json")
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


def headlines(path, rows):
    schema = {"ts": pl.Datetime("us", "UTC"), "title": pl.String, "tickers": pl.String, "sentiment": pl.String}
    pl.DataFrame(rows, schema=schema, orient="row").write_parquet(path)


def test_headlines_serve_the_first_close_after_them_and_no_earlier_one(tmp_path):
    rows = [
        (datetime(2024, 6, 12, 15, 0, tzinfo=UTC), "Acme beats estimates", "ACME", "Positive"),
        (datetime(2024, 6, 12, 20, 0, tzinfo=UTC), "Profit warning at Acme", "ACME,OTHR", "Negative"),
        (datetime(2024, 6, 13, 15, 0, tzinfo=UTC), "", "ACME", "Neutral"),
    ]
    headlines(tmp_path / "h.parquet", rows)
    done = kobe(tmp_path, "news", "import", str(tmp_path / "h.parquet"), "--archive", "--json")
    assert done.returncode == 7
    assert json.loads(done.stdout)["aside"] == {"no_title": 1}
    before = told(tmp_path, "news", "show", "acme", "--session", "2024-06-12")
    after = told(tmp_path, "news", "show", "ACME", "--session", "2024-06-13")
    assert (before["headlines"], before["sentiment"] > 0.3) == (1, True)
    assert (after["headlines"], after["sentiment"] < -0.3) == (1, True)
    assert [r["title"] for r in before["newest"]] == ["Acme beats estimates"]
    table = told(tmp_path, "news", "agreement")["rows"]
    assert {r["scored by"] for r in table} == {"kobe", "stock VADER", "largest class"}
    assert sum(r["headlines"] for r in table if r["scored by"] == "kobe") == 3


def test_titles_are_scored_without_a_home(tmp_path):
    scores = told(tmp_path, "news", "score", "Profit warning: shares plunge 20%", "Acme beats estimates", "12 %")
    tones = [s["tone"] for s in scores["scores"]]
    assert tones[0] < -0.5 < 0.5 < tones[1]
    assert scores["scores"][2]["flag"] == "empty"


def test_an_earnings_calendar_blocks_as_it_was_known_and_a_dry_run_writes_nothing(tmp_path):
    path = tmp_path / "calendar.csv"
    path.write_text("symbol,date,part,known_at\nAAPL,2016-01-26,amc,2016-01-05T00:00:00Z\nbad symbol,2016-01-26,amc,\n")
    dry = kobe(tmp_path, "earnings", "import", str(path), "--dry-run")
    assert "Would import" in dry.stdout
    assert told(tmp_path, "earnings", "list")["events"] == []
    assert kobe(tmp_path, "earnings", "import", str(path)).returncode == 7
    assert [e["symbol"] for e in told(tmp_path, "earnings", "list", "--symbol", "aapl")["events"]] == ["AAPL"]
    assert told(tmp_path, "earnings", "list", "--from", "2016-02-01")["events"] == []

    def state(day):
        return told(tmp_path, "earnings", "window", "AAPL", "--session", day)["states"]["AAPL"]

    assert [state(d) for d in ("2016-01-05", "2016-01-22", "2016-01-25", "2016-01-28", "2016-01-29")] == [
        "unknown", "clear", "blocked", "blocked", "clear",
    ]  # fmt: skip


def test_the_vix_is_known_a_quarter_of_an_hour_after_the_close(tmp_path):
    frame = pl.DataFrame({"date": [date(2020, 3, 13), date(2020, 3, 16)], "open": [60.0, 57.0], "high": [80.0, 83.0],
                          "low": [50.0, 56.0], "close": [57.83, 82.69]})  # fmt: skip
    frame.write_csv(tmp_path / "vix.csv")
    one_line(kobe(tmp_path, "data", "vix", "show"), 4, "no VIX")
    assert kobe(tmp_path, "data", "vix", "import", str(tmp_path / "vix.csv")).returncode == 0
    levels = [told(tmp_path, "data", "vix", "show", "--as-of", f"2020-03-16T{t}")["close"] for t in ("16:14", "16:15")]
    assert levels == [57.83, 82.69]


@pytest.mark.parametrize("words", [("earnings", "import"), ("news", "import"), ("data", "vix", "import")])
def test_files_that_are_not_what_they_should_be_are_one_clear_line(tmp_path, words):
    one_line(kobe(tmp_path, *words, str(tmp_path / "none.csv")), 4, "no such file")
    for name, content in (("half.csv", b'a,b\n"1,2'), ("torn.parquet", b"PAR1 torn"), ("page.csv", b"<html>no</html>")):
        (tmp_path / name).write_bytes(content)
        done = kobe(tmp_path, *words, str(tmp_path / name))
        assert done.returncode == 4, done.stdout
        assert "Traceback" not in done.stderr
    one_line(kobe(tmp_path, "news", "agreement"), 4, "label", "kobe news import")


def test_an_empty_home_says_what_brings_the_vix_and_the_experiments(tmp_path):
    one_line(kobe(tmp_path, "data", "vix", "show"), 4, "next: kobe data vix import FILE")
    done = kobe(tmp_path, "experiments", "list")
    assert done.returncode == 0
    assert "None on record" in done.stdout
    assert "trials" not in done.stdout
