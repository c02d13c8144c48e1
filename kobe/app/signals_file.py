"""The data set of the last walk-forward: one row per out-of-sample signal, read in one way by all who learn from it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kobe.core.errors import MissingDataError, ModelError

if TYPE_CHECKING:
    import polars as pl

DATASET = "dataset.parquet"


def stamp(folder: Path) -> tuple[int, ...] | None:
    """Return which file the data set of a `wf_outputs` folder is; None where there is none."""
    try:
        found = (folder / DATASET).stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def read_signals(folder: Path, needed: Sequence[str]) -> "pl.DataFrame":
    """Read the data set of a `wf_outputs` folder.

    Raises:
        MissingDataError: there was no walk-forward.
        ModelError: the file cannot be read, or lacks a column.
    """
    import polars as pl

    path = folder / DATASET
    try:
        frame = pl.read_parquet(path)
    except FileNotFoundError as error:
        raise MissingDataError("no walk-forward to learn from", seen=path, next_command="kobe walk-forward") from error
    except (pl.exceptions.PolarsError, OSError) as error:
        raise ModelError("the data set cannot be read", seen=error, next_command="kobe walk-forward") from error
    missing = [c for c in needed if c not in frame.columns]
    if missing:
        raise ModelError("the data set has other columns", seen=missing, next_command="kobe walk-forward")
    return frame
