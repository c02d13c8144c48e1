"""The runner's sign of life: one small file that is replaced every few seconds and read by whoever watches."""

import json
import os
from dataclasses import asdict, dataclass
from datetime import datetime

from kobe.app.context import Context
from kobe.core.clock import from_ns, to_ns

FILE = "runner.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """What the runner last said of itself; `job` is what it is doing, empty between jobs."""

    pid: int
    run_id: str
    started_ns: int
    beat_ns: int
    next_ns: int
    job: str = ""

    @property
    def at(self) -> datetime:
        """The instant of the beat."""
        return from_ns(self.beat_ns)

    def age_s(self, now: datetime) -> float:
        """Return the seconds since the beat; negative when the clock was set back since."""
        return (to_ns(now) - self.beat_ns) / 1e9


def beat(ctx: Context, started: datetime, following: datetime | None, job: str = "") -> None:
    """Write the heartbeat; it need not survive a power cut, so nobody waits for the disk."""
    told = Heartbeat(
        pid=os.getpid(), run_id=ctx.run_id, started_ns=to_ns(started), beat_ns=to_ns(ctx.clock.now()),
        next_ns=0 if following is None else to_ns(following), job=job,
    )  # fmt: skip
    content = json.dumps(asdict(told), sort_keys=True).encode() + b"\n"
    ctx.artifacts.write(ctx.paths.state / FILE, content, wait=False)


def end(ctx: Context) -> None:
    """Take the heartbeat away: the runner stopped because it was told to."""
    (ctx.paths.state / FILE).unlink(missing_ok=True)


def read(ctx: Context) -> Heartbeat | None:
    """Return the last heartbeat, or None where no runner works or what it wrote cannot be read."""
    try:
        told = json.loads((ctx.paths.state / FILE).read_bytes())
        return Heartbeat(**told)
    except (OSError, ValueError, TypeError):
        return None
