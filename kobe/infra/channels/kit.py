"""What every channel is given and what it gives back: parts of a message in, a reply in one of four classes out."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from kobe.core.messages import Message, Severity


class Fate(StrEnum):
    """What became of something that was sent."""

    DELIVERED = "delivered"
    AGAIN = "again"
    """It was not taken and may be sent again."""
    NEVER = "never"
    """It is refused and would be refused again: bad token, bad chat, bad form."""
    UNKNOWN = "unknown"
    """It left, and nobody knows whether it arrived."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A channel's answer.

    Attributes:
        fate: its class.
        why: for people, without any secret.
        after_s: seconds the service asks to be left alone; None where it did not say.
    """

    fate: Fate
    why: str = ""
    after_s: float | None = None


DELIVERED = Reply(fate=Fate.DELIVERED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """As much of a message as goes out in one request.

    Attributes:
        message: the whole of it.
        key: the same at every try, different for every part.
        title: the first line, empty in the parts that only go on.
        body: the rest, plain text.
        with_picture: whether the message's picture goes with this part.
        again: it may have arrived before; the reader is told so.
    """

    message: Message
    key: str
    title: str
    body: str = ""
    with_picture: bool = False
    again: bool = False

    @property
    def heading(self) -> str:
        """The first line as people read it: how urgent, whether it may be a repetition, the title."""
        mark = "(maybe again)" if self.again else ""
        return " ".join(word for word in (mark, self.title) if word)

    @property
    def text(self) -> str:
        """Heading and body as plain text."""
        return "\n".join(piece for piece in (self.heading, self.body) if piece)


class Channel(Protocol):
    """One place where messages are sent."""

    idempotent: bool
    """Whether the other side knows a key it has seen: sending again does no harm then."""

    @property
    def lacks(self) -> str:
        """What must be set before anything can be sent; empty when nothing is missing."""
        ...

    def parts(self, message: Message) -> tuple[Part, ...]:
        """Divide a message as this channel's limits ask; the same message gives the same parts."""
        ...

    def send(self, part: Part, instant: datetime) -> Reply:
        """Send one part now. Whatever happens on the way is a reply and never an exception."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelKit:
    """What a channel is made of; each kind uses what it needs.

    Attributes:
        name: of the channel, as people call it.
        secret: token, address or password; empty where none was found.
        secret_name: the variable that holds it, for people.
        base_url: another address of the service, of this machine only; empty: the service's own.
        chat_id: of Telegram.
        url: of the webhook.
        host, port, security, user, sender, to: of mail; security is starttls, ssl or none.
        timeouts: seconds to connect and to read.
    """

    name: str
    secret: str = field(default="", repr=False)
    secret_name: str = ""
    base_url: str = field(default="", repr=False)
    chat_id: str = ""
    url: str = field(default="", repr=False)
    host: str = ""
    port: int = 587
    security: str = "starttls"
    user: str = ""
    sender: str = ""
    to: tuple[str, ...] = ()
    timeouts: tuple[float, float] = (3.0, 10.0)

    def missing(self, **needed: str | tuple[str, ...]) -> str:
        """Name the first of the needed things that is empty."""
        for name, value in needed.items():
            if not value:
                return f"{self.secret_name} is not set" if name == "secret" else f"{name} is not set"
        return ""


MARKED: dict[Severity, str] = {Severity.INFO: "", Severity.WARNING: "WARNING: ", Severity.URGENT: "URGENT: "}
"""What stands before a title."""
