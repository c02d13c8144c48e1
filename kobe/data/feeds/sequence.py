"""The order of one symbol's bars: what arrives in any order leaves ascending, each once, nothing missing.

A minute is accounted for when its bar was delivered or the backfill source said that it has none. `position` is
the last minute up to which all are; `target` the last minute known to have passed. Bars in between are held.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from kobe.data.feeds.minutes import Minutes
from kobe.data.feeds.port import MinuteBar

REMEMBERED_PRINTS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What must outlive the process about one symbol.

    Attributes:
        position: the last minute up to which all minutes are accounted for.
        base: first minute `delivered` speaks of: the opening of the position's session, or where the feed began.
        delivered: bit n is set when the bar of minute base + n was delivered.
        prints: minute -> prints told of it, for the last few minutes: a repeated revision is recognised.
    """

    position: int
    base: int
    delivered: int = 0
    prints: Mapping[int, tuple[str, ...]] = field(default_factory=dict)


class SymbolSequence:
    """Bars of one symbol on their way from the stream and the backfill to the sink."""

    def __init__(self, symbol: str, minutes: Minutes, mark: Mark, *, held_bars: int) -> None:
        """Continue after a mark.

        Args:
            symbol: whose bars.
            minutes: which minutes can have a bar.
            mark: where it was left.
            held_bars: most bars to keep behind a gap.
        """
        self.symbol = symbol
        self.position = mark.position
        self.target = mark.position
        self.last_bar: int | None = None
        self.overflow = 0
        self._base = mark.base
        self._delivered = mark.delivered
        self._prints = {minute: list(prints) for minute, prints in mark.prints.items()}
        self._minutes = minutes
        self._held_bars = held_bars
        self._held: dict[int, MinuteBar] = {}
        self._revisions: dict[int, list[MinuteBar]] = {}
        self._empty: set[int] = set()
        self._ready: list[MinuteBar] = []

    @property
    def held(self) -> int:
        """How many bars wait behind a gap."""
        return len(self._held)

    def mark(self) -> Mark:
        """Return what a restart needs to continue after everything taken so far."""
        latest = sorted(self._prints)[-REMEMBERED_PRINTS:]
        prints = {minute: tuple(self._prints[minute]) for minute in latest}
        return Mark(position=self.position, base=self._base, delivered=self._delivered, prints=prints)

    def take(self) -> list[MinuteBar]:
        """Return the bars that are ready for delivery, in order, and forget them."""
        ready, self._ready = self._ready, []
        return ready

    def offer(self, bar: MinuteBar) -> str | None:
        """Take in a bar or a correction from the stream; return why it is dropped, or None."""
        minute = bar.minute
        if self._minutes.session(minute) is None:
            return "outside_hours"
        if minute > self.position:
            return self._hold_revision(bar) if bar.revision else self._hold(bar)
        if minute < self._base:
            return "stale"
        was_delivered = self._delivered >> (minute - self._base) & 1
        if bar.print in self._prints.get(minute, ()) or (was_delivered and not bar.revision):
            return "duplicate"
        # A correction, or the first word of a minute the backfill source knew nothing of: order is past, so both
        # are told as a revision.
        self._emit(replace(bar, revision=True))
        return None

    def expect(self, minute: int) -> None:
        """Say that all minutes up to this session minute have passed, so that their bars are wanted."""
        self.target = max(self.target, minute)
        self._advance()

    def missing(self) -> tuple[int, int] | None:
        """Return first and last of the minutes that are not accounted for, within the oldest session that has any."""
        for span in self._minutes.spans(self.position, self.target):
            wanted = [m for m in span if m not in self._held and m not in self._empty]
            if wanted:
                return wanted[0], wanted[-1]
        return None

    def fill(self, first: int, last: int, bars: Iterable[MinuteBar], *, believed_through: int) -> None:
        """Take in the answer of the backfill source about a span.

        Args:
            first: first minute that was asked for.
            last: last minute that was asked for.
            bars: the answer; what was not asked for is left aside.
            believed_through: up to this minute the absence of a bar means that there was no trade.
        """
        for bar in bars:
            if first <= bar.minute <= last and bar.minute > self.position and self._minutes.session(bar.minute):
                self._held.setdefault(bar.minute, bar)
        believed = range(max(first, self.position + 1), min(last, believed_through) + 1)
        self._empty.update(m for m in believed if m not in self._held)
        self._advance()

    def _hold(self, bar: MinuteBar) -> str | None:
        if bar.minute in self._held:
            return "duplicate"
        self._empty.discard(bar.minute)
        self._held[bar.minute] = bar
        self.target = max(self.target, bar.minute)
        self._advance()
        if len(self._held) > self._held_bars:  # the farthest goes: it stays below the target, so it is asked for again
            del self._held[max(self._held)]
            self.overflow += 1
        return None

    def _hold_revision(self, bar: MinuteBar) -> str | None:
        waiting = self._revisions.setdefault(bar.minute, [])
        if bar.print in {r.print for r in waiting}:
            return "duplicate"
        waiting.append(bar)
        self.target = max(self.target, bar.minute)
        if len(self._revisions) > self._held_bars:  # the backfill source tells the corrected bar anyway
            del self._revisions[max(self._revisions)]
            self.overflow += 1
        return None

    def _advance(self) -> None:
        for span in self._minutes.spans(self.position, self.target):
            for minute in span:
                if minute not in self._held and minute not in self._empty:
                    return
                self._enter(minute)
                if minute in self._held:
                    self._emit(self._held.pop(minute))
                self._empty.discard(minute)
                for revision in self._revisions.pop(minute, ()):
                    if revision.print not in self._prints.get(minute, ()):
                        self._emit(revision)

    def _enter(self, minute: int) -> None:
        """Step onto a minute; in a new session the memory of the old one ends."""
        self.position = minute
        session = self._minutes.session(minute)
        if session is not None and self._base < session.start:
            self._base = session.start
            self._delivered = 0
            self._prints = {}

    def _emit(self, bar: MinuteBar) -> None:
        self._ready.append(bar)
        self._delivered |= 1 << (bar.minute - self._base)
        self._prints.setdefault(bar.minute, []).append(bar.print)
        self.last_bar = max(self.last_bar or 0, bar.minute)
