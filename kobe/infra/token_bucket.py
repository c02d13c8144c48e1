"""A rate limit shared by all processes of this machine: a bucket of tokens in a file, under the system's lock."""

import json
from collections.abc import Callable
from pathlib import Path

from kobe.core.clock import Clock
from kobe.core.errors import ExternalError
from kobe.core.ids import canonical_json
from kobe.infra import durable


class TokenBucket:
    """Lets at most `capacity` requests go at once and `per_s` a second in the long run, over all processes.

    The state outlives its processes, so that a restart is no way around the limit. A clock that went backwards
    grants nothing and costs at most one refill.
    """

    def __init__(
        self, folder: Path, name: str, *, capacity: int, per_s: float, clock: Clock, sleep: Callable[[float], None]
    ) -> None:
        """Nothing is written before the first `take`.

        Args:
            folder: where the buckets of this home live.
            name: of the service.
            capacity: most tokens at once.
            per_s: tokens that come back a second.
            clock: the present.
            sleep: waits some seconds.
        """
        self._path = folder / f"{name}.bucket.json"
        self._lock_path = folder / f"{name}.bucket.lock"
        self._capacity, self._per_s = capacity, per_s
        self._clock, self._sleep = clock, sleep

    def take(self, timeout_s: float = 120.0) -> None:
        """Take a token, waiting for one if need be.

        Raises:
            ExternalError: none came within the timeout; retryable.
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
            waited += missing

    def _try(self) -> float:
        """Take a token if there is one; else return the seconds until there may be."""
        from filelock import FileLock

        durable.make_folder(self._path.parent)
        with FileLock(self._lock_path, thread_local=False):
            now = self._clock.now().timestamp()
            tokens, since = self._state(now)
            tokens = min(self._capacity, tokens + max(now - since, 0.0) * self._per_s)
            enough = tokens >= 1.0 - 1e-9
            left = tokens - 1.0 if enough else tokens
            state = canonical_json({"tokens": left, "since": now}).encode()
            durable.write_whole(self._path, state, sync_name=False)
        return 0.0 if enough else (1.0 - left) / self._per_s

    def _state(self, now: float) -> tuple[float, float]:
        try:
            held = json.loads(self._path.read_bytes())
            return float(held["tokens"]), min(float(held["since"]), now)
        except FileNotFoundError:
            return float(self._capacity), now
        except (ValueError, KeyError, TypeError):
            return 0.0, now  # a damaged file grants nothing
