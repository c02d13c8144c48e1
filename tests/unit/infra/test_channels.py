"""Every channel: what arrives is what was said, and every answer has its class, without a secret in it."""

import hashlib
import hmac
import json
import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kit.notify_server import NotifyServer
from kit.smtp_server import MailServer

from kobe.core.messages import Message, Severity
from kobe.infra.channels import CHANNELS
from kobe.infra.channels.discord import LIMITS as DISCORD
from kobe.infra.channels.kit import ChannelKit, Fate
from kobe.infra.channels.slack import LIMITS as SLACK
from kobe.infra.channels.telegram import LIMITS as TELEGRAM
from kobe.infra.channels.telegram import escaped
from kobe.infra.channels.text import divide
from kobe.infra.channels.wire import address_fault

NOW = datetime(2026, 3, 5, 15, 0, tzinfo=UTC)
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
HTTP = ("telegram", "slack", "discord", "webhook")
ANSWERS = {
    "": Fate.DELIVERED, "429 7": Fate.AGAIN, "500": Fate.AGAIN, "503": Fate.AGAIN, "400": Fate.NEVER,
    "401": Fate.NEVER, "404": Fate.NEVER, "drop": Fate.UNKNOWN, "hang": Fate.UNKNOWN, "bad gateway": Fate.UNKNOWN,
}  # fmt: skip


def message(**more) -> Message:
    told = {"key": "eod:2026-03-05", "kind": "end_of_day", "severity": Severity.WARNING, "title": "P&L +1.5% (AAA_b)",
            "lines": ("1. <AAA> *up* [x](y) `z` @everyone", "done!")}  # fmt: skip
    return Message(**{**told, **more})


@pytest.fixture
def server():
    with NotifyServer() as one:
        yield one


def channel(kind: str, server: NotifyServer, **more):
    secret = {"telegram": server.token, "slack": f"{server.url}/slack/hidden-token",
              "discord": f"{server.url}/discord/hidden-token", "webhook": "hidden-token"}.get(kind, "")  # fmt: skip
    kit = ChannelKit(name=kind, secret=secret, secret_name="SECRET", base_url=server.url, chat_id="-10042",
                     url=f"{server.url}/hook", timeouts=(1.0, 0.3))  # fmt: skip
    return CHANNELS[kind](replace(kit, **more))


def send(one, told: Message) -> list:
    return [one.send(part, NOW) for part in one.parts(told)]


@pytest.mark.parametrize("kind", HTTP)
@pytest.mark.parametrize("fault", ANSWERS)
def test_every_answer_has_its_class_and_no_reply_holds_a_secret(kind, fault, server):
    server.faults.append(fault)
    (reply,) = send(channel(kind, server), message())
    assert reply.fate is ANSWERS[fault]
    assert reply.after_s == (7.0 if fault.startswith("429") else None)
    assert "hidden-token" not in str(reply)
    assert server.token not in str(reply)
    server.released.set()


@pytest.mark.parametrize("kind", HTTP)
def test_a_closed_port_is_worth_another_try(kind, server):
    with NotifyServer() as gone:
        closed = channel(kind, gone)
    (reply,) = send(closed, message())
    assert reply.fate is Fate.AGAIN


def test_telegram_says_in_the_body_how_long_it_wants_to_be_left_alone(server):
    server.faults.append("429 in the body")
    (reply,) = send(channel("telegram", server), message())
    assert (reply.fate, reply.after_s) == (Fate.AGAIN, 11.0)


def unescaped(text: str) -> str:
    return re.sub(r"\\([_*\[\]()~`>#+\-=|{}.!\\])", r"\1", text)


def test_telegram_gets_escaped_text_and_a_picture_with_a_caption(server):
    told = message(picture=PNG, picture_alt="equity")
    assert [r.fate for r in send(channel("telegram", server), told)] == [Fate.DELIVERED]
    (arrived,) = server.taken
    assert arrived.picture == PNG
    assert arrived.told["chat_id"] == "-10042"
    assert arrived.told["parse_mode"] == "MarkdownV2"
    first, rest = arrived.text.split("\n", 1)
    assert unescaped(first[1:-1]) == "WARNING: P&L +1.5% (AAA_b)"
    assert (first[0], first[-1]) == ("*", "*")
    assert unescaped(rest) == "\n".join(told.lines)
    assert not re.search(r"(?<!\\)[_*\[\]()~`>#+\-=|{}.!]", rest)


def test_a_long_text_beside_a_picture_follows_it_in_parts_that_fit(server):
    lines = tuple(f"line {k} with some words, {'x' * (k % 90)}" for k in range(200))
    send(channel("telegram", server), message(picture=PNG, lines=lines))
    picture, *texts = server.taken
    assert picture.picture == PNG
    assert all(len(unescaped(t.text)) <= 4096 for t in texts)
    assert "\n".join(unescaped(t.text) for t in texts) == "\n".join(lines)


def test_slack_and_discord_mention_nobody(server):
    told = message(picture=PNG, picture_alt="equity")
    send(channel("slack", server), told)
    send(channel("discord", server), told)
    slack, discord = server.taken
    assert "<AAA>" not in slack.text
    assert "[picture: equity]" in slack.text
    assert discord.picture == PNG
    assert discord.told["allowed_mentions"] == {"parse": []}
    assert discord.told["attachments"][0]["description"] == "equity"


def test_a_webhook_s_reader_can_prove_who_sent_it_and_knows_a_repetition(server):
    one = channel("webhook", server)
    send(one, message(picture=PNG))
    send(one, message(picture=PNG))
    first, second = server.taken
    assert first.headers["Idempotency-Key"] == second.headers["Idempotency-Key"] == "eod:2026-03-05"
    signed = first.headers["X-Kobe-Timestamp"].encode() + b"." + first.body
    proof = hmac.new(b"hidden-token", signed, hashlib.sha256).hexdigest()
    assert first.headers["X-Kobe-Signature"] == f"sha256={proof}"
    assert json.loads(first.body)["lines"] == list(message().lines)


def test_the_console_lets_no_control_character_through(server, capsys):
    send(channel("console", server), message(title="up\x1b[2J\rdown", lines=("a\x07",)))
    out, err = capsys.readouterr()
    assert out == ""
    assert "\x1b" not in err
    assert "\r" not in err
    assert "2026-03-05 15:00:00Z WARNING: up" in err


@pytest.mark.parametrize("kind", CHANNELS)
def test_a_channel_without_its_secret_says_which_variable_it_wants(kind, server):
    lacks = channel(kind, server, secret="", host="mail.example.com", sender="a@b.c", to=("d@e.f",), user="a").lacks
    assert lacks == ("" if kind == "console" else "SECRET is not set")


@pytest.mark.parametrize("url", ["http://hooks.slack.com/x", "https://hooks.slack.com.evil.example/x", "ftp://x", "",
                                 "http://127.0.0.1.evil.example/"])  # fmt: skip
def test_nothing_is_sent_to_another_host_or_in_the_clear(url, server):
    (reply,) = send(channel("slack", server, secret=url), message())
    assert reply.fate is Fate.NEVER
    assert address_fault("https://hooks.slack.com/services/x", frozenset({"hooks.slack.com"})) == ""


MAIL_ANSWERS = {
    "": Fate.DELIVERED, "RCPT 550": Fate.NEVER, "RCPT 451": Fate.AGAIN, "DATA 451": Fate.AGAIN, "END 554": Fate.NEVER,
    "END 452": Fate.AGAIN, "END drop": Fate.UNKNOWN,
}  # fmt: skip


@pytest.mark.parametrize("fault", MAIL_ANSWERS)
def test_mail_arrives_with_its_picture_or_has_its_class(fault):
    with MailServer(faults=[fault]) as server:
        kit = ChannelKit(name="email", host="127.0.0.1", port=server.port, security="none", sender="kobe@example.com",
                         to=("a@example.com", "b@example.com"), timeouts=(1.0, 1.0))  # fmt: skip
        (reply,) = send(CHANNELS["email"](kit), message(picture=PNG, picture_alt="equity over 60 sessions"))
    assert reply.fate is MAIL_ANSWERS[fault]
    assert len(server.mails) == (fault in {"", "END drop"})
    for mail in server.mails:
        text, picture = mail.iter_parts()
        assert mail["Subject"] == "WARNING: P&L +1.5% (AAA_b)"
        assert mail["To"] == "a@example.com, b@example.com"
        assert "1. <AAA> *up*" in text.get_content()
        assert "equity over 60 sessions" in text.get_content()
        assert picture.get_content() == PNG
        assert picture["Content-Description"] == "equity over 60 sessions"


def test_mail_to_another_machine_is_never_in_the_clear():
    kit = ChannelKit(name="email", host="mail.example.com", security="none", sender="a@b.c", to=("d@e.f",))
    assert "starttls or ssl" in CHANNELS["email"](kit).lacks


LIMITS = {"telegram": TELEGRAM, "slack": SLACK, "discord": DISCORD}
TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=600)


@given(st.sampled_from(sorted(LIMITS)), TEXT, st.lists(TEXT, max_size=6), st.integers(1, 40), st.booleans())
def test_parts_fit_and_together_hold_every_letter_once(kind, title, lines, repeated, pictured):
    limits = LIMITS[kind]
    told = message(title=title, lines=tuple(line * repeated for line in lines), picture=PNG if pictured else None)
    parts = divide(told, limits)
    assert parts == divide(told, limits)
    assert len({p.key for p in parts}) == len(parts)
    for k, part in enumerate(parts):
        marked = replace(part, again=True)
        room = limits.caption if part.with_picture else limits.text
        assert limits.size(marked.text) <= room, k
    if pictured and limits.caption:
        assert [p.with_picture for p in parts] == [True] + [False] * (len(parts) - 1)
    letters = lambda text: "".join(text.split())  # noqa: E731
    said = letters("".join(f"{p.title}{p.body}" for p in parts).removeprefix("WARNING: "))
    assert said.startswith(letters(title + "".join(told.lines)))


@given(TEXT)
def test_escaped_text_reads_as_it_was_written(text):
    assert unescaped(escaped(text)) == text
