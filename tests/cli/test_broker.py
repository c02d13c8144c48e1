"""`kobe broker`: the simulated broker, a real one out of reach, and one that speaks Alpaca's API."""

import json
from pathlib import Path

import pytest
from kit.alpaca_server import KEY, SECRET, AlpacaServer
from kit.command import kobe, one_line

KEYS = {"APCA_API_KEY_ID": KEY, "APCA_API_SECRET_KEY": SECRET}


def paper_home(folder: Path, url: str, **broker: str) -> Path:
    lines = {"base_url": url, "data_url": url, **broker}
    (folder / "config").mkdir(parents=True, exist_ok=True)
    text = '[run]\nmode = "paper"\n[broker]\n' + "".join(f'{k} = "{v}"\n' for k, v in lines.items())
    (folder / "config" / "kobe.toml").write_text(text, encoding="utf-8")
    return folder


def told(done, code=0):
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    assert SECRET not in done.stdout + done.stderr
    assert KEY not in done.stdout + done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def server():
    with AlpacaServer() as running:
        for symbol in ("SPY", "AAPL", "MSFT"):
            running.set_quote(symbol, "100.00", "100.02")
        yield running


def test_the_simulated_broker_is_reached_and_its_books_are_shown(home):
    moment = ("--as-of", "2024-12-20T10:00", "--json")
    probe = told(kobe(home, "broker", "probe", *moment))
    assert {name: c["result"] for name, c in probe["checks"].items()} == dict.fromkeys(
        ("keys", "clock", "account", "quotes", "calendar"), "ok"
    )
    assert told(kobe(home, "broker", "account", *moment))["blocked"] is False
    assert told(kobe(home, "broker", "orders", *moment))["orders"] == []
    assert told(kobe(home, "broker", "positions", *moment))["differences"] == []


def test_a_paper_broker_is_reached_and_shown_beside_the_ledger(server, tmp_path):
    home = paper_home(tmp_path, server.url)
    probe = told(kobe(home, "broker", "probe", "--json", env=KEYS))
    assert {c["result"] for c in probe["checks"].values()} == {"ok"}
    assert probe["environment"] == "paper"
    assert probe["checks"]["quotes"]["feeds"] == ["iex"]
    assert set(probe["checks"]["clock"]["latency"]) == {"least_ms", "median_ms", "most_ms"}
    server.foreign_position("AAPL", 3, "100")
    server.foreign_order(
        "SPY", 1, "buy", type="limit", time_in_force="gtc", limit_price="50", client_order_id="by-hand"
    )
    orders = told(kobe(home, "broker", "orders", "--json", env=KEYS))
    assert [(o["name"], o["ledger"], o["same"]) for o in orders["orders"]] == [("by-hand", "not in the ledger", False)]
    positions = told(kobe(home, "broker", "positions", "--json", env=KEYS))
    assert positions["positions"] == [{"symbol": "AAPL", "ledger": 0, "broker": 3}]
    assert positions["differences"] == ["AAPL"]
    shown = kobe(home, "broker", "account", env=KEYS)
    assert shown.returncode == 0
    assert "equity_usd" in shown.stdout
    assert not {r["method"] for r in server.requests()} - {"GET"}


def test_what_differs_is_named_with_a_remedy(server, tmp_path):
    home = paper_home(tmp_path, server.url, account_id="somebody-else")
    server.set_clock(skew_s=30)
    server.set_account(trading_blocked=True)
    checks = told(kobe(home, "broker", "probe", "--json", env=KEYS), 7)["checks"]
    assert {name for name, c in checks.items() if c["result"] == "DIFFERS"} == {"clock", "account"}
    assert all(c["next"] for c in checks.values() if c["result"] != "ok")
    assert "blocked" in checks["account"]["seen"]


def test_a_calendar_that_differs_is_told_day_by_day(server, tmp_path):
    from datetime import UTC, datetime

    from kobe.core.calendar import xnys

    day = xnys().next(datetime.now(UTC).date())
    server.set_session(day, ("09:30", "12:00"))
    checks = told(kobe(paper_home(tmp_path, server.url), "broker", "probe", "--json", env=KEYS), 7)["checks"]
    assert checks["calendar"]["different"] == [day.isoformat()]


def test_a_broker_out_of_reach_is_5_and_the_other_checks_are_still_made(tmp_path):
    home = paper_home(tmp_path, "http://127.0.0.1:9")
    checks = told(kobe(home, "broker", "probe", "--json", env=KEYS), 5)["checks"]
    assert checks["keys"]["result"] == "ok"
    assert [c["result"] for n, c in checks.items() if n != "keys"] == ["FAIL"] * 4
    one_line(kobe(home, "broker", "account", env=KEYS), 5, "does not answer", "kobe broker probe")


def test_missing_and_refused_keys_are_3_and_say_which(server, tmp_path):
    home = paper_home(tmp_path, server.url)
    none = dict.fromkeys(KEYS, "")
    one_line(kobe(home, "broker", "account", env=none), 3, "APCA_API_KEY_ID", "APCA_API_SECRET_KEY", "kobe config show")
    assert told(kobe(home, "broker", "probe", "--json", env=none), 3)["checks"]["keys"]["result"] == "FAIL"
    wrong = {"APCA_API_KEY_ID": "PKWRONG", "APCA_API_SECRET_KEY": "nonsense"}
    done = kobe(home, "broker", "account", env=wrong)
    one_line(done, 3, "refuses the keys")
    assert "WRONG" not in done.stderr
    assert server.orders() == []


def test_an_address_of_somebody_else_is_refused_before_a_key_leaves(tmp_path):
    home = paper_home(tmp_path, "https://paper-api.alpaca.markets.example")
    one_line(kobe(home, "broker", "account", env=KEYS), 3, "not one of its own")


def test_a_feed_that_is_not_in_the_plan_is_3_and_names_the_setting(server, tmp_path):
    server.configure(sip=False)
    home = paper_home(tmp_path, server.url, feed="sip")
    checks = told(kobe(home, "broker", "probe", "--json", env=KEYS), 3)["checks"]
    assert "sip" in checks["quotes"]["seen"]
    assert checks["account"]["result"] == "ok"
