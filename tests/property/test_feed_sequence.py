"""Whatever happens to the messages and to the process: per symbol the true bars, ascending, each once, none missing."""

import tempfile
from datetime import date, datetime, timedelta
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from kobe.core.calendar import Calendar, xnys
from kobe.core.clock import SteppingClock
from kobe.core.errors import ExternalError
from kobe.data.feeds.courier import Courier
from kobe.data.feeds.journal import Journal
from kobe.data.feeds.minutes import Minutes
from kobe.data.feeds.port import MINUTE, FeedLimits, MinuteBar
from kobe.data.feeds.skew import SkewGuard, SkewLimits

SYMBOLS = ("AAA", "BBB")
FRIDAY, MONDAY = date(2026, 11, 20), date(2026, 11, 23)
CALENDAR: Calendar = xnys()
OPENINGS = [CALENDAR.closes_at(FRIDAY) - n * MINUTE for n in range(10, 0, -1)]
OPENINGS += [CALENDAR.opens_at(MONDAY) + n * MINUTE for n in range(10)]
LIMITS = FeedLimits(held_bars=4, settle_s=20.0)
LAG = timedelta(seconds=15)  # the backfill source knows a minute this late, within the time it is given


class Crash(BaseException):
    """The process is gone."""


def made(symbol: str, place: int, now: datetime, *, variant: int = 0) -> MinuteBar:
    price = 100.0 + place
    return MinuteBar(
        symbol=symbol, opened_at=OPENINGS[place], open=price, high=price + 1, low=price - 1, close=price,
        volume=10.0 + variant, feed="iex", received_at=now, revision=variant > 0,
    )  # fmt: skip


class World:
    """The market, the backfill source, the sink's disk; processes come and go in it."""

    def __init__(self, folder: Path, traded: dict[str, set[int]]) -> None:
        self.clock = SteppingClock(OPENINGS[0])
        self.traded = traded
        self.failures = 0
        self.crash: str | None = None
        self.received: list[MinuteBar] = []
        self.folder = folder
        self.start()

    def start(self) -> None:
        for _ in range(3):
            try:
                self.courier = Courier(
                    SYMBOLS, sink=self, backfill=self.backfill, journal=Journal(self.folder / "j.json", "iex"),
                    minutes=Minutes(CALENDAR), guard=SkewGuard(SkewLimits()), limits=LIMITS, begin=OPENINGS[0],
                )  # fmt: skip
            except Crash:
                continue
            break
        self.courier.expect(self.clock.now())

    def __call__(self, bar: MinuteBar) -> None:
        if self.crash == "before":
            self.crash = None
            raise Crash
        self.received.append(bar)
        if self.crash == "after":
            self.crash = None
            raise Crash

    def holds(self, key: str) -> bool:
        return key in {bar.key for bar in self.received}

    def backfill(self, symbol: str, first: datetime, last: datetime) -> list[MinuteBar]:
        if self.failures:
            self.failures -= 1
            raise ExternalError("down", retryable=True)
        now = self.clock.now()
        known = [n for n in sorted(self.traded[symbol]) if first <= OPENINGS[n] <= last]
        return [made(symbol, n, now) for n in known if OPENINGS[n] + MINUTE + LAG <= now]

    def tell(self, symbol: str, place: int, variant: int) -> None:
        if place in self.traded[symbol]:
            self.reach(OPENINGS[place] + MINUTE)
            self.courier.take([made(symbol, place, self.clock.now(), variant=variant)], self.clock.now())

    def reach(self, instant: datetime) -> None:
        self.clock.set(max(instant, self.clock.now()))

    def work(self) -> None:
        if self.courier.has_work(self.clock.now()):
            self.courier.fill_one(self.clock.now())

    def do(self, step: tuple) -> None:
        match step:
            case ("tell", symbol, place, variant):
                self.tell(symbol, place, variant)
            case ("wait", seconds):
                self.clock.advance(seconds=seconds)
            case ("fail", times):
                self.failures = times
            case ("crash", when):
                self.crash = when
            case ("restart",):
                self.start()
            case ("reconnect",):
                self.courier.expect(self.clock.now())
        self.work()

    def live(self, steps: list[tuple]) -> None:
        for step in steps:
            try:
                self.do(step)
            except Crash:
                self.start()

    def end(self) -> None:
        """Let time pass until everything must have been settled."""
        self.crash, self.failures = None, 0
        self.reach(OPENINGS[-1] + MINUTE + timedelta(seconds=LIMITS.settle_s))
        self.courier.expect(self.clock.now())
        for _ in range(200):
            self.clock.advance(seconds=LIMITS.backoff_cap_s)
            self.work()


PLACES = st.integers(0, len(OPENINGS) - 1)
TELL = st.tuples(st.just("tell"), st.sampled_from(SYMBOLS), PLACES, st.sampled_from([0, 0, 0, 1, 2]))
STEPS = st.one_of(
    TELL, TELL, TELL,
    st.tuples(st.just("wait"), st.sampled_from([0.1, 20, 61])),
    st.tuples(st.just("fail"), st.integers(1, 3)),
    st.tuples(st.just("crash"), st.sampled_from(["before", "after"])),
    st.just(("restart",)),
    st.just(("reconnect",)),
)  # fmt: skip
TRADED = st.fixed_dictionaries({s: st.sets(PLACES, max_size=len(OPENINGS)) for s in SYMBOLS})


@settings(max_examples=150, deadline=None)
@given(traded=TRADED, steps=st.lists(STEPS, max_size=60))
def test_any_interleaving_of_faults_delivers_exactly_the_true_bars_in_order(traded, steps):
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder), traded)
        world.live(steps)
        world.end()
    for symbol in SYMBOLS:
        mine = [bar for bar in world.received if bar.symbol == symbol]
        plain = [bar.opened_at for bar in mine if not bar.revision]
        assert plain == [OPENINGS[n] for n in sorted(traded[symbol])]
        assert world.courier.symbols()[symbol].gap_first is None
        for place, bar in enumerate(mine):
            if bar.revision:
                assert bar.opened_at in [b.opened_at for b in mine[:place]], "a correction came before what it corrects"
    keys = [bar.key for bar in world.received]
    assert len(keys) == len(set(keys)), "something was delivered twice"


@settings(max_examples=50, deadline=None)
@given(order=st.permutations(range(10)), repeats=st.lists(st.integers(0, 9), max_size=10))
def test_without_a_backfill_source_nothing_is_skipped_only_held_back(order, repeats):
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder), {"AAA": set(range(10)), "BBB": set()})
        world.failures = 1000
        world.reach(OPENINGS[9] + MINUTE)
        for place in (*order, *repeats):
            world.tell("AAA", place, 0)
            world.work()
        state = world.courier.symbols()["AAA"]
    told = [bar.opened_at for bar in world.received]
    assert told == OPENINGS[: len(told)]
    assert (len(told) == 10) == (state.gap_first is None)
    assert state.held <= LIMITS.held_bars
