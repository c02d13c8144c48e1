"""`kobe data fetch` and `probe` as a user runs them, against a loopback server that is not always kind."""

import json
from datetime import date

import pytest
from kit import command
from kit.market_server import MarketServer, small_market

KEYS = {"POLYGON_API_KEY": "k-polygon", "APCA_API_KEY_ID": "k-id", "APCA_API_SECRET_KEY": "k-secret"}


def kobe(home, server, *arguments, **more):
    urls = dict.fromkeys(("polygon", "yahoo", "stooq", "alpaca"), server.url)
    config = home / "config" / "kobe.toml"
    config.parent.mkdir(parents=True, exist_ok=True)
    lines = "\n".join(f'{name} = "{url}"' for name, url in urls.items())
    config.write_text(f'[data]\nadjustment = "{more.pop("adjustment", "raw")}"\n[data.base_urls]\n{lines}\n')
    done = command.kobe(home, *arguments, env={**KEYS, **more})
    assert "Traceback" not in done.stderr
    assert not any(secret in done.stdout + done.stderr for secret in KEYS.values())
    return done


@pytest.fixture
def server(calendar):
    with MarketServer(small_market(calendar), page=400) as running:
        yield running


SPAN = ("--from", "2019-01-02", "--to", "2019-12-31")


@pytest.mark.parametrize("provider", ["polygon", "yahoo", "stooq", "alpaca"])
def test_a_fetch_fills_the_store_and_an_update_adds_to_it(tmp_path, server, provider):
    adjustment = "split" if provider == "stooq" else "raw"
    names = ["AAA"] if provider == "polygon" else ["AAA", "SPY"]  # five calls a minute, and this minute is a real one
    asked = ("data", "fetch", "--provider", provider, "--json")
    first = kobe(tmp_path, server, *asked, *names, *SPAN, adjustment=adjustment)
    assert first.returncode == 0, first.stderr
    told = json.loads(first.stdout)
    assert told["delivered"] == dict.fromkeys(names, provider)
    assert told["missing"] == {}
    again = kobe(tmp_path, server, *asked, "--to", "2020-03-31", adjustment=adjustment)
    assert again.returncode == 0, again.stdout
    assert json.loads(again.stdout)["last"] == "2020-03-31"
    status = json.loads(kobe(tmp_path, server, "data", "status", "--json", adjustment=adjustment).stdout)
    assert (status["symbols"], status["last"], status["source"]) == (len(names), "2020-03-31", provider)
    assert kobe(tmp_path, server, "data", "verify", adjustment=adjustment).returncode == 0
    fresh = json.loads(kobe(tmp_path, server, *asked, "--to", "2020-03-31", adjustment=adjustment).stdout)
    assert fresh["up_to_date"] == names


def test_the_next_provider_takes_over_and_what_nobody_has_is_named(tmp_path, server):
    server.faults[:] = ["html"]
    done = kobe(tmp_path, server, "data", "fetch", "AAA", "ZZZZ", "--provider", "alpaca,yahoo", *SPAN, "--json")
    assert done.returncode == 7
    told = json.loads(done.stdout)
    assert told["delivered"] == {"AAA": "yahoo"}
    assert set(told["failed"]) == {"ZZZZ"}
    assert set(told["failed"]["ZZZZ"]) == {"alpaca", "yahoo"}


def test_a_rehearsal_asks_nobody(tmp_path, server):
    done = kobe(tmp_path, server, "data", "fetch", "AAA", *SPAN, "--dry-run", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["symbols"] == ["AAA"]
    assert server.requests == []


def test_nobody_in_reach_and_no_key_have_their_own_exit_codes(tmp_path, server):
    ask = lambda *words, **more: kobe(tmp_path, server, "data", "fetch", *words, *SPAN, **more).returncode  # noqa: E731
    server.faults[:] = ["503"] * 40
    assert ask("AAA", "--provider", "stooq", adjustment="split") == 5
    server.faults[:] = []
    assert ask("AAA", "--provider", "polygon", POLYGON_API_KEY="") == 3
    assert ask("ZZZZ", "--provider", "yahoo") == 4
    assert ask("AAA", "--provider", "stooq") == 2
    assert ask("AAA", "--provider", "nobody") == 2
    assert ask() == 2


def test_a_probe_says_what_came(tmp_path, server):
    newest = server.market["SPY"].bars[-1]
    days = [date.fromordinal(date(2026, 11, 1).toordinal() - k) for k in range(400)]
    server.market["SPY"].bars = [(d, *newest[1:]) for d in sorted(days) if d.weekday() < 5] + [
        (d, *newest[1:]) for d in (date(2026, 11, 2 + k) for k in range(28)) if d.weekday() < 5]  # fmt: skip
    done = kobe(tmp_path, server, "data", "probe", "stooq", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["provider"] == "stooq"
    assert told["bars"] >= 4
