"""Minute bars from Alpaca's market-data stream: one connection, kept up, its bars delivered in order.

Delivery is exactly once towards a sink that accepts a bar in one durable step and can say so (`port.Sink`), at
least once under the same key towards any other. Only bars of the regular session are delivered.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from kobe.core.clock import Clock
from kobe.core.errors import ConfigError, KobeError, SchemaError
from kobe.data.feeds import alpaca_wire as wire
from kobe.data.feeds.courier import Courier
from kobe.data.feeds.journal import Journal
from kobe.data.feeds.line import Line, LineLostError, check_url, opened
from kobe.data.feeds.minutes import Minutes
from kobe.data.feeds.pace import Pace
from kobe.data.feeds.port import Backfill, FeedLimits, FeedState, MinuteBar, Sink, Stop, instant_of, minute_of
from kobe.data.feeds.skew import SkewGuard, SkewLimits
from kobe.infra.locks import Lease

if TYPE_CHECKING:
    from collections.abc import Callable

    from kobe.core.calendar import Calendar

FEEDS_OF_ALPACA = ("iex", "sip")
_HOST = "wss://stream.data.alpaca.markets/v2"
_PUBLISH = timedelta(seconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class AlpacaKeys:
    """The two halves of an account's key; never printed."""

    key: str = field(repr=False)
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class AlpacaSpec:
    """Which stream, and how it is treated.

    Attributes:
        feed: `iex` (free, a few percent of the volume) or `sip` (all of it).
        folder: where the journal and the lease live.
        probes: symbols whose trades and quotes tell the skew of the clocks; busy ones.
        since: first minute wanted of a symbol the journal does not know; None means the minute of the start.
        url: address of the stream; None means Alpaca's.
        limits: patience and bounds.
        skew: when clocks are in doubt.
    """

    feed: str
    folder: Path
    probes: tuple[str, ...] = ("SPY",)
    since: datetime | None = None
    url: str | None = None
    limits: FeedLimits = field(default_factory=FeedLimits)
    skew: SkewLimits = field(default_factory=SkewLimits)

    @property
    def name(self) -> str:
        """Name of the journal and of the lease."""
        return f"alpaca-{self.feed}"


class AlpacaFeed:
    """Fills the `BarFeed` port with Alpaca's stream."""

    def __init__(  # the ports it lives on
        self,
        spec: AlpacaSpec,
        keys: AlpacaKeys,
        *,
        backfill: Backfill,
        calendar: "Calendar",
        clock: Clock,
        rng: Random,
        sleep: "Callable[[float], object] | None" = None,
    ) -> None:
        """Nothing is opened until `run`.

        Args:
            spec: which stream.
            keys: the account's keys.
            backfill: where missing minutes are asked for.
            calendar: when sessions are.
            clock: the present.
            rng: draws the jitter of pauses.
            sleep: waits so many seconds; None waits on the wish to stop, which ends a pause at once.

        Raises:
            ConfigError: an unknown feed, or an address in the clear.
        """
        if spec.feed not in FEEDS_OF_ALPACA:
            raise ConfigError("Alpaca has no such feed", seen=spec.feed, expected=" or ".join(FEEDS_OF_ALPACA))
        self._spec = spec
        self._url = spec.url or f"{_HOST}/{spec.feed}"
        check_url(self._url)
        self._keys = keys
        self._backfill = backfill
        self._minutes = Minutes(calendar)
        self._clock = clock
        self._rng = rng
        self._sleep = sleep
        self._state = FeedState()
        self._published_at: datetime | None = None

    def state(self) -> FeedState:
        """Return how the feed is; callable from any thread."""
        return self._state

    def run(self, symbols: Sequence[str], sink: Sink, stop: Stop) -> None:
        """Deliver bars until asked to stop: per symbol ascending, each once, nothing missing.

        Raises:
            ConfigError: the keys, the symbols or the plan are refused; asking again cannot help.
            ExternalError: out of reach after the allowed tries, or another process runs the same feed.
            IntegrityError: the journal is damaged.
        """
        wanted = tuple(dict.fromkeys(symbols))
        if not wanted:
            raise ConfigError("a feed needs symbols", seen="none", expected="at least one")
        with Lease(self._spec.folder, self._spec.name, self._clock):
            guard = SkewGuard(self._spec.skew)
            courier = Courier(
                wanted,
                sink=sink,
                backfill=self._backfill,
                journal=Journal(self._spec.folder / f"{self._spec.name}.json", self._spec.feed),
                minutes=self._minutes,
                guard=guard,
                limits=self._spec.limits,
                begin=self._spec.since or self._clock.now(),
            )
            session = _Session(self._spec, self._keys, wanted, courier, guard, self._clock)
            reason: str | None = None
            try:
                self._keep_up(session, stop)
                courier.close()
            except KobeError as error:
                reason = error.what
                raise
            finally:
                self._publish(session, "stopped", reason)

    def _keep_up(self, session: "_Session", stop: Stop) -> None:
        pace = Pace(self._spec.limits, self._clock, self._rng)
        while not stop.is_set():
            self._publish(session, "connecting", self._state.reason)
            try:
                with opened(self._url, self._clock, self._spec.limits) as line:
                    self._listen(session, line, pace, stop)
            except LineLostError as lost:
                session.losses += 1
                pause = pace.lost(lost.reason, lost.at_least_s)
                self._publish(session, "waiting", lost.reason)
                self._pause(pause, stop)

    def _listen(self, session: "_Session", line: Line, pace: Pace, stop: Stop) -> None:
        session.begin(self._clock.now())
        courier, was_live = session.courier, False
        while not stop.is_set():
            busy = courier.has_work(self._clock.now())
            frame = line.receive(0.0 if busy else self._spec.limits.poll_s)
            now = self._clock.now()
            if frame is None:
                line.look_after(now)
            else:
                for answer in session.hear(frame, now):
                    line.send(answer)
            session.check_silence(line.heard_at, now, self._minutes)
            if session.live and not was_live:
                was_live = True
                pace.connected()
                courier.expect(now)
            elif session.live and self._minutes.session(minute_of(now)) is None:
                courier.expect(now)  # after the close nothing else would reveal that the last minutes are missing
            if courier.has_work(now):
                self._publish_live(session, now, always=True)  # before the source is asked: the answer may take long
                courier.fill_one(now)
            self._publish_live(session, now, always=session.heard_bars)

    def _pause(self, seconds: float, stop: Stop) -> None:
        if self._sleep is None:
            stop.wait(seconds)
        else:
            self._sleep(seconds)

    def _publish_live(self, session: "_Session", now: datetime, *, always: bool) -> None:
        """Tell the state, but not for every single quote."""
        fresh = self._published_at is not None and abs(now - self._published_at) < _PUBLISH
        if session.live and (always or not fresh or self._state.phase != "live"):
            self._published_at = now
            self._publish(session, "live", None)

    def _publish(self, session: "_Session", phase: str, reason: str | None) -> None:
        courier = session.courier
        counts = dict(courier.counts) | ({"overflow": courier.overflow()} if courier.overflow() else {})
        self._state = FeedState(
            phase=phase,
            reason=reason,
            last_message_at=session.heard_at,
            symbols=courier.symbols(),
            gap_reason=courier.gap_reason,
            skew=session.guard.reason,
            skew_ms=session.guard.skew_ms,
            reconnects=session.losses,
            delivered=courier.delivered,
            counts=counts,
        )


class _Session:
    """The conversation with Alpaca: login, subscription, then bars; no socket in sight."""

    def __init__(
        self,
        spec: AlpacaSpec,
        keys: AlpacaKeys,
        symbols: tuple[str, ...],
        courier: Courier,
        guard: SkewGuard,
        clock: Clock,
    ) -> None:
        self.courier = courier
        self.guard = guard
        self.live = False
        self.losses = 0
        self.heard_at: datetime | None = None
        self.heard_bars = False
        self._spec = spec
        self._keys = keys
        self._symbols = symbols
        self._began_at = clock.now()
        self._garbage = 0

    def begin(self, now: datetime) -> None:
        """Start a conversation on a new connection."""
        self.live = False
        self._garbage = 0
        self._began_at = now

    def hear(self, frame: str | bytes, now: datetime) -> list[str]:
        """Take in a frame; return what to answer.

        Raises:
            LineLostError: the other end reports an error, or talks nonsense.
            ConfigError: it refuses us for good.
        """
        self.heard_at, self.heard_bars = now, False
        try:
            messages = wire.messages_in(frame)
        except SchemaError as error:
            self._count_garbage()
            if self._garbage >= self._spec.limits.garbage_frames:
                raise LineLostError("message after message is unreadable") from error
            return []
        self._garbage = 0
        bars: list[MinuteBar] = []
        answers = [answer for m in messages if (answer := self._hear_one(m, now, bars)) is not None]
        if bars:
            self.heard_bars = True
            self.courier.take(bars, now)
        return answers

    def check_silence(self, heard_at: datetime, now: datetime, minutes: Minutes) -> None:
        """Notice a login that does not come to its end, and a connection that is mute while the market is open.

        Raises:
            LineLostError: so it is.
        """
        if not self.live and now - self._began_at > timedelta(seconds=self._spec.limits.open_timeout_s):
            raise LineLostError("the login did not come to its end")
        hours = minutes.session(minute_of(now))
        if hours is None:
            return
        silent_since = max(heard_at, instant_of(hours.start))
        if now - silent_since > timedelta(seconds=self._spec.limits.mute_after_s):
            raise LineLostError(f"no message for {self._spec.limits.mute_after_s:g} s within a session")

    def _hear_one(self, message: Mapping[str, Any], now: datetime, bars: list[MinuteBar]) -> str | None:
        try:
            match message.get("T"):
                case "b" | "u":
                    bars.append(wire.bar_in(message, self._spec.feed, now))
                case "t" | "q":
                    self.guard.observe(wire.instant_in(message), now)
                case "success":
                    return self._go_on(message.get("msg"))
                case "subscription":
                    self._check_subscription(message)
                case "error":
                    raise self._fault(wire.error_code(message))
                case _:
                    self.courier.counts["unknown"] += 1
        except SchemaError:
            self.courier.counts["malformed"] += 1
        return None

    def _go_on(self, word: Any) -> str | None:
        if word == "connected":
            return wire.auth_message(self._keys.key, self._keys.secret)
        if word == "authenticated":
            return wire.subscribe_message(self._symbols, self._spec.probes)
        return None

    def _check_subscription(self, message: Mapping[str, Any]) -> None:
        for channel in ("bars", "updatedBars"):
            told = message.get(channel)
            absent = set(self._symbols) - {s for s in (told if isinstance(told, list) else ()) if isinstance(s, str)}
            if absent:
                raise LineLostError(f"the subscription of {channel} lacks {min(absent)}")
        self.live = True

    def _fault(self, code: int) -> Exception:
        refused = wire.refusal(code)
        wait_s = self._spec.limits.limit_wait_s if code == wire.CONNECTION_LIMIT else 0.0
        return refused or LineLostError(wire.meaning(code), wait_s)

    def _count_garbage(self) -> None:
        self._garbage += 1
        self.courier.counts["malformed"] += 1


def alpaca_feed(  # what a wiring has at hand
    spec: AlpacaSpec, keys: AlpacaKeys, *, calendar: "Calendar", clock: Clock, rng: Random
) -> AlpacaFeed:
    """Build the feed with Alpaca's own history as its backfill."""
    from kobe.data.feeds.alpaca_backfill import AlpacaBackfill

    backfill = AlpacaBackfill(keys.key, keys.secret, feed=spec.feed, clock=clock)
    return AlpacaFeed(spec, keys, backfill=backfill, calendar=calendar, clock=clock, rng=rng)
