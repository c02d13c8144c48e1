"""`kobe doctor`: is this home fit to run? Each failure comes with its remedy; nothing is changed without `--fix`."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kobe.app import wiring
from kobe.app.context import Context
from kobe.app.doctor import home as doctor_home
from kobe.app.doctor import machine as doctor_machine
from kobe.app.doctor import market as doctor_market
from kobe.app.doctor import records as doctor_records
from kobe.app.doctor import running as doctor_running
from kobe.app.doctor.finding import Check, Finding, Level, Repair, fail, is_new, of_error
from kobe.core.clock import Clock
from kobe.core.errors import ConfigError, ExitCode, KobeError, UsageError
from kobe.reports.document import Document, Section, Table

CHECKS: dict[str, Check] = {
    "settings": doctor_home.settings,
    "python": doctor_machine.python,
    "packages": doctor_machine.packages,
    "extras": doctor_machine.extras,
    "zones": doctor_machine.zones,
    "clock": doctor_machine.clock,
    "disk": doctor_machine.disk,
    "filesystem": doctor_machine.filesystem,
    "folders": doctor_home.folders,
    "permissions": doctor_home.permissions,
    "temporary": doctor_home.temporary,
    "caches": doctor_home.caches,
    "calendar": doctor_market.calendar,
    "bars": doctor_market.bars,
    "quarantine": doctor_market.quarantine,
    "model": doctor_market.model,
    "ledger": doctor_records.ledger,
    "audit": doctor_records.audit,
    "backups": doctor_records.backups,
    "keys": doctor_running.keys,
    "broker": doctor_running.broker,
    "channels": doctor_running.channels,
    "schedule": doctor_running.schedule,
    "jobs": doctor_running.jobs,
    "positions": doctor_running.positions,
    "switches": doctor_running.switches,
    "page": doctor_home.page,
}

FIXES: dict[str, Callable[[Context], list[Repair]]] = {
    "folders": doctor_home.make_folders,
    "permissions": doctor_home.tighten,
    "temporary": doctor_home.sweep,
    "caches": doctor_home.prune,
    "page": doctor_home.write_page,
}
"""What `--fix` may do, by the check that asks for it; everything else is for a person."""

COLUMNS = ("check", "result", "seen", "next")
_WORDS = {Level.OK: "ok", Level.WARN: "warn", Level.FAIL: "FAIL"}


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorRequest:
    """Which checks (none named: all), and whether to mend; `dry_run` only says what would be mended."""

    only: tuple[str, ...] = ()
    fix: bool = False
    dry_run: bool = False


def run_doctor_at(
    home: Path | None, request: DoctorRequest, *, config: Path | None = None, clock: Clock | None = None
) -> Document:
    """Examine a home whose settings may be broken: that is then one finding, and the rest is seen with the defaults.

    Raises:
        ConfigError: not even the defaults can be used, such as with a bad `KOBE_...` variable.
        UsageError: there is no such check.
    """
    try:
        ctx, spoilt = wiring.build(home, config=config, clock=clock), None
    except ConfigError as error:
        try:
            ctx, spoilt = wiring.build(home, config=Path(os.devnull), clock=clock), error
        except ConfigError:
            raise error from None
    return run_doctor(ctx, request, spoilt=spoilt)


def run_doctor(ctx: Context, request: DoctorRequest | None = None, *, spoilt: KobeError | None = None) -> Document:
    """Run the checks; a failed one does not hide the others. With `fix` mend first what is safe to mend.

    Args:
        ctx: the home.
        request: which checks, and whether to mend.
        spoilt: why the settings of the home are not in use.

    Raises:
        UsageError: there is no such check.
    """
    asked = request or DoctorRequest()
    names = _chosen(asked.only)
    mended = _mend(ctx, names, dry_run=asked.dry_run) if asked.fix or asked.dry_run else []
    found: dict[str, list[Finding]] = {}
    for name in names:
        found[name] = [of_error(spoilt)] if name == "settings" and spoilt is not None else _look(ctx, name)
    return _document(ctx, found, mended, asked, spoilt)


def _chosen(only: tuple[str, ...]) -> list[str]:
    unknown = [name for name in only if name not in CHECKS]
    if unknown:
        raise UsageError("no such check", seen=", ".join(unknown), expected=", ".join(CHECKS))
    return [name for name in CHECKS if not only or name in only]


def _look(ctx: Context, name: str) -> list[Finding]:
    try:
        return CHECKS[name](ctx)
    except KobeError as error:
        return [of_error(error)]
    except OSError as error:
        seen = f"{error.strerror or error}: {error.filename or ctx.paths.home}"
        return [fail(seen, f"check the permissions of {ctx.paths.home}", ExitCode.CONFIG)]
    except Exception as error:  # noqa: BLE001 - what no check foresaw in a broken home must not hide what the others see
        return [fail(f"fault: {type(error).__name__}: {error}", f"kobe --debug doctor --only {name}", ExitCode.FAULT)]


def _mend(ctx: Context, names: list[str], *, dry_run: bool) -> list[tuple[str, str]]:
    """Do what is safe to do, each by itself; return (what, how it went)."""
    told = []
    for name, repairs_of in FIXES.items():
        if name not in names:
            continue
        try:
            repairs = repairs_of(ctx)
        except OSError as error:
            told.append((f"look at {name}", f"not possible: {error.strerror or error}"))
            continue
        told += [(repair.what, "would be done" if dry_run else _done(repair)) for repair in repairs]
    return told


def _done(repair: Repair) -> str:
    try:
        repair.act()
    except (KobeError, OSError) as error:
        return f"not possible: {error.what if isinstance(error, KobeError) else error.strerror or error}"
    return "done"


def _document(
    ctx: Context, found: dict[str, list[Finding]], mended: list[tuple[str, str]], asked: DoctorRequest,
    spoilt: KobeError | None,
) -> Document:  # fmt: skip
    every = [(name, finding) for name, findings in found.items() for finding in findings]
    worst_first = sorted(every, key=lambda one: -list(Level).index(one[1].level))
    rows = tuple((name, _WORDS[f.level], f.seen, f.remedy) for name, f in worst_first)
    changes = Section(title="Mended", table=Table(columns=("what", "outcome"), rows=tuple(mended)))
    return Document(
        schema="kobe.doctor/2",
        title=f"Health of {ctx.paths.home}",
        summary=_summary(ctx, found, mended, asked),
        banners=("The settings cannot be used: all else was looked at with the defaults.",) if spoilt else (),
        sections=(
            *((changes,) if mended else ()),
            Section(title="Checks" if mended else "", table=Table(columns=COLUMNS, rows=rows)),
        ),
        data={
            "home": str(ctx.paths.home),
            "checks": [
                {"check": n, "result": f.level.value, "seen": f.seen, "next": f.remedy, "code": int(f.code)}
                for n, f in every
            ],
            "mended": [{"what": what, "outcome": outcome} for what, outcome in mended],
        },
        exit_code=max((f.code for _, f in every if f.level is Level.FAIL), default=ExitCode.OK),
    )  # fmt: skip


def _summary(
    ctx: Context, found: dict[str, list[Finding]], mended: list[tuple[str, str]], asked: DoctorRequest
) -> tuple[str, ...]:
    """Say in a few lines how it stands and what to do next."""
    worst = {n: max((f.level for f in fs), key=list(Level).index, default=Level.OK) for n, fs in found.items()}
    failed = [name for name, level in worst.items() if level is Level.FAIL]
    warned = [name for name, level in worst.items() if level is Level.WARN]
    passed = len(worst) - len(failed) - len(warned)
    lines = [f"{passed} of {len(worst)} checks pass, {len(warned)} warn, {len(failed)} fail"]
    if asked.fix or asked.dry_run:
        word = "would be mended" if asked.dry_run else "mended"
        lines.append(f"{len(mended)} things {word}; everything else is for you." if mended else "Nothing to mend.")
    if failed:
        lines.append(f"To mend: {', '.join(failed)}.")
    elif warned and not asked.only and _is_untouched(ctx):
        lines.append("Nothing is wrong: this home is new. The warnings name what is optional or not set up yet.")
        is_made = (ctx.paths.home / "config" / "kobe.toml").is_file()
        first = "kobe data import FILE" if is_made else "kobe init"
        lines.append(f"Next: {first}, or kobe demo to see a whole day on a made-up market.")
    elif warned:
        lines.append("Nothing is broken. The warnings can wait, but not for ever.")
    return tuple(lines)


def _is_untouched(ctx: Context) -> bool:
    try:
        return is_new(ctx)
    except (KobeError, OSError):
        return False
