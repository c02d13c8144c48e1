"""Checks of the doctor: calendar, bars, what was set aside, and the model."""

from kobe.app.context import Context
from kobe.app.doctor.finding import Finding, fail, has_run, is_new, is_pretended, ok, warn
from kobe.core.clock import as_utc
from kobe.core.errors import ExitCode, KobeError, MissingDataError
from kobe.data import holds

STALE_SESSIONS = 1
AGED_SESSIONS = 63  # one window of the walk-forward: older evidence has not seen the last quarter
AHEAD = 10
LITTLE_CALENDAR, NO_CALENDAR = 250, 10


def calendar(ctx: Context) -> list[Finding]:
    """Does the table of sessions reach far enough, and does the broker know the same coming sessions?"""
    left = len(ctx.calendar.between(ctx.today, ctx.calendar.sessions[-1]))
    seen = f"{ctx.calendar.version}, {left:,} sessions left to {ctx.calendar.sessions[-1]}"
    if left < NO_CALENDAR:
        return [fail(seen, "upgrade kobe: its calendar ends", ExitCode.CONFIG)]
    found = [warn(seen, "upgrade kobe: its calendar ends")] if left < LITTLE_CALENDAR else []
    if ctx.settings.run.mode != "sim":
        found += _against_broker(ctx)
    return found or [ok(f"{seen}; next session {ctx.calendar.next(ctx.today)}")]


def _against_broker(ctx: Context) -> list[Finding]:
    first = ctx.calendar.next(ctx.today)
    last = ctx.calendar.offset(first, AHEAD - 1)
    ours = {d: (ctx.calendar.opens_at(d), ctx.calendar.closes_at(d)) for d in ctx.calendar.between(first, last)}
    try:
        theirs = ctx.broker.sessions(first, last)
    except KobeError as error:  # why it does not answer is told by the check of the broker
        return [warn(f"the broker's calendar is not known: {error.what}", "kobe doctor --only broker")]
    told = {day: (as_utc(opens), as_utc(closes)) for day, (opens, closes) in theirs.items()}
    differs = sorted(str(day) for day in ours.keys() | told.keys() if ours.get(day) != told.get(day))
    if not differs:
        return []
    seen = f"the broker's calendar differs on {', '.join(differs)}"
    return [fail(seen, "calendar.extra_closures, or upgrade kobe", ExitCode.DATA)]


def bars(ctx: Context) -> list[Finding]:
    """Are there bars, can they be read, and do they reach the last session?"""
    try:
        held = ctx.store.manifest()
    except MissingDataError as error:
        if not has_run(ctx):
            return [warn("no bars yet", "kobe data import FILE, kobe data fetch, or kobe demo")]
        return [fail(error.what, "kobe data import FILE", error.exit_code)]
    ctx.panel()
    newest = ctx.calendar.last_complete(ctx.clock.now())
    behind = max(len(ctx.calendar.between(held.last, newest)) - 1, 0)
    seen = f"{len(held.symbols)} symbols to {held.last}"
    if behind <= STALE_SESSIONS:
        return [ok(seen)]
    remedy = "kobe data fetch" if ctx.settings.schedule.fetch else "kobe data import FILE"
    seen = f"{seen}: {behind} sessions old"
    return [fail(seen, remedy, ExitCode.DATA)] if has_run(ctx) else [warn(seen, remedy)]


def quarantine(ctx: Context) -> list[Finding]:
    """Are bars set aside or symbols on hold that nobody looked at?"""
    if is_new(ctx):
        return [ok("nothing set aside")]
    standing = holds.standing(ctx.store.holds(), ctx.store.manifest().last)
    files = [path for path in ctx.paths.quarantine.glob("*") if path.is_file()] if ctx.paths.quarantine.is_dir() else []
    names = len({hold.symbol for hold in standing})
    if not names and not files:
        return [ok("nothing set aside")]
    return [warn(f"{names} symbols on hold, {len(files)} files in data/quarantine", "kobe data quarantine list")]


def model(ctx: Context) -> list[Finding]:
    """Is a model promoted, does it load, and how old is its evidence?"""
    newest = ctx.calendar.last_complete(ctx.clock.now())
    champion = ctx.models.champion(newest)
    if champion is None:
        return [warn("no model is promoted: picks come without a probability",
                     "kobe walk-forward, kobe train-meta, kobe promote")]  # fmt: skip
    ctx.models.load(champion)
    entry = next(e for e in ctx.models.entries() if e.model_id == champion)
    age = len(ctx.calendar.between(entry.knowable_from, newest)) - 1
    seen = f"champion {champion} loads; its evidence ends {entry.knowable_from}"
    if age > AGED_SESSIONS and not is_pretended(ctx):
        return [warn(f"{seen}, {age} sessions ago", "kobe walk-forward, kobe train-meta, kobe promote")]
    return [ok(seen)]
