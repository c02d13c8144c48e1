"""A webhook of the reader's own: JSON, signed, with a key by which the other side knows a repetition."""

import base64
import hashlib
import hmac
from datetime import datetime
from urllib.parse import quote

from kobe.core.ids import canonical_json
from kobe.core.messages import Message
from kobe.infra.channels.kit import ChannelKit, Part, Reply
from kobe.infra.channels.text import whole
from kobe.infra.channels.wire import Post, post

SCHEMA = "kobe.message/1"


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """Return the header that proves who sent a body and when: HMAC-SHA256 over timestamp, dot, body."""
    mac = hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256)
    return f"sha256={mac.hexdigest()}"


class WebhookChannel:
    """Posts to one address; the reader drops what carries a key it has seen."""

    idempotent = True

    def __init__(self, kit: ChannelKit) -> None:
        """Nothing is sent until `send`."""
        self._kit = kit

    @property
    def lacks(self) -> str:
        """What must be set first."""
        return self._kit.missing(secret=self._kit.secret, url=self._kit.url)

    def parts(self, message: Message) -> tuple[Part, ...]:
        """Send the message whole."""
        return whole(message)

    def send(self, part: Part, instant: datetime) -> Reply:
        """Send the message with its picture as base64."""
        m, timestamp = part.message, str(int(instant.timestamp()))
        body = canonical_json(
            {
                "schema": SCHEMA, "key": m.key, "kind": m.kind, "severity": m.severity.word, "title": m.title,
                "lines": list(m.lines), "picture_alt": m.picture_alt,
                "picture_png_base64": base64.b64encode(m.picture).decode() if m.picture else None,
            }
        ).encode()  # fmt: skip
        headers = {
            "Content-Type": "application/json", "Idempotency-Key": quote(part.key, safe=":#/-._"),
            "X-Kobe-Timestamp": timestamp, "X-Kobe-Signature": signature(self._kit.secret, timestamp, body),
        }  # fmt: skip
        asked = Post(url=self._kit.url, content=body, headers=headers, secrets=(self._kit.secret, self._kit.url))
        return post(asked, instant, self._kit.timeouts)
