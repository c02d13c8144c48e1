"""How Alpaca is spoken to: alpaca-py's clients with timeouts, one request for each call, and answers that end.

alpaca-py has no timeout and repeats every verb on 429 and 504 (DOMAIN 4.2); both are put right on its session. What
goes wrong leaves here as a `Refusal` (the broker said no), a ConfigError (keys, addresses) or an ExternalError
(nothing that can be believed was heard). No key ever stands in any of them.
"""

import json
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from kobe.core.errors import ConfigError, ExternalError
from kobe.execution.brokers.kit import BrokerKit

if TYPE_CHECKING:
    from alpaca.data.historical.corporate_actions import CorporateActionsClient
    from alpaca.data.historical.stock import StockHistoricalDataClient
    from alpaca.trading.client import TradingClient
    from requests.adapters import HTTPAdapter

HOSTS = {"paper": "paper-api.alpaca.markets", "live": "api.alpaca.markets"}
DATA_HOST = "data.alpaca.markets"
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
PREFIXES = {"PK": "paper", "AK": "live"}
MAX_BODY_BYTES = 4 * 1024 * 1024
LONGEST_READS = 3  # read timeouts one answer may take: each byte begins a new one, so a trickle would never end
NO_SUCH_ORDER, KEYS_REFUSED = 40410000, 40110000
_WORDS = 200
_SPOKEN = frozenset({400, 403, 404, 422})  # with which the broker itself says no, in JSON
_MUTE = "an answer that cannot be believed"


Guard = Callable[[], str | None]
ClientT = TypeVar("ClientT")


class Refusal(Exception):  # noqa: N818 - an answer, not a fault
    """The broker itself said no: the status, its own code (0 without one) and its words."""

    def __init__(self, status: int, code: int, words: str) -> None:
        super().__init__(f"{code or status}: {words}")
        self.status, self.code, self.words = status, code, words

    def fault(self, asked: str) -> ExternalError:
        """Return it as an error, where a no was not expected."""
        return ExternalError(
            "the broker refuses the request", seen=f"{asked}: {self}", next_command="kobe broker probe"
        )


class Blocked(Exception):  # noqa: N818 - the kill switch at work
    """The request was not let go, for this reason; nothing has left."""


def _silent(asked: str, seen: object) -> ExternalError:
    """Return the error of an answer that did not come; what was asked may have been done all the same."""
    return ExternalError("the broker does not answer", seen=f"{asked}: {seen}", expected="an answer in time",
                         next_command="kobe broker probe")  # fmt: skip


def unbelievable(asked: str, seen: object) -> ExternalError:
    """Return the error for an answer that is none: what was asked may have been done all the same."""
    return ExternalError(_MUTE, seen=f"{asked}: {seen}", expected="what the broker documents",
                         next_command="kobe reconcile")  # fmt: skip


def address(given: str, host: str) -> str:
    """Return the address to use: the broker's own host, or a loopback one in its place.

    Raises:
        ConfigError: it is another host, or not the bare address of one.
    """
    if not given:
        return f"https://{host}"
    expected = f"https://{host}, http://127.0.0.1:PORT or nothing"
    try:
        parts = urlsplit(given)
        name, _ = parts.hostname or "", parts.port
    except ValueError:
        parts, name = urlsplit(""), ""
    bare = not (parts.path.strip("/") or parts.query or parts.fragment or parts.username or parts.password)
    safe = parts.scheme == "https" or (parts.scheme == "http" and name in LOOPBACK)
    if not (bare and safe and name in {host, *LOOPBACK}):
        raise ConfigError("the broker's address is not one of its own", seen=f"host {name!r}", expected=expected,
                          next_command="kobe config show --origin")  # fmt: skip
    return given.rstrip("/")


def on_loopback(url: str) -> bool:
    """Say whether an address is on this machine, where any pair of keys will do."""
    return (urlsplit(url).hostname or "") in LOOPBACK


def keys_fault(mode: str, base_url: str, key_id: str) -> str:
    """Return what is wrong between mode, address and keys, or nothing (DOMAIN 4.5)."""
    try:
        url = address(base_url, HOSTS.get(mode, HOSTS["paper"]))
    except ConfigError as error:
        return error.message
    if not key_id:
        return "there are no keys"
    belongs = PREFIXES.get(key_id[:2].upper(), mode)
    if belongs != mode and not on_loopback(url):
        return f"{belongs} keys with the {mode} address"
    return ""


@dataclass
class Door:
    """The three clients of one account, made when they are first used; for one thread."""

    kit: BrokerKit = field(repr=False)
    guard: Guard | None = field(default=None, init=False, repr=False)

    def fault(self) -> str:
        """Return what is wrong with keys and addresses, or nothing."""
        keys = self.kit.keys
        return keys_fault(self.kit.mode, self.kit.base_url, keys.key_id if keys.secret else "")

    @cached_property
    def trading(self) -> "TradingClient":
        """Orders, positions, account, clock, calendar and assets."""
        keys = self._keys()
        url = address(self.kit.base_url, HOSTS[self.kit.mode])
        _import_quietly()
        from alpaca.trading.client import TradingClient

        paper = self.kit.mode == "paper"
        client = TradingClient(keys[0], keys[1], paper=paper, raw_data=True, url_override=url)
        return self._mended(client)

    @cached_property
    def market(self) -> "StockHistoricalDataClient":
        """Quotes and trades."""
        keys, url = self._keys(), address(self.kit.data_url, DATA_HOST)
        _import_quietly()
        from alpaca.data.historical.stock import StockHistoricalDataClient

        return self._mended(StockHistoricalDataClient(keys[0], keys[1], raw_data=True, url_override=url))

    @cached_property
    def actions(self) -> "CorporateActionsClient":
        """Splits, mergers and new names."""
        keys, url = self._keys(), address(self.kit.data_url, DATA_HOST)
        _import_quietly()
        from alpaca.data.historical.corporate_actions import CorporateActionsClient

        return self._mended(CorporateActionsClient(keys[0], keys[1], raw_data=True, url_override=url))

    def ask(self, asked: str, call: Callable[[], object], guard: Guard | None = None) -> object:
        """Make one call of a client and return its JSON.

        Args:
            asked: names the call in errors.
            call: does one request; an answer without a body is None.
            guard: asked right before the request leaves, after the wait for a token; a reason holds it back.

        Raises:
            Blocked: the guard held it back.
            Refusal: the broker says no.
            ConfigError: it refuses the keys.
            ExternalError: too many requests, which is retryable; or nothing that can be believed was heard.
        """
        from alpaca.common.exceptions import APIError
        from requests.exceptions import RequestException

        self.guard = guard
        try:
            return call()
        except APIError as error:
            raise self._spoken(asked, error) from None
        except RequestException as error:
            raise _silent(asked, type(error).__name__) from None
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise unbelievable(asked, f"no JSON of ours ({type(error).__name__})") from None
        finally:
            self.guard = None

    def _spoken(self, asked: str, error: Any) -> Exception:
        """Return what an HTTP error means."""
        status = error.status_code or 0
        body = _object(str(error))
        code, words = _code(body), self._printable(body.get("message"))
        if status == 401 or (
            status == 403 and (code == KEYS_REFUSED or (not code and words.casefold().startswith("forbidden")))
        ):
            return ConfigError(
                "the broker refuses the keys", seen=f"{asked}: status {status}",
                expected=f"keys of the {self.kit.mode} account in the environment or .env",
                next_command="kobe broker probe",
            )  # fmt: skip
        if status == 429:
            return ExternalError("the broker has had too many requests", seen=f"{asked}: {_reset(error)}",
                                 next_command="run it again then", retryable=True)  # fmt: skip
        if status in _SPOKEN and words:
            return Refusal(status, code, words)
        return _silent(asked, f"status {status}")

    def _printable(self, words: object) -> str:
        """Return the broker's words, short, on one line, and without our keys should it ever repeat them."""
        text = words if isinstance(words, str) else ""
        for secret in (self.kit.keys.secret, self.kit.keys.key_id):
            text = text.replace(secret, "***") if secret else text
        return "".join(c if c.isprintable() else " " for c in text)[:_WORDS].strip()

    def _keys(self) -> tuple[str, str]:
        keys = self.kit.keys
        if self.kit.mode not in HOSTS:
            raise ConfigError("this broker trades paper or live", seen=f"run.mode = {self.kit.mode}",
                              expected="paper or live", next_command="kobe config show --origin")  # fmt: skip
        if not (keys.key_id and keys.secret):
            missing = [n for n, v in (("APCA_API_KEY_ID", keys.key_id), ("APCA_API_SECRET_KEY", keys.secret)) if not v]
            raise ConfigError(
                "the broker's keys are missing", seen=f"no {' and no '.join(missing)}",
                expected="both in the environment or .env (ALPACA_API_KEY and ALPACA_SECRET_KEY will do)",
                next_command="kobe config show --origin",
            )  # fmt: skip
        return keys.key_id, keys.secret

    def _mended(self, client: ClientT) -> ClientT:
        """Put timeouts, bounds and the request budget on a client's session, and take its retries away."""
        inside: Any = client
        inside._retry, inside._retry_codes = 0, []  # noqa: SLF001 - the library has no other door
        session = inside._session  # noqa: SLF001
        session.trust_env = False  # no proxy and no netrc of the environment sees the keys
        for scheme in ("https://", "http://"):
            session.mount(scheme, _adapter(self.kit.timeouts, self._let_go))
        return client

    def _let_go(self) -> None:
        """Wait for a token and ask the guard; called right before a request leaves."""
        self.kit.take_token()
        why = self.guard() if self.guard is not None else None
        if why is not None:
            raise Blocked(why)


def _adapter(timeouts: tuple[float, float], let_go: Callable[[], None]) -> "HTTPAdapter":
    from requests.adapters import HTTPAdapter
    from requests.exceptions import InvalidURL, RequestException
    from urllib3.exceptions import HTTPError

    class Bounded(HTTPAdapter):
        """Is let go, sends once with timeouts, and reads the body up to a bound in size and time."""

        def send(self, request: Any, **options: Any) -> Any:  # type: ignore[override]
            let_go()
            reply = super().send(request, **{**options, "timeout": timeouts, "stream": True})
            try:
                if 300 <= reply.status_code < 400:
                    raise InvalidURL("the answer points elsewhere")
                reply._content, reply._content_consumed = self._read(reply), True  # noqa: SLF001 - as `content` does
            finally:
                reply.close()
            reply.encoding = "utf-8"
            return reply

        @staticmethod
        def _read(reply: Any) -> bytes:
            parts, size, ends = [], 0, time.monotonic() + LONGEST_READS * timeouts[1]
            try:
                while part := reply.raw.read1(64 * 1024, decode_content=True):
                    size += len(part)
                    if size > MAX_BODY_BYTES or time.monotonic() > ends:
                        raise RequestException("the answer does not end")
                    parts.append(part)
            except HTTPError:
                raise RequestException("the answer breaks off") from None
            return b"".join(parts)

    return Bounded(max_retries=0)


def _import_quietly() -> None:
    """Import alpaca-py, which on its way imports a part of websockets that warns of its own age."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import alpaca.data.historical
        import alpaca.trading.client  # noqa: F401


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _code(body: dict[str, Any]) -> int:
    code = body.get("code")
    return code if isinstance(code, int) and not isinstance(code, bool) else 0


def _reset(error: Any) -> str:
    """Return when requests are let through again, as the broker says."""
    reply = getattr(error, "response", None)
    headers = reply.headers if reply is not None else {}
    after, reset = headers.get("Retry-After", ""), headers.get("X-RateLimit-Reset", "")
    if after.isdecimal() and len(after) < 10:
        return f"again in {after} s"
    if reset.isdecimal() and len(reset) < 12:
        from kobe.core.clock import from_ns

        return f"again at {from_ns(int(reset) * 1_000_000_000).isoformat()}"
    return "again in a minute"
