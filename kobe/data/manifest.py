"""What a bar store says it holds: its parts with their digests, where the bars came from, and the totals."""

import json
from dataclasses import asdict, dataclass
from datetime import date
from functools import cached_property, lru_cache
from typing import Any

from kobe.core.ids import canonical_json, short_digest

SCHEMA_VERSION = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where bars came from and what they mean.

    Attributes:
        source: provider or file; several are joined by `+`.
        feed: which tape the volume counts, `consolidated` or `iex`.
        adjustment: `raw` (tape prices, adjusted on read by the stored events), `split` or `total-return`.
        universe: `static-current` (a list of today, survivorship-biased) or `point-in-time`.
    """

    source: str
    feed: str = "consolidated"
    adjustment: str = "split"
    universe: str = "static-current"


@dataclass(frozen=True, slots=True, order=True)
class Origin:
    """One delivery: every bar of the store points to one."""

    source: str
    feed: str
    adjustment: str
    fetched_at: str


@dataclass(frozen=True, slots=True)
class Part:
    """One immutable file of the store."""

    name: str
    digest: str
    rows: int


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The store's table of contents, replaced last and whole."""

    years: dict[str, Part]
    actions: Part | None
    holds: Part | None
    origins: tuple[Origin, ...]
    rows: int
    symbols: tuple[str, ...]
    first: date
    last: date
    provenance: Provenance

    @cached_property
    def digest(self) -> str:
        """Changes with every bar, event and hold, and with what the bars mean."""
        parts = [part.digest if part else None for part in (*self.years.values(), self.actions, self.holds)]
        return short_digest([parts, asdict(self.provenance), SCHEMA_VERSION])

    @property
    def parts(self) -> list[Part]:
        """Every file the store needs."""
        return [*self.years.values(), *(p for p in (self.actions, self.holds) if p is not None)]

    def to_json(self) -> bytes:
        """Return the document as it is stored."""
        document = {**asdict(self), "first": str(self.first), "last": str(self.last), "schema": SCHEMA_VERSION}
        return canonical_json(document).encode()


@lru_cache(maxsize=4)
def parse(content: bytes) -> Manifest:
    """Read a stored manifest; the same bytes are read once, for every look at the panel asks whether they changed.

    Raises:
        ValueError, KeyError, TypeError: it is not one of this schema version.
    """
    document: dict[str, Any] = json.loads(content)
    if document["schema"] != SCHEMA_VERSION:
        raise ValueError(f"schema version {document['schema']}, this kobe reads {SCHEMA_VERSION}")
    return Manifest(
        years={year: _part(found) for year, found in sorted(document["years"].items())},
        actions=_part(document["actions"]) if document["actions"] else None,
        holds=_part(document["holds"]) if document["holds"] else None,
        origins=tuple(Origin(**found) for found in document["origins"]),
        rows=int(document["rows"]),
        symbols=tuple(document["symbols"]),
        first=date.fromisoformat(document["first"]),
        last=date.fromisoformat(document["last"]),
        provenance=Provenance(**document["provenance"]),
    )


def _part(found: dict[str, Any]) -> Part:
    return Part(str(found["name"]), str(found["digest"]), int(found["rows"]))
