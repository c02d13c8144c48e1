"""The bot on a loopback Telegram: who is answered, what an operator may do and how often, what a restart repeats."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
from kit.home import LAST, at
from kit.notify_server import NotifyServer

from kobe.app import desk, wiring
from kobe.app.bot import polling as bot
from kobe.app.bot.answers import QUESTIONS
from kobe.app.scan import ScanRequest, run_scan
from kobe.core.errors import ConfigError, ExternalError
from kobe.core.types import Mode
from kobe.infra.locks import Lease

CHAT, OPERATOR, READER, STRANGER = 7, 70, 71, 66


@pytest.fixture
def server():
    with NotifyServer() as one:
        yield one


def settle_in(folder, server, *, more: str = ""):
    (folder / "config").mkdir(parents=True, exist_ok=True)
    text = f"""{more}
[notify.bot]
enabled = true
chats = [{CHAT}]
operators = [{OPERATOR}]
base_url = "{server.url}"
"""
    (folder / "config" / "kobe.toml").write_text(text, encoding="utf-8")
    (folder / ".env").write_text(f"KOBE_TELEGRAM_TOKEN={server.token}\n", encoding="utf-8")
    return folder


def audited(folder) -> list[tuple[str, str]]:
    lines = (folder / "state" / "audit" / "audit.jsonl").read_text(encoding="utf-8").splitlines()
    found = [json.loads(line) for line in lines]
    return [(p["command"], p["outcome"]) for r in found if r["kind"] == "bot_command" for p in [r["payload"]]]


def ask(ctx, server, text: str, **more) -> str:
    """Write to the bot and return what it answers, empty for nothing."""
    before = len(server.taken)
    server.say(text, chat=more.pop("chat", CHAT), person=more.pop("person", OPERATOR), **more)
    bot.poll_once(ctx)
    return "\n".join(t.text for t in server.taken[before:])


def code_of(answer: str) -> str:
    return re.search(r"/confirm (\d{6})", answer).group(1)


def test_strangers_get_no_answer_and_are_noted_once(tmp_path, server):
    ctx = wiring.build(settle_in(tmp_path, server))
    for _ in range(3):
        assert ask(ctx, server, "/status", chat=STRANGER) == ""
    assert server.requests == 0
    text = (tmp_path / "state" / "audit" / "audit.jsonl").read_text(encoding="utf-8")
    assert text.count('"bot_stranger"') == 1


def test_an_operator_stops_and_resumes_with_a_code_and_nobody_else_does(tmp_path, server):
    ctx = wiring.build(settle_in(tmp_path, server))
    assert "for operators" in ask(ctx, server, "/kill", person=READER)
    code = code_of(ask(ctx, server, "/kill"))
    assert "nothing was done" in ask(ctx, server, f"/confirm {code}", person=READER)
    assert "nothing was done" in ask(ctx, server, f"/confirm {code}"), "one try, whoever made it"
    code = code_of(ask(ctx, server, "/kill@kobe_bot"))
    assert ctx.kill_switch.reason() is None
    assert "Kill switch is on" in ask(ctx, server, f"/confirm {code}")
    assert ctx.kill_switch.reason() == f"telegram person {OPERATOR} in chat {CHAT}"
    assert "nothing was done" in ask(ctx, server, f"/confirm {code}")
    code = code_of(ask(ctx, server, "/stopentry"))
    assert "REDUCE_ONLY" in ask(ctx, server, f"/confirm {code}")
    assert desk.current_mode(ctx).mode is Mode.REDUCE_ONLY
    answer = ask(ctx, server, f"/confirm {code_of(ask(ctx, server, '/resume'))}")
    assert "mode NORMAL" in answer
    assert ctx.kill_switch.reason() is None
    assert audited(tmp_path) == [
        ("/kill", "refused: no operator"), ("/kill", "asked"), ("/confirm", "refused: no such confirmation"),
        ("/confirm", "refused: no such confirmation"), ("/kill", "asked"), ("/kill", "confirmed"), ("/kill", "done"),
        ("/confirm", "refused: no such confirmation"), ("/stopentry", "asked"), ("/stopentry", "confirmed"),
        ("/stopentry", "done"), ("/resume", "asked"), ("/resume", "confirmed"), ("/resume", "done"),
    ]  # fmt: skip


def test_what_was_said_at_the_desk_is_neither_loosened_nor_taken_back_from_a_phone(tmp_path, server):
    from kobe.app.mode import run_mode_set

    ctx = wiring.build(settle_in(tmp_path, server))
    run_mode_set(ctx, "HALT", "maintenance")
    for command in ("/stopentry", "/resume"):
        answer = ask(ctx, server, f"/confirm {code_of(ask(ctx, server, command))}")
        assert "HALT" in answer
        assert desk.current_mode(ctx).mode is Mode.HALT


def test_a_command_is_carried_out_once_whatever_telegram_repeats(tmp_path, server):
    ctx = wiring.build(settle_in(tmp_path, server))
    code = code_of(ask(ctx, server, "/kill"))
    server.say(f"/confirm {code}", chat=CHAT, person=OPERATOR)
    assert bot.poll_once(ctx) == 1
    ctx.kill_switch.release()
    server.forget = False
    again = wiring.build(tmp_path)
    assert bot.poll_once(again) == 0
    assert again.kill_switch.reason() is None
    assert audited(tmp_path).count(("/kill", "done")) == 1


def test_old_forwarded_and_unreadable_messages_do_nothing(tmp_path, server):
    ctx = wiring.build(settle_in(tmp_path, server))
    assert "was not carried out" in ask(ctx, server, "/kill", at=time.time() - 90)
    code = code_of(ask(ctx, server, "/kill"))
    assert ask(ctx, server, f"/confirm {code}", forward_origin={"type": "user"}) == ""
    assert ask(ctx, server, "hello") == ""
    for unreadable in ({"edited_message": {}}, {"message": {"chat": {"id": "x"}}}, {"message": None}):
        server.updates.append({"update_id": 100 + len(server.updates), **unreadable})
    assert bot.poll_once(ctx) == 0
    assert "/stopentry" in ask(ctx, server, "/what")
    assert ctx.kill_switch.reason() is None


def test_every_question_is_answered_and_changes_nothing(home, server):
    settle_in(home, server, more="[meta]\nweekly = false\n")
    plain = wiring.build(home)
    days = [plain.calendar.offset(LAST, -k) for k in range(12)]
    scans = ((day, run_scan(plain, ScanRequest(session=day, dry_run=True)).data["picks"]) for day in days)
    day, symbol = next((day, picks[0]["symbol"]) for day, picks in scans if picks)
    ctx = wiring.build(home, clock=at(day, 17, 0))
    run_scan(ctx, ScanRequest())
    ctx.ledger.close()
    files = [home / "state" / "kobe.db", home / "state" / "audit" / "audit.jsonl"]
    before, said = [file.read_bytes() for file in files], {}
    for command in QUESTIONS:
        words = f"{command} {symbol.lower()}" if command == "/why" else command
        said[command] = ask(ctx, server, words, person=READER, at=ctx.clock.now().timestamp())
        assert said[command], command
        assert "fault in kobe" not in said[command], (command, said[command])
        assert len(said[command]) <= 4096
    assert symbol in said["/picks"]
    assert symbol in said["/why"]
    assert "which symbol?" in ask(ctx, server, "/why", person=READER, at=ctx.clock.now().timestamp())
    ctx.ledger.close()
    assert [file.read_bytes() for file in files] == before
    assert not (home / "STATUS.md").exists()


def test_the_bot_answers_until_sigterm_and_ends_at_once_while_it_waits(tmp_path, server):
    settle_in(tmp_path, server)
    env = {**os.environ, "KOBE_HOME": str(tmp_path)}
    process = subprocess.Popen([sys.executable, "-m", "kobe", "bot"], env=env, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)  # fmt: skip
    server.say("/next", chat=CHAT, person=READER)
    assert server.wait_for(1)
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 143, err
    assert time.monotonic() - began < 4.0
    assert "1 answered" in out
    assert server.token not in out + err


def test_a_bot_that_is_off_tokenless_refused_or_running_elsewhere_says_so(tmp_path, server):
    with pytest.raises(ConfigError, match="the bot is off"):
        bot.poll_once(wiring.build(tmp_path / "off"))
    ctx = wiring.build(settle_in(tmp_path, server))
    with Lease(ctx.paths.locks, "bot", ctx.clock), pytest.raises(ExternalError, match="holds bot"):
        bot.poll_once(ctx)
    (tmp_path / ".env").unlink()
    with pytest.raises(ConfigError, match="KOBE_TELEGRAM_TOKEN is not set"):
        bot.poll_once(ctx)
