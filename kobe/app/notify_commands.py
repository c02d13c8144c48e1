"""`kobe notify`: how the channels stand, a test message, delivery by hand, dead letters."""

from collections.abc import Sequence
from datetime import datetime

from kobe.app.context import Context
from kobe.app.notify import outbox
from kobe.core.clock import NEW_YORK, SteppingClock, from_ns, to_ns
from kobe.core.errors import ExitCode, UsageError
from kobe.core.messages import Message, Severity
from kobe.infra.outbox import Outbox, Standing
from kobe.infra.outbox_rules import BREAKER_AFTER
from kobe.infra.outbox_store import Delivery, State
from kobe.reports.document import Document, Section, Table

LATEST = 5
_DEAD_COLUMNS = ("id", "channel", "told (ET)", "severity", "message", "why")


def run_notify_list(ctx: Context) -> Document:
    """Show every channel: what it lacks, how it answers, its error budget, what waits and what is dead.

    The exit code is 7 where a channel cannot send or dead letters wait for a person.
    """
    box = outbox(ctx.paths, ctx.settings, ctx.clock)
    standings = box.standings() if box.store.exists or box.lines else {}
    now = ctx.clock.now()
    rows = tuple(_row(name, box, s, now) for name, s in standings.items())
    columns = ("channel", "from", "state", "errors left", "waiting", "sent", "dead")
    why = {name: words for name, s in standings.items() if (words := _state(s, now)[1])}
    told, latest = 0, []
    if box.store.exists:
        with box.store.work() as out:
            told, latest = out.told(), out.latest(LATEST)
    dead = len(box.dead())
    bad = dead or why
    summary = f"{len(standings)} channels, {told} messages kept, {dead} dead letters" + (
        "" if standings else "; no channel is set, so nothing leaves"
    )
    lines = tuple(f"{_et(at)} {m.severity.word}: {m.title}" for at, m in latest)
    sections = [Section(title="Channels", table=Table(columns=columns, rows=rows))] if rows else []
    sections += [Section(title="Look at", lines=tuple(f"{k}: {v}" for k, v in why.items()))] if why else []
    sections += [Section(title="Newest messages", lines=lines)] if lines else []
    return Document(
        schema="kobe.notify/1", title="Messages", summary=(summary,), sections=tuple(sections),
        data={
            "channels": [{**dict(zip(columns, row, strict=True)), "why": why.get(row[0], "")} for row in rows],
            "messages": told, "dead": dead,
            "latest": [{"at": at.isoformat(), "key": m.key, "kind": m.kind, "severity": m.severity.word,
                        "title": m.title} for at, m in latest],
        },
        exit_code=ExitCode.PARTIAL if bad else ExitCode.OK,
    )  # fmt: skip


def run_notify_test(ctx: Context, channel: str | None = None, *, dry_run: bool = False) -> Document:
    """Send a test message to one channel or to all, whatever their severity and the hour.

    Raises:
        UsageError: there is no such channel, or none at all.
    """
    box = _real(ctx)
    names = tuple(box.lines) if channel is None else (channel,)
    if not names:
        raise UsageError("no channel is set", expected="a block [[notify.channels]]", next_command="kobe config show")
    message = Message(
        key=f"test:{ctx.run_id}", kind="test", severity=Severity.INFO, title="A test message of kobe",
        lines=("If you can read this, this channel works.", f"home {ctx.paths.home.name}, run {ctx.run_id}"),
    )  # fmt: skip
    if dry_run:
        unknown = [name for name in names if name not in box.lines]
        if unknown:
            raise UsageError("no such channel", seen=unknown[0], expected=", ".join(box.lines))
        return Document(
            schema="kobe.notify_test/1", title="Test message", data={"channels": list(names)},
            summary=(f"would send to {', '.join(names)} (--dry-run)",),
        )  # fmt: skip
    box.tell_now(message, names)
    box.deliver()
    with box.store.work() as out:
        found = out.of_key(message.key)
    rows = tuple((d.channel, d.state.value, _reason(box, d)) for d in found)
    sent = sum(d.state is State.SENT for d in found)
    columns = ("channel", "state", "why")
    return Document(
        schema="kobe.notify_test/1", title="Test message", summary=(f"{sent} of {len(found)} channels took it",),
        sections=(Section(title="", table=Table(columns=columns, rows=rows)),),
        data={"key": message.key, "channels": [dict(zip(columns, row, strict=True)) for row in rows]},
        exit_code=ExitCode.OK if sent == len(found) else ExitCode.PARTIAL,
    )  # fmt: skip


def run_notify_deliver(ctx: Context, *, dry_run: bool = False) -> Document:
    """Send what is due now; the runner does the same all day. The exit code is 7 where a due message did not leave."""
    box = _real(ctx)
    if not dry_run:
        box.deliver()
    now, due, later = ctx.clock.now(), 0, 0
    if box.store.exists:
        with box.store.work() as out:
            waiting = out.of_state(State.WAITING, State.SENDING)
        late = [d for d in waiting if d.due <= now or d.tries]
        held = [d for d in late if not d.tries and box.quiet.holds(now) and d.message.severity < Severity.URGENT]
        due, later = len(late) - len(held), len(waiting) - len(late) + len(held)
    dead = len(box.dead())
    verb = "would be sent (--dry-run)" if dry_run else "did not leave"
    return Document(
        schema="kobe.notify_deliver/1", title="Delivery",
        summary=(f"{due} messages {verb}, {later} wait for their hour, {dead} dead letters",),
        data={"left": due, "later": later, "dead": dead},
        exit_code=ExitCode.PARTIAL if due and not dry_run else ExitCode.OK,
    )  # fmt: skip


def run_dead_list(ctx: Context) -> Document:
    """Show the dead letters, oldest first."""
    letters = outbox(ctx.paths, ctx.settings, ctx.clock).dead()
    next_steps = "; next: kobe notify dead retry or drop" if letters else ""
    return _letters("Dead letters", f"{len(letters)} dead letters{next_steps}", letters)


def run_dead_settle(
    ctx: Context, ids: Sequence[int], *, retry: bool, everything: bool = False, dry_run: bool = False
) -> Document:
    """Send dead letters again, or drop them for good, as a person decides.

    Raises:
        UsageError: no letter is named, or one that is not dead.
    """
    box = outbox(ctx.paths, ctx.settings, ctx.clock)
    dead = {d.id: d for d in box.dead()}
    chosen = tuple(dead) if everything else tuple(dict.fromkeys(ids))
    if not everything and not chosen:
        raise UsageError("no dead letter is named", expected="ids or --all", next_command="kobe notify dead list")
    unknown = [i for i in chosen if i not in dead]
    if unknown:
        raise UsageError("no such dead letter", seen=unknown[0], next_command="kobe notify dead list")
    verb = "waits again" if retry else "dropped"
    if dry_run:
        named = [dead[i] for i in chosen]
        return _letters("Dead letters", f"{len(named)} would be {'sent again' if retry else verb} (--dry-run)", named)
    done = box.settle_dead(chosen, retry=retry) if chosen else []
    if done:
        told = [{"id": d.id, "channel": d.channel, "key": d.message.key} for d in done]
        ctx.audit.append("notify_dead", {"retry": retry, "letters": told})
    return _letters("Dead letters", f"{len(done)} {verb}", done)


def _letters(title: str, summary: str, letters: Sequence[Delivery]) -> Document:
    rows = tuple(
        (d.id, d.channel, _et(d.since), d.message.severity.word, d.message.title, d.why) for d in letters
    )  # fmt: skip
    return Document(
        schema="kobe.notify_dead/1", title=title, summary=(summary,),
        sections=(Section(title="", table=Table(columns=_DEAD_COLUMNS, rows=rows)),) if rows else (),
        data={"letters": [
            {"id": d.id, "channel": d.channel, "since": d.since.isoformat(), "key": d.message.key,
             "kind": d.message.kind, "severity": d.message.severity.word, "title": d.message.title, "why": d.why}
            for d in letters
        ]},
    )  # fmt: skip


def _real(ctx: Context) -> Outbox:
    """Return the outbox where the time is real.

    Raises:
        UsageError: it is pretended, and nothing may leave.
    """
    if isinstance(ctx.clock, SteppingClock):
        raise UsageError("with a pretended time nothing leaves the machine", seen="--as-of")
    return outbox(ctx.paths, ctx.settings, ctx.clock)


def _row(name: str, box: Outbox, s: Standing, now: datetime) -> tuple[str, str, str, str, int, int, int]:
    rules = box.lines[name].rules
    waiting = s.counts.get(State.WAITING, 0) + s.counts.get(State.SENDING, 0)
    return (name, rules.least.word, _state(s, now)[0], f"{s.budget_left} of {rules.error_budget}", waiting,
            s.counts.get(State.SENT, 0), s.counts.get(State.DEAD, 0))  # fmt: skip


def _state(s: Standing, now: datetime) -> tuple[str, str]:
    """Return how a channel stands in a word, and why in a sentence; ready needs none."""
    if s.lacks:
        return "not set up", s.lacks
    if s.health.held_ns > to_ns(now):
        opened = s.health.failures >= BREAKER_AFTER
        word, what = ("resting", "breaker open") if opened else ("pausing", "the service asked for time,")
        return word, f"{what} until {_et(from_ns(s.health.held_ns))} ET: {s.health.why}"
    if not s.budget_left:
        return "spent", "its error budget is spent: info messages wait until the hour is over"
    return ("failing", f"its last attempt failed: {s.health.why}") if s.health.failures else ("ready", "")


def _reason(box: Outbox, d: Delivery) -> str:
    if d.state is State.SENT:
        return ""
    return d.why or _state(box.standings()[d.channel], box.clock.now())[1]


def _et(instant: datetime) -> str:
    return f"{instant.astimezone(NEW_YORK):%m-%d %H:%M}"
