"""Checks of the doctor: Python, libraries, disk, file system and clock of this machine."""

import re
import shutil
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from importlib import metadata, util
from pathlib import Path

from kobe.app.context import Context
from kobe.app.day import runs
from kobe.app.doctor.finding import Finding, fail, is_pretended, ok, warn
from kobe.app.settings import Settings
from kobe.core.clock import NEW_YORK, from_ns
from kobe.core.errors import ExitCode
from kobe.infra import machine

PYTHONS = ((3, 11), (3, 12))
LEAST_FREE_BYTES = 200 * 2**20
LITTLE_FREE_BYTES = 2 * 2**30
CLOCK_LEEWAY = timedelta(seconds=5)
SHOWN = 4
LOCK = Path(__file__).resolve().parents[2] / "requirements" / "runtime.txt"
_PINNED = re.compile(r"^([A-Za-z0-9_.-]+)==([^\s;\\]+)(?:\s*;\s*([^\\\n]+))?", re.MULTILINE)
_INSTALL = "make setup (or: pip install --upgrade kobe)"

EXTRAS: dict[str, tuple[str, str, Callable[[Settings], bool]]] = {
    "charts": ("matplotlib", "pictures in messages", lambda _: False),
    "objects": ("s3fs", "bars on an object store",
                lambda s: s.data.store_url.startswith("s3:") or s.compute.arrays_url.startswith("s3:")),
    "otel": ("opentelemetry.sdk", "traces", lambda s: bool(s.watch.model_dump().get("otel_endpoint"))),
    "postgres": ("psycopg", "the ledger on PostgreSQL", lambda s: s.records.ledger_url.startswith("postgresql")),
    "research": ("arch", "statistics of the evidence", lambda _: False),
    "scale": ("distributed", "dask clusters", lambda s: s.compute.backend == "dask"),
    "service": ("uvicorn", "kobe serve", lambda _: False),
}  # fmt: skip
"""Extra -> a module that tells whether it is installed, what it brings, whether the settings need it."""


def python(_: Context) -> list[Finding]:
    """Is this a Python that kobe was tested with?"""
    return [python_is(sys.version_info[:2])]


def python_is(version: tuple[int, int]) -> Finding:
    """Judge a Python version."""
    words = ".".join(str(part) for part in version)
    if version in PYTHONS:
        return ok(f"Python {words}")
    return fail(f"Python {words}; kobe needs 3.11 or 3.12", "install Python 3.12, then make setup", ExitCode.CONFIG)


def packages(_: Context) -> list[Finding]:
    """Are the libraries those of the lock, or at least those kobe asks for?"""
    missing = unmet()
    other: list[str] = []
    if LOCK.is_file():
        gone, other = against_lock(LOCK.read_text(encoding="utf-8"))
        missing = sorted({*missing, *gone})
    if missing:
        return [fail(f"not installed: {_some(missing)}", _INSTALL, ExitCode.CONFIG)]
    if other:
        return [warn(f"other versions than the lock's: {_some(other)}", _INSTALL)]
    return [ok("as locked" if LOCK.is_file() else "all that kobe asks for; no lock beside this installation")]


def against_lock(text: str) -> tuple[list[str], list[str]]:
    """Compare what is installed with a locked set; return what is missing, and what has another version."""
    from packaging.markers import Marker

    missing, other = [], []
    for name, wanted, marker in _PINNED.findall(text):
        if marker and not Marker(marker.strip()).evaluate():
            continue
        have = _version(name)
        if have is None:
            missing.append(name)
        elif have != wanted:
            other.append(f"{name} {have} instead of {wanted}")
    return missing, other


def unmet() -> list[str]:
    """Return what kobe itself asks for and does not have in a version it takes."""
    from packaging.requirements import Requirement

    found = []
    for line in metadata.requires("kobe") or []:
        asked = Requirement(line)
        if asked.marker is not None and not asked.marker.evaluate({"extra": ""}):
            continue
        have = _version(asked.name)
        if have is None or not asked.specifier.contains(have, prereleases=True):
            found.append(f"{asked.name}{asked.specifier}")
    return found


def extras(ctx: Context) -> list[Finding]:
    """Which optional parts are installed, and do the settings need one that is not?"""
    absent = [name for name, (module, _, _) in EXTRAS.items() if not _is_there(module)]
    found = [
        fail(f"{name} is needed by the settings ({EXTRAS[name][1]}) and not installed", f"pip install 'kobe[{name}]'",
             ExitCode.CONFIG)
        for name in absent
        if EXTRAS[name][2](ctx.settings)
    ]  # fmt: skip
    have = [name for name in EXTRAS if name not in absent]
    seen = f"installed: {', '.join(have) or 'none'}" + (f"; optional: {', '.join(absent)}" if absent else "")
    return found or [ok(seen)]


def zones(_: Context) -> list[Finding]:
    """Does the time zone data know New York as it is?"""
    offsets = [NEW_YORK.utcoffset(datetime(2026, month, 1)) for month in (1, 7)]  # noqa: DTZ001 - the wall clock there
    if offsets != [timedelta(hours=-5), timedelta(hours=-4)]:
        return [fail("the time zone data is wrong about New York", "pip install --upgrade tzdata", ExitCode.CONFIG)]
    return [ok(f"New York known; tzdata {_version('tzdata') or 'of the system'}")]


def clock(ctx: Context) -> list[Finding]:
    """Is the host's clock kept right, and did it never run ahead of now?"""
    if is_pretended(ctx):
        return [ok(f"pretended: {ctx.clock.now():%Y-%m-%d %H:%M} UTC")]
    newest = max((e.at_ns for e in ctx.ledger.events(runs.STREAM)[-1:]), default=0)
    if from_ns(newest) > ctx.clock.now() + CLOCK_LEEWAY:
        seen = f"the newest record is from {from_ns(newest):%Y-%m-%d %H:%M} UTC, which is yet to come"
        return [fail(seen, "set the clock of this machine right", ExitCode.CONFIG)]
    kept = machine.clock_is_kept()
    if kept is False:
        return [warn("the system does not keep its clock right", "turn time synchronisation on (NTP)")]
    return [ok("kept right by the system" if kept else "the system does not tell whether it is kept right")]


def disk(ctx: Context) -> list[Finding]:
    """Is there room to write?"""
    return [room(shutil.disk_usage(_nearest(ctx.paths.home)).free)]


def room(free_bytes: int) -> Finding:
    """Judge how much is free."""
    if free_bytes < LEAST_FREE_BYTES:
        return fail(f"the disk is nearly full: {free_bytes / 2**20:.0f} MiB", "free some space", ExitCode.EXTERNAL)
    seen = f"{free_bytes / 2**30:.1f} GiB free"
    return warn(f"{seen}: little", "free some space") if free_bytes < LITTLE_FREE_BYTES else ok(seen)


def filesystem(ctx: Context) -> list[Finding]:
    """Are the records on a disk of this machine? SQLite's journal needs shared memory and locks that hold."""
    return [lies_on(machine.mount_of(_nearest(ctx.paths.state)))]


def lies_on(mount: machine.Mount | None) -> Finding:
    """Judge the file system of the records."""
    if mount is None:
        return ok("the system does not tell")
    if mount.is_network:
        remedy = "move the home to a disk of this machine (KOBE_HOME), or use records.ledger_url"
        return fail(f"the records lie on a network drive ({mount.kind} at {mount.place})", remedy, ExitCode.CONFIG)
    if mount.is_shared:
        seen = f"the records lie on a folder of the host ({mount.kind} at {mount.place}); its locks may not hold"
        return warn(seen, "move the home to a disk of this machine (KOBE_HOME)")
    return ok(f"{mount.kind} at {mount.place}")


def _nearest(path: Path) -> Path:
    """Return the path or the nearest folder above it that is there, links resolved."""
    path = path.resolve()
    return next((one for one in (path, *path.parents) if one.exists()), path)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _is_there(module: str) -> bool:
    try:
        return util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _some(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
