"""The outbox: messages are written down first and sent afterwards, each to every channel that wants it.

Never lost, and never sent twice by us without saying so. A delivery is marked `sending` on the disk before anything
leaves. Where the answer was lost, or the process died in between, nobody knows whether it arrived:
a channel that knows a repetition by its key gets it again; elsewhere what is urgent is sent again, marked
"(maybe again)", and everything else waits among the dead letters for a person.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from kobe.core.clock import Clock, to_ns
from kobe.core.errors import ExternalError, UsageError
from kobe.core.messages import Message, Severity
from kobe.infra.channels.kit import Channel, Fate, Part, Reply
from kobe.infra.locks import Lease
from kobe.infra.outbox_rules import BUDGET_WINDOW_S, Quiet, Rules, pause_s, rest_s
from kobe.infra.outbox_store import Delivery, Health, OutboxStore, Outgoing, State

LEASE = "notify"
KEYS_KEPT = timedelta(days=400)
CRASHED = "the process died while it was sent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A channel with what holds for it; `take` spends a token of its rate limit or raises ExternalError."""

    channel: Channel
    rules: Rules
    take: Callable[[], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a channel stands: what is missing, how it answered, what is left of its budget, deliveries by state."""

    lacks: str
    health: Health
    budget_left: int
    counts: Mapping[State, int]


@dataclass(frozen=True, kw_only=True)
class Outbox:
    """Implements `Notifier` over one file.

    Attributes:
        store: the file.
        lines: channels by name.
        clock, rng: the present; jitter.
        lease: makes the right to deliver; one process has it at a time.
        quiet: hours in which only urgent messages leave.
        kept: how long settled messages stay readable.
        patience: how long a message is tried before it is a dead letter.
    """

    store: OutboxStore
    lines: Mapping[str, Line]
    clock: Clock
    rng: random.Random
    lease: Callable[[], Lease]
    quiet: Quiet = field(default_factory=Quiet)
    kept: timedelta = timedelta(days=30)
    patience: timedelta = timedelta(hours=24)

    def tell(self, message: Message) -> bool:
        """Write a message down for every channel that wants it; False when its key was told before.

        Raises:
            KobeError: the outbox itself cannot be written; a channel's failure is never seen here.
        """
        wanted = [name for name, line in self.lines.items() if message.severity >= line.rules.least]
        return self._tell(message, wanted, at_once=message.severity is Severity.URGENT)

    def tell_now(self, message: Message, names: Sequence[str]) -> bool:
        """Write a message down for some channels whatever their severity, digest and quiet hours say.

        Raises:
            UsageError: there is no such channel.
        """
        for name in names:
            if name not in self.lines:
                raise UsageError(
                    "no such channel", seen=name, expected=", ".join(self.lines) or "none is set",
                    next_command="kobe notify list",
                )  # fmt: skip
        return self._tell(message, names, at_once=True)

    def _tell(self, message: Message, names: Sequence[str], *, at_once: bool) -> bool:
        clean, now_ns = _storable(message), self._now_ns()
        with self.store.work() as out:
            if not out.keep(clean, now_ns):
                return False
            for name in names:
                rules = self.lines[name].rules
                due_ns, collected = now_ns, rules.collects(clean) and not at_once
                if collected:
                    due_ns = out.digest_due(name) or now_ns + int(rules.digest_s * 1e9)
                out.address(clean.key, name, now_ns, due_ns=due_ns, collected=collected, at_once=at_once)
        return True

    def deliver(self) -> int:
        """Send what is due and return how many wait; where another process delivers, only count.

        Each channel has a thread, so that one that is slow or silent delays no other.

        Raises:
            KobeError: the outbox itself cannot be used.
        """
        if not self.store.exists:
            return 0
        with self.store.work() as out:
            if not out.is_due(self._now_ns()):
                return out.count(State.WAITING)
        try:
            with self.lease():
                self._begin()
                if self.lines:
                    with ThreadPoolExecutor(len(self.lines)) as threads:
                        for done in [threads.submit(self._serve, name) for name in self.lines]:
                            done.result()
        except ExternalError as error:
            if not error.retryable:
                raise
        return self.waiting()

    def waiting(self) -> int:
        """Return how many deliveries have not left."""
        with self.store.work() as out:
            return out.count(State.WAITING, State.SENDING)

    def standings(self) -> dict[str, Standing]:
        """Return how each channel stands."""
        found, since_ns = {}, self._now_ns() - int(BUDGET_WINDOW_S * 1e9)
        with self.store.work() as out:
            counts = out.counts()
            for name, line in self.lines.items():
                left = line.rules.error_budget - out.failures_since(name, since_ns)
                mine = {state: n for (channel, state), n in counts.items() if channel == name}
                found[name] = Standing(
                    lacks=line.channel.lacks, health=out.health(name), budget_left=max(left, 0), counts=mine
                )
        return found

    def dead(self) -> list[Delivery]:
        """Return the dead letters, oldest first."""
        if not self.store.exists:
            return []
        with self.store.work() as out:
            return out.of_state(State.DEAD)

    def settle_dead(self, ids: Sequence[int], *, retry: bool) -> list[Delivery]:
        """Send dead letters again, or drop them; returns those that were still dead.

        One whose first fate is unknown is marked, because it may arrive a second time.
        """
        now_ns, done = self._now_ns(), []
        with self.store.work() as out:
            for letter in out.of_state(State.DEAD):
                if letter.id not in ids:
                    continue
                done.append(letter)
                if retry:
                    out.change(letter.id, now_ns, state=State.WAITING, due_ns=now_ns, since_ns=now_ns, tries=0, why="",
                               again=letter.again or letter.why.startswith(Fate.UNKNOWN))  # fmt: skip
                else:
                    out.change(letter.id, now_ns, state=State.DROPPED)
        return done

    def _begin(self) -> None:
        """Judge what a process that died left in the air, forget what is old, make the digests that are due."""
        now = self.clock.now()
        now_ns = to_ns(now)
        with self.store.work() as out:
            for orphan in out.of_state(State.SENDING):
                self._settle_unknown(out, orphan, CRASHED, now_ns, due_ns=now_ns)
            self._give_up_on_mute(out, now)
            out.prune(
                settled_before_ns=to_ns(now - self.kept), keys_before_ns=to_ns(now - max(self.kept, KEYS_KEPT)),
                failures_before_ns=now_ns - int(BUDGET_WINDOW_S * 1e9),
            )  # fmt: skip
            if not self.quiet.holds(now):
                for name in self.lines:
                    members = out.collected(name, now_ns)
                    if len(members) > 1:
                        out.fold(members, _digest(members), now_ns)

    def _serve(self, name: str) -> None:
        """Send what is due on one channel until nothing is, its limit is reached or it fails."""
        line = self.lines[name]
        if line.channel.lacks:
            return
        while True:
            now = self.clock.now()
            with self.store.work() as out:
                if out.health(name).held_ns > to_ns(now):
                    return
                spent = out.failures_since(name, to_ns(now) - int(BUDGET_WINDOW_S * 1e9)) >= line.rules.error_budget
                least = Severity.URGENT if self.quiet.holds(now) else Severity.WARNING if spent else Severity.INFO
                chosen = out.next_due(name, to_ns(now), least=least)
            if chosen is None or not self._send(line, chosen):
                return

    def _send(self, line: Line, chosen: Delivery) -> bool:
        """Send the parts of a message that have not left; says whether the channel may go on."""
        parts = line.channel.parts(chosen.message)
        tries = chosen.tries + 1
        for k in range(chosen.parts_done, len(parts)):
            try:
                line.take()
            except ExternalError:
                return False
            with self.store.work() as out:
                out.change(chosen.id, self._now_ns(), state=State.SENDING, tries=tries)
            part = replace(parts[k], again=chosen.again and k == chosen.parts_done)
            reply = _asked(line.channel, part, self.clock.now())
            if reply.fate is not Fate.DELIVERED:
                self._failed(chosen, tries, reply)
                return False
            last = k + 1 == len(parts)
            with self.store.work() as out:
                out.change(chosen.id, self._now_ns(), state=State.SENT if last else State.WAITING, parts_done=k + 1,
                           again=False, why="")  # fmt: skip
                if out.health(chosen.channel).failures:
                    out.set_health(chosen.channel, Health())
        return True

    def _failed(self, chosen: Delivery, tries: int, reply: Reply) -> None:
        """Write what a failed attempt means for the message and for its channel."""
        now = self.clock.now()
        now_ns, name = to_ns(now), chosen.channel
        due_ns = now_ns + int(pause_s(tries, reply.after_s, self.rng) * 1e9)
        with self.store.work() as out:
            failures = out.health(name).failures + 1
            held_ns = now_ns + int(rest_s(failures, reply.after_s) * 1e9)
            out.set_health(name, Health(failures=failures, held_ns=held_ns, why=reply.why))
            out.failed(name, now_ns)
            if reply.fate is Fate.UNKNOWN:
                self._settle_unknown(out, chosen, reply.why, now_ns, due_ns=due_ns)
            elif reply.fate is Fate.NEVER:
                out.change(chosen.id, now_ns, state=State.DEAD, why=f"{reply.fate}: {reply.why}")
            elif now - chosen.since >= self.patience:
                out.change(chosen.id, now_ns, state=State.DEAD, why=f"given up: {reply.why}")
            else:
                out.change(chosen.id, now_ns, state=State.WAITING, due_ns=due_ns, why=reply.why)

    def _settle_unknown(self, out: Outgoing, chosen: Delivery, why: str, now_ns: int, *, due_ns: int) -> None:
        """Decide about what may have arrived and may not have."""
        line = self.lines.get(chosen.channel)
        if line is not None and line.channel.idempotent:
            out.change(chosen.id, now_ns, state=State.WAITING, due_ns=due_ns, why=why)
        elif chosen.message.severity is Severity.URGENT and line is not None:
            out.change(chosen.id, now_ns, state=State.WAITING, due_ns=due_ns, again=True, why=why)
        else:
            out.change(chosen.id, now_ns, state=State.DEAD, why=f"{Fate.UNKNOWN}: {why}")

    def _give_up_on_mute(self, out: Outgoing, now: datetime) -> None:
        """Let what waits for a channel that cannot send become dead letters when its time is over."""
        for row in out.of_state(State.WAITING):
            line = self.lines.get(row.channel)
            why = "no such channel in the settings any more" if line is None else line.channel.lacks
            if why and now - row.since >= self.patience:
                out.change(row.id, to_ns(now), state=State.DEAD, why=f"given up: {why}")

    def _now_ns(self) -> int:
        return to_ns(self.clock.now())


def _asked(channel: Channel, part: Part, instant: datetime) -> Reply:
    """Send a part; a defect in a channel is one more lost answer and no fault of the caller."""
    try:
        return channel.send(part, instant)
    except Exception as error:  # noqa: BLE001 - what a channel does wrong must not reach whoever tells something
        return Reply(fate=Fate.UNKNOWN, why=f"a fault in kobe ({type(error).__name__})")


def _digest(members: Sequence[Delivery]) -> Message:
    """Return one message that holds several, oldest first."""
    first, last = members[0], members[-1]
    lines: list[str] = []
    for m in members:
        lines += [f"- {m.message.title}", *(f"  {line}" for line in m.message.lines)]
    return Message(
        key=f"digest:{first.channel}:{first.id}-{last.id}", kind="digest", severity=Severity.INFO,
        title=f"{len(members)} messages", lines=tuple(lines),
    )  # fmt: skip


def _storable(message: Message) -> Message:
    """Return a message whose texts every channel and the file can hold: no halves of surrogate pairs."""
    return replace(
        message, key=_encodable(message.key), title=_encodable(message.title) or message.kind,
        lines=tuple(_encodable(line) for line in message.lines), picture_alt=_encodable(message.picture_alt),
    )  # fmt: skip


def _encodable(text: str) -> str:
    return text.encode(errors="replace").decode()
