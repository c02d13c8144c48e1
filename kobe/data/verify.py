"""Prove that a store is what its manifest says, and bring a damaged one back to a state that can be trusted."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import polars as pl

from kobe.core.errors import IntegrityError, KobeError, MissingDataError
from kobe.data import actions, holds
from kobe.data.manifest import Manifest, Part
from kobe.data.store import MANIFEST, PREVIOUS, BarStore, bar_schema, damaged

KNOWN = (MANIFEST, PREVIOUS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What was found.

    Attributes:
        parts: part name -> `ok` or what is wrong with it.
        orphans: blobs no state of the store names; harmless, removed by `repair`.
        rows: bars in the good parts.
    """

    parts: dict[str, str]
    orphans: tuple[str, ...]
    rows: int

    @property
    def good(self) -> bool:
        """Whether every part is what the manifest says."""
        return all(state == "ok" for state in self.parts.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Repaired:
    """What a repair did: lines for people, and the years whose bars must be fetched or imported again."""

    done: tuple[str, ...]
    lost_years: tuple[int, ...]
    manifest: Manifest


def verify(store: BarStore) -> Verified:
    """Read every part back and compare it with the manifest: digest, rows, columns, order, span, totals.

    Raises:
        MissingDataError: the store is empty.
        IntegrityError: the manifest itself cannot be read.
    """
    held = store.manifest()
    parts, rows = {}, 0
    for year, part in held.years.items():
        parts[part.name], count = _state(store, part, partial(_year_fault, year=int(year), held=held))
        rows += count
    for side, schema in ((held.actions, actions.SCHEMA), (held.holds, holds.SCHEMA)):
        if side is not None:
            parts[side.name], _ = _state(store, side, partial(_side_fault, schema=schema))
    if rows != held.rows and all(state == "ok" for state in parts.values()):
        parts[MANIFEST] = f"says {held.rows} bars, the parts hold {rows}"
    before = store.previous()
    named = {p.name for p in held.parts} | ({p.name for p in before.parts} if before else set()) | set(KNOWN)
    return Verified(parts=parts, orphans=tuple(n for n in store.blobs.names() if n not in named), rows=rows)


def _state(store: BarStore, part: Part, fault: Callable[[pl.DataFrame], str]) -> tuple[str, int]:
    try:
        frame = store.part(part)
    except IntegrityError as error:
        return str(error.seen), 0
    if len(frame) != part.rows:
        return f"{len(frame)} rows, the manifest says {part.rows}", 0
    return fault(frame) or "ok", len(frame)


def _side_fault(frame: pl.DataFrame, schema: Mapping[str, type]) -> str:
    return "" if frame.schema == pl.Schema(schema) else "other columns"


def _year_fault(bars: pl.DataFrame, year: int, held: Manifest) -> str:
    """Return what is wrong with one year of bars, or nothing."""
    if bars.schema != bar_schema():
        return "other columns"
    facts = bars.select(
        span=(pl.col("date").dt.year() == year).all() & pl.col("date").is_between(held.first, held.last).all(),
        order=(
            (pl.col("symbol") > pl.col("symbol").shift(1))
            | ((pl.col("symbol") == pl.col("symbol").shift(1)) & (pl.col("date") > pl.col("date").shift(1)))
        ).slice(1).all(),
        origin=(pl.col("origin") < len(held.origins)).all(),
        known=pl.col("symbol").is_in(list(held.symbols)).all(),
    ).row(0)  # fmt: skip
    words = ("dates outside its year", "not sorted by symbol and date", "unknown origin", "unknown symbol")
    return next((word for word, fine in zip(words, facts, strict=True) if not fine), "")


def repair(store: BarStore, keep_aside: Callable[[str, bytes], None]) -> Repaired:
    """Bring the store back to what can be trusted; nothing that verifies is lost.

    A damaged part is taken from the state before where that still has it; else a year is dropped and named, to be
    fetched again. Damaged content is handed to `keep_aside` before anything replaces it.

    Raises:
        MissingDataError: there is nothing to repair.
        IntegrityError: no state can be read.
    """
    done: list[str] = []
    current = _readable_manifest(store, done)
    found = verify(store)
    before = store.previous()
    years, lost = {}, []
    for year, part in current.years.items():
        if found.parts.get(part.name) == "ok":
            years[year] = part
            continue
        _set_aside(store, part, keep_aside, done)
        older = before.years.get(year) if before else None
        if older is not None and older != part and _good(store, older):
            years[year] = older
            done.append(f"{year}: the state before is in its place; the last update of that year is gone")
        else:
            lost.append(int(year))
            done.append(f"{year}: {part.rows:,} bars lost")
    events = _side(store, "actions", current.actions, found, before, keep_aside, done)
    held = _side(store, "holds", current.holds, found, before, keep_aside, done)
    if not years:
        raise damaged(MANIFEST, "no year of it can be read")
    mended = replace(current, years=years, rows=sum(p.rows for p in years.values()), actions=events, holds=held)
    if mended != current:
        store.blobs.write(MANIFEST, _with_span(store, mended).to_json())
    for name in found.orphans:
        store.blobs.delete(name)
        done.append(f"removed {name}, which no state names")
    after = store.manifest()
    store.forget(after)
    return Repaired(done=tuple(done), lost_years=tuple(lost), manifest=after)


def _readable_manifest(store: BarStore, done: list[str]) -> Manifest:
    try:
        return store.manifest()
    except MissingDataError:
        raise
    except KobeError:
        before = store.previous()
        if before is None:
            raise
        store.blobs.write(MANIFEST, before.to_json())
        done.append("the manifest was damaged: the state before is in force again")
        return before


def _side(
    store: BarStore, name: str, part: Part | None, found: Verified, before: Manifest | None,
    keep_aside: Callable[[str, bytes], None], done: list[str],
) -> Part | None:  # fmt: skip
    if part is None or found.parts.get(part.name) == "ok":
        return part
    _set_aside(store, part, keep_aside, done)
    older: Part | None = getattr(before, name) if before else None
    if older is not None and older != part and _good(store, older):
        done.append(f"{name}: the state before is in its place")
        return older
    done.append(f"{name}: lost; import them again (kobe data actions, kobe data check)")
    return None


def _set_aside(store: BarStore, part: Part, keep_aside: Callable[[str, bytes], None], done: list[str]) -> None:
    content = store.blobs.read(part.name)
    if content is not None:
        keep_aside(part.name, content)
        done.append(f"{part.name}: damaged, kept aside")
        store.blobs.delete(part.name)


def _good(store: BarStore, part: Part) -> bool:
    try:
        return len(store.part(part)) == part.rows
    except IntegrityError:
        return False


def _with_span(store: BarStore, mended: Manifest) -> Manifest:
    """Return the manifest with symbols and dates that its parts really hold."""
    frames = [store.part(part).select("symbol", "date") for part in mended.years.values()]
    bars = pl.concat(frames)
    first, last = bars.select(pl.col("date").min()).item(), bars.select(pl.col("date").max()).item()
    return replace(mended, symbols=tuple(sorted(bars.get_column("symbol").unique().to_list())), first=first, last=last)
