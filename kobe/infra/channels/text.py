"""Long messages in parts: cut between lines, then between words, then anywhere; nothing is left out."""

from collections.abc import Callable
from dataclasses import dataclass

from kobe.core.messages import Message
from kobe.infra.channels.kit import MARKED, Part

_TITLE = 200
_MARK_ROOM = 32  # for "(maybe again)", which is added when the parts are made already


def utf16(text: str) -> int:
    """Length as Telegram counts it: two for each sign beyond the basic plane."""
    return len(text) + sum(ord(c) > 0xFFFF for c in text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What fits into one request, measured by `size`; `caption` is the room beside a picture, None for no pictures."""

    text: int
    caption: int | None = None
    size: Callable[[str], int] = len


def whole(message: Message) -> tuple[Part, ...]:
    """Return a message as its only part, for channels without a limit."""
    title, body = _head(message)
    return (Part(message=message, key=message.key, title=title, body=body, with_picture=message.picture is not None),)


def divide(message: Message, limits: Limits) -> tuple[Part, ...]:
    """Divide a message so that every part fits.

    A picture goes with the first part; where the channel shows none, its words stand at the end of the text.
    """
    title, body = _head(message)
    pictured = message.picture is not None and limits.caption is not None
    if message.picture is not None and limits.caption is None:
        body = "\n".join(piece for piece in (body, f"[picture: {message.picture_alt or 'no words'}]") if piece)
    first_room = (limits.caption if pictured else limits.text) or 0
    room = first_room - _MARK_ROOM - limits.size(title) - 1
    if pictured and limits.size(body) > room:
        first, rest = "", body
    else:
        first, rest = cut(body, room, limits.size)
    pieces = [first]
    while rest:
        piece, rest = cut(rest, limits.text - _MARK_ROOM, limits.size)
        pieces.append(piece)
    return tuple(
        Part(
            message=message, key=message.key if not k else f"{message.key}#{k + 1}", title="" if k else title,
            body=piece, with_picture=pictured and not k,
        )
        for k, piece in enumerate(pieces)
    )  # fmt: skip


def cut(text: str, room: int, size: Callable[[str], int] = len) -> tuple[str, str]:
    """Return as much of a text as fits, up to the end of a line or word where there is one, and the rest."""
    if size(text) <= room:
        return text, ""
    fits = _most(text, room, size)
    for sign in ("\n", " "):
        at = text.rfind(sign, 0, fits + 1)
        if at > 0:
            return text[:at], text[at + 1 :]
    return text[:fits], text[fits:]


def one_line(text: str, longest: int = 160) -> str:
    """Return a text as one short printable line."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= longest else f"{line[: longest - 3]}..."


def _head(message: Message) -> tuple[str, str]:
    """Return title and body; what is too long for a title goes on in the body."""
    title = " ".join(message.title.split())
    begin, rest = cut(title, _TITLE)
    body = "\n".join(message.lines)
    return MARKED[message.severity] + begin, "\n".join(piece for piece in (rest, body) if piece)


def _most(text: str, room: int, size: Callable[[str], int]) -> int:
    """Return how many characters fit, at least one; the size of a text never shrinks as it grows."""
    low, high = 1, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if size(text[:middle]) <= room else (low, middle - 1)
    return low
