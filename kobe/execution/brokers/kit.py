"""What a broker is made of, so that every line of the table is made the same way."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from kobe.core.clock import Clock
from kobe.core.ports import Broker, Ledger, QuoteSource
from kobe.core.types import OrderRequest
from kobe.execution.brokers.sim_market import SimMarket
from kobe.execution.brokers.terms import SimTerms


class TradingDoor(Broker, QuoteSource, Protocol):
    """A broker that also quotes."""


@dataclass(frozen=True, kw_only=True)
class Keys:
    """A pair of keys; never shown."""

    key_id: str = field(default="", repr=False)
    secret: str = field(default="", repr=False)


@dataclass(frozen=True, kw_only=True)
class BrokerKit:
    """Parts for a broker; each takes those it needs.

    Attributes:
        clock: the present.
        wait: lets some seconds pass; a stepping clock is moved.
        mode: sim, paper or live.
        books, market, terms: of the simulated broker.
        keys: of a real one.
        base_url, data_url: addresses in place of the broker's own; empty for its own.
        feed: whose quotes, iex or sip.
        timeouts: seconds to connect and to read.
        take_token: waits until the request budget, shared by all processes, lets one more request go.
        blocks: the kill switch; asked after the token and right before what opens or changes an order.
    """

    clock: Clock
    wait: Callable[[float], None]
    mode: str
    books: Ledger
    market: SimMarket
    terms: SimTerms
    keys: Keys
    base_url: str
    data_url: str
    feed: str
    timeouts: tuple[float, float]
    take_token: Callable[[], None]
    blocks: Callable[[OrderRequest], str | None]
