"""How the simulated broker behaves, and the luck that belongs to a name."""

import hashlib
from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class SimTerms:
    """Shares are of all orders, decided by a hash of the order's name.

    Attributes:
        cash_usd: the account starts with it.
        no_fill_share: immediate-or-cancel orders that find nothing.
        partial_share: those that fill in part.
        reject_share: orders rejected with a real broker's codes, besides those that deserve it.
        delay_s: seconds until what happened to an order is told, half as many to half as many more; 0 tells at once.
        halt_share: symbols halted for a part of a session, by symbol and session.
    """

    cash_usd: Decimal = Decimal(10_000)
    no_fill_share: float = 0.03
    partial_share: float = 0.07
    reject_share: float = 0.0
    delay_s: float = 0.0
    halt_share: float = 0.0


def luck(name: str) -> float:
    """Return a number in [0, 1) that belongs to a name, so that a rerun meets the same luck."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2**64
