"""Checks and repairs of the doctor: settings, folders, permissions and what was left lying about in a home."""

import os
import re
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path

from kobe.app import status
from kobe.app.config import flatten
from kobe.app.context import Context
from kobe.app.doctor.finding import Finding, Repair, fail, has_run, ok, warn
from kobe.core.errors import ExitCode
from kobe.infra import durable, machine
from kobe.infra.clock import SystemClock

CACHE_BYTES = 5 * 2**30
CACHE_AGE = timedelta(days=30)
LEFT_AGE = timedelta(hours=1)
_KEY = re.compile(r"\b[PA]K[A-Z0-9]{14,}\b")
_LEFT = re.compile(rf"{re.escape(durable.TEMPORARY_PREFIX)}[0-9a-f]{{16}}")
_FIX = "kobe doctor --fix"


def settings(ctx: Context) -> list[Finding]:
    """Are the settings given, and do no keys stand in them? Those that cannot be used never get here."""
    file = ctx.paths.home / "config" / "kobe.toml"
    if not file.is_file():
        return [warn("no config/kobe.toml: the defaults hold", "kobe init")]
    lines = file.read_text(encoding="utf-8").splitlines()
    odd = [str(number) for number, line in enumerate(lines, 1) if _KEY.search(line)]
    if odd:
        seen = f"something like a key stands in config/kobe.toml, line {', '.join(odd)}"
        return [fail(seen, "move it to .env and make a new key: this one was in the open", ExitCode.CONFIG)]
    changed = sum(origin != "default" for origin in ctx.origins.values())
    return [ok(f"{len(flatten(ctx.settings.model_dump(mode='json')))} settings, {changed} of them given")]


def folders(ctx: Context) -> list[Finding]:
    """Are the folders there, and may this user write them?"""
    found, absent = [], []
    for folder in _folders(ctx):
        if not os.path.lexists(folder):
            absent.append(_short(ctx, folder))
        elif not folder.is_dir():
            found.append(fail(f"{folder} is not a folder", f"move {folder} away", ExitCode.CONFIG))
        elif not os.access(folder, os.W_OK | os.X_OK):
            found.append(fail(f"{folder} cannot be written", f"make {folder} writable", ExitCode.CONFIG))
    if absent:
        found.append(warn(f"not made yet: {', '.join(absent)}", _FIX if has_run(ctx) else "kobe init"))
    return found or [ok(f"{ctx.paths.home} can be written")]


def make_folders(ctx: Context) -> list[Repair]:
    """Make the folders that are missing; the state is for its owner alone."""

    def make(folder: Path) -> None:
        durable.make_folder(folder)
        if folder == ctx.paths.state:
            folder.chmod(0o700)

    return [Repair(f"make {f}", partial(make, f)) for f in _folders(ctx) if not os.path.lexists(f)]


def permissions(ctx: Context) -> list[Finding]:
    """Is what is secret readable by its owner alone, and does nobody else write the records?"""
    found = []
    for path, _ in _too_open(ctx):
        mode = machine.mode_of(path) or 0
        seen = f"{_short(ctx, path)} is open to others ({mode:03o})"
        if path == ctx.paths.state and not mode & 0o022:
            found.append(warn(seen, _FIX))
        else:
            found.append(fail(seen, _FIX, ExitCode.CONFIG))
    return found or [ok("secrets and records are for their owner alone" if os.name != "nt" else "left to Windows")]


def tighten(ctx: Context) -> list[Repair]:
    """Take from others what is secret."""
    return [
        Repair(f"set {_short(ctx, path)} to {mode:03o}", partial(path.chmod, mode)) for path, mode in _too_open(ctx)
    ]


def temporary(ctx: Context) -> list[Finding]:
    """Did writers that were killed leave files behind?"""
    left = _left(ctx)
    if not left:
        return [ok("nothing was left by a crash")]
    return [warn(f"{len(left)} files were left by writers that were killed, such as {_short(ctx, left[0])}", _FIX)]


def sweep(ctx: Context) -> list[Repair]:
    """Remove what killed writers left; what a living one writes is locked and stays."""
    repairs = [
        Repair(f"remove what killed writers left below {_short(ctx, folder)}", partial(ctx.artifacts.sweep, folder))
        for folder in _swept(ctx)
        if any(path.is_relative_to(folder) for path in _left(ctx))
    ]
    return repairs + [
        Repair(f"remove {path.name}", partial(path.unlink, missing_ok=True)) for path in _left_on_top(ctx)
    ]


def caches(ctx: Context) -> list[Finding]:
    """How much room do the caches take?"""
    total = sum(path.stat().st_size for path in _files(ctx.paths.home / "cache"))
    seen = f"{total / 2**20:.0f} MiB in cache"
    return [warn(seen, _FIX)] if total > CACHE_BYTES else [ok(seen)]


def prune(ctx: Context) -> list[Repair]:
    """Remove cached files nobody has touched for long; they are made again when needed."""
    before = (SystemClock().now() - CACHE_AGE).timestamp()
    old = [p for f in (ctx.paths.views, ctx.paths.arrays) for p in _files(f) if p.stat().st_mtime < before]
    if not old:
        return []
    size = sum(path.stat().st_size for path in old) / 2**20
    what = f"remove {len(old)} cached files ({size:.0f} MiB) untouched for {CACHE_AGE.days} days"
    return [Repair(what, partial(_remove, old))]


def page(ctx: Context) -> list[Finding]:
    """Is STATUS.md there for a person to read?"""
    file = ctx.paths.home / "STATUS.md"
    return [ok("STATUS.md is there")] if file.is_file() else [warn("there is no STATUS.md yet", "kobe status")]


def write_page(ctx: Context) -> list[Repair]:
    """Write STATUS.md where there is none."""
    if os.path.lexists(ctx.paths.home / "STATUS.md"):
        return []
    return [Repair("write STATUS.md", lambda: status.run_status(ctx))]


def _folders(ctx: Context) -> list[Path]:
    p = ctx.paths
    return [p.home, p.home / "config", p.bars, p.state, p.reports]


def _too_open(ctx: Context) -> Iterator[tuple[Path, int]]:
    """Yield what others may read or write though they should not, with the mode it must have."""
    state = ctx.paths.state
    keys = state / "keys"
    wanted = [(state, 0o700), (keys, 0o700), (state / "backups", 0o700), (ctx.paths.home / ".env", 0o600)]
    wanted += [(key, 0o600) for key in sorted(keys.glob("*.key"))]
    for path, mode in wanted:
        has = machine.mode_of(path)
        if has is not None and has & 0o077:
            yield path, mode


def _swept(ctx: Context) -> list[Path]:
    p = ctx.paths
    folders = (p.home / "config", p.home / "data", p.state, p.reports, p.walk_forward, p.home / "cache")
    return [folder for folder in folders if folder.is_dir()]


def _left(ctx: Context) -> list[Path]:
    found = [path for folder in _swept(ctx) for path in folder.rglob(f"{durable.TEMPORARY_PREFIX}*") if path.is_file()]
    return sorted(found) + _left_on_top(ctx)


def _left_on_top(ctx: Context) -> list[Path]:
    """Return what was left in the home itself, whose other folders may be a person's: only names of our own making."""
    before = (SystemClock().now() - LEFT_AGE).timestamp()
    found = ctx.paths.home.glob(f"{durable.TEMPORARY_PREFIX}*")
    mine = (path for path in found if _LEFT.fullmatch(path.name) and path.is_file() and not path.is_symlink())
    return sorted(path for path in mine if path.stat().st_mtime < before)


def _remove(paths: list[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()] if folder.is_dir() else []


def _short(ctx: Context, path: Path) -> str:
    return path.relative_to(ctx.paths.home).as_posix() if path != ctx.paths.home else str(path)
