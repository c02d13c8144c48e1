"""A confirmation is good for one person, one chat, one command, one minute."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from kobe.app.bot import state as bot_state
from kobe.app.bot.state import BotState, asked_now
from kobe.core.errors import IntegrityError

NOW = datetime(2026, 3, 5, 15, 0, tzinfo=UTC)


def test_a_code_confirms_nothing_else_and_nobody_else():
    asked = asked_now("/kill", 7, 8, "123456", NOW)
    assert asked.is_confirmed("123456", 7, 8, NOW + timedelta(seconds=60))
    assert not asked.is_confirmed("123456", 7, 8, NOW + timedelta(seconds=61))
    assert not asked.is_confirmed("123457", 7, 8, NOW)
    assert not asked.is_confirmed("123456", 9, 8, NOW)
    assert not asked.is_confirmed("123456", 7, 9, NOW)
    assert not replace(asked, command="/resume").is_confirmed("123456", 7, 8, NOW)


def test_what_is_kept_comes_back_and_the_code_is_not_in_the_file(tmp_path):
    kept = BotState(offset=12, strangers=(5,)).asking(asked_now("/kill", 7, 8, "123456", NOW))
    bot_state.write(tmp_path, kept)
    assert bot_state.read(tmp_path) == kept
    assert b"123456" not in (tmp_path / bot_state.FILE).read_bytes()
    assert bot_state.read(tmp_path / "elsewhere") == BotState()


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"offset": "x", "asked": {}, "strangers": []}', b"\xff"])
def test_a_damaged_file_stops_the_bot(content, tmp_path):
    (tmp_path / bot_state.FILE).write_bytes(content)
    with pytest.raises(IntegrityError, match="damaged"):
        bot_state.read(tmp_path)
