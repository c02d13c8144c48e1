"""The other direction of Telegram: what people write to the bot, and a plain answer to it."""

import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from kobe.core.errors import ConfigError, ExternalError, SchemaError
from kobe.core.ids import canonical_json
from kobe.infra.channels.kit import Fate
from kobe.infra.channels.telegram import BASE_URL, HOSTS, LIMITS
from kobe.infra.channels.text import cut
from kobe.infra.channels.wire import Post, address_fault, post, tls

MOST_AT_ONCE = 20
_CONNECT_S, _READ_S = 3.0, 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What somebody wrote: the update's number, the chat, the person (0 where a chat speaks for itself), the text."""

    update: int
    chat: int
    person: int
    text: str
    at: datetime
    forwarded: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TelegramBot:
    """Asks for what was written and answers; the token is part of each address and stands in no error."""

    token: str = field(repr=False)
    base_url: str = ""

    def written(self, offset: int, wait_s: int) -> tuple[list[Written], int]:
        """Return what was written since an offset, oldest first, and the offset after it.

        Args:
            offset: first update wanted; those before it are forgotten by Telegram.
            wait_s: seconds it may hold the question until somebody writes.

        Raises:
            ConfigError: the token is refused.
            ExternalError: out of reach, or another process asks with the same token; retryable.
            SchemaError: the answer is none.
        """
        asked = {"offset": offset, "timeout": wait_s, "limit": MOST_AT_ONCE, "allowed_updates": ["message"]}
        updates = self._asked("getUpdates", asked, wait_s + _READ_S)
        if not isinstance(updates, list):
            raise SchemaError("Telegram's answer holds no updates")
        numbers = [int(u["update_id"]) for u in updates if isinstance(u, dict) and "update_id" in u]
        found = [_written(u) for u in updates]
        mine = [w for w in found if w is not None and w.update >= offset]
        return sorted(mine, key=lambda w: w.update), max([offset, *(n + 1 for n in numbers)])

    def say(self, chat: int, text: str, instant: datetime) -> str:
        """Answer a chat in plain text now, once; returns why it did not get there, empty when it did."""
        shown, rest = cut(text, LIMITS.text - 8, LIMITS.size)
        content = canonical_json(
            {"chat_id": chat, "text": f"{shown}\n..." if rest else shown, "link_preview_options": {"is_disabled": True}}
        )
        asked = Post(url=self._url("sendMessage"), content=content.encode(errors="replace"), hosts=HOSTS,
                     headers={"Content-Type": "application/json"}, secrets=(self.token,))  # fmt: skip
        reply = post(asked, instant, (_CONNECT_S, _READ_S))
        return "" if reply.fate is Fate.DELIVERED else reply.why

    def _asked(self, method: str, content: dict[str, Any], read_s: float) -> Any:
        import httpx2

        fault = address_fault(self._url(method), HOSTS)
        if fault:
            raise ConfigError("the bot's service cannot be asked", seen=fault)
        for name in ("httpx2", "httpcore2", "httpcore"):
            logging.getLogger(name).setLevel(logging.WARNING)  # below, they write whole addresses with their tokens
        timeout = httpx2.Timeout(read_s, connect=_CONNECT_S)
        try:
            with httpx2.Client(timeout=timeout, trust_env=False, verify=tls()) as client:
                reply = client.post(self._url(method), json=content)
        except httpx2.HTTPError as error:
            raise ExternalError("Telegram is out of reach", seen=type(error).__name__, retryable=True) from None
        if reply.status_code in {401, 404}:
            raise ConfigError(
                "Telegram refuses the bot's token", seen=f"status {reply.status_code}", expected="a token of BotFather",
                next_command="kobe notify test",
            )  # fmt: skip
        if reply.status_code != 200:
            why = "another process asks with this token" if reply.status_code == 409 else "no updates"
            raise ExternalError(f"Telegram: {why}", seen=f"status {reply.status_code}", retryable=True)
        try:
            told = reply.json()
        except ValueError:
            raise SchemaError("Telegram's answer is no JSON") from None
        return told.get("result") if isinstance(told, dict) else None

    def _url(self, method: str) -> str:
        return f"{self.base_url.rstrip('/') or BASE_URL}/bot{self.token}/{method}"


def _written(update: Any) -> Written | None:
    """Read one update; what is no message with text is None."""
    try:
        message = update["message"]
        return Written(
            update=int(update["update_id"]), chat=int(message["chat"]["id"]), text=str(message["text"]),
            person=int(message.get("from", {}).get("id", 0)), at=datetime.fromtimestamp(int(message["date"]), UTC),
            forwarded="forward_origin" in message or "forward_date" in message,
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, OverflowError, OSError, AttributeError):
        return None
