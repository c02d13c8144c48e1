"""The live feed of minute bars, against a server on this machine that misbehaves by script."""

import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from random import Random
from urllib.parse import parse_qs, urlsplit

import pytest
from kit.stream_server import (
    KEY,
    SECRET,
    StreamServer,
    bar_message,
    drop,
    error,
    greet_with_error,
    hang,
    quote_message,
    rfc3339,
    say,
    say_raw,
    ticks,
    trade_message,
    wait_for,
    welcome,
)
from werkzeug import Response

from kobe.core.calendar import Calendar, xnys
from kobe.core.clock import SteppingClock
from kobe.core.errors import ConfigError, ExternalError, IntegrityError, SchemaError
from kobe.data.feeds import FEEDS
from kobe.data.feeds import alpaca_wire as wire
from kobe.data.feeds.alpaca import AlpacaFeed, AlpacaKeys, AlpacaSpec
from kobe.data.feeds.alpaca_backfill import AlpacaBackfill
from kobe.data.feeds.courier import Courier
from kobe.data.feeds.journal import Journal
from kobe.data.feeds.line import Line, LineLostError, check_url
from kobe.data.feeds.minutes import Minutes
from kobe.data.feeds.pace import Pace
from kobe.data.feeds.port import MINUTE, FeedLimits, MinuteBar, minute_of
from kobe.data.feeds.sequence import Mark, SymbolSequence
from kobe.data.feeds.skew import SkewGuard, SkewLimits

REPOSITORY = Path(__file__).parents[3]
CALENDAR: Calendar = xnys()
DAY = date(2026, 11, 20)
OPEN, CLOSE = CALENDAR.opens_at(DAY), CALENDAR.closes_at(DAY)
NOW = OPEN + 40 * MINUTE
KEYS = AlpacaKeys(key=KEY, secret=SECRET)
QUICK = FeedLimits(poll_s=0.02, backoff_base_s=0.01, backoff_cap_s=0.02, settle_s=3600.0)
"""Nothing told within the last hour counts as overdue, so that the stream alone says what is missing."""
SETTLED = replace(QUICK, settle_s=20.0)


def at(place: int) -> datetime:
    return OPEN + place * MINUTE


def message(place: int, symbol: str = "AAA", **changes) -> dict:
    return bar_message(symbol, at(place), 100.0 + place, **changes)


def bar(place: int, symbol: str = "AAA", **changes) -> MinuteBar:
    return replace(wire.bar_in(message(place, symbol), "iex", NOW), **changes)


class RunningClock:
    """Runs from an instant on, so many times faster than the wall; may be moved."""

    def __init__(self, start: datetime = NOW, speed: float = 1.0, until: datetime | None = None, stop=None) -> None:
        self._start, self._speed, self._real = start, speed, time.monotonic()
        self._until, self._stop = until, stop

    def now(self) -> datetime:
        now = self._start + timedelta(seconds=(time.monotonic() - self._real) * self._speed)
        if self._until is not None and now > self._until:
            self._stop.set()
        return now

    def advance(self, seconds: float) -> None:
        self._start += timedelta(seconds=seconds)


class Shelf:
    """A sink that keeps what it gets, and asks for the end after so many bars."""

    def __init__(self, wanted: int, stop: threading.Event | None = None) -> None:
        self.bars: list[MinuteBar] = []
        self.stop = stop or threading.Event()
        self.wanted = wanted
        self.arrivals: dict[datetime, threading.Event] = {}

    def after(self, place: int):
        """Return a step of the server that waits for a bar to arrive here."""
        return wait_for(self.arrivals.setdefault(at(place), threading.Event()))

    def __call__(self, bar: MinuteBar) -> None:
        self.bars.append(bar)
        self.arrivals.get(bar.opened_at, threading.Event()).set()
        if len(self.bars) >= self.wanted:
            self.stop.set()

    def holds(self, key: str) -> bool:
        return key in self.keys()

    def keys(self) -> list[str]:
        return [bar.key for bar in self.bars]

    def places(self) -> list[int]:
        return [(bar.opened_at - OPEN) // MINUTE for bar in self.bars]


class Source:
    """A backfill source that knows some minutes, and may be down."""

    def __init__(self, known=(), failures: int = 0, on_ask=None) -> None:
        self.known, self.failures, self.on_ask = set(known), failures, on_ask
        self.asked: list[tuple[str, int, int]] = []

    def __call__(self, symbol: str, first: datetime, last: datetime) -> list[MinuteBar]:
        self.asked.append((symbol, (first - OPEN) // MINUTE, (last - OPEN) // MINUTE))
        if self.on_ask:
            self.on_ask()
        if self.failures:
            self.failures -= 1
            raise ExternalError("the source is down", retryable=True)
        return [bar(p, symbol) for p in sorted(self.known) if first <= at(p) <= last]


def feed_to(server: StreamServer | str, folder: Path, source=None, clock=None, **changes) -> AlpacaFeed:
    sleep = changes.pop("sleep", None)
    url = server if isinstance(server, str) else server.url
    settings = {"feed": "iex", "since": at(30), "limits": QUICK, "url": url} | changes
    return AlpacaFeed(
        AlpacaSpec(folder=folder, **settings), KEYS, backfill=source or Source(), calendar=CALENDAR,
        clock=clock or RunningClock(), rng=Random(1), sleep=sleep,
    )  # fmt: skip


def play(script, tmp_path: Path, *, wanted: int, symbols=("AAA",), source=None, **changes):
    shelf = changes.pop("shelf", None) or Shelf(wanted, changes.pop("stop", None))
    shelf.wanted = wanted
    with StreamServer(script) as server:
        feed = feed_to(server, tmp_path, source, **changes)
        feed.run(symbols, shelf, shelf.stop)
    return shelf, feed, server


# Order, gaps and the backfill source


def test_bars_of_the_stream_arrive_in_order_with_feed_and_times(tmp_path: Path) -> None:
    shelf, feed, server = play([[welcome, say(message(30), message(31)), hang]], tmp_path, wanted=2)
    assert shelf.places() == [30, 31]
    assert {b.feed for b in shelf.bars} == {"iex"}
    assert all(b.trusted and not b.revision and not b.backfilled for b in shelf.bars)
    assert server.heard[1] == {
        "action": "subscribe", "bars": ["AAA"], "updatedBars": ["AAA"], "trades": ["SPY"], "quotes": ["SPY"],
    }  # fmt: skip
    assert feed.state().phase == "stopped"
    assert feed.state().delivered == 2


def test_a_dropped_connection_costs_no_bar_the_gap_is_filled_before_what_follows(tmp_path: Path) -> None:
    source = Source(known=range(30, 36))
    script = [[welcome, say(message(30)), drop], [welcome, say(message(35)), hang]]
    shelf, feed, server = play(script, tmp_path, wanted=6, source=source)
    assert shelf.places() == [30, 31, 32, 33, 34, 35]
    assert [b.backfilled for b in shelf.bars][:2] == [False, True]
    assert feed.state().reconnects == 1
    assert server.connections == 2


def test_a_minute_missing_in_the_middle_is_asked_for_and_one_without_a_trade_is_believed(tmp_path: Path) -> None:
    source, shelf = Source(known=[31]), Shelf(3)
    clock = RunningClock(at(31))  # the minutes pass while the connection stands
    steps = [say(message(30)), shelf.after(30), lambda _: clock.advance(181), say(message(33))]
    _, feed, _ = play(
        [[welcome, *steps, hang]], tmp_path, wanted=3, shelf=shelf, source=source, clock=clock, limits=SETTLED
    )
    assert shelf.places() == [30, 31, 33]
    assert source.asked == [("AAA", 31, 32)]
    assert feed.state().symbols["AAA"].complete_through == at(33)


def test_repeats_reorderings_and_rubbish_change_nothing(tmp_path: Path) -> None:
    half = json.dumps([message(32)])[:40]
    nonsense = message(33) | {"h": 1.0}
    frames = [
        say(message(31)), say(message(30)), say(message(30)), say_raw("{garbage"), say_raw(half), say_raw("[]"),
        say_raw(b"\x00\xff"), say_raw("[NaN]"), say_raw('{"T":"b"}'), say_raw("[]"),
        say({"T": "weather"}), say({"T": "b"}), say(nonsense),
        say(message(32), message(32)), say(message(33, "ZZZ")), say(bar_message("AAA", CLOSE + MINUTE)),
        say(bar_message("AAA", NOW + timedelta(days=400))), say(message(33)),
    ]  # fmt: skip
    source = Source(known=[30])
    shelf, feed, _ = play([[welcome, *frames, hang]], tmp_path, wanted=4, source=source)
    assert shelf.places() == [30, 31, 32, 33]
    counts = feed.state().counts
    assert counts["malformed"] >= 5
    assert counts["duplicate"] >= 2
    assert counts["unknown"] == 2
    assert counts["impossible"] == 2


def test_frame_after_frame_of_garbage_ends_the_connection(tmp_path: Path) -> None:
    script = [[welcome, *[say_raw("{")] * 5, hang], [welcome, say(message(30)), hang]]
    shelf, feed, server = play(script, tmp_path, wanted=1)
    assert (shelf.places(), server.connections, feed.state().reconnects) == ([30], 2, 1)


def test_a_correction_is_delivered_once_as_a_revision(tmp_path: Path) -> None:
    corrected = message(30, kind="u", volume=99)
    same = message(30, kind="u")
    steps = [say(message(30)), say(same), say(corrected), say(corrected), say(message(31))]
    shelf, feed, _ = play([[welcome, *steps, hang]], tmp_path, wanted=3)
    assert [(b.revision, b.volume) for b in shelf.bars] == [(False, 10), (True, 99), (False, 10)]
    assert len(set(shelf.keys())) == 3
    assert feed.state().counts["duplicate"] == 2


def test_a_bar_after_its_absence_was_confirmed_is_told_as_a_revision(tmp_path: Path) -> None:
    clock = RunningClock(at(31))
    shelf = Shelf(4)
    script = [
        welcome, say(message(30)), shelf.after(30), lambda _: clock.advance(121), say(message(32)), shelf.after(32),
        say(message(31)), say(message(31)), say(message(32)), say(message(33)), hang,
    ]  # fmt: skip
    _, feed, _ = play([script], tmp_path, wanted=4, shelf=shelf, clock=clock, limits=SETTLED)
    assert list(zip(shelf.places(), [b.revision for b in shelf.bars], strict=True)) == [
        (30, False), (32, False), (31, True), (33, False),
    ]  # fmt: skip
    assert feed.state().counts["duplicate"] == 2


def test_a_failing_backfill_opens_a_gap_that_holds_this_symbol_alone_until_it_is_filled(tmp_path: Path) -> None:
    seen = []
    shelf = Shelf(6)
    source = Source(known=range(30, 36), failures=3, on_ask=lambda: seen.append((feed.state(), shelf.places())))
    first = say(message(30, "BBB"), message(33), message(34))
    with StreamServer([[welcome, first, hang]]) as server:
        feed = feed_to(server, tmp_path, source)
        feed.run(("AAA", "BBB"), shelf, shelf.stop)
    mine = [p for p, b in zip(shelf.places(), shelf.bars, strict=True) if b.symbol == "AAA"]
    assert mine == [30, 31, 32, 33, 34]
    assert 30 in shelf.places()
    gap_seen = [s for s, _ in seen if s.gap_reason]
    assert gap_seen
    assert all(s.word == "gap_open" and s.gap_reason == "the source is down" for s in gap_seen)
    assert feed.state().gap_reason is None


def test_the_end_of_a_session_reveals_bars_that_never_came(tmp_path: Path) -> None:
    last = (CLOSE - OPEN) // MINUTE - 1
    source, shelf, clock = Source(known=[last]), Shelf(2), RunningClock(at(last))
    script = [welcome, say(message(last - 1)), shelf.after(last - 1), lambda _: clock.advance(100), hang]
    play([script], tmp_path, wanted=2, shelf=shelf, source=source, since=at(last - 1), clock=clock, limits=SETTLED)
    assert shelf.places() == [last - 1, last]
    assert [b.backfilled for b in shelf.bars] == [False, True]


def test_after_a_failed_question_none_is_asked_for_a_growing_while(tmp_path: Path) -> None:
    source, now = Source(failures=9), NOW
    courier = Courier(
        ["AAA", "BBB"], sink=Shelf(9), backfill=source, journal=Journal(tmp_path / "j.json", "iex"),
        minutes=Minutes(CALENDAR), guard=SkewGuard(SkewLimits()), begin=at(30),
        limits=FeedLimits(backoff_base_s=1, backoff_cap_s=4),
    )  # fmt: skip
    courier.take([bar(33), bar(33, "BBB")], now)
    for pause in (1, 2, 4, 4):
        courier.fill_one(now)
        assert not courier.has_work(now + timedelta(seconds=pause - 0.1))
        now += timedelta(seconds=pause)
        assert courier.has_work(now)
    assert len(source.asked) == 4


def test_bars_outside_the_regular_session_are_left_aside_and_counted() -> None:
    mark = Mark(position=minute_of(at(-9)), base=minute_of(at(-8)))
    sequence = SymbolSequence("AAA", Minutes(CALENDAR), mark, held_bars=9)
    assert sequence.offer(bar(-1)) == "outside_hours"
    assert sequence.offer(bar(0)) is None
    assert sequence.offer(replace(bar(0), opened_at=CLOSE)) == "outside_hours"
    assert [b.opened_at for b in sequence.take()] == [OPEN]


def test_a_new_session_forgets_which_minutes_of_the_old_one_had_a_bar() -> None:
    last = (CLOSE - OPEN) // MINUTE - 1
    monday = CALENDAR.opens_at(date(2026, 11, 23))
    mark = Mark(position=minute_of(at(last - 1)), base=minute_of(at(last)))
    sequence = SymbolSequence("AAA", Minutes(CALENDAR), mark, held_bars=9)
    opening = replace(bar(0), opened_at=monday)
    assert sequence.offer(bar(last)) is None
    assert sequence.offer(replace(opening, opened_at=monday + MINUTE)) is None
    sequence.fill(minute_of(monday), minute_of(monday), [], believed_through=minute_of(monday))
    assert sequence.offer(opening) is None  # at the same place as the old session's bar, and yet not a repeat
    assert sequence.offer(bar(last)) == "stale"
    told = [(b.opened_at, b.revision) for b in sequence.take()]
    assert told == [(at(last), False), (monday + MINUTE, False), (monday, True)]


def test_a_full_buffer_drops_the_farthest_bars_and_asks_for_them_again() -> None:
    mark = Mark(position=minute_of(at(29)), base=minute_of(at(30)))
    sequence = SymbolSequence("AAA", Minutes(CALENDAR), mark, held_bars=3)
    for place in range(31, 39):
        sequence.offer(bar(place))
    assert (sequence.held, sequence.overflow) == (3, 5)
    assert sequence.missing() == (minute_of(at(30)), minute_of(at(38)))
    sequence.fill(*sequence.missing(), [bar(p) for p in range(30, 39)], believed_through=minute_of(at(38)))
    assert [b.opened_at for b in sequence.take()] == [at(p) for p in range(30, 39)]
    assert sequence.missing() is None


def test_a_fresh_minute_is_not_believed_to_be_empty() -> None:
    mark = Mark(position=minute_of(at(29)), base=minute_of(at(30)))
    sequence = SymbolSequence("AAA", Minutes(CALENDAR), mark, held_bars=9)
    sequence.offer(bar(31))
    sequence.fill(minute_of(at(30)), minute_of(at(30)), [], believed_through=minute_of(at(29)))
    assert sequence.missing() == (minute_of(at(30)), minute_of(at(30)))
    sequence.offer(bar(30))
    assert len(sequence.take()) == 2


def test_a_gap_spans_the_night_and_asks_for_session_minutes_only() -> None:
    minutes = Minutes(CALENDAR)
    monday = CALENDAR.opens_at(date(2026, 11, 23))
    spans = minutes.spans(minute_of(CLOSE - 2 * MINUTE), minute_of(monday + MINUTE))
    assert [len(s) for s in spans] == [1, 2]
    early = CALENDAR.closes_at(date(2026, 11, 27))
    assert minutes.session(minute_of(early)) is None
    assert minutes.session(minute_of(early - MINUTE)) is not None
    assert minutes.session(minute_of(datetime.fromisoformat("2026-11-26T16:00Z"))) is None


# Connections


def test_refused_keys_are_a_configuration_fault_tried_once_and_never_shown(tmp_path: Path) -> None:
    shelf = Shelf(1)
    wrong = AlpacaKeys(key="PK-OTHER", secret="other-secret")
    with StreamServer([[welcome, hang]]) as server:
        spec = AlpacaSpec(feed="iex", folder=tmp_path, url=server.url, limits=QUICK)
        feed = AlpacaFeed(spec, wrong, backfill=Source(), calendar=CALENDAR, clock=RunningClock(), rng=Random(1))
        with pytest.raises(ConfigError) as caught:
            feed.run(["AAA"], shelf, shelf.stop)
    assert server.connections == 1
    told = f"{caught.value.message} {feed.state()} {wrong} {caught.value.__context__!r}"
    assert not [s for s in (KEY, SECRET, "PK-OTHER", "other-secret") if s in told]


@pytest.mark.parametrize("code", [402, 405, 408, 409, 410])
def test_a_refusal_is_not_tried_again(tmp_path: Path, code: int) -> None:
    shelf = Shelf(1)
    with StreamServer([[welcome, error(code), hang]]) as server, pytest.raises(ConfigError, match=str(code)) as caught:
        feed_to(server, tmp_path).run(["AAA"], shelf, shelf.stop)
    assert server.connections == 1
    assert SECRET not in caught.value.message


def test_the_connection_limit_waits_and_goes_on(tmp_path: Path) -> None:
    naps: list[float] = []
    script = [[greet_with_error(406)], [greet_with_error(406)], [welcome, say(message(30)), hang]]
    shelf, _, _ = play(script, tmp_path, wanted=1, sleep=naps.append)
    assert shelf.places() == [30]
    assert len(naps) == 2
    assert all(nap >= QUICK.limit_wait_s for nap in naps)


@pytest.mark.parametrize("code", [401, 404, 407, 500, 999])
def test_a_passing_error_costs_a_connection_and_no_bar(tmp_path: Path, code: int) -> None:
    script = [[welcome, say(message(30)), error(code), hang], [welcome, say(message(31)), hang]]
    shelf, _, server = play(script, tmp_path, wanted=2)
    assert (shelf.places(), server.connections) == ([30, 31], 2)


def test_a_subscription_that_lacks_a_symbol_is_not_taken_for_one(tmp_path: Path) -> None:
    def short(talk) -> None:
        talk.send({"T": "success", "msg": "connected"})
        talk.hear()
        talk.send({"T": "success", "msg": "authenticated"})
        talk.hear()
        talk.send({"T": "subscription", "bars": ["BBB"], "updatedBars": None})

    _, _, server = play([[short, hang], [welcome, say(message(30)), hang]], tmp_path, wanted=1)
    assert server.connections == 2


def test_an_unreachable_server_is_tried_with_jitter_and_given_up(tmp_path: Path) -> None:
    with socket.socket() as taken:  # bound and not listening: nobody answers there
        taken.bind(("127.0.0.1", 0))
        naps: list[float] = []
        limits = replace(QUICK, backoff_base_s=1.0, backoff_cap_s=8.0, attempts=6)
        feed = feed_to(f"ws://127.0.0.1:{taken.getsockname()[1]}", tmp_path, limits=limits, sleep=naps.append)
        with pytest.raises(ExternalError, match="stays out of reach") as caught:
            feed.run(["AAA"], Shelf(1), threading.Event())
    rng = Random(1)
    assert naps == [rng.uniform(0, width) for width in (1, 2, 4, 8, 8, 8)]
    assert caught.value.retryable
    assert (feed.state().phase, feed.state().reconnects) == ("stopped", 7)


def test_losses_are_forgotten_after_the_window_and_a_lasting_connection_begins_anew() -> None:
    clock = SteppingClock(NOW)
    pace = Pace(FeedLimits(attempts=2, attempts_window_s=100, backoff_base_s=1, stable_after_s=60), clock, Random(1))
    for _ in range(10):
        clock.advance(seconds=51)
        pace.lost("x")
    pace.connected()
    clock.advance(seconds=60)
    assert pace.lost("x") <= 1.0
    with pytest.raises(ExternalError):
        pace.lost("x")


def test_silence_within_a_session_ends_a_mute_connection(tmp_path: Path) -> None:
    patient = replace(QUICK, open_timeout_s=1e5, pong_within_s=1e6, mute_after_s=180, stable_after_s=0, attempts=100)
    script = [[welcome, hang], [welcome, say(message(30)), hang]]
    clock = RunningClock(speed=500.0)
    shelf, _, server = play(script, tmp_path, wanted=1, limits=patient, clock=clock)
    assert shelf.places() == [30]
    assert server.connections == 2


def test_silence_outside_market_hours_is_no_fault(tmp_path: Path) -> None:
    stop = threading.Event()
    evening = CLOSE + timedelta(hours=2)
    clock = RunningClock(evening, speed=5000.0, until=evening + timedelta(hours=3), stop=stop)
    patient = replace(QUICK, open_timeout_s=1e6, pong_within_s=1e6)
    shelf, feed, server = play(
        [[welcome, hang]], tmp_path, wanted=1, limits=patient, clock=clock, stop=stop, since=evening
    )
    assert (server.connections, feed.state().reconnects, shelf.bars) == (1, 0, [])


def test_the_night_before_does_not_count_as_silence_at_the_opening(tmp_path: Path) -> None:
    stop = threading.Event()
    clock = RunningClock(OPEN - timedelta(hours=1), speed=20_000.0, until=at(40), stop=stop)
    patient = replace(QUICK, open_timeout_s=1e6, pong_within_s=1e6, mute_after_s=3000)
    _, _, server = play([[welcome, hang]], tmp_path, wanted=1, limits=patient, clock=clock, stop=stop, since=OPEN)
    assert server.connections == 1


class DeadPeer:
    """A connection whose other end is gone without a word."""

    def __init__(self) -> None:
        self.pings = 0

    def ping(self) -> threading.Event:
        self.pings += 1
        return threading.Event()


def test_a_ping_without_an_answer_ends_the_connection() -> None:
    clock, peer = SteppingClock(NOW), DeadPeer()
    line = Line(peer, clock, FeedLimits(ping_after_s=10, pong_within_s=5))
    clock.advance(seconds=9)
    line.look_after(clock.now())
    assert peer.pings == 0
    clock.advance(seconds=2)
    line.look_after(clock.now())
    line.look_after(clock.now())
    assert peer.pings == 1
    clock.advance(seconds=6)
    with pytest.raises(LineLostError, match="ping"):
        line.look_after(clock.now())


@pytest.mark.parametrize("url", ["ws://example.org/v2", "http://127.0.0.1", "stream"])
def test_keys_never_travel_in_the_clear(url: str) -> None:
    with pytest.raises(ConfigError, match="encrypted"):
        check_url(url)


def test_a_stop_while_waiting_ends_the_feed_at_once(tmp_path: Path) -> None:
    stop = threading.Event()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        feed = feed_to(f"ws://127.0.0.1:{taken.getsockname()[1]}", tmp_path, sleep=lambda _: stop.set())
        feed.run(["AAA"], Shelf(1), stop)
    assert feed.state().phase == "stopped"


# Clocks


def test_a_message_from_the_future_makes_bars_untrusted_and_says_by_how_much(tmp_path: Path) -> None:
    clock = RunningClock()
    early = ticks("SPY", clock.now, [900.0])
    script = [welcome, say(message(30)), early, say(message(31)), hang]
    shelf, feed, _ = play([script], tmp_path, wanted=2, clock=clock)
    assert [b.trusted for b in shelf.bars] == [True, False]
    assert re.search(r"[89]\d\d ms before its own timestamp", feed.state().skew)
    assert feed.state().skew_ms < -250


def observe(guard: SkewGuard, clock: SteppingClock, late_ms: float, times: int, every_s: float = 1.0) -> None:
    for _ in range(times):
        clock.advance(seconds=every_s)
        guard.observe(clock.now() - timedelta(milliseconds=late_ms), clock.now())


@pytest.mark.parametrize(("late_ms", "skewed"), [(-250, False), (-251, True), (250, False), (251, True)])
def test_the_guard_alarms_beyond_250_ms_on_either_side(late_ms: float, skewed: bool) -> None:
    guard, clock = SkewGuard(SkewLimits()), SteppingClock(NOW)
    observe(guard, clock, late_ms, 10)
    assert (guard.reason is not None) == skewed


def test_one_fresh_message_among_late_ones_proves_the_clocks() -> None:
    guard, clock = SkewGuard(SkewLimits()), SteppingClock(NOW)
    for _ in range(10):
        observe(guard, clock, 5000, 5)
        observe(guard, clock, 40, 1)
    assert guard.reason is None
    assert guard.skew_ms == pytest.approx(40)


def test_a_few_late_messages_are_not_yet_a_judgement() -> None:
    guard, clock = SkewGuard(SkewLimits()), SteppingClock(NOW)
    observe(guard, clock, 4000, 9)
    assert guard.reason is None
    observe(guard, clock, 4000, 1)
    assert "4000 ms" in guard.reason


def test_an_alarm_ends_only_after_a_quiet_time_and_by_the_stricter_measure() -> None:
    guard, clock = SkewGuard(SkewLimits()), SteppingClock(NOW)
    observe(guard, clock, -400, 1)
    observe(guard, clock, 50, 29)
    assert guard.reason is not None
    observe(guard, clock, 50, 3)
    assert guard.reason is None
    observe(guard, clock, 300, 60)
    assert guard.reason is not None
    observe(guard, clock, 220, 200)  # no longer an alarm, not yet good enough
    assert guard.reason is not None
    observe(guard, clock, 150, 200)
    assert guard.reason is None


def test_a_clock_that_is_set_back_measures_anew() -> None:
    guard, clock = SkewGuard(SkewLimits()), SteppingClock(NOW)
    observe(guard, clock, 50, 20)
    clock.advance(seconds=-3600)
    observe(guard, clock, -3_600_000, 1)
    assert guard.reason is not None
    observe(guard, clock, 50, 100)
    assert guard.reason is None
    clock.advance(seconds=-3600)
    observe(guard, clock, 4000, 10)  # what was fresh by the old time proves nothing
    assert guard.reason is not None


def test_a_smaller_step_into_the_future_prolongs_an_alarm() -> None:
    guard, clock = SkewGuard(SkewLimits(window_s=12, quiet_s=30)), SteppingClock(NOW)
    observe(guard, clock, -400, 1)
    observe(guard, clock, 50, 14)
    observe(guard, clock, -220, 1)
    observe(guard, clock, 50, 20)
    assert guard.reason is not None
    observe(guard, clock, 50, 11)
    assert guard.reason is None


def test_a_bar_before_its_minute_has_ended_is_not_trusted(tmp_path: Path) -> None:
    clock = RunningClock(at(30) + timedelta(seconds=30))
    shelf, feed, _ = play([[welcome, say(message(30)), hang]], tmp_path, wanted=1, clock=clock)
    assert [b.trusted for b in shelf.bars] == [False]
    assert "before its minute's end" in feed.state().skew


# Restarts


def test_a_restart_goes_on_after_the_last_bar_and_delivers_nothing_twice(tmp_path: Path) -> None:
    source = Source(known=range(30, 37))
    shelf, _, _ = play([[welcome, say(message(30), message(31)), hang]], tmp_path, wanted=2, source=source)
    again = threading.Event()
    shelf.wanted, shelf.stop = 7, again
    with StreamServer([[welcome, say(message(31)), say(message(36)), hang]]) as server:
        feed_to(server, tmp_path, source, since=at(35)).run(["AAA"], shelf, again)
    assert shelf.places() == list(range(30, 37))


def test_a_bar_the_sink_did_not_take_is_handed_over_again_with_the_same_key(tmp_path: Path) -> None:
    class Failing(Shelf):
        def __call__(self, bar: MinuteBar) -> None:
            if len(self.bars) == 1:
                raise OSError("the sink's disk is full")
            super().__call__(bar)

    failing = Failing(5)
    with StreamServer([[welcome, say(message(30), message(31)), hang]]) as server:
        with pytest.raises(OSError, match="sink's disk"):
            feed_to(server, tmp_path).run(["AAA"], failing, failing.stop)
        after = Shelf(1)
        after.bars = failing.bars
        after.wanted = 2
        feed_to(server, tmp_path, Source()).run(["AAA"], after, after.stop)
    assert after.places()[:2] == [30, 31]
    assert len(set(after.keys())) == len(after.keys())


def test_two_processes_do_not_run_one_feed(tmp_path: Path) -> None:
    errors = []

    class Nested(Shelf):
        def __call__(self, bar: MinuteBar) -> None:
            with pytest.raises(ExternalError) as caught:
                feed_to(server, tmp_path).run(["AAA"], Shelf(1), threading.Event())
            errors.append(caught.value.message)
            super().__call__(bar)

    nested = Nested(1)
    with StreamServer([[welcome, say(message(30)), hang]]) as server:
        feed_to(server, tmp_path).run(["AAA"], nested, nested.stop)
    assert "alpaca-iex" in errors[0]


def test_a_damaged_journal_stops_everything(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.json", "iex")
    journal.write({"AAA": Mark(position=5, base=3, delivered=5, prints={5: ("ab",)})}, [bar(30)])
    fresh = Journal(tmp_path / "j.json", "iex")
    assert fresh.read() == [bar(30)]
    assert fresh.marks == journal.marks
    whole = (tmp_path / "j.json").read_bytes()
    for damaged in (whole[:-9], whole.replace(b'"position":5', b'"position":6'), b"[]", b"", b"null", b"\xff"):
        (tmp_path / "j.json").write_bytes(damaged)
        with pytest.raises(IntegrityError, match="damaged"):
            Journal(tmp_path / "j.json", "iex").read()
    (tmp_path / "j.json").write_bytes(whole)
    with pytest.raises(ConfigError, match="another tape"):
        Journal(tmp_path / "j.json", "sip").read()


KILLED = """
import os, signal, sys, threading
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from kobe.core.calendar import xnys
from kobe.core.clock import SteppingClock
from kobe.data.feeds.alpaca import AlpacaFeed, AlpacaKeys, AlpacaSpec
from kobe.data.feeds.port import MINUTE, FeedLimits, MinuteBar

url, folder, left, begin, count = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4], int(sys.argv[5])
begin = datetime.fromisoformat(begin)
stop, shelf = threading.Event(), folder / "shelf.txt"
keys = shelf.read_text().split() if shelf.exists() else []

class Sink:
    def __call__(self, bar):
        with shelf.open("a") as out:
            os.write(out.fileno(), (bar.key + "\\n").encode())
        keys.append(bar.key)
        if len(keys) >= count:
            stop.set()
    def holds(self, key):
        return key in keys

def made(place):
    return MinuteBar(symbol="AAA", opened_at=begin + place * MINUTE, open=1.0, high=1.0, low=1.0, close=1.0,
                     volume=1.0, feed="iex", received_at=begin)

def backfill(symbol, first, last):
    return [made(p) for p in range(count) if first <= begin + p * MINUTE <= last]

def step(frame, event, _):
    global left
    name = frame.f_code.co_filename
    ours = name.endswith(("courier.py", "journal.py", "durable.py", "sequence.py"))
    if not ours and not frame.f_code.co_qualname.startswith("Sink."):
        return None
    if event == "line" and left:
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
    return step

if len(keys) >= count:
    stop.set()
sys.settrace(step)
AlpacaFeed(AlpacaSpec(feed="iex", folder=folder, since=begin, url=url, limits=FeedLimits(poll_s=0.05, settle_s=1e5)),
           AlpacaKeys(key="PK-TEST-KEY", secret="very-secret-half"), backfill=backfill, calendar=xnys(),
           clock=SteppingClock(begin + (count + 1) * MINUTE), rng=Random(1)).run(["AAA"], Sink(), stop)
"""


def test_a_feed_killed_anywhere_delivers_every_bar_exactly_once(tmp_path: Path) -> None:
    count, rng, killed = 40, Random(7), 0
    heard = [[p for p in range(count) if (p + shift) % 3 == 0 or p == count - 1] for shift in range(3)]
    scripts = [[welcome, *[say(message(p)) for p in places], hang] for places in heard]
    with StreamServer(scripts * 8) as server:
        for left in [rng.randint(500, 2200) for _ in range(23)] + [0]:
            command = [sys.executable, "-c", KILLED, server.url, str(tmp_path), str(left), OPEN.isoformat(), str(count)]
            done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, check=False, timeout=60)
            assert done.returncode in (0, -signal.SIGKILL), done.stderr.decode()
            killed += done.returncode != 0
            if done.returncode == 0:
                break
    told = (tmp_path / "shelf.txt").read_text().split()
    assert told == [bar(p).key for p in range(count)]
    assert killed >= 5, "the kills came too late to prove anything"


# The wire, the history and the table


@pytest.mark.parametrize(
    "change",
    [
        {"t": "2026-11-20T14:30:00"}, {"t": 5}, {"t": "yesterday"}, {"t": rfc3339(OPEN + timedelta(seconds=1))},
        {"o": None}, {"o": True}, {"o": "1"}, {"l": 0}, {"v": -1}, {"h": 99.0}, {"l": 1e9}, {"S": 7}, {"S": ""},
        {"c": 10**400},
    ],
)  # fmt: skip
def test_a_bar_that_makes_no_sense_is_refused(change: dict) -> None:
    with pytest.raises(SchemaError):
        wire.bar_in(message(30) | change, "iex", NOW)


def test_ticks_carry_nanoseconds_and_bars_their_opening() -> None:
    instant = NOW + timedelta(microseconds=5)
    assert wire.instant_in(trade_message("SPY", instant)) == instant
    assert wire.instant_in(quote_message("SPY", instant)) == instant
    assert wire.bar_in(message(3), "iex", NOW).opened_at == at(3)


def row(place: int) -> dict:
    told = message(place)
    return {k: told[k] for k in ("o", "h", "l", "c", "v", "n", "vw")} | {"t": f"{at(place):%Y-%m-%dT%H:%M:%SZ}"}


def history(httpserver, **changes) -> AlpacaBackfill:
    return AlpacaBackfill(
        KEY, SECRET, feed="iex", clock=SteppingClock(NOW), url=httpserver.url_for("").rstrip("/"), **changes
    )


def test_the_history_is_asked_for_a_span_and_read_over_its_pages(httpserver) -> None:
    asked = []

    def answer(request) -> Response:
        asked.append(parse_qs(urlsplit(request.url).query))
        page = {None: ([row(30), row(31)], "p2"), "p2": ([row(33), row(34)], None)}
        rows, following = page[request.args.get("page_token")]
        return Response(json.dumps({"bars": {"AAA": rows}, "next_page_token": following}), mimetype="application/json")

    httpserver.expect_request("/v2/stocks/bars").respond_with_handler(answer)
    bars = history(httpserver)("AAA", at(30), at(33))
    assert [b.opened_at for b in bars] == [at(30), at(31), at(33)]
    assert all(b.backfilled and b.feed == "iex" and b.received_at == NOW for b in bars)
    assert asked[0]["feed"] == ["iex"]
    assert asked[0]["timeframe"] == ["1Min"]
    assert asked[0]["adjustment"] == ["raw"]


def test_the_history_of_minutes_without_a_trade_is_empty(httpserver) -> None:
    httpserver.expect_request("/v2/stocks/bars").respond_with_json({"bars": {}, "next_page_token": None})
    assert history(httpserver)("AAA", at(30), at(33)) == []


@pytest.mark.parametrize(
    ("status", "body", "fault"),
    [
        (401, "{}", ConfigError), (403, "<html>", ConfigError), (429, "<html>slow down", ExternalError),
        (500, "<html>", ExternalError), (504, "", ExternalError), (200, "<html>", ExternalError),
        (200, "", ExternalError), (200, "[]", ExternalError), (200, '{"message":"x"}', ExternalError),
        (200, '{"bars":{"AAA":[{"t":"x"}]},"next_page_token":null}', ExternalError),
        (200, '{"bars":{"AAA":[3]},"next_page_token":null}', ExternalError),
        (200, '{"bars":[],"next_page_token":null}', ExternalError),
        (302, "", ExternalError),
    ],
)  # fmt: skip
def test_no_answer_of_the_history_is_never_taken_for_no_trades(httpserver, status, body, fault) -> None:
    calls = []

    def answer(request) -> Response:
        calls.append(request)
        return Response(body, status=status)

    httpserver.expect_request("/v2/stocks/bars").respond_with_handler(answer)
    with pytest.raises(fault) as caught:
        history(httpserver)("AAA", at(30), at(33))
    assert len(calls) == 1, "the feed asks again, not the library"
    told = f"{caught.value.message} {caught.value.__cause__!r}"
    assert KEY not in told
    assert SECRET not in told


def test_a_history_that_hangs_is_given_up(httpserver) -> None:
    release = threading.Event()

    def answer(_) -> Response:
        release.wait(20)
        return Response("{}")

    httpserver.expect_request("/v2/stocks/bars").respond_with_handler(answer)
    began = time.monotonic()
    try:
        with pytest.raises(ExternalError, match="did not answer"):
            history(httpserver, read_timeout_s=0.2)("AAA", at(30), at(33))
    finally:
        release.set()
    assert time.monotonic() - began < 10


def test_the_table_builds_a_feed_and_unknown_tapes_are_refused(tmp_path: Path) -> None:
    build = FEEDS["alpaca"]
    spec = AlpacaSpec(feed="sip", folder=tmp_path)
    feed = build(spec, KEYS, calendar=CALENDAR, clock=SteppingClock(NOW), rng=Random(1))
    assert feed.state().word == "stopped"
    assert SECRET not in f"{KEYS} {feed.state()}"
    with pytest.raises(ConfigError, match="no such feed"):
        build(replace(spec, feed="otc"), KEYS, calendar=CALENDAR, clock=SteppingClock(NOW), rng=Random(1))
    with pytest.raises(ConfigError, match="needs symbols"):
        feed.run([], Shelf(1), threading.Event())
