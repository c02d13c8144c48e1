"""Telegram's bot interface: text and pictures to one chat."""

import re
from datetime import datetime

from kobe.core.ids import canonical_json
from kobe.core.messages import Message
from kobe.infra.channels.kit import ChannelKit, Part, Reply
from kobe.infra.channels.text import Limits, divide, utf16
from kobe.infra.channels.wire import Post, post

BASE_URL = "https://api.telegram.org"
HOSTS = frozenset({"api.telegram.org"})
LIMITS = Limits(text=4096, caption=1024, size=utf16)
"""Telegram counts after it has read the escapes, so the plain text is what is measured."""
_SPECIAL = re.compile(r"([_*\[\]()~`>#+\-=|{}.!\\])")


def escaped(text: str) -> str:
    """Return plain text as MarkdownV2 that shows exactly it."""
    return _SPECIAL.sub(r"\\\1", text)


class TelegramChannel:
    """Sends by sendMessage and sendPhoto."""

    idempotent = False

    def __init__(self, kit: ChannelKit) -> None:
        """Nothing is sent until `send`."""
        self._kit = kit

    @property
    def lacks(self) -> str:
        """What must be set first."""
        return self._kit.missing(secret=self._kit.secret, chat_id=self._kit.chat_id)

    def parts(self, message: Message) -> tuple[Part, ...]:
        """Divide at 4096 characters, 1024 beside a picture."""
        return divide(message, LIMITS)

    def send(self, part: Part, instant: datetime) -> Reply:
        """Send one part: the title bold, nothing else formatted."""
        kit = self._kit
        bold = f"*{escaped(part.heading)}*" if part.heading else ""
        text = "\n".join(piece for piece in (bold, escaped(part.body)) if piece)
        url = f"{kit.base_url or BASE_URL}/bot{kit.secret}"
        asked = {"chat_id": kit.chat_id, "parse_mode": "MarkdownV2"}
        if part.with_picture:
            picture = ("picture.png", part.message.picture or b"", "image/png")
            sent = Post(url=f"{url}/sendPhoto", form={**asked, "caption": text}, files={"photo": picture},
                        hosts=HOSTS, secrets=(kit.secret,))  # fmt: skip
        else:
            content = canonical_json({**asked, "text": text, "link_preview_options": {"is_disabled": True}})
            sent = Post(url=f"{url}/sendMessage", content=content.encode(), hosts=HOSTS, secrets=(kit.secret,),
                        headers={"Content-Type": "application/json"})  # fmt: skip
        return post(sent, instant, kit.timeouts)
