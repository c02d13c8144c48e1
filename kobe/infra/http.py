"""Safe reads over HTTP: timeouts, bounded retries with jitter, one family of errors, no secret in any of them.

Errors and logs name a service by scheme, host and port only: paths, queries, headers and user names may hold keys.
"""

import logging
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from kobe.core.clock import Clock
from kobe.core.errors import ConfigError, ExternalError, KobeError, MissingDataError, SchemaError

if TYPE_CHECKING:
    import httpx2

RETRIED = frozenset({429, 500, 502, 503, 504})
MAX_BODY_BYTES = 64 * 1024 * 1024
LONGEST_WAIT_S = 90.0
LONGEST_ANSWER_S = 120.0  # the read timeout begins anew with every byte, so a trickle would never end


class _AskAgain(Exception):  # noqa: N818 - no error, a reason to ask again
    def __init__(self, why: str, after_s: float | None = None) -> None:
        super().__init__(why)
        self.after_s = after_s


@dataclass(frozen=True, kw_only=True)
class HttpClient:
    """Asks one service by GET only, which is safe to repeat. Redirects are not followed.

    Attributes:
        base_url: scheme and host, perhaps with a path.
        headers: sent with every request; may hold a key.
        before: called before every request, such as a token bucket's `take`.
        clock, sleep, rng: for Retry-After, waiting and jitter.
        timeouts: seconds to connect and to read.
        tries: requests for one answer, the first included.
        max_body_bytes: longest answer that is read, unpacked.
    """

    base_url: str = field(repr=False)
    clock: Clock
    sleep: Callable[[float], None]
    rng: random.Random
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    before: Callable[[], None] | None = None
    timeouts: tuple[float, float] = (3.0, 10.0)
    tries: int = 4
    max_body_bytes: int = MAX_BODY_BYTES

    def get(self, path: str, params: Mapping[str, Any] | None = None) -> bytes:
        """Return the body of an answer.

        Args:
            path: below the base address, or a whole address of the same service.
            params: the query; None leaves the one in the path.

        Raises:
            ConfigError: the key is missing or refused, or the address is none.
            MissingDataError: the service knows no such thing (404).
            SchemaError: the answer is too large or points to another service.
            ExternalError: out of reach after every try, which is retryable; or the request is refused, which is not.
        """
        url = self._url(path)
        return self.repeat(lambda: self._once(url, params))

    def repeat(self, once: Callable[[], bytes]) -> bytes:
        """Do a safe read until it succeeds, fails for good, or the tries are used up; waits double, with jitter."""
        from tenacity import RetryError, Retrying, retry_if_exception_type, stop_after_attempt

        attempts = Retrying(
            retry=retry_if_exception_type(_AskAgain), stop=stop_after_attempt(self.tries), sleep=self.sleep,
            wait=lambda state: self._wait(state.attempt_number, state.outcome.exception() if state.outcome else None),
        )  # fmt: skip
        try:
            body: bytes = attempts(once)
        except RetryError as error:
            why = error.last_attempt.exception()
            raise ExternalError(
                "the service did not answer", seen=f"{self._service()}: {why} ({self.tries} tries)",
                next_command="run it again later", retryable=True,
            ) from None  # fmt: skip
        return body

    def judge(self, status: int, retry_after: str | None = None) -> None:
        """Turn a status code into one of our errors, or into another try.

        Raises:
            KobeError: as `get` says.
        """
        if status in RETRIED:
            raise _AskAgain(f"status {status}", self._seconds(retry_after))
        fault = _fault(status, self._service())
        if fault is not None:
            raise fault

    def ask_again(self, why: str) -> Exception:
        """Return what makes `repeat` try again, for adapters whose own client does the request."""
        return _AskAgain(why)

    def _wait(self, attempt: int, error: BaseException | None) -> float:
        after = error.after_s if isinstance(error, _AskAgain) else None
        jitter = self.rng.uniform(0, min(0.5 * 2**attempt, 20.0))
        return min(after + jitter, LONGEST_WAIT_S) if after is not None else jitter

    def _url(self, path: str) -> "httpx2.URL":
        """Return the address of a request; the parser that judges the host is the one that is sent to."""
        import httpx2

        base = self._base()
        try:
            url = httpx2.URL(path if "://" in path else self.base_url.rstrip("/") + path)
        except (httpx2.InvalidURL, ValueError):
            raise SchemaError("that is no address", expected=f"one of {_origin(base)}") from None
        if (url.scheme, url.host, url.port) != (base.scheme, base.host, base.port) or url.userinfo != base.userinfo:
            raise SchemaError("the service points to another host", seen=_origin(url), expected=_origin(base))
        return url

    def _base(self) -> "httpx2.URL":
        import httpx2

        try:
            base = httpx2.URL(self.base_url)
        except (httpx2.InvalidURL, ValueError):
            base = httpx2.URL("")
        if base.scheme not in ("http", "https") or not base.host:
            raise ConfigError(
                "the address of a service is none", expected="https://host", next_command="kobe config show"
            )
        return base

    def _service(self) -> str:
        return _origin(self._base())

    def _once(self, url: "httpx2.URL", params: Mapping[str, Any] | None) -> bytes:
        import httpx2

        if self.before is not None:
            self.before()
        logging.getLogger("httpx2").setLevel(logging.WARNING)  # below, it writes whole addresses with their keys
        timeout = httpx2.Timeout(self.timeouts[1], connect=self.timeouts[0])
        try:
            with (
                httpx2.Client(timeout=timeout, headers=dict(self.headers), trust_env=False) as client,
                client.stream("GET", url, params=dict(params) if params else None) as reply,
            ):
                self.judge(reply.status_code, reply.headers.get("retry-after"))
                return self._body(reply)
        except (httpx2.TransportError, httpx2.DecodingError) as error:
            raise _AskAgain(type(error).__name__) from None

    def _body(self, reply: "httpx2.Response") -> bytes:
        began, parts, size = self.clock.now(), [], 0
        for part in reply.iter_bytes():
            size += len(part)
            if size > self.max_body_bytes:
                raise SchemaError(
                    "an answer is too large", seen=f"more than {self.max_body_bytes:,} bytes from {self._service()}"
                )
            if (self.clock.now() - began).total_seconds() > LONGEST_ANSWER_S:
                raise _AskAgain("it trickles")
            parts.append(part)
        return b"".join(parts)

    def _seconds(self, retry_after: str | None) -> float | None:
        """Read Retry-After: seconds, or an HTTP date."""
        if not retry_after:
            return None
        if retry_after.strip().isdecimal():
            return float(retry_after)
        try:
            return max((parsedate_to_datetime(retry_after) - self.clock.now()).total_seconds(), 0.0)
        except (ValueError, TypeError, OverflowError):
            return None


def _origin(url: "httpx2.URL") -> str:
    return f"{url.scheme}://{url.host}" + (f":{url.port}" if url.port is not None else "")


def _fault(status: int, service: str) -> KobeError | None:
    seen = f"status {status} from {service}"
    if status in (401, 403):
        return ConfigError(
            "the service refuses the key", seen=seen, expected="a valid key in the environment or .env",
            next_command="kobe config show",
        )  # fmt: skip
    if status == 404:
        return MissingDataError("the service knows no such thing", seen=seen)
    if status >= 400:
        return ExternalError("the service refuses the request", seen=seen, retryable=status >= 500)
    if status >= 300:
        return SchemaError("the service points elsewhere", seen=seen, expected="an answer")
    return None
