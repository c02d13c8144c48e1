"""One websocket connection: frames in, frames out, signs of life; every way it can end is one exception."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from kobe.core.clock import Clock
from kobe.core.errors import ConfigError
from kobe.data.feeds.port import FeedLimits

if TYPE_CHECKING:
    import threading
    from datetime import datetime

    from websockets.sync.client import ClientConnection

_LOOPBACK = {"127.0.0.1", "::1", "localhost"}
_MOST_BYTES = 4 * 2**20
_MOST_FRAMES = 1024
_CLOSE_S = 1.0
_KEYS_REFUSED = {401, 403}
_TOO_MANY = 429


class LineLostError(Exception):
    """The connection ended or never stood; another may do better after at least so many seconds."""

    def __init__(self, reason: str, at_least_s: float = 0.0) -> None:
        self.reason = reason
        self.at_least_s = at_least_s
        super().__init__(reason)


def check_url(url: str) -> None:
    """Refuse an address that would send the keys in the clear.

    Raises:
        ConfigError: it is neither wss:// nor on this machine.
    """
    parts = urlsplit(url)
    if parts.scheme != "wss" and not (parts.scheme == "ws" and parts.hostname in _LOOPBACK):
        raise ConfigError("a feed's address must be encrypted", seen=f"{parts.scheme}://", expected="wss://")


class Line:
    """An open connection and what was last heard on it."""

    def __init__(self, connection: "ClientConnection", clock: Clock, limits: FeedLimits) -> None:
        """Begin with the connection as the first sign of life."""
        self.heard_at: datetime = clock.now()
        """When a message was last received."""
        self._connection = connection
        self._clock = clock
        self._limits = limits
        self._ping: tuple[datetime, threading.Event] | None = None
        self._alive_at = self.heard_at

    def receive(self, timeout_s: float) -> str | bytes | None:
        """Return the next frame, or None when there was none in time.

        Raises:
            LineLostError: the connection is gone.
        """
        from websockets.exceptions import WebSocketException

        try:
            frame = self._connection.recv(timeout=timeout_s)
        except TimeoutError:
            return None
        except (WebSocketException, OSError) as error:
            raise LineLostError(f"the connection ended ({type(error).__name__})") from error
        self.heard_at = self._alive_at = self._clock.now()
        self._ping = None
        return frame

    def send(self, text: str) -> None:
        """Send a message.

        Raises:
            LineLostError: the connection is gone.
        """
        from websockets.exceptions import WebSocketException

        try:
            self._connection.send(text)
        except (WebSocketException, OSError) as error:
            raise LineLostError(f"the connection ended ({type(error).__name__})") from error

    def look_after(self, now: "datetime") -> None:
        """Ask for a sign of life after a silence.

        Raises:
            LineLostError: there was none in time.
        """
        from websockets.exceptions import WebSocketException

        if self._ping is not None:
            asked_at, answered = self._ping
            if answered.is_set():
                self._ping, self._alive_at = None, now
            elif now - asked_at > timedelta(seconds=self._limits.pong_within_s):
                raise LineLostError(f"no answer to a ping within {self._limits.pong_within_s:g} s")
        elif now - self._alive_at > timedelta(seconds=self._limits.ping_after_s):
            try:
                self._ping = now, self._connection.ping()
            except (WebSocketException, OSError) as error:
                raise LineLostError(f"the connection ended ({type(error).__name__})") from error


@contextmanager
def opened(url: str, clock: Clock, limits: FeedLimits) -> Iterator[Line]:
    """Open a connection and close it at the end.

    Raises:
        LineLostError: it could not be opened.
        ConfigError: the server refuses us before any message, or sends us to another host.
    """
    from websockets.exceptions import InvalidStatus, WebSocketException
    from websockets.sync.client import connect

    host = urlsplit(url).hostname
    with ExitStack() as stack:
        try:
            connection = stack.enter_context(
                connect(
                    url,
                    open_timeout=limits.open_timeout_s,
                    close_timeout=_CLOSE_S,
                    ping_interval=None,  # our own, on our clock, so that a lost ping is a lost line
                    max_size=_MOST_BYTES,
                    max_queue=_MOST_FRAMES,  # what arrives while a gap is being filled
                    proxy=None if host in _LOOPBACK else True,
                )
            )
        except InvalidStatus as error:
            raise _refused(error.response.status_code, limits) from error
        except (WebSocketException, OSError) as error:  # TimeoutError is an OSError
            raise LineLostError(f"no connection ({type(error).__name__})") from error
        if connection.protocol.uri.host != host:  # redirects are followed by the library; the keys are not to be
            raise ConfigError("the feed's address redirects to another host", seen=connection.protocol.uri.host)
        yield Line(connection, clock, limits)


def _refused(status: int, limits: FeedLimits) -> Exception:
    if status in _KEYS_REFUSED:
        return ConfigError("the feed's server refuses us", seen=f"HTTP {status}", expected="valid keys and plan")
    return LineLostError(f"no connection (HTTP {status})", limits.limit_wait_s if status == _TOO_MANY else 0.0)
