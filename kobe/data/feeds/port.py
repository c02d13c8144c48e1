"""What a live feed of minute bars hands over, what it says about itself, and the ports around it."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from kobe.core.clock import as_utc
from kobe.core.ids import canonical_json

MINUTE = timedelta(minutes=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def minute_of(instant: datetime) -> int:
    """Return the minute an instant lies in, as whole minutes since the epoch."""
    return (as_utc(instant) - _EPOCH) // MINUTE


def instant_of(minute: int) -> datetime:
    """Return the instant a minute begins, in UTC."""
    return _EPOCH + minute * MINUTE


@dataclass(frozen=True, slots=True, kw_only=True)
class MinuteBar:
    """One minute of one symbol, as one feed told it. Known at `received_at`, never earlier than the minute's end.

    Attributes:
        symbol: ticker as the feed writes it.
        opened_at: UTC instant the minute begins; a whole minute.
        open: first price of the minute in dollars; likewise high, low and close.
        volume: shares traded on the feed's tape in that minute.
        feed: which tape: `iex` or `sip`.
        received_at: UTC instant the bar reached this process.
        revision: the consumer may hold this minute already, or went past it: it replaces what is known of the minute.
        backfilled: asked for afterwards, not heard on the stream.
        trusted: False while the feed's clock guard was alarmed; nobody may trade on such a bar.
    """

    symbol: str
    opened_at: datetime
    open: float
    high: float
    low: float
    close: float
    volume: float
    feed: str
    received_at: datetime
    revision: bool = False
    backfilled: bool = False
    trusted: bool = True

    def __post_init__(self) -> None:
        prices = (self.open, self.high, self.low, self.close)
        if not self.symbol or as_utc(self.opened_at) != instant_of(minute_of(self.opened_at)):
            raise ValueError("a minute bar needs a symbol and a whole minute")
        if not all(math.isfinite(p) and p > 0 for p in prices) or not (math.isfinite(self.volume) and self.volume >= 0):
            raise ValueError(f"a minute bar's prices must be positive and its volume not negative: {self.symbol}")
        if self.low > min(prices) or self.high < max(prices):
            raise ValueError(f"a minute bar's prices must lie between its low and high: {self.symbol}")

    @property
    def minute(self) -> int:
        """Minutes from the epoch to the bar's opening."""
        return minute_of(self.opened_at)

    @property
    def print(self) -> str:
        """Eight hex digits over the numbers: two tellings of a minute that differ have different prints."""
        numbers = [float(n).hex() for n in (self.open, self.high, self.low, self.close, self.volume)]
        return hashlib.sha256(" ".join(numbers).encode()).hexdigest()[:8]

    @property
    def key(self) -> str:
        """Name of this delivery: equal keys mean the same delivery, so a sink may drop the second.

        A first delivery is named by its minute alone, whatever its numbers; a revision by its numbers too.
        """
        name = f"{self.feed}:{self.symbol}:{self.opened_at:%Y-%m-%dT%H:%MZ}"
        return f"{name}:r{self.print}" if self.revision else name

    def as_record(self) -> dict[str, Any]:
        """Return the bar as plain JSON values, complete."""
        record = {name: getattr(self, name) for name in _FIELDS}
        return record | {name: record[name].isoformat() for name in _INSTANTS}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "MinuteBar":
        """Rebuild what `as_record` returned.

        Raises:
            ValueError: the values are not a bar's; likewise KeyError and TypeError.
        """
        instants = {name: datetime.fromisoformat(record[name]) for name in _INSTANTS}
        return cls(**{name: record[name] for name in _FIELDS} | instants)


_FIELDS = tuple(MinuteBar.__dataclass_fields__)
_INSTANTS = ("opened_at", "received_at")


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedLimits:
    """How patient a feed is. Every number is configuration.

    Attributes:
        open_timeout_s: longest wait for a connection and for each answer of the login.
        poll_s: longest the feed waits for a message before it looks after everything else.
        ping_after_s: silence after which the other end is asked for a sign of life.
        pong_within_s: how long that sign may take.
        mute_after_s: silence within a session that ends a connection even when pings are answered.
        backoff_base_s: widest first pause after a lost connection; it doubles with each loss in a row.
        backoff_cap_s: widest pause.
        stable_after_s: how long a connection must have lasted for the doubling to begin anew.
        attempts: lost connections allowed within `attempts_window_s`.
        attempts_window_s: span over which they are counted.
        limit_wait_s: pause when the provider says too many connections are open.
        settle_s: how long after a minute's end the backfill source may still come to know of it.
        held_bars: bars of one symbol kept behind a gap; more are dropped there and asked for again.
        garbage_frames: unreadable messages in a row that end a connection.
    """

    open_timeout_s: float = 10.0
    poll_s: float = 1.0
    ping_after_s: float = 10.0
    pong_within_s: float = 10.0
    mute_after_s: float = 180.0
    backoff_base_s: float = 1.0
    backoff_cap_s: float = 60.0
    stable_after_s: float = 60.0
    attempts: int = 20
    attempts_window_s: float = 900.0
    limit_wait_s: float = 30.0
    settle_s: float = 20.0
    held_bars: int = 390
    garbage_frames: int = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class SymbolState:
    """Where one symbol stands.

    Attributes:
        last_bar_at: opening of the last bar delivered since the start of the feed; None before the first.
        complete_through: every minute up to this one was delivered or confirmed to have no trade.
        gap_first: first minute that is missing, None without a gap.
        gap_last: last minute that is missing.
        held: bars that wait behind the gap.
    """

    last_bar_at: datetime | None
    complete_through: datetime
    gap_first: datetime | None = None
    gap_last: datetime | None = None
    held: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedState:
    """A feed at one instant, for status pages; built anew, never changed.

    Attributes:
        phase: `stopped`, `connecting`, `waiting` (before another try) or `live`.
        reason: why it is not live, or None.
        last_message_at: when anything was last heard.
        symbols: per symbol; empty until the first connection.
        gap_reason: why the last backfill failed; None after one that worked.
        skew: why the clocks are in doubt, or None.
        skew_ms: how much later (positive) or earlier than its timestamp a message arrives at best; None unmeasured.
        reconnects: connections lost since the start.
        delivered: bars handed to the sink, revisions included.
        counts: what was not delivered, by cause: `duplicate`, `stale`, `outside_hours`, `malformed`, `unknown`,
            `impossible` (a timestamp far in the future), `overflow` (dropped behind a gap, asked for again).
    """

    phase: str = "stopped"
    reason: str | None = None
    last_message_at: datetime | None = None
    symbols: Mapping[str, SymbolState] = field(default_factory=dict)
    gap_reason: str | None = None
    skew: str | None = None
    skew_ms: float | None = None
    reconnects: int = 0
    delivered: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def connected(self) -> bool:
        """Say whether a connection is open and logged in."""
        return self.phase == "live"

    @property
    def gaps_open(self) -> tuple[str, ...]:
        """Symbols whose later bars wait for a gap to be filled."""
        return tuple(s for s, state in self.symbols.items() if state.gap_first is not None)

    @property
    def word(self) -> str:
        """The one word for a status line, the worst first: phase, `skewed`, `gap_open`, `live`."""
        if self.phase != "live":
            return self.phase
        return "skewed" if self.skew else "gap_open" if self.gaps_open else "live"


class Sink(Protocol):
    """Who receives the bars.

    Returning from the call is the acknowledgement: the bar is then the sink's. The feed writes down a bar before
    it hands it over, so after a crash it knows which bars were on their way and asks `holds` about those. A sink
    that accepts a bar in one durable step and answers truly receives each exactly once; one that always answers
    False receives each at least once, under the same `MinuteBar.key`.
    """

    def __call__(self, bar: MinuteBar, /) -> None:
        """Take a bar; what is raised here stops the feed."""
        ...

    def holds(self, key: str, /) -> bool:
        """Say whether the delivery of that key was accepted; asked after a restart only."""
        ...


class Backfill(Protocol):
    """Where minutes that were not heard are asked for."""

    def __call__(self, symbol: str, first: datetime, last: datetime, /) -> Sequence[MinuteBar]:
        """Return the bars of a symbol from one minute to another, both included; minutes without a trade have none.

        Raises:
            KobeError: no answer, so nothing is known about those minutes.
        """
        ...


class Stop(Protocol):
    """How a feed is asked to end; a `threading.Event` is one."""

    def is_set(self) -> bool:
        """Say whether it shall end."""
        ...

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the wish to end, at most so many seconds."""
        ...


class BarFeed(Protocol):
    """A live source of minute bars."""

    def run(self, symbols: Sequence[str], sink: Sink, stop: Stop) -> None:
        """Deliver bars until asked to stop: per symbol ascending, each once, nothing missing.

        Raises:
            ConfigError: the provider refuses the keys or the subscription; asking again cannot help.
            ExternalError: out of reach after the allowed tries, or another process runs the same feed.
            IntegrityError: the journal is damaged.
        """
        ...

    def state(self) -> FeedState:
        """Return how the feed is; callable from any thread."""
        ...


def fingerprint(values: Any) -> str:
    """Short digest of JSON values, to notice a damaged journal."""
    return hashlib.sha256(canonical_json(values).encode()).hexdigest()[:16]
