"""The bar store: Parquet by year under a manifest, corporate actions and holds beside them.

Every part carries its digest in its name and is never rewritten; the manifest is replaced last. A reader therefore
sees the old store or the new one, never half of either. Parts of the state before stay until the state after next,
for readers that are still at them and for `repair`.
"""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import date
from functools import partial
from pathlib import Path

import numpy as np

from kobe.core.calendar import Calendar
from kobe.core.errors import DataError, IntegrityError, KobeError, MissingDataError, SchemaError
from kobe.core.frames import pl
from kobe.core.panel import BAR_COLUMNS, Panel
from kobe.data import actions, assemble, holds, manifest, panel_file
from kobe.data.manifest import Manifest, Origin, Part, Provenance
from kobe.infra import durable
from kobe.infra.blobs import Blobs

MANIFEST, PREVIOUS = "manifest.json", "manifest.previous.json"
STORED = ("date", "symbol", *BAR_COLUMNS, "raw_factor", "origin")
"""The columns of a part of bars."""
MOST_NEW = 4  # one bar in so many


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What a commit puts into the store; what is not named stays as it is.

    Attributes:
        years: year -> all its bars, sorted by symbol and date, in the store's columns.
        actions, holds: the whole new tables, or None.
        origins: where bars came from, all of them.
        provenance: what the bars mean.
        only: the store's whole content is `years`; other years go.
    """

    years: "Mapping[int, pl.DataFrame]"
    origins: tuple[Origin, ...]
    provenance: Provenance
    actions: "pl.DataFrame | None" = None
    holds: "pl.DataFrame | None" = None
    only: bool = False


@dataclass(frozen=True)
class BarStore:
    """Daily bars; written by one process at a time, read by many.

    Attributes:
        blobs: where the parts are kept.
        cache: folder of this machine for memory-mapped panels; may be deleted at any time.
        calendar: gives the session numbers.
    """

    blobs: Blobs
    cache: Path
    calendar: Calendar
    _manifests: dict[tuple[int, ...], Manifest] = field(default_factory=dict, repr=False, compare=False)

    def manifest(self) -> Manifest:
        """Read what the store holds.

        Raises:
            MissingDataError: nothing was imported yet.
            SchemaError: another version of kobe wrote it.
            IntegrityError: the manifest is damaged.
        """
        stamp = self.blobs.stamp(MANIFEST)
        known = None if stamp is None else self._manifests.get(stamp)
        if known is None:
            known = self._manifest()
            if stamp is not None:
                self._manifests.clear()
                self._manifests[stamp] = known
        return known

    def _manifest(self) -> Manifest:
        content = self.blobs.read(MANIFEST)
        if content is None:
            raise MissingDataError(
                "the store holds no bars", seen=self.blobs.place, next_command="kobe data import FILE (or: kobe demo)"
            )
        try:
            return manifest.parse(content)
        except (ValueError, KeyError, TypeError) as error:
            if '"schema":1' in content.decode(errors="replace").replace(" ", ""):
                raise SchemaError(
                    "the store was written by an older kobe", seen="schema 1", expected=manifest.SCHEMA_VERSION,
                    next_command="kobe data import FILE --replace",
                ) from None  # fmt: skip
            raise damaged(MANIFEST, error) from error

    def held(self) -> Manifest | None:
        """Return the manifest, or None while the store is empty."""
        try:
            return self.manifest()
        except MissingDataError:
            return None

    def frame(self, years: Sequence[int] | None = None) -> "pl.DataFrame":
        """Read all bars, or some years of them, sorted by symbol and date; every file is checked by its digest."""
        parts = self._years(self.manifest(), years)
        return pl.concat(parts).sort("symbol", "date") if parts else pl.DataFrame(schema=bar_schema())

    def _years(self, held: Manifest, years: Sequence[int] | None = None) -> "list[pl.DataFrame]":
        wanted = [part for year, part in held.years.items() if years is None or int(year) in years]
        with ThreadPoolExecutor(max_workers=2) as threads:  # digests and decompression run beside each other
            return list(threads.map(self.part, wanted))

    def actions(self) -> "pl.DataFrame":
        """Return the corporate actions, sorted by symbol and date."""
        held = self.held()
        return self.part(held.actions) if held and held.actions else actions.none()

    def holds(self) -> "pl.DataFrame":
        """Return every hold ever placed, released ones included."""
        held = self.held()
        return self.part(held.holds) if held and held.holds else pl.DataFrame(schema=holds.SCHEMA)

    def part(self, part: Part) -> "pl.DataFrame":
        """Read one part and check its digest.

        Raises:
            IntegrityError: it is gone or not what the manifest says.
        """
        content = self.blobs.read(part.name)
        if content is None:
            raise damaged(part.name, "it is not there")
        if digest_of(content) != part.digest:
            raise damaged(part.name, "its digest differs from the manifest's")
        try:
            frame = pl.read_parquet(content)
            return frame.with_columns(pl.col("symbol").cast(pl.String)) if "symbol" in frame.columns else frame
        except pl.exceptions.PolarsError as error:
            raise damaged(part.name, error) from error

    def commit(self, change: Change, begun: Mapping[int, Future[Part]] | None = None) -> Manifest:
        """Make a change durable: parts first, then the manifest; then forget what only older states need.

        Args:
            change: what to put in.
            begun: the change's years where `begin` is writing them already.
        """
        before = self.held()
        kept = {} if before is None or change.only else dict(before.years)
        begun = self.begin(change.years.items()) if begun is None else begun
        written = {str(year): part.result() for year, part in sorted(begun.items())}
        years = {year: part for year, part in sorted({**kept, **written}.items()) if part.rows}
        spans = self._spans(before, {int(y): b for y, b in change.years.items()}, years)
        after = Manifest(
            years=years,
            actions=self._side("actions", change.actions, None if before is None else before.actions),
            holds=self._side("holds", change.holds, None if before is None else before.holds),
            origins=change.origins,
            rows=sum(part.rows for part in years.values()),
            symbols=spans[0],
            first=spans[1],
            last=spans[2],
            provenance=change.provenance,
        )
        self._publish(before, after)
        return after

    def begin(self, years: "Iterable[tuple[int, pl.DataFrame]]") -> dict[int, Future[Part]]:
        """Start to write years while the caller goes on; nothing refers to them before a commit."""
        writers = ThreadPoolExecutor(max_workers=8)  # most of them wait for the disk
        begun = {year: writers.submit(self._write, str(year), bars) for year, bars in years}
        writers.shutdown(wait=False)
        return begun

    def _publish(self, before: Manifest | None, after: Manifest) -> None:
        if before is not None and before.digest != after.digest:
            self.blobs.write(PREVIOUS, before.to_json())
        self.blobs.write(MANIFEST, after.to_json())
        self.forget(after)

    def amend(self, *, held: "pl.DataFrame | None" = None, events: "pl.DataFrame | None" = None) -> Manifest:
        """Replace the holds or the events and leave the bars alone."""
        before = self.manifest()
        after = replace(
            before, actions=self._side("actions", events, before.actions), holds=self._side("holds", held, before.holds)
        )
        self._publish(before, after)
        return after

    def _side(self, name: str, frame: "pl.DataFrame | None", before: Part | None) -> Part | None:
        if frame is None:
            return before
        return self._write(name, frame) if len(frame) else None

    def _write(self, name: str, frame: "pl.DataFrame") -> Part:
        content = _parquet(frame)
        digest = digest_of(content)
        part = Part(f"{name}-{digest[:16]}.parquet", digest, len(frame))
        self.blobs.write(part.name, content)
        return part

    def _spans(
        self, before: Manifest | None, changed: "dict[int, pl.DataFrame]", years: dict[str, Part]
    ) -> tuple[tuple[str, ...], date, date]:
        """Return symbols, first and last day; years that did not change are read only when a symbol may have gone."""
        if not years:
            raise DataError("a store cannot be left without bars", next_command="kobe data import FILE")
        names = {str(s) for bars in changed.values() for s in bars.get_column("symbol").unique().to_list()}
        untouched = [part for year, part in years.items() if int(year) not in changed]
        if untouched and before is not None:
            names |= set(before.symbols)
        ends = [int(min(years)), int(max(years))]
        edge = {y: changed[y] if y in changed else self.part(years[str(y)]) for y in set(ends)}
        first, last = edge[ends[0]].get_column("date").min(), edge[ends[1]].get_column("date").max()
        if not isinstance(first, date) or not isinstance(last, date):
            raise damaged(MANIFEST, "a year without a date")
        return tuple(sorted(names)), first, last

    def forget(self, current: Manifest) -> list[str]:
        """Delete parts that neither this state nor the one before needs, and panels of other states."""
        needed = {part.name for part in current.parts}
        before = self.previous()
        needed |= {part.name for part in before.parts} if before else set()
        old = [n for n in self.blobs.names() if n.endswith(".parquet") and n not in needed]
        for name in old:
            self.blobs.delete(name)
        for panel in self.cache.glob("panel-*") if self.cache.is_dir() else ():
            if current.digest not in panel.name:
                with suppress(PermissionError):  # Windows keeps a file that somebody maps; the next commit removes it
                    panel.unlink(missing_ok=True)
        return old

    def previous(self) -> Manifest | None:
        """Return the state before this one, or None where there is none or it cannot be read."""
        content = self.blobs.read(PREVIOUS)
        try:
            return manifest.parse(content) if content else None
        except (ValueError, KeyError, TypeError):
            return None

    def panel(self) -> Panel:
        """Return every bar as a panel, memory-mapped from the cache; a missing or torn cache is made anew."""
        held = self.manifest()
        path = self.cache / f"panel-{held.digest}-{self.calendar.digest}{panel_file.SUFFIX}"
        if path.is_file():
            with suppress(IntegrityError):
                return panel_file.mapped(path, self.calendar, held.provenance)
        self._map(held, path)  # returns first: what making it took is gone before it is mapped
        return panel_file.mapped(path, self.calendar, held.provenance)

    def leave_mapped(self, new: int) -> None:
        """Make the panel's file for the readers to come, after so many new bars.

        Not after most of the store is new: the process that brought it in has taken the memory it may take. Then, or
        where it fails, the first reader makes the file, and says why it cannot.
        """
        with suppress(KobeError):
            if new * MOST_NEW <= self.manifest().rows:
                self.panel()

    def _map(self, held: Manifest, path: Path) -> None:
        panel = assemble.assemble(self._years(held), self.calendar, held.provenance, self.actions(), self.holds())
        durable.write_whole(path, partial(panel_file.write, panel))


def bar_schema() -> "pl.Schema":
    """Return the columns of a part of bars with their types."""
    own = {"date": pl.Date(), "symbol": pl.String(), "origin": pl.UInt16()}
    return pl.Schema({name: own.get(name, pl.Float64()) for name in STORED})


def damaged(name: str, why: object) -> IntegrityError:
    """Say that a part of the store cannot be trusted."""
    return IntegrityError(
        f"the bar store is damaged at {name}",
        seen=str(why).splitlines()[0][:160],
        expected="the file the manifest names",
        next_command="kobe data repair",
    )


def digest_of(content: bytes) -> str:
    """BLAKE2b of some bytes, 64 hex digits; twice as fast here as SHA-256 without processor support."""
    import hashlib

    return hashlib.blake2b(content, digest_size=32).hexdigest()


def _parquet(frame: "pl.DataFrame") -> bytes:
    import io

    if "symbol" in frame.columns:  # numbers of the names that are there: small, quick, and equal bars are equal bytes
        frame = frame.with_columns(_numbered(frame.get_column("symbol")))
    buffer = io.BytesIO()
    frame.write_parquet(buffer, compression="lz4", statistics=False)  # a third larger than zstd and read twice as fast
    return buffer.getvalue()


def _numbered(symbols: "pl.Series") -> "pl.Series":
    """Return symbols as numbers of the sorted names that are among them; from other numbers, no name is looked at."""
    kind = symbols.dtype
    if not isinstance(kind, pl.Enum) or symbols.null_count():
        return symbols.cast(pl.Enum(symbols.unique().drop_nulls().cast(pl.String).sort()))
    codes = symbols.to_physical().to_numpy()
    there = np.zeros(len(kind.categories), dtype=np.bool_)
    there[codes] = True
    place = (np.cumsum(there) - 1).astype(codes.dtype)
    return pl.Series(symbols.name, place[codes]).cat.to(pl.Enum(kind.categories.filter(pl.Series(there))))
