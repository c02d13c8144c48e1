"""The words of kobe: what passes between rooms. Frozen, slotted, keyword-only, checked on construction.

Follow one trade through them: a strategy wishes (`Signal`), a model scores (`Candidate`), gates answer
(`Verdict`), what was decided is written down (`Decision`), only a cleared request becomes an order
(`ClearedOrder` -> `Order`), the broker answers (`Fill`), fills add up (`Position`), a closed one is a `Trade`.
"""

import math
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import Any

SYMBOL_PATTERN = r"^[A-Z0-9][A-Z0-9.\-]{0,14}$"
"""How a symbol is spelled: nothing that could leave a folder or start a formula."""


def _check(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


class Side(StrEnum):
    """Direction of a signal or position."""

    LONG = "long"
    SHORT = "short"


class Effect(StrEnum):
    """What an order does to the position."""

    OPEN = "open"
    CLOSE = "close"


class OrderType(StrEnum):
    """The order types kobe sends."""

    IOC_LIMIT = "ioc_limit"
    GTC_STOP = "gtc_stop"
    GTC_OCO = "gtc_oco"
    MARKET = "market"


class ExitReason(StrEnum):
    """Why a position was closed; the value is what artifacts and reports print."""

    STOP = "stop"
    TARGET = "target"
    SIGNAL = "signal"
    TIME = "time"
    END_OF_DATA = "end_of_data"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """A strategy's wish, known at the close of `signal_date`, valid for one session (DOMAIN 1.6).

    Prices are split-adjusted dollars. `stop` is the level seen from the reference close; with `stop_distance`
    set, the real stop is anchored to the fill.
    """

    signal_id: str
    strategy: str
    symbol: str
    side: Side
    signal_date: date
    valid_session: date
    reference_close: float
    stop: float
    stop_distance: float | None
    target: float | None
    target_r: float | None
    atr: float
    score: float
    params_hash: str

    def __post_init__(self) -> None:
        numbers = (self.reference_close, self.stop, self.atr, self.score)
        _check(all(math.isfinite(n) for n in numbers), f"a signal's numbers must be finite: {self.symbol}")
        _check(self.atr > 0, f"a signal needs a positive ATR: {self.symbol}")
        _check(self.valid_session > self.signal_date, "a signal is valid after its date")


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A signal with its calibrated probability of a net win, or None where no model may speak."""

    signal: Signal
    probability: float | None
    gate: float
    expected_r: float | None
    model_id: str | None
    adv_usd: float
    raw_close: float
    rank: int
    features: dict[str, float | None]
    rejection: str | None = None

    def __post_init__(self) -> None:
        p = self.probability
        _check(p is None or 0.0 <= p <= 1.0, f"a probability lies in [0, 1], got {p}")


class Outcome(StrEnum):
    """Answer of a gate."""

    PASS = "PASS"  # noqa: S105 - a verdict, not a password
    REDUCE = "REDUCE"
    REJECT = "REJECT"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One gate's answer to one request. A refusal is a value, never an exception."""

    gate: str
    outcome: Outcome
    code: str
    observed: str
    limit: str


class Mode(IntEnum):
    """What the whole system may do. Combining two gives the stricter: `max(a, b)`."""

    NORMAL = 0
    REDUCED = 1
    REDUCE_ONLY = 2
    CLOSE_ONLY = 3
    HALT = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class TradePlan:
    """How a position will be closed, fixed before it is opened; split-adjusted numbers of the signal day.

    Exactly one of `stop_distance` (from the fill) and `stop_level` is set.
    """

    signal_id: str
    strategy: str
    symbol: str
    side: Side
    signal_date: date
    entry_session: date
    exit_session: date
    stop_distance: float | None
    stop_level: float | None
    target_r: float | None
    atr: float
    reference_close: float
    params: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What was decided, from what, written down before any effect."""

    decision_id: str
    as_of: datetime
    session: date
    action: str
    subject: str | None
    verdicts: tuple[Verdict, ...]
    digests: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRequest:
    """What somebody wants to send: the gates judge it, the broker has not seen it.

    `limit_price` is None for market orders; `stop_price` is set for stop orders only. Raw dollars, whole shares.
    """

    client_order_id: str
    signal_id: str
    strategy: str
    symbol: str
    side: Side
    effect: Effect
    order_type: OrderType
    quantity: int
    limit_price: Decimal | None
    stop_price: Decimal | None
    session: date
    reason: str

    def __post_init__(self) -> None:
        _check(self.quantity > 0, f"an order needs a positive quantity, got {self.quantity}")
        _check(
            self.order_type is not OrderType.IOC_LIMIT or self.limit_price is not None,
            "a limit order needs a limit price",
        )
        stops = self.order_type in (OrderType.GTC_STOP, OrderType.GTC_OCO)
        _check(not stops or self.stop_price is not None, "a stop order needs a stop price")
        _check(self.order_type is not OrderType.GTC_OCO or self.limit_price is not None, "an OCO needs a target")

    @property
    def is_buy(self) -> bool:
        """Whether shares are bought: opening a long or closing a short."""
        return (self.side is Side.LONG) == (self.effect is Effect.OPEN)

    @property
    def notional_usd(self) -> Decimal:
        """Most that can be spent: limit times quantity; zero for orders without a limit."""
        return (self.limit_price or Decimal(0)) * self.quantity


_CLEARANCE = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class ClearedOrder:
    """A request that every gate has seen and none refused. Only `risk/review.py` builds one."""

    request: OrderRequest
    verdicts: tuple[Verdict, ...]
    _seal: object = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        _check(self._seal is _CLEARANCE, "only risk.review.clear() may clear an order")
        refused = [v.gate for v in self.verdicts if v.outcome is Outcome.REJECT]
        _check(bool(self.verdicts) and not refused, f"not cleared: {refused}")


def seal() -> object:
    """Hand out the clearance seal; `tests/architecture` holds that only `risk/review.py` asks for it."""
    return _CLEARANCE


class OrderStatus(Enum):
    """States of an order (DOMAIN 4.3); the value says whether it is final."""

    INTENT = ("intent", False)
    SENT = ("sent", False)
    ACCEPTED = ("accepted", False)
    PARTIAL = ("partial", False)
    UNKNOWN = ("unknown", False)
    FILLED = ("filled", True)
    CANCELED = ("canceled", True)
    EXPIRED = ("expired", True)
    REJECTED = ("rejected", True)
    REPLACED = ("replaced", True)
    ABANDONED = ("abandoned", True)

    def __init__(self, word: str, is_final: bool) -> None:
        self.word = word
        """Name of the state as stored and printed."""
        self.is_final = is_final
        """Whether nothing can happen to the order any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """Shares that changed hands at the broker. Raw dollars; the fee is what the broker charged for this fill."""

    fill_id: str
    client_order_id: str
    symbol: str
    side: Side
    effect: Effect
    quantity: int
    price: Decimal
    fee_usd: Decimal
    at: datetime

    def __post_init__(self) -> None:
        _check(self.quantity > 0, "a fill has a positive quantity")
        _check(self.price > 0, "a fill has a positive price")


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """An order as folded from its events. Truth is `filled`, not the status (DOMAIN 4.3)."""

    request: OrderRequest
    status: OrderStatus
    fills: tuple[Fill, ...] = ()
    detail: str = ""
    changes: int = 0
    """How many events made it what it is."""

    @property
    def filled(self) -> int:
        """Shares filled so far."""
        return sum(f.quantity for f in self.fills)

    @property
    def remaining(self) -> int:
        """Shares not filled."""
        return self.request.quantity - self.filled


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Open shares of one signal: a fold over its fills. Raw dollars, fees left out of the average price."""

    signal_id: str
    strategy: str
    symbol: str
    side: Side
    quantity: int
    average_price: Decimal
    opened: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Trade:
    """A FIFO round trip in raw dollars; partial fills keep one trade."""

    signal_id: str
    strategy: str
    symbol: str
    side: Side
    quantity: int
    entry_price: Decimal
    exit_price: Decimal
    fees_usd: Decimal
    net_usd: Decimal
    opened: datetime
    closed: datetime
    exit_reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord:
    """One run of one job for one session."""

    job: str
    session: date
    run_id: str
    status: str
    started: datetime
    finished: datetime
    outputs: dict[str, str]
    detail: str = ""
    data: dict[str, Any] = field(default_factory=dict)
