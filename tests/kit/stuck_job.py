"""Stands where `kobe jobs run` stands and misbehaves once it has begun: stuck_job.py HOW HOME jobs run NAME ..."""

import os
import signal
import subprocess
import sys
import time
from datetime import date
from pathlib import Path


def main() -> None:
    """Begin the job on record as the real one does, then do as told."""
    how, home = sys.argv[1], Path(sys.argv[2])
    if how == "never_begins":
        sys.exit(3)
    from kobe.app import wiring
    from kobe.app.day import perform, runs
    from kobe.app.jobs import job_named

    name, session = sys.argv[sys.argv.index("run") + 1], date.fromisoformat(sys.argv[sys.argv.index("--session") + 1])
    ctx = wiring.build(home)
    with perform.lease(ctx, job_named(name)):
        runs.start(ctx.ledger, name, session, ctx.run_id, ctx.clock.now())
        if how == "hang":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
            (home / "child.pid").write_text(str(child.pid), encoding="utf-8")
            time.sleep(600)
        if how == "eat":
            eaten = []
            while True:
                eaten.append(b"x" * 2**24)
                time.sleep(0.01)
        if how == "die":
            os.kill(os.getpid(), signal.SIGSEGV)
        if how == "damaged":
            sys.exit(8)


if __name__ == "__main__":
    main()
