"""Bars from CSV or Parquet files, or a folder of either, with other column names mapped to ours."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl

from kobe.core.errors import MissingDataError, SchemaError
from kobe.data.quality import COLUMNS

REQUIRED = tuple(c for c in COLUMNS if c != "raw_factor")
KINDS = (".parquet", ".csv")
_SHARE_CLASS = r"^([A-Z]{1,5})[_/ ]([A-Z])$"  # BRK_B, BRK/B and BRK B are BRK.B
_REPEATED = "_duplicated_"  # what polars appends to the second column of a name
_GZIP = b"\x1f\x8b"
_TICKS_PER_DAY = {"ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}
EARLIEST, LATEST = date(1900, 1, 1), date(2100, 1, 1)


def read_bars(path: Path, mapping: Mapping[str, str]) -> pl.DataFrame:
    """Read daily bars into the store's columns; nothing is judged here but the schema.

    Args:
        path: a `.parquet` or `.csv` file, or a folder of them; in a folder, a file without a symbol column gives its
            name as the symbol (`AAPL.csv`).
        mapping: our column name -> the file's name, for those that differ.

    Raises:
        MissingDataError: there is no such file, or the folder has none.
        SchemaError: a file cannot be read, or a column is missing, there twice, or has no usable type.
    """
    if path.is_dir():
        files = sorted(p for p in path.iterdir() if p.suffix.lower() in KINDS and p.is_file())
        if not files:
            raise MissingDataError("the folder holds no bars", seen=path, expected=" or ".join(KINDS))
        parts = [_one(file, mapping, file.stem) for file in files]
        return pl.concat(part.with_columns(pl.col("symbol").cast(pl.String)) for part in parts)
    if not path.is_file():
        raise MissingDataError("no such file", seen=path, expected="a .parquet or .csv file of daily bars, or a folder")
    return _one(path, mapping, None)


def read_table(path: Path) -> pl.DataFrame:
    """Read a CSV or Parquet file as it is: types are guessed for CSV, nothing is renamed.

    Raises:
        MissingDataError: there is no such file.
        SchemaError: it cannot be read.
    """
    if not path.is_file():
        raise MissingDataError("no such file", seen=path, expected="a .parquet or .csv file")
    if path.suffix.lower() == ".parquet":
        return _read(path)
    try:
        return pl.read_csv(_unpacked(path), try_parse_dates=True, infer_schema_length=None, glob=False)
    except (pl.exceptions.PolarsError, OSError, EOFError) as error:
        raise SchemaError(f"{path.name} cannot be read", seen=_first_line(error)) from error


def _one(path: Path, mapping: Mapping[str, str], symbol: str | None) -> pl.DataFrame:
    frame = _renamed(_read(path), mapping, path.name)
    if symbol is not None and "symbol" not in frame.columns:
        frame = frame.with_columns(symbol=pl.lit(symbol))
    missing = [c for c in REQUIRED if c not in frame.columns]
    if missing:
        raise SchemaError(
            f"columns are missing in {path.name}: {', '.join(missing)}",
            seen=", ".join(frame.columns)[:300],
            expected=", ".join(REQUIRED),
            next_command=f"kobe data import {path.name} --map {missing[0]}=NAME_IN_FILE",
        )
    if "raw_factor" not in frame.columns:
        frame = frame.with_columns(pl.lit(1.0).alias("raw_factor"))
    numbers = [c for c in COLUMNS if c not in ("date", "symbol")]
    _refuse_odd_types(frame, numbers, path.name)
    try:
        with ThreadPoolExecutor(max_workers=1) as beside:
            symbols = beside.submit(_tickers, frame.get_column("symbol"))
            casts = [pl.col(c).cast(pl.Float64, strict=False) for c in numbers]
            return frame.select(_as_date(frame.schema["date"]), *casts).insert_column(1, symbols.result())
    except pl.exceptions.PolarsError as error:
        raise SchemaError(f"{path.name} has a column of an unusable type", seen=_first_line(error)) from error


def _renamed(frame: pl.DataFrame, mapping: Mapping[str, str], name: str) -> pl.DataFrame:
    twice = sorted({c.partition(_REPEATED)[0] for c in frame.columns if _REPEATED in c})
    if twice:
        raise SchemaError(
            f"columns are there twice in {name}", seen=", ".join(twice), expected="one column of each name"
        )
    absent = [theirs for theirs in mapping.values() if theirs not in frame.columns]
    clashing = [ours for ours, theirs in mapping.items() if ours in frame.columns and ours != theirs]
    if absent or clashing:
        what = "--map names a column the file does not have" if absent else "--map names a column the file has itself"
        raise SchemaError(what, seen=", ".join(absent or clashing), expected=", ".join(frame.columns)[:300])
    return frame.rename({theirs: ours for ours, theirs in mapping.items()})


def _refuse_odd_types(frame: pl.DataFrame, numbers: list[str], name: str) -> None:
    """Truth values, durations and lists can be cast to numbers, but they are none; an integer is no date."""
    odd = [c for c in numbers if not (frame.schema[c].is_numeric() or frame.schema[c] == pl.String)]
    odd += [] if frame.schema["date"] in (pl.String, pl.Date) or frame.schema["date"] == pl.Datetime else ["date"]
    if odd:
        told = ", ".join(f"{c}: {frame.schema[c]}" for c in odd)
        raise SchemaError(f"{name} has a column of an unusable type", seen=told, expected="numbers, and dates")


def _tickers(symbols: pl.Series) -> pl.Series:
    """Write symbols as kobe does, as numbers of a sorted list; worked out once per run of equal names, not per bar.

    Only plain letters are put into upper case: other alphabets have letters that turn into one of ours.
    """
    runs = symbols.cast(pl.String).rle().struct.unnest()
    told = _named(runs.get_column("value").alias(symbols.name))
    if len(runs) == len(symbols):
        return told
    return told.gather(np.repeat(np.arange(len(runs), dtype=np.uint32), runs.get_column("len").to_numpy()))


def _named(told: pl.Series) -> pl.Series:
    names = told.unique().drop_nulls().sort()
    plain = names.str.contains(r"^[\x20-\x7e]*$")
    ours = names.str.strip_chars().str.to_uppercase().str.replace(_SHARE_CLASS, "${1}.${2}").zip_with(plain, names)
    if (ours != names).any():
        told = told.replace_strict(names, ours, default=None, return_dtype=pl.String)
    return told.cast(pl.Enum(ours.unique().sort()))


def _read(path: Path) -> pl.DataFrame:
    kind = path.suffix.lower()
    if kind not in KINDS:
        raise SchemaError("unknown kind of file", seen=path.name, expected=" or ".join(KINDS))
    try:
        if kind == ".parquet":
            return pl.read_parquet(path.read_bytes())  # at once: one that changes while it is read makes polars panic
        return pl.read_csv(_unpacked(path), infer_schema=False, glob=False)
    except (pl.exceptions.PolarsError, OSError, EOFError) as error:
        raise SchemaError(f"{path.name} cannot be read", seen=_first_line(error)) from error


def _unpacked(path: Path) -> Path | bytes:
    """Return the file, or its content where it is packed: polars would take a torn archive for a short file."""
    import gzip

    with path.open("rb") as file:
        if file.read(2) != _GZIP:
            return path
    return gzip.decompress(path.read_bytes())


def _as_date(kind: pl.DataType) -> pl.Expr:
    """Read the session date; an instant that is not midnight in New York is no date, and becomes empty."""
    day = pl.col("date")
    if kind == pl.String:
        plain = day.str.strip_chars().str.extract(r"^(\d{4}-\d{2}-\d{2})(?:[T ]00:00(?::00(?:\.0+)?)?)?$", 1)
        found = plain.str.to_date("%Y-%m-%d", strict=False)
    elif isinstance(kind, pl.Datetime):
        local = day.dt.convert_time_zone("America/New_York").dt.replace_time_zone(None) if kind.time_zone else day
        midnight = local.to_physical() % _TICKS_PER_DAY[kind.time_unit] == 0
        found = local.cast(pl.Date)
        return pl.when(midnight & found.is_between(EARLIEST, LATEST)).then(found).alias("date")
    else:
        found = day.cast(pl.Date)
    return pl.when(found.is_between(EARLIEST, LATEST)).then(found).alias("date")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:160]
