"""The questions of `kobe init`, and what the answers make of the settings file."""

import json
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from kobe.app.config import flatten
from kobe.app.settings import Settings
from kobe.core.errors import ConfigError, UsageError

Answers = dict[str, str]
FILES, NONE = "files", "none"
MODES, FEEDS = ("sim", "paper", "live"), ("iex", "sip")
SOURCES = (FILES, "polygon", "yahoo", "stooq", "alpaca")
CHANNELS = (NONE, "console", "telegram", "slack", "discord", "email", "webhook")
RUNNERS = ("runner", "cron", "systemd", "windows", "kubernetes")
COMMENTS_AT = 30
LONGEST = 200
_SPOKEN_TO = ("telegram", "email", "webhook")
HEAD = """\
# What differs from kobe's defaults, made by kobe init; `kobe config show` names everything that can be set.
# Stronger than this file: a .env in the home, and the environment as KOBE_SECTION__KEY (KOBE_RISK__DAY_MAX_USD=500).
# Unknown keys are refused. No secret belongs here.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question: the option that answers it, its words, what may be said, and when it is asked at all."""

    name: str
    ask: str
    choices: tuple[str, ...] = ()
    applies: Callable[[Answers], bool] = lambda _: True
    is_money: bool = False
    may_be_empty: bool = False

    def fault(self, said: str) -> str:
        """Return what is wrong with an answer, or nothing."""
        if self.choices:
            return "" if said in self.choices else f"one of {', '.join(self.choices)}"
        if self.is_money:
            return "" if _money(said) is not None else "dollars above 0, such as 75 or 99.50"
        if not said.strip() and not self.may_be_empty:
            return "something"
        if len(said) > LONGEST or not said.isprintable():
            return f"at most {LONGEST} printable characters"
        return ""


QUESTIONS: tuple[Question, ...] = (
    Question(name="mode", ask="Trade simulated, on paper or live", choices=MODES),
    Question(name="data", ask="Bars come from your files or a provider", choices=SOURCES),
    Question(name="feed", ask="Feed of quotes and bars at Alpaca: iex is free, sip needs a subscription", choices=FEEDS,
             applies=lambda a: a["mode"] != "sim" or a["data"] == "alpaca"),
    Question(name="day_max_usd", ask="Most dollars of opening orders a day", is_money=True),
    Question(name="order_max_usd", ask="Most dollars of one opening order", is_money=True),
    Question(name="notify", ask="Messages go to", choices=CHANNELS),
    Question(name="notify_to", ask="To whom: the chat's number, an e-mail address, or the webhook's address",
             applies=lambda a: a["notify"] in _SPOKEN_TO),
    Question(name="notify_host", ask="The mail server", applies=lambda a: a["notify"] == "email"),
    Question(name="backups", ask="Folder of the backups, best on another disk (empty: state/backups)",
             may_be_empty=True),
    Question(name="runner", ask="Who wakes kobe: its own runner, or entries for", choices=RUNNERS),
)  # fmt: skip
"""In the order they are asked. An option of `kobe init` answers each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One key that the answers decide: its place, its value, and the reason the file gives for it."""

    key: str
    value: Callable[[Answers], Any]
    reason: str


def _providers(answers: Mapping[str, str]) -> list[str]:
    return ["polygon", "yahoo"] if answers["data"] == FILES else [answers["data"]]


def _channels(answers: Mapping[str, str]) -> list[dict[str, Any]]:
    kind, to = answers["notify"], answers["notify_to"].strip()
    if kind == NONE:
        return []
    fields: dict[str, Any] = {"kind": kind}
    if kind == "telegram":
        fields["chat_id"] = to
    elif kind == "webhook":
        fields["url"] = to
    elif kind == "email":
        people = [one.strip() for one in to.split(",")]
        fields |= {"host": answers["notify_host"].strip(), "user": people[0], "from": people[0], "to": people}
    return [fields]


LINES: tuple[Line, ...] = (
    Line(key="run.mode", value=lambda a: a["mode"], reason="sim is the embedded broker; nothing leaves this machine"),
    Line(key="data.providers", value=_providers, reason="asked in this order, symbol by symbol"),
    Line(key="data.alpaca_feed", value=lambda a: a["feed"] if a["data"] == "alpaca" else "iex",
         reason="iex is free and a few percent of the volume; sip is the whole tape"),
    Line(key="risk.order_max_usd", value=lambda a: _money(a["order_max_usd"]),
         reason="limit times quantity of one opening order"),
    Line(key="risk.day_max_usd", value=lambda a: _money(a["day_max_usd"]),
         reason="opening notional per New York date, spent and reserved"),
    Line(key="broker.feed", value=lambda a: a["feed"] if a["mode"] != "sim" else "iex",
         reason="sip needs a subscription"),
    Line(key="schedule.fetch", value=lambda a: a["data"] != FILES,
         reason="true: bars are fetched from data.providers after the close and before the open"),
    Line(key="notify.channels", value=_channels,
         reason="none: messages are kept and nothing leaves; see the commented block below"),
)  # fmt: skip
"""The reasons are those of the file of all settings; a test compares them."""


def defaults(settings: Settings) -> Answers:
    """Return the answers that settings amount to, so that asking again changes nothing."""
    channel = settings.notify.channels[0] if settings.notify.channels else None
    told = (channel.chat_id or channel.url or ", ".join(channel.to)) if channel else ""
    feed = settings.broker.feed if settings.run.mode != "sim" else settings.data.alpaca_feed
    return {
        "mode": settings.run.mode,
        "data": settings.data.providers[0] if settings.schedule.fetch and settings.data.providers else FILES,
        "feed": feed,
        "day_max_usd": _plain(settings.risk.day_max_usd),
        "order_max_usd": _plain(settings.risk.order_max_usd),
        "notify": channel.kind if channel else NONE,
        "notify_to": told,
        "notify_host": channel.host if channel else "",
        "backups": "",
        "runner": RUNNERS[0],
    }


def check(answers: Answers) -> None:
    """See that answers can be used together.

    Raises:
        UsageError: one cannot be, or the cap of an order is above the budget of the day.
    """
    for question in QUESTIONS:
        if question.applies(answers) and (fault := question.fault(answers[question.name])):
            option = f"--{question.name.replace('_', '-')}"
            raise UsageError(f"{option} cannot be used", seen=answers[question.name] or "nothing", expected=fault)
    order, day = _money(answers["order_max_usd"]), _money(answers["day_max_usd"])
    if order is not None and day is not None and order > day:
        raise UsageError("one order may not cost more than the day", seen=f"{order} > {day}",
                         expected="--order-max-usd at most --day-max-usd")  # fmt: skip


def chosen(answers: Answers) -> dict[str, Any]:
    """Return every key the answers decide, by its place."""
    return {line.key: line.value(answers) for line in LINES}


def settings_text(answers: Answers) -> str:
    """Return the settings file: only what differs from the defaults, each with its reason.

    Raises:
        ConfigError: the settings would refuse it.
    """
    plain, parts = flatten(Settings().model_dump()), [HEAD]
    section = ""
    for line in LINES:
        value = line.value(answers)
        if value == _as_written(plain[line.key]):
            continue
        table, _, name = line.key.partition(".")
        if line.key == "notify.channels":
            parts += [f"\n[[notify.channels]]\n{_block(block)}" for block in value]
            continue
        if table != section:
            parts.append(f"\n[{table}]\n")
            section = table
        parts.append(f"{f'{name} = {_toml(value)}':<{COMMENTS_AT - 1}} # {line.reason}\n")
    text = "".join(parts)
    read(text)
    return text


def read(text: str) -> Settings:
    """Read the text of a settings file by itself, without `.env` and environment.

    Raises:
        ConfigError: it is no TOML, or the settings refuse it. No value stands in the message.
    """
    try:
        return Settings.model_validate(tomllib.loads(text))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"setting {place}: {first['msg']}", next_command="kobe config validate") from None
    except ValueError as error:
        raise ConfigError("it is not TOML", seen=error, next_command="kobe config validate") from None


def read_file(path: Path) -> Settings:
    """Read the settings file of a home by itself.

    Raises:
        ConfigError: it cannot be read, is no TOML, or the settings refuse it.
    """
    try:
        return read(path.read_bytes().decode("utf-8"))
    except OSError as error:
        raise ConfigError("it cannot be read", seen=error.strerror) from None
    except UnicodeDecodeError:
        raise ConfigError("it is not UTF-8 text") from None


def differences(there: Settings, answers: Answers) -> list[tuple[str, str, str]]:
    """Return (key, what is there, what the answers want) of every key that the answers decide otherwise."""
    has = flatten(there.model_dump())
    found = []
    for key, wanted in chosen(answers).items():
        now = _as_written(has[key])
        if now != wanted:
            found.append((key, _shown(now), _shown(wanted)))
    return found


def extra_keys(text: str) -> list[str]:
    """Return what a settings file sets besides what the answers decide."""
    decided = {line.key for line in LINES}
    return sorted(set(flatten(tomllib.loads(text))) - decided)


def _block(fields: Mapping[str, Any]) -> str:
    comments = {
        "kind": "telegram, slack, discord, email, webhook, console", "chat_id": "the number of the chat",
        "host": "the mail server; port 587 with STARTTLS unless port and security say otherwise",
        "user": "its password is KOBE_SMTP_PASSWORD, in .env", "url": "messages are posted there, signed",
    }  # fmt: skip
    return "".join(
        f"{f'{name} = {_toml(value)}':<{COMMENTS_AT - 1}} # {comments[name]}\n" if name in comments
        else f"{name} = {_toml(value)}\n"
        for name, value in fields.items()
    )  # fmt: skip


def _money(text: str) -> Decimal | None:
    """Read dollars as people write them; None where it is no amount above zero."""
    try:
        amount = Decimal(text.strip())
    except InvalidOperation:
        return None
    is_plain = amount.is_finite() and amount > 0 and "e" not in text.lower() and amount < Decimal(10) ** 9
    return amount if is_plain else None


def _plain(amount: Decimal) -> str:
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Decimal):
        return _plain(value)
    if isinstance(value, list):
        return f"[{', '.join(_toml(one) for one in value)}]"
    return json.dumps(value, ensure_ascii=False)


def _as_written(value: Any) -> Any:
    """Return a value of the settings as a file would hold it."""
    if isinstance(value, tuple | list):
        return [_as_written(one) for one in value]
    if isinstance(value, dict):  # a channel: only what says where it goes
        named = {**value, "from": value.get("sender", "")}
        names = ("kind", "chat_id", "url", "host", "user", "from", "to")
        return {name: _as_written(named[name]) for name in names if named.get(name)}
    return value


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(one["kind"] if isinstance(one, dict) else str(one) for one in value) or NONE
    return (
        _plain(value) if isinstance(value, Decimal) else str(value).lower() if isinstance(value, bool) else str(value)
    )
