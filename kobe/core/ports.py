"""The doors to the outside, as protocols: what a room may ask for without knowing who answers."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy.typing as npt

from kobe.core.clock import Clock
from kobe.core.errors import KobeError
from kobe.core.panel import Panel
from kobe.core.types import OrderRequest, OrderStatus

__all__ = [
    "Account", "Artifacts", "Asset", "AuditLog", "BarSource", "Broker", "BrokerOrder", "CashMove", "Clock", "Compute",
    "CorporateChange", "Event", "Execution", "KillSwitch", "Ledger", "Quote", "QuoteSource", "Shared", "Signer",
]  # fmt: skip

_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """Best bid and ask with sizes in shares, raw dollars, and the feed they came from.

    `last` is the last trade where the feed tells one; `halted` is what the feed says, and most say nothing.
    """

    symbol: str
    bid: Decimal
    ask: Decimal
    bid_size: int
    ask_size: int
    at: datetime
    feed: str
    last: Decimal | None = None
    halted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """One execution as a broker tells it; the fee is what the broker charged for it, where it says so."""

    execution_id: str
    quantity: int
    price: Decimal
    at: datetime
    fee_usd: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerOrder:
    """An order as the broker tells it, ours or not.

    Attributes:
        client_order_id: its name; what was placed by other means has a name kobe never gave.
        symbol, quantity, is_buy: what it is for.
        status: where it stands; UNKNOWN for a word nobody knows.
        filled: shares filled so far; the truth, whatever the status says.
        average_price: of those shares, raw dollars; None while nothing is filled.
        executions: single executions where the broker tells them; else the sum is all there is.
        at: when the broker changed it last.
        detail: the broker's own words, such as why it was rejected.
    """

    client_order_id: str
    symbol: str
    quantity: int
    is_buy: bool
    status: OrderStatus
    filled: int
    average_price: Decimal | None
    at: datetime
    executions: tuple[Execution, ...] = ()
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Cash and standing of the account, raw dollars; `positions` are signed shares by symbol.

    What a broker does not tell is None, and the gates refuse what they do not know.
    """

    cash_usd: Decimal
    equity_usd: Decimal
    blocked: bool
    positions: dict[str, int]
    account_id: str = ""
    last_equity_usd: Decimal | None = None
    buying_power_usd: Decimal | None = None
    maintenance_usd: Decimal | None = None
    may_short: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """What a broker lets one do with a symbol."""

    symbol: str
    active: bool
    tradable: bool
    shortable: bool = False
    easy_to_borrow: bool = False
    fractionable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CashMove:
    """Money that came or went by other means than a fill; `kind` is transfer, dividend, interest, fee or other."""

    move_id: str
    kind: str
    day: date
    usd: Decimal
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CorporateChange:
    """Something that changes a holding before the open: `kind` is split, merger, delisting or symbol_change.

    `ratio` is new shares for each old one of a split; `symbol_after` the new name of a renamed one.
    """

    symbol: str
    kind: str
    effective: date
    ratio: Decimal | None = None
    symbol_after: str | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One record of the ledger: it never changes; states are folds over these."""

    sequence: int
    stream: str
    entity: str
    kind: str
    at_ns: int
    payload: dict[str, Any]


class BarSource(Protocol):
    """Where the panel comes from."""

    def panel(self) -> Panel:
        """Return every bar in the store."""
        ...


class Ledger(Protocol):
    """Durable append-only events; an append with a key already used is the same event and has no effect."""

    def append(self, stream: str, entity: str, kind: str, payload: dict[str, Any], *, key: str) -> bool:
        """Append one event durably; False when the key was used before."""
        ...

    def events(self, stream: str, *, entity: str | None = None, after: int = 0) -> list[Event]:
        """Return the events of a stream with a sequence above `after`, oldest first."""
        ...

    def exclusive(self) -> AbstractContextManager[None]:
        """Make everything inside one transaction: all of it is kept or nothing."""
        ...


class AuditLog(Protocol):
    """The hash-chained record of every decision and order."""

    def append(self, kind: str, payload: dict[str, Any]) -> str:
        """Append one record durably and return its hash."""
        ...

    def append_many(self, records: Sequence[tuple[str, dict[str, Any]]]) -> list[str]:
        """Append records of (kind, payload) together, durable together, and return their hashes."""
        ...


class Artifacts(Protocol):
    """Files that appear whole or not at all."""

    def write(self, path: Path, content: bytes, *, wait: bool = True) -> str:
        """Write a file by rename and return the SHA-256 of its content; `wait` until it is on the disk."""
        ...

    def sweep(self, folder: Path) -> list[Path]:
        """Remove what killed writers left below a folder, and return it."""
        ...


class Signer(Protocol):
    """A key of this home: what it signed, nobody else can have changed."""

    def sign(self, content: bytes) -> str:
        """Return the signature of some bytes in hex."""
        ...

    def verify(self, content: bytes, signature: str) -> bool:
        """Say whether these bytes were signed with this home's key."""
        ...


class KillSwitch(Protocol):
    """The file that stops every order."""

    def reason(self) -> str | None:
        """Return why orders are blocked, or None; an unreadable switch is a reason."""
        ...

    def blocks(self, *, closing: bool) -> str | None:
        """Return why an order is blocked now, or None; an operator may let closing ones through."""
        ...


class QuoteSource(Protocol):
    """Current quotes; symbols without one are absent from the answer."""

    def quotes(self, symbols: Sequence[str]) -> dict[str, Quote]:
        """Ask for many symbols in one call."""
        ...


class Broker(Protocol):
    """What kobe needs of a broker. The client order id is the identity of an order.

    Every call may raise ExternalError: nothing was heard, which never means that nothing was done. A reply that
    cannot be believed (another symbol, a negative quantity, no number) is such an error too.
    """

    name: str
    environment: str
    """sim, paper or live."""

    def keys_fault(self) -> str:
        """Return why keys and address do not belong together; empty when they do."""
        ...

    def submit(self, request: OrderRequest) -> BrokerOrder:
        """Send an order; a client order id seen before returns the order that has it."""
        ...

    def replace(self, client_order_id: str, request: OrderRequest) -> BrokerOrder:
        """Put a resting order in the place of another, which ends as REPLACED; returns the new one."""
        ...

    def lookup(self, client_order_id: str) -> BrokerOrder | None:
        """Return an order by its client order id, or None when the broker never saw it."""
        ...

    def cancel(self, client_order_id: str) -> BrokerOrder | None:
        """Ask to cancel what is open of an order and return where it stands; None when the broker never saw it.

        An order that cannot be cancelled any more is returned as it is. The cancel may still be on its way.
        """
        ...

    def orders(self, since: date | None = None) -> Iterable[BrokerOrder]:
        """Return every order of the account, or those placed from a New York date on and those still open."""
        ...

    def account(self) -> Account:
        """Return cash, equity and positions."""
        ...

    def now(self) -> datetime:
        """Return the instant by the broker's clock."""
        ...

    def asset(self, symbol: str) -> Asset | None:
        """Return what may be done with a symbol, None when the broker does not know it."""
        ...

    def sessions(self, first: date, last: date) -> dict[date, tuple[datetime, datetime]]:
        """Return open and close of each session of a span by the broker's calendar."""
        ...

    def cash_moves(self, since: date) -> tuple[CashMove, ...]:
        """Return what came and went by other means than fills, from a New York date on, oldest first."""
        ...

    def corporate_changes(self, symbols: Sequence[str], session: date) -> tuple[CorporateChange, ...]:
        """Return what changes these holdings at the open of a session."""
        ...


Progress = Callable[[int, int, str], None]
"""Called as (done, total, label) by long work; the terminal draws it, jobs ignore it."""

Arrays = Mapping[str, npt.NDArray[Any]]
"""The shared arrays of a task by name; read-only."""
TaskT = TypeVar("TaskT")
ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """A bulky array by its content: what travels to a worker instead of the array.

    Attributes:
        digest: BLAKE2b of the array as an .npy file, 64 hex digits.
        shape: of the array.
        dtype: numpy's name, such as `<f8`.
    """

    digest: str
    shape: tuple[int, ...]
    dtype: str

    def __post_init__(self) -> None:
        """Refuse a digest that could be anything else, such as a path."""
        if not _DIGEST.fullmatch(self.digest):
            raise KobeError("a shared array is named by its digest", seen=repr(self.digest), expected=_DIGEST.pattern)


class Compute(Protocol):
    """Does one function over many tasks, here or elsewhere, with the same digits everywhere.

    The function is a plain function of an importable module and takes a task and the shared arrays. It may not depend
    on anything else, nor on how many cores there are; it may be run again when its worker dies. Tasks and results
    are picklable; tasks are small.
    """

    name: str

    def share(self, arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, Shared]:
        """Put arrays where workers find them by digest; one that is there already costs a digest."""
        ...

    def map(
        self,
        function: Callable[[TaskT, Arrays], ResultT],
        tasks: Sequence[TaskT],
        *,
        shared: Mapping[str, Shared] | None = None,
        progress: Progress | None = None,
    ) -> list[ResultT]:
        """Return the function's results in the order of the tasks.

        Args:
            function: takes (task, shared arrays by name).
            tasks: any number.
            shared: name -> what `share` returned.
            progress: called after each task with (done, total, the function's name).

        Raises:
            Exception: what the function raised for the first of the tasks it failed on.
            ExternalError: workers are out of reach, or one task killed three of them.
        """
        ...

    def close(self) -> None:
        """End the workers this has started; it may be used again afterwards."""
        ...
