"""`kobe schedule export`: entries for the operating system's scheduler that wake `kobe run --once` at every slot."""

import getpass
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path, PurePosixPath, PureWindowsPath
from zoneinfo import ZoneInfo

from kobe.app.context import Context
from kobe.app.schedule import kubernetes as schedule_kubernetes
from kobe.app.schedule.cron import cron_files
from kobe.app.schedule.entries import ExportedFile, Plan, wake_ups
from kobe.app.schedule.kubernetes import kubernetes_files
from kobe.app.schedule.systemd import systemd_files
from kobe.app.schedule.windows import windows_files
from kobe.app.schedule.zone import host_zone, zone_named
from kobe.core.clock import NEW_YORK
from kobe.core.errors import UsageError
from kobe.reports.document import Document, Section

POSIX_USER = re.compile(r"[A-Za-z_][A-Za-z0-9_.@-]*\$?")
WINDOWS_USER = re.compile(r"[^\x00-\x1f\"/\[\]:;|=,+*?<>]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Exporter:
    """One scheduler.

    Attributes:
        files: writes its entries.
        zone: the zone its entries carry; None where they mean the host's.
        path: how paths are written where it runs.
        home: kobe's home there; empty: this home.
        program: the kobe that is called; empty: this one.
        user: whom it runs as: `always` a name is needed, `given` only where one was given, `never`.
        one_file: the entries are one file, shown without a word of ours, so that a pipe gets what a file would hold.
    """

    files: Callable[[Plan], tuple[ExportedFile, ...]]
    zone: ZoneInfo | None = None
    path: type[PurePosixPath | PureWindowsPath] = PurePosixPath
    home: str = ""
    program: str = ""
    user: str = "always"
    one_file: bool = False


EXPORTERS: dict[str, Exporter] = {
    "cron": Exporter(files=cron_files, user="given", one_file=True),
    "systemd": Exporter(files=systemd_files, zone=NEW_YORK),
    "windows": Exporter(files=windows_files, path=PureWindowsPath),
    "kubernetes": Exporter(
        files=kubernetes_files, zone=NEW_YORK, home=schedule_kubernetes.HOME, program="kobe", user="never"
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRequest:
    """Which scheduler, and what differs there from here; `output` is a folder, and for cron a file."""

    scheduler: str
    zone: str = ""
    home: str = ""
    program: str = ""
    user: str = ""
    years: int = 5
    output: Path | None = None
    dry_run: bool = False


def run_schedule_export(ctx: Context, request: ExportRequest) -> Document:
    """Write entries that wake kobe at every slot of the coming years; without an output they are only shown.

    Raises:
        UsageError: the scheduler does not exist, has no use for an option, or cannot write a path or a name.
    """
    exporter = EXPORTERS.get(request.scheduler)
    if exporter is None:
        raise UsageError("no such scheduler", seen=request.scheduler, expected=", ".join(EXPORTERS))
    plan = _plan(ctx, exporter, request)
    files = exporter.files(plan)
    written = _write(ctx, exporter, files, request)
    data = {
        "scheduler": request.scheduler, "zone": plan.wake_ups.zone, "home": plan.home, "words": list(plan.words),
        "from": str(plan.wake_ups.first), "until": str(plan.wake_ups.last),
        "wake_ups_a_week": len(plan.wake_ups.minutes), "needed_a_week": round(plan.wake_ups.needed_a_week, 1),
        "repeated": [at.isoformat() for at in plan.wake_ups.repeated], "written": written, "dry_run": request.dry_run,
        "files": [{"name": f.name, "text": f.text} for f in files],
    }  # fmt: skip
    banners = _banners(ctx, plan, request)
    if request.output is None and exporter.one_file:
        first, *rest = files[0].text.splitlines()
        comments = tuple(f"# {banner}" for banner in banners)
        return Document(schema=SCHEMA, title=first, summary=(*comments, *rest), data=data)
    return Document(
        schema=SCHEMA, title=f"Entries for {request.scheduler}, in the time of {plan.wake_ups.zone}",
        summary=_said(plan, request, written), data=data, banners=banners,
        sections=() if request.output else tuple(_section(file) for file in files),
    )  # fmt: skip


SCHEMA = "kobe.schedule_export/1"


def _plan(ctx: Context, exporter: Exporter, request: ExportRequest) -> Plan:
    """Put together where, as whom and when; names and paths are checked, because they become lines of others' files."""
    if exporter.zone is not None and request.zone:
        raise UsageError(
            f"{request.scheduler} knows New York's clocks itself", seen=f"--tz {request.zone}", expected="no --tz"
        )
    zone = exporter.zone or (zone_named(request.zone) if request.zone else host_zone())
    home = _absolute(exporter, "--home", request.home or exporter.home or str(ctx.paths.home))
    today = ctx.clock.now().astimezone(zone).date()
    last = min(_years_later(today, request.years), ctx.calendar.sessions[-1])
    anchor = ctx.settings.records.anchor
    options = [] if exporter.zone else [f"--tz {zone.key}"]
    return Plan(
        words=(*_program(exporter, request), "--home", home, "run", "--once", *(["--live"] if ctx.armed else [])),
        home=home, user=_user(exporter, request), writable=(str(Path(anchor).parent),) if anchor else (),
        heartbeat_s=ctx.settings.schedule.heartbeat_s, stop_grace_s=ctx.settings.schedule.stop_grace_s,
        wake_ups=wake_ups(ctx.calendar, zone, today, last), made=today,
        made_by=" ".join(["kobe schedule export", request.scheduler, *options]),
    )  # fmt: skip


def _years_later(day: date, years: int) -> date:
    """Return the same day some years later; the 28th for a leap day."""
    return day.replace(year=day.year + years, day=min(day.day, 28) if day.month == 2 else day.day)


def _absolute(exporter: Exporter, option: str, path: str) -> str:
    if not exporter.path(path).is_absolute():
        example = r"C:\kobe" if exporter.path is PureWindowsPath else "/srv/kobe"
        raise UsageError("the scheduler needs a whole path", seen=path, expected=f"{option} such as {example}")
    if not path.isprintable() or '"' in path:
        raise UsageError("a line of a scheduler cannot hold this path", seen=repr(path), expected="a plain path")
    return path


def _program(exporter: Exporter, request: ExportRequest) -> tuple[str, ...]:
    """Return the words that start kobe: as given, or the one that runs now."""
    if request.program:
        return (_absolute(exporter, "--program", request.program),)
    if exporter.program:
        return (exporter.program,)
    for name in ("kobe", "kobe.exe"):
        script = Path(sys.executable).with_name(name)
        if script.is_file():
            return (_absolute(exporter, "--program", str(script)),)
    return (_absolute(exporter, "--program", sys.executable), "-m", "kobe")


def _user(exporter: Exporter, request: ExportRequest) -> str:
    if exporter.user == "never" and request.user:
        raise UsageError("a pod runs as a number, not as a name", seen=f"--user {request.user}", expected="no --user")
    if exporter.user != "always" and not request.user:
        return ""
    pattern = WINDOWS_USER if exporter.path is PureWindowsPath else POSIX_USER
    try:
        user = request.user or getpass.getuser()
    except (KeyError, OSError, ImportError) as error:
        raise UsageError("this process runs as nobody with a name", expected="--user NAME") from error
    if not pattern.fullmatch(user):
        raise UsageError("not a user's name", seen=repr(user), expected="--user NAME")
    return user


def _banners(ctx: Context, plan: Plan, request: ExportRequest) -> tuple[str, ...]:
    found = []
    if ctx.settings.run.mode == "live" and not ctx.armed:
        found.append("This home trades live, and the entries say no --live: their orders will be refused.")
    if request.scheduler == "systemd" and plan.user == "root":
        found.append("kobe would run as root: give it a user of its own with --user NAME.")
    if plan.wake_ups.repeated and request.scheduler != "cron":
        days = ", ".join(sorted({f"{at:%Y-%m-%d}" for at in plan.wake_ups.repeated}))
        found.append(f"An hour comes twice in {plan.wake_ups.zone}; kobe may wake only after it, on {days}.")
    return tuple(found)


def _write(ctx: Context, exporter: Exporter, files: tuple[ExportedFile, ...], request: ExportRequest) -> list[str]:
    """Write the files where it was said and return their paths."""
    if request.output is None:
        return []
    is_file = exporter.one_file and not request.output.is_dir()
    paths = [request.output if is_file else request.output / file.name for file in files]
    if not request.dry_run:
        for path, file in zip(paths, files, strict=True):
            ctx.artifacts.write(path, file.content)
    return [str(path) for path in paths]


def _said(plan: Plan, request: ExportRequest, written: list[str]) -> tuple[str, ...]:
    verb = "would be written" if request.dry_run else "written"
    return (
        *([f"{path} {verb}" for path in written] or ["--output FOLDER writes these files"]),
        f"{plan.wake_ups.words}; right until {plan.wake_ups.last}",
        "Install, check, remove: ops/README.md",
    )


def _section(file: ExportedFile) -> Section:
    return Section(title=file.name, letters=tuple(file.text.splitlines()))
