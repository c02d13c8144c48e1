"""A kobe home with a small synthetic market and a promoted model, made once and copied for each test."""

import shutil
from datetime import date
from pathlib import Path

from kobe.app import import_bars, wiring
from kobe.app.promote import run_promote
from kobe.app.train_meta import run_train_meta
from kobe.app.walk_forward import WalkForwardRequest, run_walk_forward
from kobe.core.clock import NEW_YORK, SteppingClock
from kobe.data.manifest import Provenance
from kobe.data.providers.synthetic import SyntheticSpec, synthetic_market

LAST = date(2024, 12, 31)
SPEC = SyntheticSpec(symbols=100, years=4, last_session=LAST, reversal=2.5)


def make_home(folder: Path, sessions: int = 15):
    """Import the market, walk forward up to `sessions` before its end, train and promote; return the first session."""
    # A week's learning takes seconds: the one test that wants it turns it on.
    settings = folder / "config" / "kobe.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text("[meta]\nweekly = false\n", encoding="utf-8")
    ctx = wiring.build(folder)
    bars = synthetic_market(SPEC, ctx.calendar)
    import_bars.keep(ctx, bars, Provenance(source="synthetic"), "synthetic", replace=True)
    first = ctx.calendar.offset(LAST, -sessions)
    run_walk_forward(ctx, WalkForwardRequest(until=ctx.calendar.previous(first)))
    run_train_meta(ctx)
    run_promote(ctx)
    ctx.ledger.close()
    return first


def copy_home(source: Path, target: Path) -> Path:
    """Copy a home whole."""
    shutil.copytree(source, target)
    return target


def at(day: date, hour: int, minute: int) -> SteppingClock:
    """A clock that stands at a New York time."""
    from datetime import datetime

    return SteppingClock(datetime(day.year, day.month, day.day, hour, minute, tzinfo=NEW_YORK))
