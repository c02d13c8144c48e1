"""The bar store: Parquet by year under a manifest, and a memory-mapped panel made from it.

Year files carry their digest in their name and are never rewritten; the manifest is replaced by rename, last. A
reader therefore sees the old store or the new one, never half of either.
"""

import json
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from kobe.core.calendar import Calendar
from kobe.core.errors import IntegrityError, MissingDataError
from kobe.core.ids import canonical_json, short_digest
from kobe.core.panel import BAR_COLUMNS, Panel
from kobe.core.ports import Artifacts

SCHEMA_VERSION = 1
PANEL_COLUMNS = ("session", *BAR_COLUMNS, "raw_factor")


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where bars came from and what they mean; all bars of a store share it."""

    source: str
    feed: str = "consolidated"
    adjustment: str = "split"
    universe: str = "static-current"


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What the store holds: year -> (file name, SHA-256), and the totals."""

    files: dict[str, tuple[str, str]]
    rows: int
    symbols: int
    first: date
    last: date
    provenance: Provenance

    @property
    def digest(self) -> str:
        """Changes with every bar and with what the bars mean."""
        return short_digest([self.files, asdict(self.provenance), SCHEMA_VERSION])


@dataclass(frozen=True)
class BarStore:
    """Daily bars on disk; written by one process at a time, read by many."""

    folder: Path
    calendar: Calendar
    artifacts: Artifacts

    @property
    def _manifest_path(self) -> Path:
        return self.folder / "manifest.json"

    def manifest(self) -> Manifest:
        """Read what the store holds.

        Raises:
            MissingDataError: nothing was imported yet.
            IntegrityError: the manifest is damaged.
        """
        try:
            text = self._manifest_path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise MissingDataError(
                "the store holds no bars", seen=self.folder, next_command="kobe data import FILE (or: kobe demo)"
            ) from None
        try:
            return _manifest_from(json.loads(text))
        except (ValueError, KeyError, TypeError) as error:
            raise _damaged(self._manifest_path, error) from error

    def frame(self) -> pl.DataFrame:
        """Read all bars, sorted by symbol and date, and check every file against its digest."""
        return pl.concat(self._year(name, sha) for name, sha in self.manifest().files.values()).sort("symbol", "date")

    def _year(self, name: str, sha: str) -> pl.DataFrame:
        path = self.folder / name
        try:
            content = path.read_bytes()
            if _sha(content) != sha:
                raise _damaged(path, "its digest differs from the manifest's")
            return pl.read_parquet(content)
        except (OSError, pl.exceptions.PolarsError) as error:
            raise _damaged(path, error) from error

    def replace(self, bars: pl.DataFrame, provenance: Provenance) -> Manifest:
        """Make these bars the content of the store; they must be clean and sorted by symbol and date."""
        files: dict[str, tuple[str, str]] = {}
        for (year,), part in sorted(bars.group_by(pl.col("date").dt.year())):
            content = _parquet(part.sort("symbol", "date"))
            sha = _sha(content)
            name = f"{year}-{sha[:12]}.parquet"
            self.artifacts.write(self.folder / name, content)
            files[str(year)] = (name, sha)
        days: list[date] = bars.get_column("date").unique().sort().to_list()
        manifest = Manifest(
            files=files,
            rows=len(bars),
            symbols=bars.get_column("symbol").n_unique(),
            first=days[0],
            last=days[-1],
            provenance=provenance,
        )
        document = {
            **asdict(manifest),
            "schema": SCHEMA_VERSION,
            "first": str(manifest.first),
            "last": str(manifest.last),
        }
        self.artifacts.write(self._manifest_path, canonical_json(document).encode())
        self._forget({name for name, _ in files.values()})
        return manifest

    def _forget(self, wanted: set[str]) -> None:
        """Delete year files and panels that no manifest names any more."""
        for old in self.folder.glob("*.parquet"):
            if old.name not in wanted:
                old.unlink(missing_ok=True)
        for old in self.folder.glob("cache/panel-*.arrow"):
            old.unlink(missing_ok=True)

    def panel(self) -> Panel:
        """Return every bar as a panel, memory-mapped from the cache; the cache is rebuilt when it is not there."""
        manifest = self.manifest()
        path = self.folder / "cache" / f"panel-{manifest.digest}-{self.calendar.digest}.arrow"
        if not path.exists():
            panel = panel_from(self.frame(), self.calendar, manifest.provenance)
            self.artifacts.write(path, _panel_bytes(panel))
        return _map_panel(path, self.calendar, manifest.provenance)


def _manifest_from(document: dict[str, Any]) -> Manifest:
    return Manifest(
        files={year: (str(name), str(sha)) for year, (name, sha) in sorted(document["files"].items())},
        rows=int(document["rows"]),
        symbols=int(document["symbols"]),
        first=date.fromisoformat(document["first"]),
        last=date.fromisoformat(document["last"]),
        provenance=Provenance(**document["provenance"]),
    )


def _damaged(path: Path, why: object) -> IntegrityError:
    return IntegrityError(
        f"the bar store is damaged at {path.name}",
        seen=str(why).splitlines()[0][:160],
        expected="the file the manifest names",
        next_command="kobe data import FILE --replace",
    )


def _sha(content: bytes) -> str:
    import hashlib

    return hashlib.sha256(content).hexdigest()


def _parquet(frame: pl.DataFrame) -> bytes:
    import io

    buffer = io.BytesIO()
    frame.write_parquet(buffer, compression="zstd", compression_level=3)
    return buffer.getvalue()


def panel_from(bars: pl.DataFrame, calendar: Calendar, provenance: Provenance) -> Panel:
    """Build a panel from clean bars sorted by symbol and date, without a store."""
    counts = bars.group_by("symbol", maintain_order=True).len()
    offsets = np.concatenate(([0], np.cumsum(counts.get_column("len").to_numpy())))
    days = bars.get_column("date").to_physical().to_numpy()
    columns: dict[str, Any] = {name: bars.get_column(name).to_numpy().copy() for name in PANEL_COLUMNS[1:]}
    return Panel(
        symbols=tuple(counts.get_column("symbol").to_list()),
        offsets=offsets.astype(np.int64),
        session=np.searchsorted(calendar.days, days).astype(np.int32),
        calendar=calendar,
        **columns,
        **asdict(provenance),
    )


def _panel_bytes(panel: Panel) -> bytes:
    import pyarrow as pa

    meta = {"symbols": list(panel.symbols), "offsets": panel.offsets.tolist()}
    columns = {name: getattr(panel, name) for name in PANEL_COLUMNS}
    batch = pa.record_batch(columns).replace_schema_metadata({"kobe": json.dumps(meta)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue())


def _view(column: Any) -> npt.NDArray[Any]:
    """View a mapped column as numpy; pyarrow's own way would import pandas first (0.4 s)."""
    kind = np.int32 if str(column.type) == "int32" else np.float64
    return np.frombuffer(column.buffers()[1], dtype=kind, count=len(column), offset=0)


def _map_panel(path: Path, calendar: Calendar, provenance: Provenance) -> Panel:
    import pyarrow as pa

    try:
        reader = pa.ipc.open_file(pa.memory_map(str(path)))
        batch = reader.get_batch(0)
        meta = json.loads(reader.schema.metadata[b"kobe"])
    except (pa.ArrowInvalid, OSError, KeyError, ValueError) as error:
        raise IntegrityError(
            "the panel cache is damaged", seen=path.name, next_command=f"delete {path.parent} and run again"
        ) from error
    columns: dict[str, Any] = {name: _view(batch.column(name)) for name in PANEL_COLUMNS}
    return Panel(
        symbols=tuple(meta["symbols"]),
        offsets=np.array(meta["offsets"], dtype=np.int64),
        calendar=calendar,
        **columns,
        **asdict(provenance),
    )
