"""Small tables beside the bars: VIX, earnings dates and headlines, each row with the instant it was known.

A table is one Parquet file that carries its digest in its name and is never rewritten; the manifest is replaced last,
so a reader sees the state before or the state after. Nothing is ever changed or taken out: what is told otherwise
later becomes a revision beside the first, known from the later instant on. One process writes at a time, under a
lease its caller holds. To add a table: one line in `TABLES`.
"""

import hashlib
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kobe.core.clock import as_utc
from kobe.core.errors import IntegrityError, SchemaError, UsageError
from kobe.core.ids import canonical_json, digest
from kobe.core.ports import Artifacts
from kobe.infra import durable

if TYPE_CHECKING:
    import polars as pl

MANIFEST = "manifest.json"
SCHEMA_VERSION = 1
KNOWN_AT = "known_at"
STAMPS = ("source", "fetched_at")
"""What the store adds to every row: who told it, and when that was read."""
REASONS: dict[str, str] = {
    "missing_key": "a column of the key or the instant it was known is empty",
    "contradicts_itself": "the delivery tells the same key and instant in two ways",
    "not_later_than_held": "it differs from what is held, but was neither known nor fetched later",
}
"""Why a delivered row is refused; whatever is wrong with its values the importers say before."""


@dataclass(frozen=True, slots=True)
class Table:
    """What a table of the store holds.

    Attributes:
        about: what a row is.
        key: columns that name a row; its revisions share them.
        columns: name -> text, day, number or instant (UTC, microseconds), `known_at` included.
        known_at: the column with the instant from which a row could be used.
    """

    about: str
    key: tuple[str, ...]
    columns: Mapping[str, str]
    known_at: str = KNOWN_AT

    @property
    def content(self) -> tuple[str, ...]:
        """The columns that make two rows of one key differ."""
        return tuple(c for c in self.columns if c not in self.key and c != self.known_at)


TABLES: dict[str, Table] = {
    "vix": Table(
        "the VIX of one session, in index points",
        ("date",),
        {"date": "day", "open": "number", "high": "number", "low": "number", "close": "number", KNOWN_AT: "instant"},
    ),
    "earnings": Table(
        "when a company reports a period (kind announcement), or when its filing was first seen (kind filing_seen)",
        ("symbol", "kind", "period"),
        {"symbol": "text", "kind": "text", "period": "text", "date": "day", "part": "text", KNOWN_AT: "instant"},
    ),
    "headlines": Table(
        "one headline under one symbol",
        ("symbol", "published_at", "title"),
        {"symbol": "text", "published_at": "instant", "title": "text", "outlet": "text", "url": "text",
         "label": "text", KNOWN_AT: "instant"},
    ),
}  # fmt: skip
"""Every table: name -> what it holds. `learning` and `risk` see them through `app` only."""


@dataclass(frozen=True)
class Prepared:
    """What an importer made of a delivered frame.

    Attributes:
        rows: what may be written, in the table's columns.
        rejected: rows set aside, as they came, with the column `reason`.
        notes: rule -> rows that are kept although it applies.
    """

    rows: "pl.DataFrame"
    rejected: "pl.DataFrame"
    notes: Mapping[str, int] = field(default_factory=dict)

    @property
    def reasons(self) -> dict[str, int]:
        """Reason -> rows set aside for it."""
        return counted(self.rejected)


@dataclass(frozen=True)
class Written:
    """What a write did, in rows.

    Attributes:
        table: its name.
        added: new keys.
        revised: held keys that are told otherwise now; the earlier revision stays.
        unchanged: told again, or held as it is.
        rejected: refused rows with the column `reason`, one of `REASONS`.
    """

    table: str
    added: int
    revised: int
    unchanged: int
    rejected: "pl.DataFrame"

    @property
    def reasons(self) -> dict[str, int]:
        """Reason -> rows refused for it."""
        return counted(self.rejected)


@dataclass(frozen=True, slots=True)
class Part:
    """One immutable file of the store."""

    name: str
    digest: str
    rows: int


@dataclass(frozen=True)
class ReferenceStore:
    """The small tables, as files of one folder; written by one process at a time, read by many.

    Attributes:
        folder: where the files are; made at the first write.
        artifacts: writes them.
    """

    folder: Path
    artifacts: Artifacts

    def write(self, name: str, frame: "pl.DataFrame", source: str, fetched_at: datetime) -> Written:
        """Add what a delivery tells to a table, durably; the same delivery again changes nothing.

        A held key only ever grows forward: a row that differs is known from its own instant if that is later than
        everything held of the key, else from `fetched_at` on. So no reading at a past instant changes.

        Args:
            name: key in `TABLES`.
            frame: the table's columns; others are ignored, order is free.
            source: who told it.
            fetched_at: when it was read, aware.

        Raises:
            UsageError: there is no such table.
            SchemaError: a column is missing or of another type.
            IntegrityError: the store is damaged.
        """
        import polars as pl

        table = _table(name)
        told = _typed(frame, table)
        parts = self._parts()
        held = self._rows(name, parts)
        sound, refused = _judged(told, table)
        rows, outcome = _merged(sound, held, table, as_utc(fetched_at))
        new = rows.with_columns(source=pl.lit(source), fetched_at=pl.lit(as_utc(fetched_at), pl.Datetime("us", "UTC")))
        if len(new):
            order = [*table.key, table.known_at]
            self._publish(name, pl.concat([held, new.select(held.columns)]).sort(order, maintain_order=True), parts)
        rejected = pl.concat([refused, *outcome.pop("refused")])
        return Written(table=name, rejected=rejected, **outcome)

    def read(self, name: str) -> "pl.DataFrame":
        """Return every revision of every row, by key and instant, with the columns `STAMPS`; empty where none are held.

        Raises:
            UsageError: there is no such table.
            IntegrityError: the store is damaged.
        """
        _table(name)
        return self._rows(name, self._parts())

    def holds(self, name: str) -> bool:
        """Say whether there is any row of a table.

        Raises:
            UsageError: there is no such table.
            IntegrityError: the store is damaged.
        """
        _table(name)
        return name in self._parts()

    def as_of(self, name: str, instant: datetime) -> "pl.DataFrame":
        """Return what was known at an instant, that instant included: of each key the newest revision known by then.

        The column `first_known_at` says since when the key was known at all.
        """
        import polars as pl

        table = _table(name)
        known = self.read(name).filter(pl.col(table.known_at) <= as_utc(instant))
        first = pl.col(table.known_at).min().over(table.key).alias("first_known_at")
        newest = known.with_columns(first).sort(table.known_at, maintain_order=True)
        return newest.unique(table.key, keep="last", maintain_order=True).sort(table.key)

    def _parts(self) -> dict[str, Part]:
        content = self._content(MANIFEST)
        if content is None:
            return {}
        try:
            document = json.loads(content)
            body = document["body"]
            if document["digest"] != digest(body):
                raise _damaged(MANIFEST, "its digest differs from its content's")
            if body["schema"] != SCHEMA_VERSION:
                seen = body["schema"]
                raise SchemaError("the reference tables are another kobe's", seen=seen, expected=SCHEMA_VERSION)
            return {name: Part(**part) for name, part in body["tables"].items()}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise _damaged(MANIFEST, error) from error

    def _rows(self, name: str, parts: Mapping[str, Part]) -> "pl.DataFrame":
        import polars as pl

        schema = _schema(TABLES[name])
        part = parts.get(name)
        if part is None:
            return pl.DataFrame(schema=schema)
        content = self._content(part.name)
        if content is None:
            raise _damaged(part.name, "it is not there")
        if hashlib.sha256(content).hexdigest() != part.digest:
            raise _damaged(part.name, "its digest differs from the manifest's")
        try:
            rows = pl.read_parquet(io.BytesIO(content))
        except pl.exceptions.PolarsError as error:
            raise _damaged(part.name, error) from error
        if dict(rows.schema) != schema:
            raise SchemaError(f"the table {name} is another kobe's", seen=rows.columns, expected=list(schema))
        return rows

    def _content(self, name: str) -> bytes | None:
        try:
            return (self.folder / name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise durable.fault(error, self.folder / name) from error

    def _publish(self, name: str, rows: "pl.DataFrame", before: Mapping[str, Part]) -> None:
        """Write the part, then the manifest; then forget what neither this state nor the one before needs."""
        buffer = io.BytesIO()
        rows.write_parquet(buffer, compression="zstd")
        content = buffer.getvalue()
        fingerprint = hashlib.sha256(content).hexdigest()
        part = Part(f"{name}-{fingerprint[:16]}.parquet", fingerprint, len(rows))
        self.artifacts.write(self.folder / part.name, content)
        after = {**before, name: part}
        tables = {key: {"name": p.name, "digest": p.digest, "rows": p.rows} for key, p in after.items()}
        body: dict[str, Any] = {"schema": SCHEMA_VERSION, "tables": tables}
        document = canonical_json({"body": body, "digest": digest(body)})
        self.artifacts.write(self.folder / MANIFEST, document.encode())
        self.artifacts.sweep(self.folder)
        needed = {p.name for p in (*before.values(), *after.values())}
        try:
            for path in self.folder.glob("*.parquet"):
                if path.name not in needed:
                    path.unlink(missing_ok=True)
        except OSError as error:
            raise durable.fault(error, self.folder) from error


def counted(rejected: "pl.DataFrame") -> dict[str, int]:
    """Count rows per reason, sorted by reason."""
    return {str(reason): int(n) for reason, n in rejected.group_by("reason").len().sort("reason").iter_rows()}


def end_of_day(column: str) -> "pl.Expr":
    """Return the midnight in New York that ends a day, in UTC: where a stamp names only a day, nothing earlier is sure.

    Args:
        column: of type Date.
    """
    import polars as pl

    return (
        pl.col(column).dt.offset_by("1d").cast(pl.Datetime("us")).dt.replace_time_zone("America/New_York")
        .dt.convert_time_zone("UTC")
    )  # fmt: skip


def needed(frame: "pl.DataFrame", columns: Iterable[str], what: str) -> None:
    """Refuse a frame that lacks a column.

    Raises:
        SchemaError: it names what is missing.
    """
    missing = [c for c in columns if c not in frame.columns]
    if missing:
        raise SchemaError(f"{what} lacks a column", seen=sorted(frame.columns), expected=", ".join(missing))


def _table(name: str) -> Table:
    table = TABLES.get(name)
    if table is None:
        raise UsageError("no such reference table", seen=name, expected=", ".join(TABLES))
    return table


def _damaged(name: str, why: object) -> IntegrityError:
    return IntegrityError(
        f"the reference tables are damaged at {name}",
        seen=str(why).splitlines()[0][:160] if str(why) else type(why).__name__,
        expected="the file the manifest names; restore the folder from a backup, or remove it and import again",
        next_command="kobe doctor",
    )


def _kinds() -> "dict[str, pl.DataType]":
    import polars as pl

    return {"text": pl.String(), "day": pl.Date(), "number": pl.Float64(), "instant": pl.Datetime("us", "UTC")}


def _schema(table: Table) -> "dict[str, pl.DataType]":
    kinds = _kinds()
    stamps = {"source": kinds["text"], "fetched_at": kinds["instant"]}
    return {**{name: kinds[kind] for name, kind in table.columns.items()}, **stamps}


def _typed(frame: "pl.DataFrame", table: Table) -> "pl.DataFrame":
    import polars as pl

    needed(frame, table.columns, "the delivery")
    kinds = _kinds()
    for name, kind in table.columns.items():
        if kind == "instant" and not _aware(frame.schema[name]):
            raise SchemaError(f"{name} needs a time zone", seen=frame.schema[name], expected="an aware instant")
    try:
        return frame.select(pl.col(name).cast(kinds[kind]) for name, kind in table.columns.items())
    except pl.exceptions.PolarsError as error:
        raise SchemaError("a column is of another type", seen=str(error).splitlines()[0][:160]) from error


def _aware(kind: "pl.DataType") -> bool:
    import polars as pl

    return kind == pl.Null or (isinstance(kind, pl.Datetime) and kind.time_zone is not None)


def _judged(told: "pl.DataFrame", table: Table) -> "tuple[pl.DataFrame, pl.DataFrame]":
    """Split a delivery into rows that can be merged, by instant, and those that cannot, with the reason."""
    import polars as pl

    name = [*table.key, table.known_at]
    once = told.unique(maintain_order=True)
    reason = (
        pl.when(pl.any_horizontal(pl.col(name).is_null())).then(pl.lit("missing_key"))
        .when(pl.struct(name).is_duplicated()).then(pl.lit("contradicts_itself"))
    )  # fmt: skip
    marked = once.with_columns(reason=reason)
    sound = marked.filter(pl.col("reason").is_null()).drop("reason").sort(table.known_at, maintain_order=True)
    return sound, marked.filter(pl.col("reason").is_not_null())


def _merged(
    told: "pl.DataFrame", held: "pl.DataFrame", table: Table, fetched_at: datetime
) -> "tuple[pl.DataFrame, dict[str, Any]]":
    """Return the rows to append, and the counts of what the others were."""
    import polars as pl

    newest = {row[0]: row[1:] for row in _facts(held.sort(table.known_at, maintain_order=True), table)}
    kept: list[int] = []
    known: list[datetime] = []
    refused: list[int] = []
    added = revised = unchanged = 0
    for place, (key, content, instant) in enumerate(_facts(told, table)):
        before = newest.get(key)
        if before is not None and before[0] == content:
            unchanged += 1
            continue
        since = instant if before is None or instant > before[1] else fetched_at
        if before is not None and since <= before[1]:
            refused.append(place)
            continue
        added, revised = added + (before is None), revised + (before is not None)
        newest[key] = (content, since)
        kept.append(place)
        known.append(since)
    instants = pl.Series(table.known_at, known, dtype=pl.Datetime("us", "UTC"))
    late = told[refused].with_columns(reason=pl.lit("not_later_than_held"))
    counts = {"added": added, "revised": revised, "unchanged": unchanged, "refused": [late]}
    return told[kept].with_columns(instants), counts


def _facts(frame: "pl.DataFrame", table: Table) -> "Iterable[tuple[Any, Any, datetime]]":
    """Yield key, content and instant of each row; NaN counts as absent, so that it equals itself."""
    import polars as pl

    plain = frame.with_columns(pl.selectors.float().fill_nan(None))
    keys = plain.select(table.key).iter_rows()
    content = plain.select(table.content).iter_rows()
    return zip(keys, content, frame.get_column(table.known_at).to_list(), strict=True)
