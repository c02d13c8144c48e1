"""Every runbook, worked through: its trouble is made, seen as the page says, mended by its commands, and over."""

import json
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from kit import runbook
from kit.alpaca_server import KEY, SECRET, AlpacaServer
from kit.door import Done, Door, door
from kit.home import LAST, at, copy_home
from kit.killing import ENVIRONMENT
from kit.notify_server import NotifyServer
from kit.runbook import FOLDER, Scene

from kobe.app import wiring
from kobe.app.watching.alerts import ALERTS

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="forks, signals and limits of POSIX")
long = pytest.mark.long
PAGES = sorted(path.stem for path in FOLDER.glob("*.md") if path.stem != "README")
HEADINGS = ("You see", "kobe has already", "Do", "Over when", "Next time")
SECRETS = ("KOBE_HOME", "APCA_API_KEY_ID", "APCA_API_SECRET_KEY", "ALPACA_API_KEY", "ALPACA_SECRET_KEY",
           "KOBE_TELEGRAM_TOKEN")  # fmt: skip
CHANNEL = """
[[notify.channels]]
kind = "telegram"
chat_id = "1"
base_url = "{url}"
"""


def then(day: date, hour: int, minute: int) -> datetime:
    """A New York time."""
    return at(day, hour, minute).now()


@pytest.fixture(scope="module")
def kobe() -> Iterator[Door]:
    """The command line, imported once."""
    with door(*SECRETS, COLUMNS="300") as opened:
        yield opened


@pytest.fixture(scope="module")
def day(calendar) -> date:
    """The first session after the home's evidence."""
    return calendar.offset(LAST, -15)


@pytest.fixture(scope="module")
def morning(kobe, day, made_home, tmp_path_factory) -> Path:
    """A home at 08:01: the morning's jobs are done, nothing is wrong, last night's backup is there."""
    folder = copy_home(made_home, tmp_path_factory.mktemp("morning") / "home")
    for hour, minute in ((6, 30), (8, 0)):
        assert kobe.kobe(folder, "run", "--once", at=then(day, hour, minute)).code == 0
    assert kobe.kobe(folder, "backup", "create").code == 0
    return folder


@pytest.fixture
def troubled(kobe, day, morning, tmp_path):
    """Begin a page: a copy of the home, five minutes after the open."""

    def begin(page: str, **more) -> Scene:
        (backup,) = sorted((morning / "state" / "backups").iterdir())
        fills = {"BACKUP": backup.name}
        mine = copy_home(morning, tmp_path / "home")
        return Scene(page, kobe, mine, **{"at": then(day, 9, 35), "fills": fills, **more})

    return begin


@pytest.fixture(scope="module")
def prices(morning, day) -> dict[str, float]:
    """The last closes of the pick of the day and of what a probe asks for."""
    ctx = wiring.build(morning, clock=at(day, 9, 0))
    (report,) = (morning / "reports" / str(day)).glob("morning.json")
    pick = json.loads(report.read_text(encoding="utf-8"))["pick"]["top"][0]["symbol"]
    past = ctx.panel().until(ctx.calendar.number(ctx.calendar.previous(day)))
    ctx.ledger.close()
    return {symbol: round(float(past[symbol].close[-1]), 2) for symbol in (*past.symbols[:3], pick)}


@pytest.fixture
def alpaca(prices):
    """A made-up Alpaca in place of the simulated broker, for the homes of scenes; quotes are as new as its clock."""
    with AlpacaServer() as server:
        for symbol, price in prices.items():
            server.set_asset(symbol)
            server.set_quote(symbol, price, round(price + 0.02, 2), last=price)
        yield server


def trades_at(server: AlpacaServer, scene: Scene) -> Scene:
    """Let a home trade at the made-up Alpaca."""
    scene.env |= {"KOBE_RUN__MODE": "paper", "KOBE_BROKER__READ_TIMEOUT_S": "2", "KOBE_BROKER__BASE_URL": server.url,
                  "KOBE_BROKER__DATA_URL": server.url}  # fmt: skip
    keys = scene.home / ".env"
    keys.write_text(f"APCA_API_KEY_ID={KEY}\nAPCA_API_SECRET_KEY={SECRET}\n", encoding="utf-8")
    keys.chmod(0o600)
    server.set_clock(scene.at)
    return scene


def runs_once(scene: Scene) -> Done:
    """Let cron wake kobe."""
    return scene.door.kobe(scene.home, "run", "--once", at=scene.at, env=scene.env)


def later(scene: Scene, minutes: float, server: AlpacaServer | None = None) -> None:
    """Let time pass, at the broker too."""
    scene.at += timedelta(minutes=minutes)
    if server is not None:
        server.set_clock(scene.at)


def nothing() -> None:
    """Stands for what a person does to the machine around kobe."""


def service(scene: Scene) -> dict[str, Callable[[], object]]:
    """What stands for stopping and starting the runner's service."""
    return {"sudo systemctl stop kobe-run": nothing, "sudo systemctl start kobe-run": lambda: runs_once(scene)}


def test_a_broker_that_is_down_at_the_open(troubled, alpaca):
    scene = trades_at(alpaca, troubled("broker-down"))
    alpaca.fault("*", "/", "504", times=-1)
    assert runs_once(scene).code == 7
    scene.work("see")
    later(scene, 3, alpaca)
    scene.work("do", {"# the broker answers again": alpaca.clear_faults})
    scene.work("over")


@long
def test_a_clock_that_is_wrong(troubled, alpaca):
    scene = trades_at(alpaca, troubled("wrong-clock"))
    alpaca.set_clock(skew_s=9.0)
    runs_once(scene)
    scene.work("see")
    scene.work("do", {"sudo timedatectl set-ntp true": lambda: alpaca.set_clock(scene.at, skew_s=0.0)})
    scene.work("over")


@long
def test_an_order_whose_end_nobody_knows(troubled, alpaca):
    scene = trades_at(alpaca, troubled("order-unknown"))
    alpaca.fault("POST", "/v2/orders", "lost_after")
    alpaca.fault("GET", "/v2/orders:by_client_order_id", "504", times=-1)
    assert runs_once(scene).code == 7
    later(scene, 2, alpaca)
    scene.work("see")
    scene.work("do", {"# the broker answers again": alpaca.clear_faults})
    scene.work("over")
    assert [o["side"] for o in alpaca.orders()] == ["buy", "sell"]


@long
def test_a_position_whose_stop_is_gone(troubled, alpaca):
    scene = trades_at(alpaca, troubled("position-without-stop"))
    runs_once(scene)
    (stop,) = (o for o in alpaca.orders() if o["side"] == "sell")
    alpaca.end_order(stop["client_order_id"], "canceled")
    later(scene, 5, alpaca)
    scene.work("see")
    scene.work("do")
    scene.work("over")


def test_a_kill_switch_nobody_remembers(troubled):
    scene = troubled("kill-switch")
    (scene.home / "state" / "KILL_SWITCH").touch()
    runs_once(scene)
    for block in ("see", "do", "over"):
        scene.work(block)


def test_a_chain_that_was_cut(troubled):
    scene = troubled("chain-broken")
    chain = scene.home / "state" / "audit" / "audit.jsonl"
    chain.write_bytes(b"".join(chain.read_bytes().splitlines(keepends=True)[:-2]))
    scene.work("see")
    scene.work("do", service(scene))
    scene.work("over")
    assert (scene.home / "state.damaged").is_dir()


def test_a_disk_without_room(troubled):
    scene = troubled("disk-full", most_bytes=8000)
    (scene.home / "cache").mkdir(exist_ok=True)
    scene.work("see")
    scene.most_bytes = None
    scene.work("do")
    scene.work("over")


@long
def test_a_ledger_that_another_program_holds(troubled):
    scene = troubled("database")
    with closing(sqlite3.connect(scene.home / "state" / "kobe.db")) as browser:
        browser.execute("BEGIN EXCLUSIVE")
        scene.work("see locked")
        scene.work("do locked", {"# the other program ends": browser.rollback})
    scene.work("over")


@long
def test_a_ledger_that_is_damaged(troubled):
    scene = troubled("database")
    runs_once(scene)
    ledger = scene.home / "state" / "kobe.db"
    for beside in ("kobe.db-wal", "kobe.db-shm"):
        ledger.with_name(beside).unlink(missing_ok=True)
    content = ledger.read_bytes()
    ledger.write_bytes(content[:4096] + b"\x7f" * 8192 + content[12288:])
    scene.work("see damaged")
    scene.work("do damaged", service(scene))
    scene.work("over")


@pytest.mark.parametrize("block", ["do", pytest.param("train", marks=long)])
def test_a_model_that_was_changed(troubled, block):
    scene = troubled("model")
    listed = scene.door.kobe(scene.home, "models", "list", "--json")
    card = scene.home / "state" / "models" / json.loads(listed.out)["champion"] / "card.json"
    card.chmod(0o600)
    card.write_text(card.read_text(encoding="utf-8").replace("ibs", "ibt", 1), encoding="utf-8")
    scene.work("see")
    scene.work(block)
    scene.work("over")


def test_messages_that_do_not_arrive(troubled):
    with NotifyServer() as server:
        scene = troubled("messages")
        with (scene.home / "config" / "kobe.toml").open("a", encoding="utf-8") as settings:
            settings.write(CHANNEL.format(url=server.url))
        (scene.home / ".env").write_text(f"KOBE_TELEGRAM_TOKEN={server.token}\n", encoding="utf-8")
        server.faults.append("401")
        scene.work("see")
        scene.work("do", {"# the token in .env is right again": server.faults.clear})
        scene.work("over")
        assert len(server.texts("telegram")) == 2


def test_bars_that_did_not_come(troubled, day, tmp_path):
    scene = troubled("stale-data")
    ctx = wiring.build(scene.home)
    every = ctx.store.frame()
    ctx.ledger.close()
    files = {"old": every.filter(pl.col("date") < day - timedelta(days=3)), "new": every.filter(pl.col("date") < LAST)}
    for name, frame in files.items():
        frame.write_parquet(tmp_path / f"{name}.parquet")
    scene.fills["FILE"] = str(tmp_path / "new.parquet")
    assert scene.door.kobe(scene.home, "data", "import", str(tmp_path / "old.parquet"), "--replace").code == 0
    for block in ("see", "do", "over"):
        scene.work(block)


@contextmanager
def runner(scene: Scene) -> Iterator[subprocess.Popen]:
    """A process that holds the lease and beats at the scene's time; it is killed at the end."""
    command = [sys.executable, "-m", "kit.still_runner", str(scene.home), scene.at.isoformat()]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, env=ENVIRONMENT, text=True) as process:
        assert process.stdout.readline() == "beats\n"
        yield process
        process.kill()


@long
def test_a_second_runner(troubled):
    scene = troubled("duplicate-runner")
    runs_once(scene)
    with runner(scene):
        scene.work("see")
        scene.work("do", {"sudo systemctl disable --now kobe-once.timer": nothing})
        scene.work("over")


@long
def test_a_runner_that_died_on_friday(troubled):
    friday, monday = date(2024, 12, 13), date(2024, 12, 16)
    scene = troubled("runner-died")
    scene.fills["DATE"] = str(friday)
    for hour, minute in ((6, 30), (8, 0), (9, 35)):
        scene.at = then(friday, hour, minute)
        runs_once(scene)
    with runner(scene):
        pass
    scene.at = then(monday, 8, 5)
    scene.work("see")
    with ExitStack() as started:
        scene.work("do", {"sudo systemctl start kobe-run": lambda: started.enter_context(runner(scene))})
        scene.work("over")


@long
def test_a_backup_and_an_upgrade(troubled, alpaca, day, tmp_path):
    scene = trades_at(alpaca, troubled("../operations"))
    runs_once(scene)
    scene.work("backup")
    scene.fills |= {"HOME": str(scene.home), "TRY": str(tmp_path / "try"),
                    "FROM": str(day), "TO": str(day + timedelta(days=2))}  # fmt: skip
    scene.work("upgrade")


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_short_says_the_same_five_things_and_is_worked_through(page):
    text = (FOLDER / f"{page}.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 80
    headings = re.findall(r"^## ([^,\n]*)", text, flags=re.MULTILINE)
    assert list(dict.fromkeys(headings)) == list(HEADINGS)
    assert f'troubled("{page}"' in Path(__file__).read_text(encoding="utf-8")
    marked = runbook.blocks(text)
    assert all(step.code is not None for steps in marked.values() for step in steps if step.line.startswith("kobe "))
    assert "over" in marked


def test_the_list_of_pages_leads_from_every_alert_to_a_page_or_command():
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert set(PAGES) == set(re.findall(r"\]\(([a-z-]+)\.md\)", text))
    rows = re.findall(r"^\| `([a-z_]+)` \| (.+) \|$", text, flags=re.MULTILINE)
    assert [name for name, _ in rows] == [rule.name for rule in ALERTS]
