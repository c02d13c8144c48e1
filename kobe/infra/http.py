"""Safe reads over HTTP: timeouts, bounded retries with jitter, one family of errors, no secret in any of them."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any

from kobe.core.clock import Clock
from kobe.core.errors import ConfigError, ExternalError, KobeError, MissingDataError, SchemaError

RETRIED = frozenset({429, 500, 502, 503, 504})
MAX_BODY_BYTES = 64 * 1024 * 1024
LONGEST_WAIT_S = 90.0


class _AskAgain(Exception):  # noqa: N818 - no error, a reason to ask again
    def __init__(self, why: str, after_s: float | None = None) -> None:
        super().__init__(why)
        self.after_s = after_s


@dataclass(frozen=True, kw_only=True)
class HttpClient:
    """Asks one service by GET only, which is safe to repeat.

    Attributes:
        base_url: scheme and host, perhaps with a path.
        headers: sent with every request; may hold a key.
        before: called before every request, such as a token bucket's `take`.
        clock, sleep, rng: for Retry-After, waiting and jitter.
        timeouts: seconds to connect and to read.
        tries: requests for one answer, the first included.
    """

    base_url: str
    clock: Clock
    sleep: Callable[[float], None]
    rng: random.Random
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    before: Callable[[], None] | None = None
    timeouts: tuple[float, float] = (3.0, 10.0)
    tries: int = 4

    def get(self, path: str, params: Mapping[str, Any] | None = None) -> bytes:
        """Return the body of an answer.

        Raises:
            ConfigError: the key is missing or refused.
            MissingDataError: the service knows no such thing (404).
            SchemaError: the request or the answer is not what the service's contract says.
            ExternalError: out of reach after every try; retryable.
        """
        return self.repeat(lambda: self._once(path, params))

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
                "the service did not answer", seen=f"{self.base_url}: {why} ({self.tries} tries)",
                next_command="run it again later", retryable=True,
            ) from None  # fmt: skip
        return body

    def _wait(self, attempt: int, error: BaseException | None) -> float:
        after = error.after_s if isinstance(error, _AskAgain) else None
        jitter = self.rng.uniform(0, min(0.5 * 2**attempt, 20.0))
        return min(after + jitter, LONGEST_WAIT_S) if after is not None else jitter

    def _once(self, path: str, params: Mapping[str, Any] | None) -> bytes:
        import httpx2

        if self.before is not None:
            self.before()
        timeout = httpx2.Timeout(self.timeouts[1], connect=self.timeouts[0])
        url = path if path.startswith(("http://", "https://")) else self.base_url.rstrip("/") + path
        if not url.startswith(self.base_url.rstrip("/")):
            raise SchemaError("the service points to another host", expected=self.base_url)
        try:
            with httpx2.Client(timeout=timeout, headers=dict(self.headers), trust_env=False) as client:
                reply = client.get(url, params=dict(params) if params else None)
        except (httpx2.TransportError, httpx2.DecodingError) as error:
            raise _AskAgain(type(error).__name__) from None
        if len(reply.content) > MAX_BODY_BYTES:
            raise SchemaError("an answer is too large", seen=f"{len(reply.content):,} bytes from {self.base_url}")
        self.judge(reply.status_code, reply.headers.get("retry-after"))
        return bytes(reply.content)

    def judge(self, status: int, retry_after: str | None = None) -> None:
        """Turn a status code into one of our errors, or into another try.

        Raises:
            KobeError: as `get` says.
        """
        if status in RETRIED:
            raise _AskAgain(f"status {status}", self._seconds(retry_after))
        fault = _fault(status, self.base_url)
        if fault is not None:
            raise fault

    def ask_again(self, why: str) -> Exception:
        """Return what makes `repeat` try again, for adapters whose own client does the request."""
        return _AskAgain(why)

    def _seconds(self, retry_after: str | None) -> float | None:
        """Read Retry-After: seconds, or an HTTP date."""
        if not retry_after:
            return None
        if retry_after.strip().isdigit():
            return float(retry_after)
        try:
            return max((parsedate_to_datetime(retry_after) - self.clock.now()).total_seconds(), 0.0)
        except (ValueError, TypeError):
            return None


def _fault(status: int, base_url: str) -> KobeError | None:
    if status in (401, 403):
        return ConfigError(
            "the service refuses the key", seen=f"status {status} from {base_url}",
            expected="a valid key in the environment or .env", next_command="kobe config show",
        )  # fmt: skip
    if status == 404:
        return MissingDataError("the service knows no such thing", seen=f"status 404 from {base_url}")
    if status >= 300:
        return SchemaError("the service refuses the request", seen=f"status {status} from {base_url}")
    return None
