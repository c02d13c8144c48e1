"""`kobe prohibit`: the list of symbols nobody may open, with reasons, ends and who put them there."""

import re
from typing import Any

from kobe.app.context import Context
from kobe.core.clock import NEW_YORK, from_ns
from kobe.core.errors import ExitCode, UsageError
from kobe.reports.document import Document, Section, Table
from kobe.risk import prohibited
from kobe.risk.prohibited import ADD, KINDS, REMOVE, STREAM, Prohibition

OPERATOR = "operator"


def active(ctx: Context, symbol: str) -> tuple[str, ...] | None:
    """Return the reasons in force for a symbol now; empty when there are none, None when an entry cannot be read."""
    return prohibited.active(prohibited.fold(ctx.ledger.events(STREAM)), symbol, ctx.clock.now())


def run_prohibit_add(
    ctx: Context,
    symbol: str,
    kind: str,
    reason: str,
    until: str | None = None,
    *,
    source: str = OPERATOR,
    dry_run: bool = False,
) -> Document:
    """Put a symbol on the list from now on; the same entry again changes nothing.

    Args:
        ctx: context.
        symbol: any case.
        kind: one of `prohibited.KINDS`.
        reason: why.
        until: a date or instant in New York that is not part of it any more; None: until removed.
        source: who put it there.
        dry_run: change nothing.

    Raises:
        UsageError: one of these makes no sense.
    """
    name, ends = _symbol(symbol), _until(ctx, until)
    if kind not in KINDS:
        raise UsageError("no such kind of prohibition", seen=kind, expected=", ".join(KINDS))
    text = _reason(reason)
    if _same(ctx, name, kind, text, ends):
        return _changed(f"{name} is on the list for that already: nothing to do", name, dry_run=dry_run)
    payload: dict[str, Any] = {
        "symbol": name, "kind": kind, "reason": text, "from": ctx.clock.now().isoformat(), "until": ends,
        "source": source,
    }  # fmt: skip
    if not dry_run:
        _append(ctx, name, ADD, payload)
    end = f"until {ends}" if ends else "until removed"
    return _changed(f"{'would put' if dry_run else 'Put'} {name} on the list {end}: {kind}, {text}", name,
                    dry_run=dry_run)  # fmt: skip


def run_prohibit_remove(ctx: Context, symbol: str, reason: str, *, dry_run: bool = False) -> Document:
    """Take a symbol off the list with all its entries, unreadable ones included.

    Raises:
        UsageError: no reason was given, or it is no symbol.
    """
    name, text = _symbol(symbol), _reason(reason)
    if active(ctx, name) == ():
        return _changed(f"{name} is not on the list: nothing to do", name, dry_run=dry_run)
    if not dry_run:
        _append(ctx, name, REMOVE, {"symbol": name, "reason": text, "source": OPERATOR})
    return _changed(f"{'would take' if dry_run else 'Took'} {name} off the list: {text}", name, dry_run=dry_run)


def run_prohibit_list(ctx: Context, *, all_entries: bool = False) -> Document:
    """Show what is in force now, or with `all_entries` every entry and removal there ever was."""
    events, now = ctx.ledger.events(STREAM), ctx.clock.now()
    listed = prohibited.fold(events)
    unreadable = sorted(symbol for symbol, entries in listed.items() if entries is None)
    entries = [e for symbol in sorted(listed) for e in listed[symbol] or () if e.holds(now)]
    rows = tuple(_row(e) for e in entries)
    if all_entries:
        rows = tuple(
            _row(entry) if (entry := prohibited.read(e)) is not None
            else (e.entity, "removed" if e.kind == REMOVE else "unreadable", str(e.payload.get("reason", "")),
                  f"{from_ns(e.at_ns).astimezone(NEW_YORK):%Y-%m-%d %H:%M}", "", str(e.payload.get("source", "")))
            for e in events
        )  # fmt: skip
    columns = ("symbol", "kind", "reason", "from (ET)", "until (ET)", "by")
    told = [f"an entry of {symbol} cannot be read: nothing opens in it until it is removed" for symbol in unreadable]
    return Document(
        schema="kobe.prohibited/1",
        title="Prohibited symbols",
        summary=(f"{len(entries)} entries in force" if entries else "nothing is prohibited",),
        banners=tuple(told),
        sections=(Section(title="", table=Table(columns=columns, rows=rows)),) if rows else (),
        data={"in_force": [_entry(e) for e in entries], "unreadable": unreadable},
        exit_code=ExitCode.INTEGRITY if unreadable else ExitCode.OK,
    )


def _symbol(given: str) -> str:
    from kobe.core.types import SYMBOL_PATTERN

    name = given.strip().upper()
    if not re.fullmatch(SYMBOL_PATTERN, name):
        raise UsageError("not a symbol", seen=given, expected="such as AAPL or BRK.B")
    return name


def _reason(given: str) -> str:
    text = " ".join(given.split())
    if not text:
        raise UsageError("the list needs a reason", expected="--reason WHY")
    return text


def _until(ctx: Context, given: str | None) -> str | None:
    if given is None:
        return None
    try:
        end = prohibited.instant(given)
    except ValueError as error:
        raise UsageError("--until is no date and no instant", seen=given, expected="such as 2020-03-09") from error
    if end <= ctx.clock.now():
        raise UsageError("--until is over already", seen=given, expected=f"after {ctx.clock.now().isoformat()}")
    return given


def _same(ctx: Context, symbol: str, kind: str, reason: str, until: str | None) -> bool:
    entries = prohibited.fold(ctx.ledger.events(STREAM)).get(symbol) or ()
    end = None if until is None else prohibited.instant(until)
    now = ctx.clock.now()
    return any((e.kind, e.reason, e.until) == (kind, reason, end) and e.holds(now) for e in entries)


def _append(ctx: Context, symbol: str, kind: str, payload: dict[str, Any]) -> None:
    with ctx.ledger.exclusive():
        count = len(ctx.ledger.events(STREAM, entity=symbol))
        ctx.ledger.append(STREAM, symbol, kind, payload, key=f"{symbol}:{count + 1}")
    ctx.audit.append("prohibited", {"what": kind, **payload})


def _changed(message: str, symbol: str, *, dry_run: bool) -> Document:
    return Document(
        schema="kobe.prohibit/1", title="Prohibited symbols", summary=(message,),
        data={"symbol": symbol, "message": message, "dry_run": dry_run},
    )  # fmt: skip


def _row(e: Prohibition) -> tuple[str, ...]:
    since = f"{e.since.astimezone(NEW_YORK):%Y-%m-%d %H:%M}"
    until = "removed" if e.until is None else f"{e.until.astimezone(NEW_YORK):%Y-%m-%d %H:%M}"
    return e.symbol, e.kind, e.reason, since, until, e.source


def _entry(e: Prohibition) -> dict[str, str | None]:
    return {
        "symbol": e.symbol, "kind": e.kind, "reason": e.reason, "from": e.since.isoformat(),
        "until": None if e.until is None else e.until.isoformat(), "source": e.source,
    }  # fmt: skip
