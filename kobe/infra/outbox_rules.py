"""When a message may leave: quiet hours, growing pauses, the breaker and the error budget of a channel. Pure."""

import random
from dataclasses import dataclass
from datetime import datetime, time

from kobe.core.clock import NEW_YORK, as_utc
from kobe.core.messages import Message, Severity

FIRST_PAUSE_S = 5.0
LONGEST_PAUSE_S = 3600.0
BREAKER_AFTER = 3
"""Failures in a row that make a channel rest."""
FIRST_REST_S = 60.0
LONGEST_REST_S = 1800.0
BUDGET_WINDOW_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Quiet:
    """Hours in New York in which only what is urgent is told; equal hours are none."""

    begins: time = time(0)
    ends: time = time(0)

    def holds(self, instant: datetime) -> bool:
        """Whether an instant lies in them; the last minute is `ends` itself, which does not."""
        at = as_utc(instant).astimezone(NEW_YORK).time()
        if self.begins <= self.ends:
            return self.begins <= at < self.ends
        return at >= self.begins or at < self.ends


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What holds for one channel.

    Attributes:
        least: severity it takes.
        digest_s: INFO without a picture is collected so long into one message; 0 sends each by itself.
        per_minute: requests it may be sent.
        error_budget: failed attempts in an hour; beyond it INFO waits.
    """

    least: Severity = Severity.INFO
    digest_s: float = 0.0
    per_minute: int = 20
    error_budget: int = 10

    def collects(self, message: Message) -> bool:
        """Whether a message goes into the digest."""
        return self.digest_s > 0 and message.severity is Severity.INFO and message.picture is None


def pause_s(tries: int, asked_s: float | None, rng: random.Random) -> float:
    """Return how long a message waits after so many failed tries: doubling, with jitter, never less than asked for."""
    doubled = min(FIRST_PAUSE_S * 2.0 ** min(tries - 1, 20), LONGEST_PAUSE_S)
    return max(doubled * rng.uniform(0.5, 1.0), asked_s or 0.0)


def rest_s(failures: int, asked_s: float | None) -> float:
    """Return how long a channel rests after so many failures in a row; the first attempt afterwards is the probe."""
    over = failures - BREAKER_AFTER
    rest = 0.0 if over < 0 else min(FIRST_REST_S * 2.0 ** min(over, 20), LONGEST_REST_S)
    return max(rest, asked_s or 0.0)
