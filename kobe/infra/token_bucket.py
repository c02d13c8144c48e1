"""A rate limit shared by all processes of this machine: a bucket of tokens in a file, under the system's lock."""

import json
import math
import re
from collections.abc import Callable
from pathlib import Path

from kobe.core.clock import Clock
from kobe.core.errors import ConfigError, ExternalError
from kobe.core.ids import canonical_json
from kobe.infra import durable, file_lock

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_LOCK_WAIT_S = 10.0  # it is held for milliseconds; a stopped holder must not stop everybody
_SLACK_S = 2e-6  # clocks tell microseconds: a shorter wait would never be seen to end


class TokenBucket:
    """Lets at most `capacity` requests go at once and `per_s` a second in the long run, over all processes.

    The state outlives its processes, so that a restart is no way around the limit. A clock that went backwards
    grants nothing and costs at most one refill; one that leaps forwards grants at most one bucketful.
    """

    def __init__(
        self, folder: Path, name: str, *, capacity: int, per_s: float, clock: Clock, sleep: Callable[[float], None]
    ) -> None:
        """Nothing is written before the first `take`.

        Args:
            folder: where the buckets of this home live.
            name: of the service; letters, digits, dot, dash and underscore.
            capacity: most tokens at once, at least one.
            per_s: tokens that come back a second, above zero.
            clock: the present.
            sleep: waits some seconds.

        Raises:
            ConfigError: the name could leave the folder, or no token would ever come.
        """
        if not _NAME.fullmatch(name):
            raise ConfigError("a request limit needs a plain name", seen=repr(name), expected=_NAME.pattern)
        if capacity < 1 or not (math.isfinite(per_s) and per_s > 0):
            raise ConfigError("a request limit must let something through", seen=f"{capacity} and {per_s} a second")
        self._path = folder / f"{name}.bucket.json"
        self._lock_path = folder / f"{name}.bucket.lock"
        self._capacity, self._per_s = capacity, per_s
        self._clock, self._sleep = clock, sleep

    def take(self, timeout_s: float = 120.0) -> None:
        """Take a token, waiting for one if need be.

        Raises:
            ExternalError: none came within the timeout; retryable.
            ConfigError: the folder cannot be written.
        """
        waited = 0.0
        while True:
            missing = self._try()
            if missing <= 0:
                return
            if waited + missing > timeout_s:
                raise ExternalError(
                    "the request limit of the service is used up", seen=f"{self._path.stem}, next in {missing:.0f} s",
                    expected=f"a token within {timeout_s:.0f} s", retryable=True,
                )  # fmt: skip
            self._sleep(missing)
            waited += missing  # by what was asked for, so that a clock standing still cannot hold us for ever

    def _try(self) -> float:
        """Take a token if there is one; else return the seconds until there may be."""
        try:
            durable.make_folder(self._path.parent)
            with file_lock.held(self._lock_path, _LOCK_WAIT_S):
                return self._try_alone()
        except file_lock.Busy as error:
            raise ExternalError(
                "the request limit of the service is held by another process", seen=self._lock_path.name,
                next_command="kobe doctor", retryable=True,
            ) from error  # fmt: skip
        except OSError as error:
            raise durable.fault(error, self._path) from error

    def _try_alone(self) -> float:
        now = self._clock.now().timestamp()
        tokens, since = self._state(now)
        tokens = min(self._capacity, tokens + (now - since) * self._per_s)
        enough = tokens >= 1.0 - _SLACK_S * self._per_s
        left = tokens - 1.0 if enough else tokens  # may go a hair below zero: what was granted early is owed
        durable.write_whole(self._path, canonical_json({"tokens": left, "since": now}).encode(), sync_name=False)
        return 0.0 if enough else (1.0 - left) / self._per_s

    def _state(self, now: float) -> tuple[float, float]:
        """Return the tokens at an instant that is not after `now`."""
        try:
            held = json.loads(self._path.read_bytes())
            tokens, since = float(held["tokens"]), float(held["since"])
        except FileNotFoundError:
            return float(self._capacity), now
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            return 0.0, now  # a damaged file grants nothing
        if not (math.isfinite(tokens) and math.isfinite(since)):
            return 0.0, now
        return max(tokens, -1.0), min(since, now)
