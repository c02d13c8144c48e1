"""Between the stream and the sink: keeps every symbol's order, fills gaps, writes the journal, hands bars over."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from kobe.core.errors import ExternalError, KobeError
from kobe.data.feeds.journal import Journal
from kobe.data.feeds.minutes import Minutes
from kobe.data.feeds.port import MINUTE, Backfill, FeedLimits, MinuteBar, Sink, SymbolState, instant_of, minute_of
from kobe.data.feeds.sequence import Mark, SymbolSequence
from kobe.data.feeds.skew import SkewGuard

_BATCH = 200
_FUTURE = timedelta(minutes=10)


class Courier:
    """Takes bars in any order and delivers them in the right one.

    A symbol the journal knows goes on after its last minute; any other begins with the minute of `begin`.
    """

    def __init__(
        self,
        symbols: Sequence[str],
        *,
        sink: Sink,
        backfill: Backfill,
        journal: Journal,
        minutes: Minutes,
        guard: SkewGuard,
        limits: FeedLimits,
        begin: datetime,
    ) -> None:
        """Read the journal and hand over what a crash kept from the sink.

        Args:
            symbols: whose bars are wanted.
            sink: who receives them.
            backfill: where missing minutes are asked for.
            journal: what was left by the process before.
            minutes: which minutes can have a bar.
            guard: says whether bars can be trusted.
            limits: patience and bounds.
            begin: first minute wanted of a symbol the journal does not know.
        """
        self.counts: Counter[str] = Counter()
        """What was not delivered, by cause."""
        self.delivered = 0
        """Bars handed over, revisions included."""
        self.gap_reason: str | None = None
        """Why the last backfill failed, or None."""
        self._sink = sink
        self._backfill = backfill
        self._journal = journal
        self._minutes = minutes
        self._guard = guard
        self._limits = limits
        self._ask_after: datetime | None = None
        self._failures = 0
        for bar in journal.read():
            if not sink.holds(bar.key):
                self._hand_over(bar)
        first = minute_of(begin)
        fresh = Mark(position=first - 1, base=first)
        self._sequences = {
            symbol: SymbolSequence(symbol, minutes, journal.marks.get(symbol, fresh), held_bars=limits.held_bars)
            for symbol in symbols
        }
        # Written at once: a symbol heard of now keeps its beginning even when the process ends before its first bar.
        self.close()

    def take(self, bars: Iterable[MinuteBar], now: datetime) -> None:
        """Take in bars and corrections from one message of the stream, and deliver what is ready."""
        for bar in bars:
            sequence = self._sequences.get(bar.symbol)
            if sequence is None:
                self.counts["unknown"] += 1
                continue
            self._guard.observe_earliest(bar.opened_at + MINUTE, now)
            if bar.opened_at - now > _FUTURE:  # taken at its word it would open a gap into the far future
                self.counts["impossible"] += 1
                continue
            dropped = sequence.offer(bar)
            if dropped is not None:
                self.counts[dropped] += 1
        self._deliver()

    def expect(self, now: datetime) -> None:
        """Want every minute that has surely passed: after a connection was lost, and when a session has ended."""
        passed = self._minutes.last_through(minute_of(now - timedelta(seconds=self._limits.settle_s)) - 1)
        if passed is not None:
            for sequence in self._sequences.values():
                sequence.expect(passed)

    def has_work(self, now: datetime) -> bool:
        """Say whether a gap is open and may be asked for now."""
        if self._ask_after is not None and now < self._ask_after:
            return False
        return any(s.missing() for s in self._sequences.values())

    def fill_one(self, now: datetime) -> None:
        """Ask for the missing minutes of one symbol, and deliver what became ready.

        One question at a time, so that the stream is read in between. After a failure none is asked for a while,
        for any symbol: a source that is down must not keep the feed from listening.
        """
        open_gaps = [(gap, s) for s in self._sequences.values() if (gap := s.missing())]
        if not open_gaps:
            return
        (first, last), sequence = min(open_gaps, key=lambda pair: pair[0])
        try:
            bars = [replace(bar, backfilled=True) for bar in self._asked(sequence.symbol, first, last)]
        except KobeError as error:
            self.gap_reason = error.what
            self._put_off(now)
            return
        self.gap_reason = None
        settled = minute_of(now - timedelta(seconds=self._limits.settle_s)) - 1
        sequence.fill(first, last, bars, believed_through=settled)
        if sequence.missing() == (first, last):  # too fresh to be believed absent: ask again when it has settled
            self._put_off(now)
        else:
            self._failures, self._ask_after = 0, None
        self._deliver()

    def symbols(self) -> Mapping[str, SymbolState]:
        """Return where each symbol stands."""
        return {symbol: _state(sequence) for symbol, sequence in self._sequences.items()}

    def overflow(self) -> int:
        """Return how many held bars were dropped, to be asked for again."""
        return sum(s.overflow for s in self._sequences.values())

    def close(self) -> None:
        """Write down that nothing is on its way any more."""
        self._journal.write(self._marks(), ())

    def _asked(self, symbol: str, first: int, last: int) -> Sequence[MinuteBar]:
        bars = self._backfill(symbol, instant_of(first), instant_of(last))
        others = {bar.symbol for bar in bars} - {symbol}
        if others:
            raise ExternalError("the backfill source answered for another symbol", seen=sorted(others)[:3])
        return bars

    def _put_off(self, now: datetime) -> None:
        self._failures += 1
        pause = min(self._limits.backoff_cap_s, self._limits.backoff_base_s * 2 ** min(self._failures - 1, 16))
        self._ask_after = now + timedelta(seconds=pause)

    def _marks(self) -> dict[str, Mark]:
        return {symbol: sequence.mark() for symbol, sequence in self._sequences.items()}

    def _deliver(self) -> None:
        """Hand over what is ready, batch by batch.

        The marks count all that is ready as delivered, so the journal must hold all of it as on its way; only when
        that is much (a long gap), the file is written again as it shrinks.
        """
        trusted = self._guard.reason is None
        ready = [bar for s in self._sequences.values() for bar in s.take()]
        ready = [replace(bar, trusted=trusted) for bar in ready]
        for start in range(0, len(ready), _BATCH):
            self._journal.write(self._marks(), ready[start:])
            for bar in ready[start : start + _BATCH]:
                self._hand_over(bar)

    def _hand_over(self, bar: MinuteBar) -> None:
        self._sink(bar)
        self.delivered += 1


def _state(sequence: SymbolSequence) -> SymbolState:
    gap = sequence.missing()
    return SymbolState(
        last_bar_at=None if sequence.last_bar is None else instant_of(sequence.last_bar),
        complete_through=instant_of(sequence.position),
        gap_first=instant_of(gap[0]) if gap else None,
        gap_last=instant_of(gap[1]) if gap else None,
        held=sequence.held,
    )
