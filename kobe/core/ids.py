"""Deterministic names and digests: the same thing has the same name in every run."""

import hashlib
import json
from collections.abc import Iterable
from datetime import date
from typing import Any

CLIENT_ORDER_ID_MAX = 128


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces; NaN is refused, so equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def digest(value: Any) -> str:
    """SHA-256 of the canonical JSON of a value, as 64 hex digits."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def short_digest(value: Any) -> str:
    """First 16 hex digits of `digest`: enough to tell runs apart, short enough to read."""
    return digest(value)[:16]


def combined_digest(parts: Iterable[str]) -> str:
    """One digest over several, in order."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def signal_id(strategy: str, symbol: str, side: str, signal_date: date, params_hash: str) -> str:
    """Name of a signal (DOMAIN 1.6); it seeds deduplication and the client order id."""
    text = f"{strategy}|{symbol}|{side}|{signal_date.isoformat()}|{params_hash}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def client_order_id(  # the six facts that make an order what it is (DOMAIN 4.3)
    *, strategy: str, symbol: str, signal_date: date, side: str, effect: str, attempt: int
) -> str:
    """Name of an order at the broker: deterministic, so that a repeat is recognised as the same order.

    Raises:
        ValueError: the name would be longer than brokers accept, or the attempt is not positive.
    """
    name = f"kobe-{strategy}-{symbol}-{signal_date.isoformat()}-{side}-{effect}-{attempt}"
    if attempt < 1 or len(name) > CLIENT_ORDER_ID_MAX:
        msg = f"no valid client order id: {name!r}"
        raise ValueError(msg)
    return name
