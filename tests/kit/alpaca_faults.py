"""What can go wrong between a client and the made-up Alpaca, and how a good answer is damaged."""

import json
from decimal import Decimal
from typing import Any

from kit.alpaca_books import Json

BEFORE = {"lost_before", "hang_before", "429", "500", "504", "502_html", "401"}  # by default nothing is done
AFTER = {"lost_after", "hang", "duplicate_422", "partial_then_canceled"}  # by default everything is done
DAMAGES = {
    "unknown_status", "missing_fields", "string_numbers", "garbage_number", "nan", "negative_qty", "other_symbol",
    "other_account", "wrong_client_order_id", "overfill", "shrinking_fill", "big_body", "empty_body",
    "truncated_json", "cut_body", "array_instead",
}  # fmt: skip
FAULTS = BEFORE | AFTER | DAMAGES
_NUMBERS = {"qty", "filled_qty", "filled_avg_price", "limit_price", "stop_price", "avg_entry_price", "cash", "equity",
            "buying_power", "last_equity", "market_value", "price", "cum_qty", "ap", "bp", "p"}  # fmt: skip
_GONE = {"id", "client_order_id", "status", "filled_qty", "symbol", "qty", "cash", "equity", "is_open", "bp", "ap"}


def rule(
    method: str, path: str, fault: str, *, times: int = 1, contains: str = "", after: int = 0,
    seconds: float | None = None, done: bool | None = None,
) -> Json:  # fmt: skip
    """Return a fault rule, checked."""
    if fault not in FAULTS:
        raise ValueError(f"unknown fault {fault}; known are {sorted(FAULTS)}")
    return {"method": method, "path": path, "fault": fault, "times": times, "contains": contains, "after": after,
            "seconds": seconds, "done": fault not in BEFORE if done is None else done}  # fmt: skip


def take(rules: list[Json], method: str, path: str, body: str) -> Json | None:
    """Return the first rule that meets a request, and use it up; `after` lets that many matching requests pass."""
    for known in rules:
        meets = known["method"] in {"*", method} and path.startswith(known["path"]) and known["contains"] in body
        if not meets or known["times"] == 0:
            continue
        if known["after"] > 0:
            known["after"] -= 1
            continue
        known["times"] -= 1  # below zero it never ends
        return known
    return None


def damaged(fault: str, told: Any) -> bytes:
    """Return the bytes of an answer with its damage."""
    if fault == "empty_body":
        return b""
    if fault == "array_instead":
        return json.dumps([told] if isinstance(told, dict) else {"items": told}).encode()
    content = b"" if told is None else json.dumps(_changed(fault, told)).encode()
    if fault == "truncated_json":
        return content[: len(content) // 2]
    if fault == "big_body":
        return b" " * 10_000_000 + content
    return content


def _changed(fault: str, told: Any) -> Any:
    if isinstance(told, list):
        return [_changed(fault, item) for item in told]
    if not isinstance(told, dict):
        return told
    changed = {k: _changed(fault, v) if isinstance(v, (dict, list)) else v for k, v in told.items()}
    change = _CHANGES.get(fault)
    return changed if change is None else change(changed)


def _each_number(told: Json, change: Any) -> Json:
    return {k: change(v) if k in _NUMBERS and v is not None else v for k, v in told.items()}


def _odd(value: Any) -> str:
    """The same number, oddly written."""
    return f"{float(value):.9f}" if value not in {"", "NaN"} else value


def _with(told: Json, **values: Any) -> Json:
    return {**told, **{k: v for k, v in values.items() if k in told}}


def _plus(told: Json, name: str, by: int) -> str:
    return str(max(Decimal(str(told.get(name) or 0)) + by, Decimal(0)))


_CHANGES = {
    "unknown_status": lambda told: _with(told, status="zombie"),
    "missing_fields": lambda told: {k: v for k, v in told.items() if k not in _GONE},
    "string_numbers": lambda told: _each_number(told, _odd),
    "garbage_number": lambda told: _each_number(told, lambda _: "abc"),
    "nan": lambda told: _each_number(told, lambda v: "NaN" if isinstance(v, str) else float("nan")),
    "negative_qty": lambda told: {
        k: f"-{v}" if k in {"qty", "filled_qty"} and v is not None else v for k, v in told.items()
    },
    "other_symbol": lambda told: _with(told, symbol="ZZZZ", S="ZZZZ"),
    "other_account": lambda told: (
        _with(told, account_number="PA3SOMEBODY1", id="00000000-0000-4000-8000-00000000dead")
        if "account_number" in told
        else told
    ),
    "wrong_client_order_id": lambda told: _with(told, client_order_id=f"{told.get('client_order_id')}-other"),
    "overfill": lambda told: _with(told, filled_qty=_plus(told, "qty", 1), status="filled"),
    "shrinking_fill": lambda told: _with(told, filled_qty=_plus(told, "filled_qty", -1)),
}
