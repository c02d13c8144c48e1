"""`kobe data fetch` and `kobe data probe`: bars from the providers, into the store."""

import os
import random
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from kobe.app import import_bars
from kobe.app.context import Context
from kobe.app.settings import dotenv
from kobe.core.errors import ExitCode, UsageError
from kobe.core.ids import short_digest
from kobe.data import fetch, ingest, universe
from kobe.data.delivery import Provider
from kobe.data.manifest import Provenance
from kobe.data.providers import PROVIDERS
from kobe.data.providers.kit import ProviderKit
from kobe.infra.locks import Lease
from kobe.reports.document import Document, Section, Table

SECRETS = (
    "POLYGON_API_KEY", "MASSIVE_API_KEY", "APCA_API_KEY_ID", "APCA_API_SECRET_KEY", "ALPACA_API_KEY",
    "ALPACA_SECRET_KEY",
)  # fmt: skip
SHOWN = 30


@dataclass(frozen=True, kw_only=True)
class FetchRequest:
    """What to fetch.

    Attributes:
        symbols: tickers; empty: all of the store, or of the named universe.
        providers: names in the order they are asked; empty: those of the settings.
        first: first session of symbols that are new to the store.
        last: last session; None: the newest complete one.
        universe: whose members to fetch.
        full: ask for the whole history again.
    """

    symbols: tuple[str, ...] = ()
    providers: tuple[str, ...] = ()
    first: date = date(2010, 1, 4)
    last: date | None = None
    universe: str | None = None
    full: bool = False
    dry_run: bool = False


def providers(ctx: Context, names: Sequence[str]) -> list[Provider]:
    """Make the named providers.

    Raises:
        UsageError: a name is not in the table.
    """
    unknown = [n for n in names if n not in PROVIDERS]
    if unknown or not names:
        raise UsageError("unknown provider", seen=", ".join(unknown) or "none", expected=", ".join(PROVIDERS))
    variables = {**dotenv(ctx.paths.home / ".env"), **os.environ}
    kit = ProviderKit(
        clock=ctx.clock, sleep=time.sleep, rng=random.Random(ctx.run_id),  # noqa: S311 - jitter
        limits=ctx.paths.state / "limits",
        cache=ctx.paths.home / "data" / "provider_cache", feed=ctx.settings.data.alpaca_feed,
        secrets={name: variables[name] for name in SECRETS if variables.get(name)},
        base_urls=ctx.settings.data.base_urls,
    )  # fmt: skip
    return [PROVIDERS[name](kit) for name in names]


def run_fetch(ctx: Context, request: FetchRequest) -> Document:
    """Ask the providers for what is missing and bring it into the store.

    Raises:
        UsageError: nothing to fetch, or the store holds prices of another adjustment.
    """
    symbols = _symbols(ctx, request)
    held = ctx.store.held()
    adjustment = held.provenance.adjustment if held else ctx.settings.data.adjustment
    newest = ctx.calendar.last_complete(ctx.clock.now())
    last = ctx.calendar.previous_or_same(min(request.last or newest, newest))
    first = next(iter(ctx.calendar.between(request.first, last)), last)
    wanted, fresh = fetch.wishes(symbols, ctx.store, ctx.calendar, first, last, full=request.full)
    names = request.providers or ctx.settings.data.providers
    if request.dry_run:
        return _planned(wanted, fresh, names, adjustment)
    key = short_digest([sorted(symbols), str(first), adjustment, list(names), request.full])
    folder = ctx.paths.incoming / key
    with Lease(ctx.paths.locks, "fetch", ctx.clock).acquire(timeout_s=1.0):
        fetcher = fetch.Fetcher(
            providers=_able(providers(ctx, names), adjustment), adjustment=adjustment,
            feed=held.provenance.feed if held else None, folder=folder, calendar=ctx.calendar,
            artifacts=ctx.artifacts, store=ctx.store, progress=ctx.progress,
        )  # fmt: skip
        done = fetcher.run(wanted)
        shipments = [
            _ship(ctx, source, feed, group, adjustment)
            for (source, feed), group in fetch.by_origin(done.got.values()).items()
        ]
        shutil.rmtree(folder, ignore_errors=True)  # everything staged is in the store now
    ctx.store.leave_mapped(sum(shipped.kept for shipped in shipments))
    return _told(done, shipments, fresh, last)


def _symbols(ctx: Context, request: FetchRequest) -> list[str]:
    if request.symbols:
        return sorted({s.upper() for s in request.symbols})
    if request.universe:
        return sorted(
            set(universe.read(ctx.paths.universe, request.universe).membership.get_column("symbol").to_list())
        )
    held = ctx.store.held()
    if held is None:
        raise UsageError(
            "nothing to fetch", seen="no symbols, and the store is empty", expected="tickers, or --universe NAME",
            next_command="kobe data fetch SPY AAPL MSFT",
        )  # fmt: skip
    return list(held.symbols)


def _able(found: list[Provider], adjustment: str) -> list[Provider]:
    able = [p for p in found if adjustment in p.adjustments]
    if not able:
        raise UsageError(
            f"no provider asked can deliver {adjustment} prices",
            seen=", ".join(f"{p.name}: {'/'.join(p.adjustments)}" for p in found),
            expected="the adjustment of the store (kobe data status) or of data.adjustment",
        )
    return able


def _ship(ctx: Context, source: str, feed: str, group: list[fetch.Got], adjustment: str) -> ingest.Ingested:
    bars, events = fetch.joined(group)
    held = ctx.store.held()
    meaning = Provenance(
        source=source, feed=feed, adjustment=adjustment,
        universe=held.provenance.universe if held else universe.STATIC,
    )  # fmt: skip
    shipment = ingest.Shipment(
        bars=bars, events=events, provenance=meaning,
        fetched_at=max(g.delivery.fetched_at for g in group).isoformat(timespec="seconds"),
        rebased=frozenset(g.delivery.symbol for g in group if g.rebased),
    )  # fmt: skip
    rules = import_bars.scope(ctx, adjustment)
    with Lease(ctx.paths.locks, "bars", ctx.clock).acquire(timeout_s=30.0):
        done = ingest.ingest(shipment, ctx.store, ctx.artifacts, ctx.paths.quarantine, rules, replace=False)
        audited = {"source": source, "feed": feed, "symbols": len(group), "kept": done.kept, "aside": done.aside}
        ctx.audit.append("data_fetch", {**audited, "holds": len(done.new_holds), "store": done.manifest.digest})
    return done


def _planned(wanted: list[fetch.Wish], fresh: list[str], names: Sequence[str], adjustment: str) -> Document:
    rows = tuple((w.symbol, str(w.first), str(w.last), "update" if w.held_from else "whole") for w in wanted[:SHOWN])
    return Document(
        schema="kobe.data_fetch_plan/1",
        title="Would fetch; nothing was asked (--dry-run)",
        summary=(f"{len(wanted):,} symbols from {', '.join(names)}, {adjustment}; {len(fresh):,} are up to date.",),
        sections=(Section(title="", table=Table(columns=("symbol", "from", "to", "what"), rows=rows)),),
        data={"symbols": [w.symbol for w in wanted], "up_to_date": fresh, "providers": list(names),
              "adjustment": adjustment},
    )  # fmt: skip


def _told(done: fetch.Fetched, shipped: list[ingest.Ingested], fresh: list[str], last: date) -> Document:
    by: dict[str, int] = {}
    for got in done.got.values():
        by[got.delivery.source] = by.get(got.delivery.source, 0) + 1
    gaps = [
        (s, len(g.missing), str(g.missing[0]), str(g.missing[-1])) for s, g in sorted(done.got.items()) if g.missing
    ]
    failed = [(s, p, why) for s, reasons in sorted(done.failed.items()) for p, why in reasons.items()]
    fallback = [(s, g.delivery.source, p, why) for s, g in sorted(done.got.items()) for p, why in g.refused.items()]
    holds = sum(len(i.new_holds) for i in shipped)
    sources = ", ".join(f"{n:,} from {source}" for source, n in sorted(by.items())) or "none"
    kept, aside = sum(i.kept for i in shipped), sum(i.aside for i in shipped)
    summary = [f"{len(done.got):,} symbols delivered ({sources}), {len(fresh):,} were up to date to {last}.",
               f"{kept:,} bars kept, {aside:,} set aside, {holds:,} new holds."]  # fmt: skip
    if done.resumed:
        summary.append(f"{done.resumed:,} of them were staged by an earlier run.")
    if failed:
        summary.append(f"{len(done.failed):,} symbols were delivered by nobody.")
    if gaps:
        summary.append(f"{sum(g[1] for g in gaps):,} sessions are missing in {len(gaps):,} symbols.")
    tables = (
        ("Delivered by nobody", ("symbol", "provider", "reason"), failed),
        ("Sessions missing", ("symbol", "sessions", "first", "last"), gaps),
        ("Passed over for another provider", ("symbol", "delivered by", "asked before", "reason"), fallback),
    )
    return Document(
        schema="kobe.data_fetch/1",
        title=f"Fetch to {last}",
        summary=tuple(summary),
        sections=tuple(_section(title, columns, rows) for title, columns, rows in tables if rows),
        data={
            "delivered": {s: g.delivery.source for s, g in sorted(done.got.items())}, "up_to_date": fresh,
            "failed": done.failed, "resumed": done.resumed,
            "missing": {s: [str(d) for d in g.missing] for s, g in sorted(done.got.items()) if g.missing},
            "kept": kept, "aside": aside, "holds": holds, "last": str(last),
        },
        exit_code=_exit(done, gaps, aside + holds),
    )  # fmt: skip


def _section(title: str, columns: tuple[str, ...], rows: Sequence[tuple[Any, ...]]) -> Section:
    more = (f"and {len(rows) - SHOWN} more",) if len(rows) > SHOWN else ()
    return Section(title=title, table=Table(columns=columns, rows=tuple(rows[:SHOWN])), lines=more)


def _exit(done: fetch.Fetched, gaps: Sequence[object], odd: int) -> ExitCode:
    if done.failed and not done.got:
        return ExitCode.EXTERNAL if fetch.worst(done.failed) else ExitCode.DATA
    return ExitCode.PARTIAL if done.failed or gaps or odd else ExitCode.OK


def run_probe(ctx: Context, name: str, symbol: str) -> Document:
    """Ask one provider for a few days of one symbol and say what came: the live smoke test.

    Raises:
        ExternalError, MissingDataError, ConfigError: what the provider answered.
    """
    provider = providers(ctx, [name])[0]
    last = ctx.calendar.last_complete(ctx.clock.now())
    started = time.perf_counter()
    delivery = provider.daily(symbol.upper(), last - timedelta(days=10), last, adjustment=provider.adjustments[0])
    took = time.perf_counter() - started
    newest = max(delivery.bars.get_column("date").to_list())
    rows = tuple((str(r[0]), *r[2:7]) for r in delivery.bars.tail(5).iter_rows())
    behind = len([d for d in ctx.calendar.between(last - timedelta(days=10), last) if d > newest])
    said = (
        f"{len(delivery.bars)} bars of {delivery.symbol} in {took:.1f} s: {delivery.adjustment} prices, "
        f"{delivery.feed} volume, newest {newest}, {behind} sessions behind."
    )
    columns = ("date", "open", "high", "low", "close", "volume")
    return Document(
        schema="kobe.data_probe/1",
        title=f"{name} answers",
        summary=(said,),
        sections=(Section(title="", table=Table(columns=columns, rows=rows)),),
        data={"provider": name, "symbol": delivery.symbol, "bars": len(delivery.bars), "newest": str(newest),
              "feed": delivery.feed, "adjustment": delivery.adjustment, "seconds": took, "behind": behind},
    )  # fmt: skip
