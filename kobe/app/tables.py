"""Frames as files: what a program reads fast and what a person opens."""

from pathlib import Path
from typing import TYPE_CHECKING

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
