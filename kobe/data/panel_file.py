"""A panel as a file of this machine: its facts and its columns as NumPy's own arrays, one after another, mapped.

Nothing but numpy is needed to read it, and nothing of it is read before it is used.
"""

import json
import mmap
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from kobe.core.calendar import Calendar
from kobe.core.errors import IntegrityError
from kobe.core.panel import BAR_COLUMNS, Panel
from kobe.data.manifest import Provenance

SUFFIX = ".panel"
COLUMNS = ("session", *BAR_COLUMNS, "raw_factor", "tradable")
_ALIGNED = 64


def write(panel: Panel, file: BinaryIO) -> None:
    """Write a panel; the columns begin at multiples of 64 bytes, as NumPy begins its data."""
    names = (*COLUMNS, "dividend") if panel.pays else COLUMNS  # dividends are kept only where there are any
    facts = {
        "symbols": list(panel.symbols),
        "offsets": panel.offsets.tolist(),
        "final_loss": [None if np.isnan(x) else float(x) for x in panel.final_loss],
        "columns": list(names),
    }
    text = np.frombuffer(json.dumps(facts).encode(), dtype=np.uint8)
    for array in (text, *(getattr(panel, name) for name in names)):
        np.lib.format.write_array(file, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
        file.write(bytes(-file.tell() % _ALIGNED))


def mapped(path: Path, calendar: Calendar, provenance: Provenance) -> Panel:
    """Map a panel into memory; nothing is copied.

    Raises:
        IntegrityError: the file is damaged.
    """
    try:
        with path.open("rb") as file:
            pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        arrays = _arrays(pages)
        facts = json.loads(next(arrays).tobytes())
        columns: dict[str, Any] = {name: next(arrays) for name in facts["columns"]}
        losses = np.array([np.nan if x is None else x for x in facts["final_loss"]], dtype=np.float64)
        return Panel(
            symbols=tuple(facts["symbols"]),
            offsets=np.array(facts["offsets"], dtype=np.int64),
            calendar=calendar,
            final_loss=losses,
            let_go=partial(pages.madvise, mmap.MADV_DONTNEED) if hasattr(mmap, "MADV_DONTNEED") else None,
            **columns,
            **asdict(provenance),
        )
    except (OSError, KeyError, TypeError, ValueError, StopIteration) as error:
        raise IntegrityError(
            "the panel cache is damaged", seen=path.name, next_command="kobe data repair"
        ) from error  # fmt: skip


def _arrays(pages: mmap.mmap) -> Iterator[npt.NDArray[Any]]:
    """View one array after the other.

    Raises:
        ValueError: what stands there is none, or only a part of one.
    """
    while pages.tell() < len(pages):
        if np.lib.format.read_magic(pages) != (1, 0):
            raise ValueError("an array of another version")
        (rows,), _, kind = np.lib.format.read_array_header_1_0(pages)
        start = pages.tell()
        yield np.frombuffer(pages, dtype=kind, count=rows, offset=start)
        end = start + rows * kind.itemsize
        pages.seek(min(end + -end % _ALIGNED, len(pages)))
