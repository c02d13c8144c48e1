"""How old the data are: the newest bar against what is due by now, and the last delivery of each kind."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import groupby

from kobe.app.context import Context
from kobe.core.errors import DataError
from kobe.data.reference import TABLES
from kobe.reports.anomalies import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class BarFacts:
    """The newest bar and the close it is of, how many sessions it is behind what is due, and where bars come from."""

    newest: date
    closed: datetime
    behind: int
    source: str


def bar_facts(ctx: Context) -> BarFacts | None:
    """Return how old the bars are, None where there are none or where they lie elsewhere."""
    if ctx.settings.data.store_url:
        return None  # an object store is asked over the network, and watching asks nobody
    try:
        held = ctx.store.manifest()
    except DataError:
        return None
    due = ctx.calendar.last_complete(ctx.clock.now() - timedelta(hours=ctx.settings.watch.bars_due_h))
    behind = max(len(ctx.calendar.between(held.last, due)) - 1, 0)
    return BarFacts(
        newest=held.last, closed=ctx.calendar.closes_at(held.last), behind=behind, source=held.provenance.source
    )


def sources(ctx: Context) -> list[Source]:
    """Return how old each kind of data is; who delivered bars is listed, and only the newest bar is judged."""
    return [*_bars(ctx), *_tables(ctx)]


def _bars(ctx: Context) -> list[Source]:
    newest = bar_facts(ctx)
    if newest is None:
        return []
    behind = f"{newest.behind} sessions behind" if newest.behind else "as due"
    found = [Source(name="bars", newest=newest.newest, age=behind, is_old=newest.behind > 0)]
    told = sorted((o.source, o.fetched_at) for o in ctx.store.manifest().origins)
    for source, each in groupby(told, key=lambda one: one[0]):
        at = datetime.fromisoformat(max(fetched for _, fetched in each))
        found.append(Source(name=f"bars by {source}", newest=at, age=_days(ctx, at), is_old=None))
    return found


def _tables(ctx: Context) -> list[Source]:
    """Return the tables beside the bars that hold anything, judged by their last delivery."""
    found = []
    for name in TABLES:
        at = ctx.reference.read(name).get_column("fetched_at").max()
        if isinstance(at, datetime):
            old = (ctx.clock.now() - at).days >= ctx.settings.watch.source_days
            found.append(Source(name=name, newest=at, age=_days(ctx, at), is_old=old))
    return found


def _days(ctx: Context, at: datetime) -> str:
    return f"{max((ctx.clock.now() - at).days, 0)} days"
