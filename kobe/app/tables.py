"""Tables as files: what a program reads and what a person opens."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kobe.core.ids import canonical_json
from kobe.core.ports import Artifacts

if TYPE_CHECKING:
    import polars as pl


def write_table(artifacts: Artifacts, stem: Path, frame: "pl.DataFrame", *, wait: bool = True) -> dict[str, str]:
    """Write a frame as Parquet and CSV; returns file name -> digest."""
    import io

    buffer = io.BytesIO()
    frame.write_parquet(buffer, compression="zstd")
    written = {stem.name + ".parquet": buffer.getvalue(), stem.name + ".csv": frame.write_csv().encode()}
    return {name: artifacts.write(stem.parent / name, content, wait=wait) for name, content in written.items()}


def write_rows(
    artifacts: Artifacts, stem: Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]
) -> dict[str, str]:
    """Write a few JSON-ready rows with these keys as JSONL and CSV, without a frame; returns file name -> digest."""
    lines = "".join(canonical_json(row) + "\n" for row in rows)
    written = {stem.name + ".jsonl": lines, stem.name + ".csv": csv_of(rows, columns)}
    return {name: artifacts.write(stem.parent / name, text.encode()) for name, text in written.items()}


def csv_of(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """Return rows as CSV as polars writes it: nothing for None, truths in small letters; no row is the header alone.

    Raises:
        ValueError: a row has another column.
    """
    import csv
    import io

    out = io.StringIO()
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: str(v).lower() if isinstance(v, bool) else v for k, v in row.items()} for row in rows)
    return out.getvalue()
