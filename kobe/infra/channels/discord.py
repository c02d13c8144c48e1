"""Discord's webhooks: text and a picture, its address is the secret."""

import re
from datetime import datetime

from kobe.core.ids import canonical_json
from kobe.core.messages import Message
from kobe.infra.channels.kit import ChannelKit, Part, Reply
from kobe.infra.channels.text import Limits, divide
from kobe.infra.channels.wire import Post, post

HOSTS = frozenset({"discord.com", "discordapp.com", "canary.discord.com", "ptb.discord.com"})
_SPECIAL = re.compile(r"([\\*_~`|>#\[\]()<:@\-])")
_ALT = 1024


def escaped(text: str) -> str:
    """Return plain text that Discord shows as it is."""
    return _SPECIAL.sub(r"\\\1", text)


def _size(text: str) -> int:
    """Discord counts what is sent, its escapes included."""
    return len(escaped(text))


LIMITS = Limits(text=1990, caption=1990, size=_size)
"""A little below 2000: the stars around the title count as well."""


class DiscordChannel:
    """Sends to one webhook."""

    idempotent = False

    def __init__(self, kit: ChannelKit) -> None:
        """Nothing is sent until `send`."""
        self._kit = kit

    @property
    def lacks(self) -> str:
        """What must be set first."""
        return self._kit.missing(secret=self._kit.secret)

    def parts(self, message: Message) -> tuple[Part, ...]:
        """Divide at 2000 characters."""
        return divide(message, LIMITS)

    def send(self, part: Part, instant: datetime) -> Reply:
        """Send one part; it mentions nobody, whatever it says."""
        bold = f"**{escaped(part.heading)}**" if part.heading else ""
        content = "\n".join(piece for piece in (bold, escaped(part.body)) if piece)
        told: dict[str, object] = {"content": content, "allowed_mentions": {"parse": []}}
        secret = self._kit.secret
        url = f"{secret}{'&' if '?' in secret else '?'}wait=true"  # then the answer comes after it was posted
        if not part.with_picture:
            asked = Post(url=url, content=canonical_json(told).encode(), hosts=HOSTS, secrets=(secret,),
                         headers={"Content-Type": "application/json"})  # fmt: skip
        else:
            alt = part.message.picture_alt[:_ALT]
            told["attachments"] = [{"id": 0, "filename": "picture.png", "description": alt}]
            picture = ("picture.png", part.message.picture or b"", "image/png")
            asked = Post(url=url, form={"payload_json": canonical_json(told)}, files={"files[0]": picture},
                         hosts=HOSTS, secrets=(secret,))  # fmt: skip
        return post(asked, instant, self._kit.timeouts)
