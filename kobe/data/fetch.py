"""Fetch daily bars symbol by symbol: ordered fallback, durable staging, exact about what is missing.

Each delivery is on the disk before the next is asked for, so a killed fetch goes on where it stopped. The store
changes once, at the end, through the same ingest as a file.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import polars as pl

from kobe.core.calendar import Calendar
from kobe.core.errors import ConfigError, KobeError, MissingDataError
from kobe.core.ids import canonical_json, short_digest
from kobe.core.ports import Artifacts, Progress
from kobe.data import actions
from kobe.data.delivery import Delivery, Provider
from kobe.data.ingest import OVERLAP_TOLERANCE
from kobe.data.quality import COLUMNS
from kobe.data.store import BarStore

OVERLAP_SESSIONS = 5  # closes compared on every append (D13)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is wanted of one symbol.

    Attributes:
        first, last: sessions, both included.
        held_from: first held session when this is an update, so that a rebased history can be fetched whole.
    """

    symbol: str
    first: date
    last: date
    held_from: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Got:
    """A staged delivery.

    Attributes:
        delivery: as the provider gave it.
        missing: sessions between its first bar and the last wanted session without a bar.
        rebased: the provider tells another past than the one held, and this is all of it.
        refused: provider -> why it was passed over before this one answered.
    """

    delivery: Delivery
    missing: tuple[date, ...]
    rebased: bool
    refused: Mapping[str, str]


@dataclass(slots=True)
class Fetched:
    """What a fetch brought: deliveries by symbol, and provider -> reason for every symbol that nobody delivered."""

    got: dict[str, Got] = field(default_factory=dict)
    failed: dict[str, dict[str, str]] = field(default_factory=dict)
    resumed: int = 0
    requests: int = 0


def wishes(
    symbols: Sequence[str], store: BarStore, calendar: Calendar, first: date, last: date, *, full: bool
) -> tuple[list[Wish], list[str]]:
    """Return what must be asked for, and the symbols that are up to date.

    A held symbol is asked for from five sessions before its last bar, so that closes can be compared.
    """
    held = _spans(store) if store.held() and not full else {}
    wanted, fresh = [], []
    for symbol in symbols:
        span = held.get(symbol)
        if span is None:
            wanted.append(Wish(symbol=symbol, first=first, last=last))
        elif span[1] >= last:
            fresh.append(symbol)
        else:
            place = max(calendar.number(span[1]) - OVERLAP_SESSIONS + 1, 0)
            start = max(calendar.sessions[place], span[0])
            wanted.append(Wish(symbol=symbol, first=start, last=last, held_from=span[0]))
    return wanted, fresh


def _spans(store: BarStore) -> dict[str, tuple[date, date]]:
    lives = store.frame().group_by("symbol").agg(first=pl.col("date").min(), last=pl.col("date").max())
    return {symbol: (first, last) for symbol, first, last in lives.iter_rows()}


@dataclass(frozen=True, kw_only=True)
class Fetcher:
    """Asks providers in order and keeps what they deliver in a staging folder.

    Attributes:
        providers: in the order they are asked.
        adjustment: what every delivery must be.
        feed: what the store's volumes count, or None for an empty store: volumes of two feeds are never mixed.
        folder: staging of this very request; left behind by a killed run, gone after the ingest.
    """

    providers: Sequence[Provider]
    adjustment: str
    feed: str | None
    folder: Path
    calendar: Calendar
    artifacts: Artifacts
    store: BarStore
    progress: Progress | None = None

    def run(self, wanted: Sequence[Wish]) -> Fetched:
        """Fetch everything that is not staged yet.

        Raises:
            ConfigError: no provider can be used at all.
        """
        done = Fetched()
        usable = list(self.providers)
        for k, wish in enumerate(wanted):
            staged = self._staged(wish)
            if staged is not None:
                done.got[wish.symbol] = staged
                done.resumed += 1
            else:
                self._one(wish, usable, done)
            if self.progress is not None:
                self.progress(k + 1, len(wanted), "fetching")
        return done

    def _one(self, wish: Wish, usable: list[Provider], done: Fetched) -> None:
        refused: dict[str, str] = {}
        for provider in list(usable):
            done.requests += 1
            try:
                got = self._accepted(wish, provider, refused)
            except ConfigError as error:
                usable.remove(provider)
                if not usable:
                    raise
                refused[provider.name] = error.message
            except KobeError as error:
                refused[provider.name] = f"{error.code}: {error.what}" + (f" ({error.seen})" if error.seen else "")
            else:
                self._stage(wish, got)
                done.got[wish.symbol] = got
                return
        done.failed[wish.symbol] = refused

    def _accepted(self, wish: Wish, provider: Provider, refused: Mapping[str, str]) -> Got:
        delivery = provider.daily(wish.symbol, wish.first, wish.last, adjustment=self.adjustment)
        if self.feed is not None and delivery.feed != self.feed:
            raise MissingDataError(
                "its volume counts another feed than the store's", seen=delivery.feed, expected=self.feed
            )
        rebased = wish.held_from is not None and self._tells_another_past(delivery)
        if rebased and wish.held_from is not None:
            delivery = provider.daily(wish.symbol, wish.held_from, wish.last, adjustment=self.adjustment)
        return Got(
            delivery=delivery, missing=self._missing(delivery, wish.last), rebased=rebased, refused=dict(refused)
        )

    def _tells_another_past(self, delivery: Delivery) -> bool:
        """Compare the closes of the days both have; only the same source may rewrite its own past."""
        years = delivery.bars.get_column("date").dt.year().unique().to_list()
        held = self.store.frame(years).filter(pl.col("symbol") == delivery.symbol)
        both = delivery.bars.join(held.select("date", "origin", was="close"), on="date")
        off = both.filter((pl.col("close") / pl.col("was") - 1.0).abs() > OVERLAP_TOLERANCE)
        origins = self.store.manifest().origins
        return len(off) > 0 and all(origins[n].source == delivery.source for n in off.get_column("origin").to_list())

    def _missing(self, delivery: Delivery, last: date) -> tuple[date, ...]:
        days = set(delivery.bars.get_column("date").to_list())
        return tuple(d for d in self.calendar.between(min(days), last) if d not in days) if days else ()

    def _place(self, symbol: str) -> str:
        return short_digest(symbol) + "-" + "".join(c for c in symbol if c.isalnum())[:12]

    def _stage(self, wish: Wish, got: Got) -> None:
        """Write the tables first and the note that names them last."""
        d, place = got.delivery, self._place(wish.symbol)
        tables = {"bars": d.bars, "actions": d.actions}
        digests = {name: self.artifacts.write(self.folder / f"{place}.{name}", _ipc(t)) for name, t in tables.items()}
        note = {
            "symbol": d.symbol, "source": d.source, "feed": d.feed, "adjustment": d.adjustment,
            "fetched_at": d.fetched_at.isoformat(), "rebased": got.rebased, "refused": dict(got.refused),
            "missing": [str(x) for x in got.missing], "digests": digests, "wish": _said(wish),
        }  # fmt: skip
        self.artifacts.write(self.folder / f"{place}.json", canonical_json(note).encode())

    def _staged(self, wish: Wish) -> Got | None:
        """Return what an earlier run staged for the same wish; anything torn or for another wish is fetched again."""
        import hashlib
        import io
        from datetime import datetime

        place = self._place(wish.symbol)
        try:
            note = json.loads((self.folder / f"{place}.json").read_bytes())
            tables = {name: (self.folder / f"{place}.{name}").read_bytes() for name in ("bars", "actions")}
        except (OSError, ValueError):
            return None
        if note["wish"] != _said(wish) or any(
            hashlib.sha256(content).hexdigest() != note["digests"][name] for name, content in tables.items()
        ):
            return None
        delivery = Delivery(
            symbol=note["symbol"], bars=pl.read_ipc(io.BytesIO(tables["bars"])),
            actions=pl.read_ipc(io.BytesIO(tables["actions"])), source=note["source"], feed=note["feed"],
            adjustment=note["adjustment"], fetched_at=datetime.fromisoformat(note["fetched_at"]),
        )  # fmt: skip
        missing = tuple(date.fromisoformat(x) for x in note["missing"])
        return Got(delivery=delivery, missing=missing, rebased=bool(note["rebased"]), refused=note["refused"])


def _said(wish: Wish) -> list[str]:
    return [wish.symbol, str(wish.first), str(wish.last), str(wish.held_from)]


def _ipc(frame: pl.DataFrame) -> bytes:
    import io

    buffer = io.BytesIO()
    frame.write_ipc(buffer, compression="zstd")
    return buffer.getvalue()


def by_origin(got: Iterable[Got]) -> dict[tuple[str, str], list[Got]]:
    """Group deliveries by source and feed: each group is one shipment."""
    groups: dict[tuple[str, str], list[Got]] = {}
    for g in got:
        groups.setdefault((g.delivery.source, g.delivery.feed), []).append(g)
    return dict(sorted(groups.items()))


def joined(group: Sequence[Got]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return all bars and all events of a group, in the store's columns."""
    bars = pl.concat([g.delivery.bars.select(COLUMNS) for g in group])
    events = [actions.in_columns(g.delivery.actions, g.delivery.source) for g in group if len(g.delivery.actions)]
    return bars, pl.concat(events) if events else actions.none()


def worst(failed: Mapping[str, Mapping[str, str]]) -> bool:
    """Whether every failure was of a provider out of reach, so that trying later may help."""
    reasons = [reason for why in failed.values() for reason in why.values()]
    return bool(reasons) and all(r.startswith("external") for r in reasons)
