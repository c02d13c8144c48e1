"""A runner whose clock stands: still_runner.py HOME INSTANT takes the lease, beats once and waits for its end."""

import sys
from datetime import datetime
from pathlib import Path

from kobe.app import wiring
from kobe.app.day.runner_once import next_slot, runner_lease
from kobe.app.watching import heartbeat
from kobe.core.clock import SteppingClock


def main() -> None:
    """Be alive until killed or until the input ends."""
    ctx = wiring.build(Path(sys.argv[1]), clock=SteppingClock(datetime.fromisoformat(sys.argv[2])))
    with runner_lease(ctx):
        heartbeat.beat(ctx, ctx.clock.now(), next_slot(ctx))
        print("beats", flush=True)  # noqa: T201 - its only word
        sys.stdin.read()


if __name__ == "__main__":
    main()
