"""What kobe tells people: a message with a severity and a key, and the port that keeps it until it is told."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol


class Severity(IntEnum):
    """How much a message matters; channels take those from their own least severity on."""

    INFO = 10
    WARNING = 20
    URGENT = 30

    @property
    def word(self) -> str:
        """The name in lower case, as settings and JSON write it."""
        return self.name.lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """Something to tell.

    Attributes:
        key: its identity; what was told under a key is never told again.
        kind: what it is about, such as `job_failed` or `end_of_day`.
        severity: decides who is told, and whether quiet hours hold it back.
        title: one line of plain text.
        lines: the rest, plain text; each channel escapes it for itself.
        picture: a PNG, or None.
        picture_alt: the picture in words.
    """

    key: str
    kind: str
    severity: Severity
    title: str
    lines: tuple[str, ...] = ()
    picture: bytes | None = None
    picture_alt: str = ""

    @property
    def text(self) -> str:
        """Title and lines as plain text."""
        return "\n".join((self.title, *self.lines))


class Notifier(Protocol):
    """Keeps messages durably and sends them when their channels answer."""

    def tell(self, message: Message) -> bool:
        """Write a message down for every channel that wants it; False when its key was told before.

        It is durable when this returns; nothing is sent yet and no channel's failure is the caller's.
        """
        ...

    def deliver(self) -> int:
        """Send what is due now, each message at most once by us, and return how many are still waiting."""
        ...


class Silence:
    """A notifier that tells nobody: pretended times and simulations must never reach a person."""

    def tell(self, message: Message) -> bool:
        """Take a message and forget it."""
        del message
        return True

    def deliver(self) -> int:
        """Nothing is ever waiting."""
        return 0
