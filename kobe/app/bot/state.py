"""What the bot must not forget: how far it has read, and which confirmation it waits for. One small file."""

import hashlib
import hmac
import json
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

from kobe.core.clock import from_ns, to_ns
from kobe.core.errors import IntegrityError
from kobe.core.ids import canonical_json
from kobe.infra import durable

FILE = "bot.json"
VALID = timedelta(seconds=60)
MOST_STRANGERS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A command that waits for its confirmation; the code itself is not kept."""

    command: str
    chat: int
    person: int
    code_digest: str
    until_ns: int

    def is_confirmed(self, code: str, chat: int, person: int, instant: datetime) -> bool:
        """Whether a code is the one, from the same person in the same chat, in time."""
        same = hmac.compare_digest(self.code_digest, code_digest(code, self.command, chat, person))
        return same and (chat, person) == (self.chat, self.person) and instant <= from_ns(self.until_ns)


@dataclass(frozen=True, slots=True, kw_only=True)
class BotState:
    """Next update to read, confirmations waited for by chat, strangers that were noted."""

    offset: int = 0
    asked: dict[str, Asked] = field(default_factory=dict)
    strangers: tuple[int, ...] = ()

    def asking(self, asked: Asked) -> "BotState":
        """Return the state with a command waiting; one that waited in the same chat before is void."""
        return replace(self, asked={**self.asked, str(asked.chat): asked})

    def without(self, chat: int) -> "BotState":
        """Return the state with nothing waiting in a chat: a code is good for one try."""
        return replace(self, asked={k: v for k, v in self.asked.items() if k != str(chat)})


def asked_now(command: str, chat: int, person: int, code: str, instant: datetime) -> Asked:
    """Return a command that waits for a code from now on."""
    return Asked(command=command, chat=chat, person=person, code_digest=code_digest(code, command, chat, person),
                 until_ns=to_ns(instant + VALID))  # fmt: skip


def code_digest(code: str, command: str, chat: int, person: int) -> str:
    """Bind a code to what it confirms and to whom it was told."""
    return hashlib.sha256(canonical_json([code, command, chat, person]).encode()).hexdigest()


def read(state: Path) -> BotState:
    """Return the state kept in a folder; nothing kept is a bot that has read nothing.

    Raises:
        IntegrityError: the file is damaged; without it a command might be carried out twice.
    """
    path = state / FILE
    try:
        held = json.loads(path.read_bytes())
        asked = {str(k): Asked(**v) for k, v in held["asked"].items()}
        return BotState(offset=int(held["offset"]), asked=asked, strangers=tuple(held["strangers"]))
    except FileNotFoundError:
        return BotState()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise IntegrityError(
            "the bot's state is damaged", seen=f"{path.name}: {type(error).__name__}",
            expected="remove it a minute after the last command was written: older ones are refused",
        ) from error  # fmt: skip


def write(state: Path, kept: BotState) -> None:
    """Keep the state durably, before anything it allows is done."""
    told = {"offset": kept.offset, "asked": {k: asdict(v) for k, v in kept.asked.items()},
            "strangers": list(kept.strangers[-MOST_STRANGERS:])}  # fmt: skip
    durable.write_whole(state / FILE, f"{canonical_json(told)}\n".encode())
