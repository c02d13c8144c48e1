"""The doors to the outside, as protocols: what a room may ask for without knowing who answers."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy.typing as npt

from kobe.core.clock import Clock
from kobe.core.errors import KobeError
from kobe.core.panel import Panel
from kobe.core.types import Fill, OrderRequest, OrderStatus

__all__ = [
    "Account", "Artifacts", "AuditLog", "BarSource", "Broker", "BrokerOrder", "Clock", "Compute", "Event", "KillSwitch",
    "Ledger", "Quote", "QuoteSource", "Shared", "Signer",
]  # fmt: skip

_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """Best bid and ask with sizes in shares, raw dollars, and the feed they came from."""

    symbol: str
    bid: Decimal
    ask: Decimal
    bid_size: int
    ask_size: int
    at: datetime
    feed: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerOrder:
    """An order as the broker tells it."""

    client_order_id: str
    request: OrderRequest
    status: OrderStatus
    fills: tuple[Fill, ...]
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Cash and standing of the account, raw dollars; `positions` are signed shares by symbol."""

    cash_usd: Decimal
    equity_usd: Decimal
    blocked: bool
    positions: dict[str, int]


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

    def events(self, stream: str, *, entity: str | None = None) -> list[Event]:
        """Return the events of a stream, oldest first."""
        ...

    def exclusive(self) -> AbstractContextManager[None]:
        """Make everything inside one transaction: all of it is kept or nothing."""
        ...


class AuditLog(Protocol):
    """The hash-chained record of every decision and order."""

    def append(self, kind: str, payload: dict[str, Any]) -> str:
        """Append one record durably and return its hash."""
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


class QuoteSource(Protocol):
    """Current quotes; symbols without one are absent from the answer."""

    def quotes(self, symbols: Sequence[str]) -> dict[str, Quote]:
        """Ask for many symbols in one call."""
        ...


class Broker(Protocol):
    """What kobe needs of a broker. The client order id is the identity of an order."""

    name: str

    def submit(self, request: OrderRequest) -> BrokerOrder:
        """Send an order; a client order id seen before returns the order that has it."""
        ...

    def lookup(self, client_order_id: str) -> BrokerOrder | None:
        """Return an order by its client order id, or None when the broker never saw it."""
        ...

    def cancel(self, client_order_id: str) -> BrokerOrder | None:
        """Cancel what is still open of an order and return where it stands."""
        ...

    def account(self) -> Account:
        """Return cash, equity and positions."""
        ...

    def orders(self) -> Iterable[BrokerOrder]:
        """Return every order of the account."""
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
