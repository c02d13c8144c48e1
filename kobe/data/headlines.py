"""Headlines as vendors deliver them, brought into one shape; the tone is `features.sentiment`'s business."""

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from kobe.core.clock import as_utc
from kobe.core.errors import SchemaError
from kobe.core.types import SYMBOL_PATTERN
from kobe.data.reference import KNOWN_AT, TABLES, Prepared, end_of_day

if TYPE_CHECKING:
    import polars as pl

LAYOUT: dict[str, tuple[str, ...]] = {
    "published_at": ("published_at", "ts", "published", "created_at"),
    "title": ("title", "headline"),
    "symbol": ("symbol", "tickers", "ticker", "stock"),
    "outlet": ("outlet", "source_name", "publisher", "author"),
    "url": ("url", "news_url", "link"),
    "label": ("label", "sentiment"),
    "arrived": ("known_at", "fetched_at"),
}
"""Our column -> what vendors call it, the first that is there; the first three must be there."""
REQUIRED = ("published_at", "title", "symbol")
RULES: dict[str, str] = {
    "no_stamp": "nobody knows when it was published",
    "no_title": "the title is empty",
    "too_long": "the title is longer than any headline",
    "bad_symbol": "no symbol, or nothing that can be one",
    "from_the_future": "published later than it was fetched",
    "repeat": "the same title under the same symbol on the same day; the earliest stays",
}
"""Why a row is set aside, in the order in which it is asked."""
NOTES: dict[str, str] = {
    "day_only": "the stamp is a midnight in UTC, so it names a day; known from the end of that day in New York",
    "several_symbols": "rows that name more than one symbol and became one row each",
}
"""What is counted of rows that are kept."""
LONGEST_TITLE = 2_000


def normalise(frame: "pl.DataFrame", fetched_at: datetime, *, archive: bool = False) -> Prepared:
    """Bring delivered headlines into the columns of the table `headlines`.

    A headline is known at the later of its publication and its arrival. An archive tells no arrivals: with `archive`
    the vendor's stamp stands for both, which trusts that nothing was back-dated; say so where results are shown.

    Args:
        frame: one of the layouts of `LAYOUT`; instants aware. Several symbols in one row are parted by commas.
        fetched_at: when the frame was read, aware; the arrival of rows that tell none.
        archive: the frame is history that was collected by somebody else.

    Raises:
        SchemaError: no column can be the publication, the title or the symbol, or an instant is naive.
    """
    import polars as pl

    told = _columns(frame, as_utc(fetched_at), archive=archive)
    split = told.with_columns(symbol=pl.col("symbol").str.to_uppercase().str.split(","))
    several = int((split.get_column("symbol").list.len() > 1).sum())
    rows = split.explode("symbol").with_columns(pl.col("symbol").str.strip_chars())
    day_only = pl.col("published_at").dt.time() == pl.time(0, 0)
    whole_day = rows.with_columns(day=pl.col("published_at").dt.date()).with_columns(ends=end_of_day("day"))
    known = pl.max_horizontal("published_at", "arrived", pl.when(day_only).then(pl.col("ends")))
    placed = whole_day.with_columns(known.alias(KNOWN_AT), day_only=day_only)
    ordered = placed.sort(KNOWN_AT, "published_at", "symbol", "title", nulls_last=True, maintain_order=True)
    marked = ordered.with_columns(reason=_reason(as_utc(fetched_at)))
    kept = marked.filter(pl.col("reason").is_null())
    notes = {"day_only": int(kept.get_column("day_only").sum()), "several_symbols": several}
    columns = list(TABLES["headlines"].columns)
    rejected = marked.filter(pl.col("reason").is_not_null()).select(*columns, "reason")
    return Prepared(
        rows=kept.select(columns).sort("symbol", "published_at", "title"),
        rejected=rejected,
        notes={k: n for k, n in notes.items() if n},
    )


def _found(columns: list[str]) -> Mapping[str, str]:
    """Return our column -> the delivered one."""
    found = {ours: next((name for name in theirs if name in columns), "") for ours, theirs in LAYOUT.items()}
    missing = [ours for ours in REQUIRED if not found[ours]]
    if missing:
        names = "; ".join(f"{ours}: {' or '.join(LAYOUT[ours])}" for ours in missing)
        raise SchemaError("no layout of headlines we know", seen=columns, expected=names)
    return {ours: theirs for ours, theirs in found.items() if theirs}


def _columns(frame: "pl.DataFrame", fetched_at: datetime, *, archive: bool) -> "pl.DataFrame":
    """Return published_at, title, symbol, outlet, url, label and arrived, typed; titles without odd characters."""
    import polars as pl

    found = _found(frame.columns)
    instant = pl.Datetime("us", "UTC")
    for ours in ("published_at", "arrived"):
        kind = frame.schema[found[ours]] if ours in found else None
        if kind is not None and not (isinstance(kind, pl.Datetime) and kind.time_zone is not None):
            raise SchemaError("an instant of a headline has no time zone", seen=f"{found[ours]}: {kind}")
    fallback = pl.lit(None if archive else fetched_at, instant)
    arrived = pl.col(found["arrived"]).cast(instant).fill_null(fallback) if "arrived" in found else fallback
    text = {
        ours: pl.col(found[ours]).cast(pl.String) if ours in found else pl.lit(None, pl.String)
        for ours in ("title", "symbol", "outlet", "url", "label")
    }
    # Control characters and line breaks in a title could forge lines of a report.
    clean = text.pop("title").str.replace_all(r"[\p{C}\s]+", " ").str.strip_chars()
    published = pl.col(found["published_at"]).cast(instant)
    return frame.select(published_at=published, title=clean, **text, arrived=arrived)


def _reason(fetched_at: datetime) -> "pl.Expr":
    """Return the first rule a row breaks, or null; rows stand in the order in which they were known."""
    import polars as pl

    title = pl.col("title")
    late = pl.lit(fetched_at, pl.Datetime("us", "UTC"))
    fault = (
        pl.when(pl.col("published_at").is_null()).then(pl.lit("no_stamp"))
        .when(title.is_null() | (title == "")).then(pl.lit("no_title"))
        .when(title.str.len_chars() > LONGEST_TITLE).then(pl.lit("too_long"))
        .when(~pl.col("symbol").str.contains(SYMBOL_PATTERN).fill_null(value=False)).then(pl.lit("bad_symbol"))
        .when(pl.col("published_at") > late).then(pl.lit("from_the_future"))
    )  # fmt: skip
    story = pl.struct("symbol", title.str.to_lowercase().alias("story"), "day", fault.alias("fault"))
    return pl.when(fault.is_null() & ~story.is_first_distinct()).then(pl.lit("repeat")).otherwise(fault)
