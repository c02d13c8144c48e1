"""How a job's process is started and what runs in it: `kobe jobs run` under the settings that are in force.

Where the system can fork, a server that has loaded everything makes the processes, in a few milliseconds each;
elsewhere each is a Python of its own.
"""

import signal
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path

from kobe.app.context import Context
from kobe.app.day.perform import run_one
from kobe.app.jobs import Job, job_named
from kobe.core.errors import ExitCode, KobeError
from kobe.infra.processes import ForkServer, Running, can_fork, start_group

Starter = Callable[[Job, date, bool], Running]
"""Starts the process of a job for a session; the flag says that it runs although it is settled."""

IN_FORCE = "settings_in_force.json"
LATE_S = 30
PRELOADED = ("kobe.__main__", "kobe.app.wiring", "kobe.app.day.job_process", "kobe.app.status")


def starter(ctx: Context, *, live: bool) -> Starter:
    """Return what starts the jobs of a home, as this system does it best."""
    write_settings(ctx)
    return forked(ctx, live=live) if can_fork() else commanded(command_of(ctx), live=live)


def write_settings(ctx: Context) -> Path:
    """Write down the settings that are in force now; every job that starts from here on reads them and nothing else."""
    path = settings_path(ctx)
    ctx.paths.state.mkdir(parents=True, exist_ok=True)
    ctx.artifacts.write(path, ctx.settings.model_dump_json(indent=1).encode(), wait=False)
    return path


def settings_path(ctx: Context) -> Path:
    """Return where the settings in force are written."""
    return ctx.paths.state / IN_FORCE


def command_of(ctx: Context) -> tuple[str, ...]:
    """Return how kobe is called for a job: this Python, this home, the settings in force."""
    home, settings = str(ctx.paths.home), str(settings_path(ctx))
    return (sys.executable, "-m", "kobe", "--home", home, "--config", settings, "-q")


def commanded(command: tuple[str, ...], *, live: bool) -> Starter:
    """Start each job as a command."""

    def start(job: Job, session: date, again: bool) -> Running:
        flags = [flag for flag, given in (("--again", again), ("--live", live)) if given]
        return start_group([*command, "jobs", "run", job.name, "--session", session.isoformat(), *flags])

    return start


def forked(ctx: Context, *, live: bool) -> Starter:
    """Have each job's process made by a server that has loaded everything."""
    server, home, settings = ForkServer(PRELOADED), str(ctx.paths.home), str(settings_path(ctx))
    server.warm()

    def start(job: Job, session: date, again: bool) -> Running:
        return server.start(work, home, settings, job.name, session.isoformat(), again, live)

    return start


def work(home: str, settings: str, name: str, session: str, again: bool, live: bool) -> None:
    """Run one job and leave with its exit code; the same as the command does."""
    from kobe.app import wiring

    try:
        _limit(name)
        ctx = wiring.arm(wiring.build(Path(home), config=Path(settings)), live=live)
        code = run_one(ctx, name, date.fromisoformat(session), again=again).exit_code
    except KobeError as error:
        sys.stderr.write(f"error: {error.message}\n")
        code = error.exit_code
    except Exception as error:  # noqa: BLE001 - the top of a process, as the command line's
        sys.stderr.write(f"fault: {type(error).__name__}: {error}\n")
        code = ExitCode.FAULT
    sys.exit(int(code))


def _limit(name: str) -> None:
    """Let the system itself end this process a little after its time: who watches it may be gone by then."""
    if hasattr(signal, "alarm"):
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(int(job_named(name).timeout.total_seconds()) + LATE_S)
