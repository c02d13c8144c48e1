"""Intraday bars as a user handles them: imported once, gaps told, added up to longer bars that are complete."""

import json
from datetime import UTC, datetime, timedelta

import polars as pl
from kit import command


def kobe(home, *arguments):
    done = command.kobe(home, "data", "intraday", *arguments, "--json")
    assert "Traceback" not in done.stderr
    return done.returncode, json.loads(done.stdout)


def hours(path, missing=()):
    start = datetime(2024, 3, 4, tzinfo=UTC)
    stamps = [start + timedelta(hours=k) for k in range(72) if k not in missing]
    close = [100.0 + k for k in range(len(stamps))]
    pl.DataFrame({"ts": stamps, "symbol": "BTCUSDT", "open": close, "high": [c + 2 for c in close],
                  "low": [c - 2 for c in close], "close": close, "volume": 1.0}).write_parquet(path)  # fmt: skip
    return path


def test_bars_are_kept_once_and_their_gaps_and_days_are_told(tmp_path):
    file = hours(tmp_path / "btc.parquet", missing=(30, 31))
    asked = ("import", str(file), "--interval", "1h", "--market", "always", "--grid", "clock")
    code, told = kobe(tmp_path, *asked)
    assert (code, told["added"], told["aside"]) == (0, 70, {})
    code, told = kobe(tmp_path, *asked)
    assert (code, told["added"], told["known"]) == (0, 0, 70)
    code, told = kobe(tmp_path, "gaps", "--interval", "1h")
    assert [gap["bars"] for gap in told["gaps"]] == ["2"]
    code, told = kobe(tmp_path, "resample", "btcusdt", "--interval", "1h", "--to", "1d")
    assert [bar["volume"] for bar in told["bars"]] == [24.0, 22.0, 24.0]
    assert [round(bar["coverage"], 3) for bar in told["bars"]] == [1.0, 0.917, 1.0]
    assert kobe(tmp_path, "resample", "btcusdt", "--interval", "1h", "--to", "15m")[0] == 2
    assert kobe(tmp_path, "gaps", "--interval", "4h")[0] == 4
