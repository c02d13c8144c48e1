"""Slack's incoming webhooks: text only, its address is the secret."""

from datetime import datetime

from kobe.core.ids import canonical_json
from kobe.core.messages import Message
from kobe.infra.channels.kit import ChannelKit, Part, Reply
from kobe.infra.channels.text import Limits, divide
from kobe.infra.channels.wire import Post, post

HOSTS = frozenset({"hooks.slack.com", "hooks.slack-gov.com"})


def escaped(text: str) -> str:
    """Return plain text in which Slack finds no link and no mention."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


LIMITS = Limits(text=3900, size=lambda text: len(escaped(text)))


class SlackChannel:
    """Sends to one incoming webhook."""

    idempotent = False

    def __init__(self, kit: ChannelKit) -> None:
        """Nothing is sent until `send`."""
        self._kit = kit

    @property
    def lacks(self) -> str:
        """What must be set first."""
        return self._kit.missing(secret=self._kit.secret)

    def parts(self, message: Message) -> tuple[Part, ...]:
        """Divide at what Slack shows without folding; a picture is told in words."""
        return divide(message, LIMITS)

    def send(self, part: Part, instant: datetime) -> Reply:
        """Send one part; formatting is off, so that a star is a star."""
        content = canonical_json({"text": escaped(part.text), "mrkdwn": False, "unfurl_links": False})
        asked = Post(url=self._kit.secret, content=content.encode(), headers={"Content-Type": "application/json"},
                     hosts=HOSTS, secrets=(self._kit.secret,))  # fmt: skip
        return post(asked, instant, self._kit.timeouts)
