"""One POST and what its answer means. Nothing is raised, and no reply holds the address: it may hold a token."""

import functools
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from kobe.infra.channels.kit import DELIVERED, Fate, Reply
from kobe.infra.channels.text import one_line

if TYPE_CHECKING:
    import ssl

    import httpx2

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
LONGEST_PAUSE_S = 3600.0
_READ_BYTES = 64 * 1024
_PIECE = 8  # shorter pieces of an address are words
_BUSY = frozenset({408, 425, 429, 500, 503, 507})
_BETWEEN = frozenset({502, 504})  # a gateway's words: what stands behind it may have taken the message


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """What is sent: JSON content or a form with files.

    Attributes:
        url: with whatever secret it holds.
        hosts: the only ones it may name, besides this machine; empty: any over https.
        secrets: values that must not show in what the service says of itself.
    """

    url: str = field(repr=False)
    content: bytes | None = field(default=None, repr=False)
    form: Mapping[str, str] | None = field(default=None, repr=False)
    files: Mapping[str, tuple[str, bytes, str]] | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    hosts: frozenset[str] = frozenset()
    secrets: tuple[str, ...] = field(default=(), repr=False)


def post(asked: Post, instant: datetime, timeouts: tuple[float, float]) -> Reply:
    """Send once and class the answer.

    Args:
        asked: the request.
        instant: the present, for a Retry-After that is a date.
        timeouts: seconds to connect and to read or write.
    """
    import httpx2

    for name in ("httpx2", "httpcore2", "httpcore"):
        logging.getLogger(name).setLevel(logging.WARNING)  # below, they write whole addresses with their tokens
    fault = address_fault(asked.url, asked.hosts)
    if fault:
        return Reply(fate=Fate.NEVER, why=fault)
    timeout = httpx2.Timeout(timeouts[1], connect=timeouts[0])
    try:
        with (
            httpx2.Client(timeout=timeout, trust_env=False, verify=tls()) as client,
            client.stream(
                "POST", asked.url, content=asked.content, data=dict(asked.form) if asked.form else None,
                files=dict(asked.files) if asked.files else None, headers=dict(asked.headers),
            ) as reply,
        ):  # fmt: skip
            said, after = _said(reply) if reply.status_code >= 300 else ("", None)
            told = after or reply.headers.get("retry-after")
            return judged(reply.status_code, told, _hidden(said, asked), instant)
    except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout) as error:
        return Reply(fate=Fate.AGAIN, why=f"not reached ({type(error).__name__})")
    except (httpx2.UnsupportedProtocol, httpx2.InvalidURL, httpx2.LocalProtocolError) as error:
        return Reply(fate=Fate.NEVER, why=f"the request could not be made ({type(error).__name__})")
    except httpx2.HTTPError as error:
        return Reply(fate=Fate.UNKNOWN, why=f"sent, and the answer was lost ({type(error).__name__})")


@functools.cache
def tls() -> "ssl.SSLContext":
    """Return how certificates are checked; reading all authorities takes a quarter of a second, once a process."""
    import httpx2

    return httpx2.create_ssl_context()


def judged(status: int, retry_after: str | None, said: str, instant: datetime) -> Reply:
    """Class an answer by its status."""
    why = f"status {status}" + (f": {said}" if said else "")
    if 200 <= status < 300:
        return DELIVERED
    if status in _BETWEEN:
        return Reply(fate=Fate.UNKNOWN, why=f"{why} from a gateway")
    if status in _BUSY or status > 504:
        return Reply(fate=Fate.AGAIN, why=why, after_s=_seconds(retry_after, instant))
    return Reply(fate=Fate.NEVER, why=why)


def address_fault(url: str, hosts: frozenset[str] = frozenset()) -> str:
    """Return why nothing may be sent to an address, without the address; empty when it may."""
    import httpx2

    try:
        at = httpx2.URL(url)
    except (httpx2.InvalidURL, ValueError):
        return "the address cannot be read"
    if at.host in LOOPBACK and at.scheme in {"http", "https"}:
        return ""
    if at.scheme != "https":
        return "the address is not https"
    if hosts and at.host not in hosts:
        return f"the address is not one of {', '.join(sorted(hosts))}"
    return "" if at.host else "the address names no host"


def _said(reply: "httpx2.Response") -> tuple[str, str | None]:
    """Return what a refusal says of itself, and for how long it wants to be left alone; a page of HTML says nothing."""
    import json

    body = b""
    for piece in reply.iter_bytes():
        body += piece
        if len(body) > _READ_BYTES:
            break
    text = body[:_READ_BYTES].decode(errors="replace")
    try:
        told: Any = json.loads(text)
    except ValueError:
        return ("" if "<" in text else one_line(text)), None
    if not isinstance(told, dict):
        return "", None
    words = [told.get(name) for name in ("description", "message", "error")]
    more = told.get("parameters")
    after = more.get("retry_after") if isinstance(more, dict) else told.get("retry_after")
    return next((one_line(word) for word in words if isinstance(word, str)), ""), None if after is None else str(after)


def _hidden(said: str, asked: Post) -> str:
    """Hide secrets in what a service says of itself: it may repeat the address, whole or in pieces."""
    pieces = [piece for piece in re.split(r"[/?&=]", asked.url) if len(piece) >= _PIECE]
    for secret in (asked.url, *asked.secrets, *pieces):
        said = said.replace(secret, "***") if secret else said
    return said


def _seconds(retry_after: str | None, instant: datetime) -> float | None:
    """Read Retry-After: seconds, perhaps with a fraction, or an HTTP date; no service may silence us for days."""
    if not retry_after:
        return None
    try:
        wanted = float(retry_after)
    except ValueError:
        try:
            wanted = (parsedate_to_datetime(retry_after) - instant).total_seconds()
        except (ValueError, TypeError, OverflowError):
            return None
    return min(max(wanted, 0.0), LONGEST_PAUSE_S) if wanted == wanted else None  # noqa: PLR0124 - NaN is not itself
