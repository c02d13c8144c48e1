"""Bars from a CSV or Parquet file, with other column names mapped to ours."""

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from kobe.core.errors import MissingDataError, SchemaError
from kobe.data.quality import COLUMNS

REQUIRED = tuple(c for c in COLUMNS if c != "raw_factor")


def read_bars(path: Path, mapping: Mapping[str, str]) -> pl.DataFrame:
    """Read a file of daily bars into the store's columns; nothing is judged here but the schema.

    Args:
        path: `.parquet` or `.csv`.
        mapping: our column name -> the file's name, for those that differ.

    Raises:
        MissingDataError: there is no such file.
        SchemaError: the file cannot be read, or a column is missing or has no usable type.
    """
    if not path.is_file():
        raise MissingDataError("no such file", seen=path, expected="a .parquet or .csv file of daily bars")
    frame = _read(path)
    frame = frame.rename({theirs: ours for ours, theirs in mapping.items() if theirs in frame.columns})
    missing = [c for c in REQUIRED if c not in frame.columns]
    if missing:
        raise SchemaError(
            f"columns are missing in {path.name}: {', '.join(missing)}",
            seen=", ".join(frame.columns),
            expected=", ".join(REQUIRED),
            next_command=f"kobe data import {path.name} --map {missing[0]}=NAME_IN_FILE",
        )
    if "raw_factor" not in frame.columns:
        frame = frame.with_columns(pl.lit(1.0).alias("raw_factor"))
    numbers = [c for c in COLUMNS if c not in ("date", "symbol")]
    try:
        return frame.select(
            _as_date(frame.schema["date"]),
            pl.col("symbol").cast(pl.String).str.strip_chars().str.to_uppercase(),
            *[pl.col(c).cast(pl.Float64, strict=False) for c in numbers],
        )
    except pl.exceptions.PolarsError as error:
        raise SchemaError(f"{path.name} has a column of an unusable type", seen=_first_line(error)) from error


def _read(path: Path) -> pl.DataFrame:
    kind = path.suffix.lower()
    if kind not in (".parquet", ".csv"):
        raise SchemaError("unknown kind of file", seen=path.name, expected=".parquet or .csv")
    try:
        return pl.read_parquet(path) if kind == ".parquet" else pl.read_csv(path, infer_schema=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise SchemaError(f"{path.name} cannot be read", seen=_first_line(error)) from error


def _as_date(kind: pl.DataType) -> pl.Expr:
    if kind == pl.String:
        return pl.col("date").str.slice(0, 10).str.to_date("%Y-%m-%d", strict=False)
    return pl.col("date").cast(pl.Date)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:160]
