"""Whatever is answered, the settings file says it again; its reasons are those of the file of all settings."""

import re
import tomllib
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kobe.app import init_answers
from kobe.app.init_answers import CHANNELS, FEEDS, LINES, MODES, QUESTIONS, RUNNERS, SOURCES
from kobe.app.settings import Settings, load
from kobe.core.errors import ConfigError, UsageError

SHIPPED = Path(__file__).resolve().parents[3] / "config" / "kobe.toml"
PLAIN = init_answers.defaults(Settings())
WORDS = st.text(st.characters(exclude_categories=("C", "Z"), exclude_characters=","), min_size=1, max_size=40)
MONEY = st.decimals("0.01", "500", places=2).map(str)


@st.composite
def answers(draw):
    told = {
        "mode": draw(st.sampled_from(MODES)), "data": draw(st.sampled_from(SOURCES)),
        "feed": draw(st.sampled_from(FEEDS)), "notify": draw(st.sampled_from(CHANNELS)), "notify_to": draw(WORDS),
        "notify_host": draw(WORDS), "backups": "", "runner": draw(st.sampled_from(RUNNERS)),
    }  # fmt: skip
    low, high = sorted((draw(MONEY), draw(MONEY)), key=Decimal)
    return {**told, "order_max_usd": low, "day_max_usd": high}


@given(answers())
def test_the_file_loads_and_holds_every_answer_and_nothing_else(told):
    init_answers.check(told)
    text = init_answers.settings_text(told)
    settings = init_answers.read(text)
    assert init_answers.differences(settings, told) == []
    assert init_answers.extra_keys(text) == []
    again = init_answers.defaults(settings)
    asked = {q.name for q in QUESTIONS if q.applies(told)} - {"backups", "runner"}
    for name in asked - {"day_max_usd", "order_max_usd", "notify_to"}:
        assert again[name] == told[name], name
    assert settings.risk.day_max_usd == Decimal(told["day_max_usd"])
    assert init_answers.settings_text({**told, **{n: again[n] for n in asked}}) == text
    lines = [line for line in text.splitlines() if "=" in line and not line.startswith("#")]
    assert all("#" in line or line.startswith(("from", "to")) for line in lines)


def test_with_nothing_but_defaults_the_file_sets_nothing(tmp_path):
    text = init_answers.settings_text(PLAIN)
    assert tomllib.loads(text) == {}
    (tmp_path / "kobe.toml").write_text(text, encoding="utf-8")
    assert load(tmp_path, tmp_path / "kobe.toml")[0].model_dump() == Settings().model_dump()


def test_the_reasons_are_those_of_the_file_of_all_settings():
    section, told = "", {}
    for line in SHIPPED.read_text(encoding="utf-8").splitlines():
        if head := re.match(r"\[+([a-z_.]+)\]+", line):
            section = head[1]
        elif pair := re.match(r"([a-z_]+) = .*?#\s*(.*)", line):
            told[f"{section}.{pair[1]}"] = pair[2]
    assert {line.key: line.reason for line in LINES} == {line.key: told[line.key] for line in LINES}


@pytest.mark.parametrize(
    "changes",
    [
        {"mode": "real"}, {"data": "../files"}, {"feed": "cta", "mode": "paper"}, {"day_max_usd": "nan"},
        {"day_max_usd": "-1"}, {"day_max_usd": "0"}, {"day_max_usd": "1e3"}, {"day_max_usd": "one"},
        {"day_max_usd": "Infinity"}, {"day_max_usd": "9" * 12}, {"order_max_usd": "1000.01"},
        {"notify": "pigeon"}, {"notify": "telegram"}, {"notify": "telegram", "notify_to": "1\n[risk]"},
        {"notify": "webhook", "notify_to": "x" * 201}, {"notify": "email", "notify_to": "a@b"}, {"runner": "at"},
        {"backups": "a\x7fb"},
    ],
)  # fmt: skip
def test_an_answer_that_cannot_be_used_is_refused(changes):
    with pytest.raises(UsageError):
        init_answers.check({**PLAIN, **changes})


def test_what_a_file_holds_is_never_in_the_message_of_why_it_cannot_be_used():
    for text in ('[broker]\naccount_id = ["hush"]\n', '[run]\nmode = "hush"\n', '[hush\n"', "[run]\nhush = 1 1\n"):
        with pytest.raises(ConfigError) as raised:
            init_answers.read(text)
        assert "hush" not in raised.value.message
