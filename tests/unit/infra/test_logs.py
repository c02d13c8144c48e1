"""Logs reach the file as JSON and people as lines, and no secret reaches either."""

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import structlog

from kobe.core.clock import SteppingClock
from kobe.core.errors import ConfigError
from kobe.infra import logs

REPOSITORY = Path(__file__).parents[3]
SECRET = "PK/7 x+9=="


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    level = root.level
    yield
    logs.shutdown()
    structlog.reset_defaults()
    root.setLevel(level)


def written(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_an_event_is_one_json_line_and_one_plain_line(
    tmp_path: Path, clock: SteppingClock, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure(tmp_path / "logs" / "kobe.log", clock=clock)
    logs.logger("data").info("bars read", symbol="ABC", count=3)
    logs.logger("data").warning("bars are stale", days=2)
    logs.logger("data").debug("too fine")
    assert written(tmp_path / "logs" / "kobe.log") == [
        {"at": "2026-01-02T14:30:00.000+00:00", "level": "info", "event": "bars read", "symbol": "ABC", "count": 3},
        {"at": "2026-01-02T14:30:00.000+00:00", "level": "warning", "event": "bars are stale", "days": 2},
    ]
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", "warning bars are stale days=2\n")


@dataclass
class Account:
    name: str


def fail() -> None:
    raise RuntimeError(f"GET https://host/?apiKey={SECRET}")


def test_no_secret_passes_by_key_by_value_or_in_a_traceback(
    tmp_path: Path, clock: SteppingClock, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "kobe.log"
    logs.configure(path, "DEBUG", clock=clock, secrets=[SECRET, "", "4711"], console_level="DEBUG")
    log = logs.logger("broker")
    told = f"sent {SECRET}"
    log.info(told, API_KEY="abc", headers={"Authorization": "Basic abc", "accept": "json"})
    log.info("nested", rows=[{"client_secret": "abc"}, (SECRET, {SECRET: 1})], account=Account(SECRET), pin=4711)
    log.info("address", url="https://host/?k=PK%2F7%20x%2B9%3D%3D", raw=SECRET.encode())
    logging.getLogger("urllib").warning("GET %s", SECRET)
    try:
        fail()
    except RuntimeError:
        log.exception("failed")
        logging.getLogger("urllib").exception("failed")
    text = path.read_text(encoding="utf-8") + capsys.readouterr().err
    assert not [s for s in (SECRET, "PK%2F7", "abc", "4711") if s in text]
    first, second, _, foreign, traced, foreign_traced = written(path)
    assert (first["event"], first["API_KEY"]) == ("sent ***", "***")
    assert first["headers"] == {"Authorization": "***", "accept": "json"}
    assert second["rows"] == [{"client_secret": "***"}, ["***", {"***": 1}]]
    assert (second["account"], second["pin"]) == ("Account(name='***')", "***")
    assert foreign["event"] == "GET ***"
    assert "apiKey=***" in traced["exception"]
    assert "apiKey=***" in foreign_traced["exception"]


@pytest.mark.parametrize("key", ["token", "X-Api-Key", "PASSWORD", "bot_token_url", "clientSecret", "authorization"])
def test_values_of_telling_keys_are_hidden(key: str) -> None:
    assert logs.Redactor().value({key: ["a", "b"]}) == {key: "***"}


def test_a_value_that_holds_itself_does_not_hang() -> None:
    loop: dict[str, object] = {}
    loop["again"] = loop
    assert logs.Redactor(["s3cret"]).value({"loop": loop, "x": "s3cret"})["x"] == "***"


def test_what_came_from_outside_cannot_forge_a_line(
    tmp_path: Path, clock: SteppingClock, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure(tmp_path / "kobe.log", clock=clock)
    logs.logger("data").warning("name", name="x\nerror everything is lost\x1b[2J \ud800")
    assert len(written(tmp_path / "kobe.log")) == 1
    assert capsys.readouterr().err == "warning name name=x\\nerror everything is lost\\x1b[2J \\ud800\n"


def test_configuring_again_replaces_the_doors(tmp_path: Path, clock: SteppingClock) -> None:
    before = len(logging.getLogger().handlers)
    for name in ("a.log", "b.log"):
        logs.configure(tmp_path / name, clock=clock, console_level=None)
    logs.logger("app").info("once")
    assert [len(written(tmp_path / name)) for name in ("a.log", "b.log")] == [0, 1]
    logs.shutdown()
    assert len(logging.getLogger().handlers) == before


def test_an_unwritable_log_folder_is_a_matter_of_configuration(clock: SteppingClock, unwritable: Path) -> None:
    with pytest.raises(ConfigError, match="kobe doctor"):
        logs.configure(unwritable / "kobe.log", clock=clock)


def test_the_room_is_cheap_to_import() -> None:
    program = (
        "import sys, kobe.infra.logs, kobe.infra.locks, kobe.infra.kill_switch, kobe.infra.clock\n"
        "import kobe.infra.records.audit, kobe.infra.records.ledger, kobe.infra.records.artifacts\n"
        "heavy = {'structlog', 'sqlalchemy', 'filelock', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, check=True)
