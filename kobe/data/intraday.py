"""Intraday bars on the disk: one Parquet per interval and period under a manifest, and the rules a bar must meet.

A part carries its digest in its name and is never rewritten; the manifest is replaced last. A reader sees the state
before or the state after; parts of the state before stay until the state after next. What is held never changes: a
later delivery that says something else is set aside for a person to look at. One process writes at a time, under a
lease its caller holds.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kobe.core.calendar import Calendar
from kobe.core.clock import as_utc
from kobe.core.errors import DataError, IntegrityError, MissingDataError, SchemaError, UsageError
from kobe.core.ids import canonical_json, short_digest
from kobe.core.ports import Artifacts
from kobe.data import timeframes
from kobe.data.timeframes import BAR_COLUMNS, INTERVALS
from kobe.infra import durable

if TYPE_CHECKING:
    import polars as pl

MANIFEST = "manifest.json"
SCHEMA_VERSION = 1
PERIODS = {"15m": "%Y-%m", "1h": "%Y", "4h": "%Y", "1d": "%Y"}
"""What one part holds, by the UTC stamps of its bars: a month or a year of every symbol."""
RULES: dict[str, str] = {
    "missing_value": "a column is empty",
    "bad_price": "a price is no positive finite number",
    "bad_volume": "the volume is negative or no finite number",
    "ohlc_order": "the high is not the highest or the low not the lowest",
    "outside_session": "the market is closed at that time",
    "off_grid": "the stamp is not one of the interval's",
    "not_complete": "the bar was still open when it was delivered",
    "duplicate": "the delivery tells the same bar in two ways",
    "differs_from_held": "the store holds another bar of that symbol and time",
}
"""Why a delivered bar is set aside, in the order in which it is asked; the first that applies names it."""
_NUMBERS = BAR_COLUMNS[2:]
_KEY = ("symbol", "ts")
_TOLD = ("interval", "source", "feed")


@dataclass(frozen=True, slots=True, order=True)
class Origin:
    """One kind of delivery: every held bar points to one.

    Attributes:
        interval, market, grid: what the bars are, in the words of `timeframes`.
        source: provider or file.
        feed: which tape the volume counts.
    """

    interval: str
    market: str
    grid: str
    source: str
    feed: str


@dataclass(frozen=True, slots=True)
class Part:
    """One immutable file of the store."""

    name: str
    digest: str
    rows: int


@dataclass(frozen=True, slots=True)
class Series:
    """What is held of one symbol at one interval; `first` and `last` are stamps."""

    market: str
    grid: str
    rows: int
    first: datetime
    last: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The store's table of contents, replaced last and whole.

    Attributes:
        parts: interval -> period -> its file.
        series: interval -> symbol -> what is held.
        origins: what the column `origin` of a part counts into.
        aside: files of bars that were set aside, oldest first.
    """

    parts: Mapping[str, Mapping[str, Part]]
    series: Mapping[str, Mapping[str, Series]]
    origins: tuple[Origin, ...]
    aside: tuple[Part, ...]

    @property
    def files(self) -> list[Part]:
        """Every file the store needs."""
        return [part for periods in self.parts.values() for part in periods.values()] + list(self.aside)

    @property
    def digest(self) -> str:
        """Changes with every held bar and with what the bars mean."""
        held = {name: {p: part.digest for p, part in periods.items()} for name, periods in self.parts.items()}
        return short_digest([held, [asdict(o) for o in self.origins], SCHEMA_VERSION])

    def to_json(self) -> bytes:
        """Return the document as it is stored."""
        document: dict[str, Any] = {**asdict(self), "schema": SCHEMA_VERSION}
        for one in (one for known in document["series"].values() for one in known.values()):
            one.update(first=one["first"].isoformat(), last=one["last"].isoformat())
        return canonical_json(document).encode()


_EMPTY = Manifest(parts={}, series={}, origins=(), aside=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What became of a delivery.

    Attributes:
        delivered: rows that came.
        added: bars that are new in the store.
        known: rows that repeat, to the last digit, what is held or what the delivery told already.
        aside: the rows not taken, with the column `reason` (a key of `RULES`), sorted by symbol and ts.
        gaps: expected bars missing in the periods the delivery touched, for its symbols, as `timeframes.gaps`.
        manifest: the store afterwards.
    """

    delivered: int
    added: int
    known: int
    aside: "pl.DataFrame"
    gaps: "pl.DataFrame"
    manifest: Manifest

    @property
    def reasons(self) -> dict[str, int]:
        """Rows set aside by reason, in the order of `RULES`."""
        counts = dict(self.aside.group_by("reason").len().iter_rows())
        return {rule: counts[rule] for rule in RULES if rule in counts}


@dataclass(frozen=True)
class IntradayStore:
    """Intraday bars; written by one process at a time, read by many.

    Attributes:
        folder: where the parts and the manifest are.
        artifacts: writes files whole.
        calendar: sessions of the `us` market.
    """

    folder: Path
    artifacts: Artifacts
    calendar: Calendar

    def manifest(self) -> Manifest:
        """Read what the store holds.

        Raises:
            MissingDataError: nothing was written yet.
            SchemaError: another version of kobe wrote it.
            IntegrityError: the manifest is damaged.
        """
        content = self._content(MANIFEST)
        if content is None:
            raise MissingDataError("the store holds no intraday bars", seen=self.folder)
        try:
            return _parsed(content)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise _damaged(MANIFEST, error) from error

    def read(
        self,
        interval: str,
        symbols: Iterable[str] | None = None,
        first: datetime | None = None,
        last: datetime | None = None,
    ) -> "pl.DataFrame":
        """Read bars; every file is checked by its digest.

        Args:
            interval: name in `timeframes.INTERVALS`.
            symbols: which, or all.
            first: earliest stamp, aware, itself included.
            last: latest stamp, aware, itself included.

        Returns:
            `BAR_COLUMNS`, source and feed, sorted by symbol and ts. `timeframes.with_known_at` says when each may be
            known, with the market and grid of `manifest().series`.

        Raises:
            MissingDataError: the store holds nothing of that interval, or of one of the symbols.
            IntegrityError: a file is gone or not what the manifest says.
        """
        import polars as pl

        held = self.manifest()
        series = held.series.get(interval, {})
        wanted = sorted(set(series if symbols is None else symbols))
        unknown = [s for s in wanted if s not in series]
        if unknown or not series:
            known, asked = ", ".join(list(series)[:10]) or None, ", ".join(unknown[:10]) or None
            raise MissingDataError(f"the store holds no such {interval} bars", seen=asked, expected=known)
        names = [p for p in held.parts[interval] if _touches(p, interval, first, last)]
        told = pl.DataFrame([{"origin": n, "source": o.source, "feed": o.feed} for n, o in enumerate(held.origins)])
        bars = pl.concat([_none(origin=pl.UInt16), *[self._part(held.parts[interval][p]) for p in names]])
        bars = bars.filter(pl.col("symbol").is_in(wanted))
        if first is not None:
            bars = bars.filter(pl.col("ts") >= as_utc(first))
        if last is not None:
            bars = bars.filter(pl.col("ts") <= as_utc(last))
        named = bars.join(told.with_columns(pl.col("origin").cast(pl.UInt16)), on="origin", how="left")
        return named.select(*BAR_COLUMNS, "source", "feed").sort(_KEY)

    def write(
        self,
        frame: "pl.DataFrame",
        interval: str,
        market: str,
        source: str,
        feed: str,
        grid: str,
        *,
        asof: datetime | None = None,
    ) -> Written:
        """Merge a delivery with what is held. Writing it twice has one effect.

        Args:
            frame: columns `BAR_COLUMNS`, others ignored, in any order.
            interval: what the bars are.
            market: name in `timeframes.MARKETS`.
            source: provider or file.
            feed: which tape the volume counts.
            grid: how the bars are stamped, name in `timeframes.GRIDS`.
            asof: when the delivery was made; bars that were still open then are set aside. Without it every bar
                counts as complete, and a bar stored too early could never be put right.

        Raises:
            SchemaError: a column is missing or of another type.
            DataError: a symbol is held with another market or grid; nothing is written.
            UsageError: a name is not in its table.
        """
        import polars as pl

        held = self._held()
        origin = Origin(interval, market, grid, source, feed)
        bars = timeframes.typed_bars(frame).unique(maintain_order=True)
        _refuse_other_meaning(held, origin, bars)
        judged = self._judged(bars, origin, asof)
        fit = judged.filter(pl.col("reason").is_null())
        before = self._periods(held, interval, fit)
        new, clashing = _compared(fit, before)
        aside = pl.concat([judged.filter(pl.col("reason").is_not_null()), clashing]).sort(*_KEY, *_NUMBERS)
        after = self._stored(held, origin, new, before, aside)
        ours = pl.concat([before.select(_KEY), new.select(_KEY)])
        ours = ours.filter(pl.col("symbol").is_in(fit.get_column("symbol").unique().implode()))
        return Written(
            delivered=len(frame), added=len(new), known=len(frame) - len(new) - len(aside), aside=aside,
            gaps=timeframes.gaps(ours, interval, market, self.calendar, grid=grid), manifest=after,
        )  # fmt: skip

    def gaps(self, interval: str, symbols: Iterable[str] | None = None) -> "pl.DataFrame":
        """List the expected bars that are missing between each symbol's first and last, as `timeframes.gaps`.

        Raises:
            MissingDataError: the store holds nothing of that interval, or of one of the symbols.
        """
        import polars as pl

        bars = self.read(interval, symbols)
        series = self.manifest().series[interval]
        kinds: dict[tuple[str, str], list[str]] = {}
        for symbol in bars.get_column("symbol").unique().sort():
            kinds.setdefault((series[symbol].market, series[symbol].grid), []).append(symbol)
        found = [
            timeframes.gaps(bars.filter(pl.col("symbol").is_in(names)), interval, market, self.calendar, grid=grid)
            for (market, grid), names in sorted(kinds.items())
        ]
        return pl.concat(found).sort("symbol", "first")

    def set_aside(self) -> "pl.DataFrame":
        """Return every bar that was ever set aside: `BAR_COLUMNS`, reason, interval, source and feed."""
        import polars as pl

        none = _none(reason=pl.String, **dict.fromkeys(_TOLD, pl.String))
        return pl.concat([none, *[self._part(part) for part in self._held().aside]])

    def _held(self) -> Manifest:
        return _EMPTY if self._content(MANIFEST) is None else self.manifest()

    def _content(self, name: str) -> bytes | None:
        try:
            return (self.folder / name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise durable.fault(error, self.folder / name) from error

    def _part(self, part: Part) -> "pl.DataFrame":
        import polars as pl

        content = self._content(part.name)
        if content is None:
            raise _damaged(part.name, "it is not there")
        if hashlib.sha256(content).hexdigest() != part.digest:
            raise _damaged(part.name, "its digest differs from the manifest's")
        try:
            return pl.read_parquet(content)
        except pl.exceptions.PolarsError as error:
            raise _damaged(part.name, error) from error

    def _periods(self, held: Manifest, interval: str, bars: "pl.DataFrame") -> "pl.DataFrame":
        """Return what is held of the periods some bars fall into."""
        import polars as pl

        parts = held.parts.get(interval, {})
        touched = bars.select(_period(interval).unique()).to_series().to_list()
        return pl.concat([_none(origin=pl.UInt16), *[self._part(parts[p]) for p in sorted(touched) if p in parts]])

    def _judged(self, bars: "pl.DataFrame", origin: Origin, asof: datetime | None) -> "pl.DataFrame":
        """Add the column `reason`: the first rule a row breaks, or null."""
        import polars as pl

        placed = timeframes.with_known_at(
            bars, origin.interval, origin.market, self.calendar, grid=origin.grid, outside="mark"
        )
        late = pl.lit(value=False) if asof is None else pl.col("closes_at") > as_utc(asof)
        twice = pl.struct(_KEY).is_duplicated()  # what was the same in every column is there once by now
        reason = pl.coalesce(
            *[pl.when(wrong).then(pl.lit(rule)) for rule, wrong in timeframes.value_faults().items()],
            "fault",
            pl.when(late).then(pl.lit("not_complete")),
            pl.when(twice).then(pl.lit("duplicate")),
        )
        return placed.select(*BAR_COLUMNS, reason=reason)

    def _stored(
        self, held: Manifest, origin: Origin, new: "pl.DataFrame", before: "pl.DataFrame", aside: "pl.DataFrame"
    ) -> Manifest:
        """Write the parts that change, then the manifest; return it."""
        import polars as pl

        after = held
        if len(new):
            origins = held.origins if origin in held.origins else (*held.origins, origin)
            number = pl.lit(origins.index(origin), dtype=pl.UInt16)
            bars = pl.concat([before, new.with_columns(origin=number).select(before.columns)]).sort(_KEY)
            split = bars.with_columns(period=_period(origin.interval)).partition_by("period", as_dict=True)
            parts = dict(held.parts.get(origin.interval, {}))
            for (period,), rows in split.items():
                parts[str(period)] = self._write(f"{origin.interval}-{period}", rows.drop("period"))
            series = _grown(held.series.get(origin.interval, {}), origin, new)
            all_parts = {**held.parts, origin.interval: dict(sorted(parts.items()))}
            after = replace(held, parts=all_parts, series={**held.series, origin.interval: series}, origins=origins)
        if len(aside):
            told = [pl.lit(value).alias(name) for name, value in asdict(origin).items() if name in _TOLD]
            part = self._write("aside", aside.with_columns(told))
            after = after if part in after.aside else replace(after, aside=(*after.aside, part))
        if after != held:
            self._publish(held, after)
        return after

    def _write(self, name: str, frame: "pl.DataFrame") -> Part:
        import io

        buffer = io.BytesIO()
        frame.write_parquet(buffer, compression="zstd")
        content = buffer.getvalue()
        digest = hashlib.sha256(content).hexdigest()
        part = Part(f"{name}-{digest[:16]}.parquet", digest, len(frame))
        self.artifacts.write(self.folder / part.name, content)
        return part

    def _publish(self, before: Manifest, after: Manifest) -> None:
        """Replace the manifest, then forget parts that neither this state nor the one before needs."""
        self.artifacts.write(self.folder / MANIFEST, after.to_json())
        self.artifacts.sweep(self.folder)
        needed = {part.name for part in (*before.files, *after.files)}
        try:
            for path in self.folder.glob("*.parquet"):
                if path.name not in needed:
                    path.unlink(missing_ok=True)
        except OSError as error:
            raise durable.fault(error, self.folder) from error


def read_intraday(path: Path) -> "pl.DataFrame":
    """Read a Parquet file of intraday bars into `BAR_COLUMNS`; other columns are ignored, nothing is judged yet.

    Args:
        path: a `.parquet` file with ts in UTC (ms or us), symbol as text, and numbers.

    Raises:
        MissingDataError: there is no such file.
        SchemaError: it cannot be read, or a column is missing or of another type.
    """
    import polars as pl

    if not path.is_file():
        raise MissingDataError("no such file", seen=path.name, expected="a .parquet file of intraday bars")
    try:
        frame = pl.read_parquet(path, glob=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise SchemaError(f"{path.name} cannot be read", seen=str(error).splitlines()[0][:160]) from error
    return timeframes.typed_bars(frame)


def _compared(bars: "pl.DataFrame", before: "pl.DataFrame") -> "tuple[pl.DataFrame, pl.DataFrame]":
    """Return the bars the store does not hold, and those it holds otherwise; the same again is neither."""
    import polars as pl

    both = bars.join(before.select(*BAR_COLUMNS), on=_KEY, how="inner", suffix="_held")
    other = both.filter(pl.any_horizontal(pl.col(c) != pl.col(f"{c}_held") for c in _NUMBERS))
    clashing = other.select(*BAR_COLUMNS, reason=pl.lit("differs_from_held"))
    return bars.join(before, on=_KEY, how="anti").select(BAR_COLUMNS), clashing


def _refuse_other_meaning(held: Manifest, origin: Origin, bars: "pl.DataFrame") -> None:
    """A symbol's bars of one interval are of one market and one grid, else nobody could say when they are complete."""
    if origin.interval not in INTERVALS:
        raise UsageError("no such interval", seen=origin.interval, expected=", ".join(INTERVALS))
    series = held.series.get(origin.interval, {})
    for symbol in bars.get_column("symbol").unique().drop_nulls().sort():
        known = series.get(symbol)
        if known is not None and (known.market, known.grid) != (origin.market, origin.grid):
            raise DataError(
                f"{symbol} is held as other {origin.interval} bars",
                seen=f"market {origin.market}, grid {origin.grid}",
                expected=f"market {known.market}, grid {known.grid}",
            )


def _grown(series: Mapping[str, Series], origin: Origin, new: "pl.DataFrame") -> dict[str, Series]:
    """Return what is held of each symbol once the new bars are in."""
    import polars as pl

    grown = dict(series)
    spans = new.group_by("symbol").agg(pl.len(), first=pl.col("ts").min(), last=pl.col("ts").max())
    for symbol, rows, first, last in spans.iter_rows():
        known = grown.get(symbol, Series(origin.market, origin.grid, 0, first, last))
        span = {"first": min(first, known.first), "last": max(last, known.last)}
        grown[symbol] = replace(known, rows=known.rows + rows, **span)
    return dict(sorted(grown.items()))


def _period(interval: str) -> "pl.Expr":
    import polars as pl

    return pl.col("ts").dt.strftime(PERIODS[interval])


def _touches(period: str, interval: str, first: datetime | None, last: datetime | None) -> bool:
    """Whether a part can hold stamps from first to last; periods compare as text."""
    shape = PERIODS[interval]
    after = first is None or period >= as_utc(first).strftime(shape)
    return after and (last is None or period <= as_utc(last).strftime(shape))


def _none(**more: "pl.DataType | type[pl.DataType]") -> "pl.DataFrame":
    """Return no bars, with more columns than they have."""
    import polars as pl

    return pl.DataFrame(schema={"ts": pl.Datetime("us", "UTC"), "symbol": pl.String,
                                **dict.fromkeys(_NUMBERS, pl.Float64), **more})  # fmt: skip


def _parsed(content: bytes) -> Manifest:
    document: dict[str, Any] = json.loads(content)
    if document["schema"] != SCHEMA_VERSION:
        raise SchemaError("another version of kobe wrote it", seen=document["schema"], expected=SCHEMA_VERSION)
    for one in (one for known in document["series"].values() for one in known.values()):
        one.update({end: datetime.fromisoformat(one[end]) for end in ("first", "last")})
    return Manifest(
        parts={i: {p: Part(**one) for p, one in periods.items()} for i, periods in document["parts"].items()},
        series={i: {s: Series(**one) for s, one in known.items()} for i, known in document["series"].items()},
        origins=tuple(Origin(**one) for one in document["origins"]),
        aside=tuple(Part(**one) for one in document["aside"]),
    )


def _damaged(name: str, why: object) -> IntegrityError:
    what = f"the intraday store is damaged at {name}"
    return IntegrityError(what, seen=str(why)[:160], expected="the file the manifest names")
