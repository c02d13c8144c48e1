"""Homes that stand right before a job of the day, and all that one holds, to compare two of them."""

import hashlib
import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from kit import holding
from kit.home import LAST, copy_home
from kit.market_server import MarketServer

from kobe.app import desk, wiring
from kobe.app.audit import run_audit_verify
from kobe.app.context import Context
from kobe.app.day import perform, runs, simulate
from kobe.app.jobs import JOBS, job_named
from kobe.app.manage_exits import run_manage_exits
from kobe.app.reconcile import run_reconcile
from kobe.app.scan import ScanRequest, run_scan
from kobe.core.clock import NEW_YORK, SteppingClock
from kobe.core.errors import ExitCode
from kobe.execution import exits
from kobe.infra.clock import SystemClock
from kobe.infra.records.ledger import SqlLedger

STILL = ("data", "wf_outputs")
"""Folders whose files are replaced and never changed: a copy may share them."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A home before a job: where, of which session, at which instant (New York)."""

    home: Path
    job: str
    session: date
    at: datetime

    @property
    def words(self) -> tuple[str, ...]:
        """The command that runs the job then."""
        told = self.at.astimezone(NEW_YORK).strftime("%Y-%m-%dT%H:%M")
        return ("-q", "jobs", "run", self.job, "--session", str(self.session), "--as-of", told)


def copy(source: Path, target: Path) -> Path:
    """Copy a home; what is never changed in place is shared."""
    for path in sorted(source.iterdir()):
        if path.is_dir():
            how = os.link if path.name in STILL else shutil.copy2
            shutil.copytree(path, target / path.name, copy_function=how)
        else:
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target / path.name)
    return target


def stages_of_a_day(made: Path, folder: Path) -> dict[str, Stage]:
    """Play a home up to a session whose eve chose a trade, and stop before each of its jobs; none of the network."""
    home = copy_home(made, folder / "played")
    ctx = wiring.build(home, clock=simulate.clock_before(LAST - timedelta(days=20)))
    first = ctx.calendar.offset(LAST, -14)
    day = next(d for d in ctx.calendar.between(first, LAST)[4:] if _trades(ctx, d))
    simulate.run_simulation(ctx, first, ctx.calendar.previous(day))
    found = {}
    for job in sorted(JOBS, key=lambda j: _slot(ctx, j, day)):
        if job.name.startswith("fetch"):
            continue
        ctx.clock.set(_slot(ctx, job, day))
        ctx.ledger.close()
        found[job.name] = Stage(copy(home, folder / job.name), job.name, day, ctx.clock.now())
        perform.run_job(ctx, job, day)
    ctx.ledger.close()
    return found


def _trades(ctx: Context, day: date) -> bool:
    ctx.clock.set(ctx.calendar.opens_at(day))
    document = run_scan(ctx, ScanRequest(session=ctx.calendar.previous(day), dry_run=True))
    return document.data["trade_of_day"]["action"] == "trade"


def _slot(ctx: Context, job: Any, day: date) -> datetime:
    instant = job.slot.instant(ctx.calendar, day)
    return instant or datetime.combine(day, job.slot.on_saturday, NEW_YORK) + timedelta(days=1)


def stages_of_a_holding(folder: Path) -> dict[str, Stage]:
    """Homes that hold: a position that ends today before the close, and one that has lost its guard."""
    base = holding.make(folder / "holding")
    ctx = wiring.build(base, clock=holding.clock(holding.DAY, 10, 0))
    name = holding.affordable(ctx, holding.DAY)[0]
    holding.move(ctx, holding.DAY, 10, 0)
    signal = holding.enter(ctx, name, hold=1)
    run_manage_exits(ctx)
    ctx.ledger.close()
    closing_home = copy(base, folder / "closing")
    guard = exits.resting(desk.manager(ctx).orders().values(), signal)
    ctx.broker.cancel(guard.request.client_order_id)
    desk.manager(ctx).refresh(holding.DAY)
    ctx.ledger.close()
    at = holding.clock(holding.DAY, 15, 55).now()
    noon = holding.clock(holding.DAY, 12, 0).now()
    return {
        "exits-close": Stage(closing_home, "exits-close", holding.DAY, at),
        "guards": Stage(base, "guards", holding.DAY, noon),
    }


def stages_of_fetching(folder: Path, server: MarketServer, calendar: Any) -> dict[str, Stage]:
    """A home whose bars are a week old, and a provider on this machine that has the rest."""
    from kobe.app.fetch_bars import FetchRequest, run_fetch

    day = date(2020, 3, 31)
    home = folder / "fetching"
    (home / "config").mkdir(parents=True)
    (home / "config" / "kobe.toml").write_text(
        f'[data]\nadjustment = "raw"\nproviders = ["yahoo"]\n[data.base_urls]\nyahoo = "{server.url}"\n'
    )
    ctx = wiring.build(home, clock=SteppingClock(datetime(2020, 3, 31, 22, tzinfo=NEW_YORK)))
    run_fetch(ctx, FetchRequest(symbols=("AAA", "SPY"), first=date(2019, 1, 2), last=calendar.offset(day, -5)))
    ctx.ledger.close()
    early = Stage(home, "fetch-early", day, datetime(2020, 3, 31, 6, tzinfo=NEW_YORK))
    return {"fetch-early": early, "fetch": Stage(home, "fetch", day, datetime(2020, 3, 31, 16, 20, tzinfo=NEW_YORK))}


# -- what a home holds -----------------------------------------------------------------------------------------------

OWN = re.compile(
    r'"(run|run_id|code|pipeline_sha256|audit_head|sequence)":("[^"]*"|[0-9]+),?|[0-9]+ records, head [0-9]+:[0-9a-f]+'
)
"""Facts of a run itself: its name, the bytes of a pipeline (not the same twice), how many records there were."""
INSTANTS = re.compile(r'"(at|told_at)":"[^"]*",?')
"""Of orders: one whose process died while it was sent is looked up for thirty seconds before it is sent again, so that
its fill may be that much later."""
NOTICED = ("reconcile", "experiments", "cash")
"""Streams that tell what was found on the way: after a crash there is more to find, each look at returns counts, and
each start compares the cash, so that theirs may be more or tell a later state. `books_agree` judges the cash."""
TELLING = ("problems", "runs", "ended_badly", "audit_head", "jobs", "summary", "banners")
"""Of reports: what they tell of jobs, of problems and of the audit chain; a crash belongs there."""
CACHES = ("provider_cache", "data/bars/cache/")
"""What may be deleted at any time; a panel of bars that are no more goes with the next delivery."""


def events_of(home: Path) -> tuple[Counter[str], Counter[str]]:
    """Return every event of both ledgers but the records of runs: what was done, and what was noticed."""
    done: Counter[str] = Counter()
    noticed: Counter[str] = Counter()
    for name in ("kobe.db", "sim_broker.db"):
        if not (home / "state" / name).is_file():
            continue
        with closing(SqlLedger(home / "state" / name, SystemClock(), read_only=True)) as ledger:
            for row in ledger.copy_out():
                if row["stream"] in {runs.STREAM, runs.BEGUN}:
                    continue
                kept = noticed if row["stream"] in NOTICED else done
                text = OWN.sub("", row["payload"])
                text = INSTANTS.sub("", text) if row["stream"] in {"orders", "broker"} else text
                kept[f"{name} {row['stream']} {row['entity']} {row['kind']} {row['key']} {text}"] += 1
    return done, noticed


def files_of(home: Path) -> Iterator[tuple[str, str]]:
    """Yield what a job leaves in files, with digests of their bytes; of reports, of what they tell about the market."""
    for folder in ("reports", "wf_outputs", "data", "state/models", "state/experiments"):
        for path in sorted((home / folder).rglob("*")):
            name = path.relative_to(home).as_posix()
            if not path.is_file() or path.name.startswith(".tmp-") or path.suffix == ".lock":
                continue
            if any(cache in name for cache in CACHES):
                continue
            if (folder == "reports" and path.suffix in {".md", ".html"}) or path.suffix == ".skops":
                yield name, "there"
                continue
            content = path.read_bytes()
            if folder == "reports" and path.suffix == ".json":
                content = json.dumps(_of_the_market(json.loads(content)), sort_keys=True).encode()
            yield name, hashlib.sha256(content).hexdigest()


def _of_the_market(told: Any) -> Any:
    if isinstance(told, dict):
        return {key: _of_the_market(value) for key, value in told.items() if key not in TELLING}
    return [_of_the_market(value) for value in told] if isinstance(told, list) else told


def faults_of_records(stage: Stage, home: Path) -> list[str]:
    """Return what is wrong with the records of a home after its job: runs left open, more ends than one, the chain."""
    ctx = wiring.build(home, clock=SteppingClock(stage.at))
    known = runs.standing(ctx.ledger, stage.job, stage.session)
    kinds = [e.kind for e in known.events]
    found = [] if kinds[-1:] == [runs.DONE] else [f"it ended as {kinds}"]
    found += [f"settled more than once: {kinds}"] if sum(kind in runs.SETTLED for kind in kinds) > 1 else []
    found += ["another process is at it"] if perform.is_running(ctx, job_named(stage.job)) else []
    for path in ctx.paths.state.glob("models/*/pipeline.skops"):
        ctx.models.pipeline(path.parent.name)  # raises where it is not the one on record
    verdict = run_audit_verify(ctx)
    found += [] if verdict.exit_code is ExitCode.OK else [f"audit: {verdict.summary}"]
    ctx.ledger.close()
    return found


def books_agree(stage: Stage, home: Path) -> bool:
    """Say whether our books, cash included, are the broker's a minute after; it writes down what is compared: ask last.

    At the job's own instant a fill that was looked up for thirty seconds first is still to come.
    """
    ctx = wiring.build(home, clock=SteppingClock(stage.at + timedelta(minutes=1)))
    document = run_reconcile(ctx)
    ctx.ledger.close()
    return document.exit_code is ExitCode.OK


def left_of_killed(home: Path) -> list[Path]:
    """Return temporary files; those on top of the home may be a person's for an hour and do not count."""
    return [path for path in home.rglob(".tmp-*") if path.parent != home]
