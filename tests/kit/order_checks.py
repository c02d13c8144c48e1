"""What must hold after every trial of the order path: the books of the made-up broker against kobe's records."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

from kobe.core.types import OrderStatus
from kobe.execution import order
from kobe.infra.clock import SystemClock
from kobe.infra.records.ledger import SqlLedger

D = Decimal
Json = dict[str, Any]
ORDERS = "/v2/orders"
RESTING = {"gtc_stop", "gtc_oco"}


def on_record(home: Path) -> set[str]:
    """Return the names of the orders that a ledger knows, read as another process would."""
    path = home / "state" / "kobe.db"
    if not path.is_file():
        return set()
    ledger = SqlLedger(path, SystemClock(), read_only=True)
    try:
        return {e.entity for e in ledger.events(order.STREAM) if e.kind == "intent"}
    finally:
        ledger.close()


def without_intent(names: Iterable[str], known: set[str]) -> list[str]:
    """Name the orders of the broker that the ledger does not know."""
    return [f"no intent of {name}" for name in names if name not in known]


def ours(told: Json) -> list[Json]:
    """Return the orders at the broker that kobe sent; legs are left out."""
    return [o for o in told["orders"] if o["parent"] is None]


def filled(told: Json, row: Json) -> int:
    """Return the shares of an order that changed hands, its legs included."""
    legs = [o for o in told["orders"] if o["parent"] == row["id"]]
    return sum(int(D(o["filled_qty"])) for o in (row, *legs))


def faults(told: Json, look: Json, budget_usd: Decimal) -> list[str]:
    """Return everything that is wrong with the end of a trial, whatever the trial was."""
    known = {o["client_order_id"]: o for o in look["orders"]}
    return [
        *without_intent((o["client_order_id"] for o in ours(told)), set(known)), *_sent_twice(told),
        *_openings(told, known), *_differing(told, known), *_shares(told, look), *_shorts(told), *_oversold(told),
        *_over_budget(told, budget_usd), *_unsettled(told, known), *_records(look),
    ]  # fmt: skip


def blocked_sends(told: Json, since: int) -> list[str]:
    """Name what was sent although the kill switch was there from request number `since` on."""
    sent = [r for r in told["requests"] if r["n"] >= since and r["method"] in ("POST", "PATCH")]
    return [f"{r['method']} {r['path']} under the kill switch" for r in sent]


def _sent_twice(told: Json) -> Iterator[str]:
    rows = [r for r in told["requests"] if r["method"] in ("POST", "PATCH") and r["accepted"]]
    names = Counter(json.loads(r["body"])["client_order_id"] for r in rows)
    yield from (f"{name} was accepted {n} times" for name, n in names.items() if n > 1)


def _openings(told: Json, known: dict[str, Json]) -> Iterator[str]:
    """At most one opening of a signal acts or acted; a second attempt only after a first that ended empty."""
    by_signal: dict[str, list[Json]] = defaultdict(list)
    for row in ours(told):
        mine = known.get(row["client_order_id"])
        if mine is not None and mine["effect"] == "open":
            by_signal[mine["signal_id"]].append(row)
    for signal, rows in by_signal.items():
        acting = [r["client_order_id"] for r in rows if r["open"] or filled(told, r)]
        if len(acting) > 1:
            yield f"{signal} was opened by {acting}"
        for before, after in pairwise(rows):
            if before["open"] or filled(told, before) or before["updated_at"] > after["created_at"]:
                yield f"{after['client_order_id']} came before {before['client_order_id']} had ended empty"


def _differing(told: Json, known: dict[str, Json]) -> Iterator[str]:
    for row in ours(told):
        mine = known.get(row["client_order_id"])
        if mine is None:
            continue
        side = "buy" if mine["effect"] == "open" else "sell"
        if (row["symbol"], int(D(row["qty"] or 0)), row["side"]) != (mine["symbol"], mine["quantity"], side) and not (
            row["order_class"] == "oco" and filled(told, row)  # the rest of a group shrinks with its fills
        ):
            yield f"{row['client_order_id']} is {row['side']} {row['qty']} {row['symbol']} at the broker"
        if filled(told, row) != mine["filled"]:
            yield f"{row['client_order_id']}: {filled(told, row)} filled at the broker, {mine['filled']} here"
    missing = [n for n, o in known.items() if o["filled"] and n not in {r["client_order_id"] for r in ours(told)}]
    yield from (f"{name} is filled here and not at the broker" for name in missing)


def _shares(told: Json, look: Json) -> Iterator[str]:
    held: Counter[str] = Counter()
    for symbol, quantity in look["positions"].values():
        held[symbol] += quantity
    theirs = {s: int(D(n)) for s, n in told["positions"].items() if D(n)}
    if theirs != dict(held):
        yield f"the broker holds {theirs}, the book {dict(held)}"


def _shorts(told: Json) -> Iterator[str]:
    held: Counter[str] = Counter()
    for fill in told["fills"]:
        held[fill["symbol"]] += int(D(fill["qty"])) * (1 if fill["side"] == "buy" else -1)
        if held[fill["symbol"]] < 0:
            yield f"{fill['symbol']} was sold short by {fill['order_id']}"


def _oversold(told: Json) -> Iterator[str]:
    """Open sells together never reach beyond what is held."""
    waiting: Counter[str] = Counter()
    for row in ours(told):
        if row["open"] and row["side"] == "sell":
            waiting[row["symbol"]] += int(D(row["qty"])) - int(D(row["filled_qty"]))
    for symbol, shares in waiting.items():
        if shares > int(D(told["positions"].get(symbol, 0))):
            yield f"open sells of {shares} {symbol} against {told['positions'].get(symbol, 0)} held"


def opened_usd(told: Json) -> Decimal:
    """Return what openings cost and may still cost at the broker."""
    total = D(0)
    for row in ours(told):
        if row["side"] == "buy":
            total += D(row["filled_qty"]) * D(row["filled_avg_price"] or 0)
            total += (D(row["qty"]) - D(row["filled_qty"])) * D(row["limit_price"]) if row["open"] else D(0)
    return total


def _over_budget(told: Json, budget_usd: Decimal) -> Iterator[str]:
    if opened_usd(told) > budget_usd:
        yield f"openings of {opened_usd(told)} exceed the day's {budget_usd}"


def _unsettled(told: Json, known: dict[str, Json]) -> Iterator[str]:
    """Nothing stays without an end but what rests at the broker."""
    live = {r["client_order_id"] for r in ours(told) if r["open"]}
    for name, mine in known.items():
        if not mine["final"] and (name not in live or mine["order_type"] not in RESTING):
            yield f"{name} is still {mine['status']}: {mine['detail']}"
        if mine["final"] and name in live:
            yield f"{name} is {mine['status']} here and open at the broker"
        if mine["status"] == OrderStatus.ABANDONED.word and name in {r["client_order_id"] for r in ours(told)}:
            yield f"{name} is abandoned here and known at the broker"


def _records(look: Json) -> Iterator[str]:
    if look["chain"][0]:
        yield f"the audit chain: {look['chain']}"
    if look["reconcile"][0]:
        yield f"reconcile: {look['reconcile']}, {look['differences']}"
