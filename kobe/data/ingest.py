"""Bring bars and events into the store: screen, compare with what is there, keep, put odd symbols on hold, say so."""

from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from kobe.core.errors import DataError, UsageError
from kobe.core.ids import short_digest
from kobe.core.ports import Artifacts
from kobe.data import actions, holds, inspection
from kobe.data.holds import Hold
from kobe.data.manifest import Manifest, Origin, Part, Provenance
from kobe.data.quality import SERIES_RULES, Scope
from kobe.data.store import STORED, BarStore, Change

OVERLAP_TOLERANCE = 1e-3  # closes of one bar from two deliveries may differ by rounding, not by an adjustment (D13)
PRICE_TOLERANCE = 1e-2
CONTEXT_YEARS = 1  # what the series rules need to see before the first new bar
CLOSED_SHARE, MANY_CLOSED = 0.05, 10
_FACTS = [name for name in STORED if name != "origin"]
_DERIVED = [rule.code for rule in SERIES_RULES]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shipment:
    """Bars and events of one delivery.

    Attributes:
        bars: the store's columns without `origin`, in any order, nothing judged yet.
        events: corporate actions that came with them, in the store's columns.
        provenance: what the bars mean.
        fetched_at: when they were read, ISO 8601 in UTC.
        rebased: symbols whose whole history is in it and takes the place of the one held, because their source
            tells another past now (a split adjusted backwards).
    """

    bars: pl.DataFrame
    events: pl.DataFrame
    provenance: Provenance
    fetched_at: str
    rebased: frozenset[str] = frozenset()

    @property
    def origin(self) -> Origin:
        """What each bar of it points to."""
        p = self.provenance
        return Origin(p.source, p.feed, p.adjustment, self.fetched_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingested:
    """What an import did.

    Attributes:
        manifest: the store afterwards.
        read, kept, aside: bars.
        reasons: reason -> bars set aside.
        aside_file: where they are kept for a person, or None.
        new_holds: symbols put on hold by it.
        found: what the series rules found in and around the new bars (`inspection.findings`).
        unproved: symbols that were held and share no day with what came, so that no close could be compared.
    """

    manifest: Manifest
    read: int
    kept: int
    aside: int
    reasons: dict[str, int]
    aside_file: Path | None
    new_holds: tuple[Hold, ...]
    found: pl.DataFrame
    unproved: int


def ingest(
    shipment: Shipment, store: BarStore, artifacts: Artifacts, aside_folder: Path, scope: Scope, *, replace: bool
) -> Ingested:
    """Check a shipment and merge it into the store, or make it the store's whole content.

    A symbol whose closes disagree with the store's on a common date is set aside whole and put on hold: one of the
    two deliveries is adjusted otherwise or wrong, and a merged series would hold a phantom jump. Bars that agree are
    taken over as the newer word.

    Raises:
        UsageError: the store holds bars of another meaning and `replace` was not asked for.
        DataError: no bar passed the rules.
    """
    screened = inspection.screen(shipment.bars, scope)
    _refuse_shifted(screened)
    good = screened.good
    before = None if replace else store.held()
    events, contradicting = actions.merge(store.actions(), actions.judge(shipment.events).good)
    clashes: list[Hold] = []
    unproved, aside = 0, [screened.aside]
    if before is not None:
        good = good.with_columns(pl.col("symbol").cast(pl.String))
        _refuse_mixture(before.provenance, shipment.provenance)
        good, clashed, clashes, unproved = _compared(good, store, shipment, scope)
        aside.append(clashed)
    set_aside = pl.concat(aside, how="diagonal")
    path = _write_aside(set_aside, aside_folder, artifacts)
    if len(good) == 0 and not clashes:
        raise DataError(
            "no bar passed the checks, the store is unchanged", seen=inspection.counts(set_aside),
            next_command=f"look at {path}" if path else "kobe data import --help",
        )  # fmt: skip
    called, change, begun = [*clashes, *contradictions(contradicting, scope)], None, None
    found = pl.DataFrame(schema=inspection.FINDING)
    if len(good):
        change, begun, found = _change(good, shipment, store, before, scope, events)
        called += inspection.holds_of(found, scope.calendar)
    held = store.holds()
    already = set(held.select(holds.KEY).rows())
    if change is None:
        manifest = store.amend(held=holds.merge(held, holds.to_frame(called)))
    else:
        manifest = store.commit(_with_holds(change, held, called, fresh=before is None), begun)
    return Ingested(
        manifest=manifest,
        read=len(shipment.bars),
        kept=len(good),
        aside=len(set_aside),
        reasons=inspection.counts(set_aside),
        aside_file=path,
        found=found,
        new_holds=tuple(h for h in sorted(set(called)) if (h.symbol, h.code, h.since) not in already),
        unproved=unproved,
    )


def _refuse_shifted(screened: inspection.Screened) -> None:
    """A file whose bars often fall on closed days has all its dates wrong, also those that look right."""
    closed = inspection.counts(screened.aside).get("not_a_session", 0)
    read = len(screened.good) + len(screened.aside)
    if closed > MANY_CLOSED and closed > CLOSED_SHARE * read:
        raise DataError(
            "the dates cannot be session dates, the store is unchanged",
            seen=f"{closed:,} of {read:,} bars on days the exchange was closed",
            expected="New York session dates; a shift by a day is usually a time zone",
        )


def _refuse_mixture(present: Provenance, given: Provenance) -> None:
    if (present.adjustment, present.feed, present.universe) == (given.adjustment, given.feed, given.universe):
        return
    raise UsageError(
        "the store holds bars of another kind, and mixing them would make phantom jumps",
        seen=f"adjustment {given.adjustment}, feed {given.feed}, universe {given.universe}",
        expected=f"adjustment {present.adjustment}, feed {present.feed}, universe {present.universe}",
        next_command="kobe data import FILE --replace",
    )


def _compared(
    new: pl.DataFrame, store: BarStore, shipment: Shipment, scope: Scope
) -> tuple[pl.DataFrame, pl.DataFrame, list[Hold], int]:
    """Return the bars that may be merged, those of clashing symbols, their holds, how many could not be compared."""
    years = _years_of(new)
    names = new.get_column("symbol").unique().implode()
    held = store.frame(years).filter(pl.col("symbol").is_in(names))
    both = new.join(held.drop("raw_factor"), on=["symbol", "date"], suffix="_held").rename({"close_held": "was"})
    off = both.filter(_differs() & ~pl.col("symbol").is_in(_rewritten(new, store, shipment.rebased))).sort("date")
    source = shipment.provenance.source
    origins = store.manifest().origins
    clashes = [
        _clash(symbol, day, close, was, source, origins[number].source, scope)
        for symbol, day, close, was, number in off.unique("symbol", keep="first", maintain_order=True)
        .select("symbol", "date", "close", "was", "origin").iter_rows()
    ]  # fmt: skip
    code = {hold.symbol: hold.code for hold in clashes}
    bad = pl.col("symbol").is_in(list(code))
    aside = new.filter(bad).with_columns(
        reasons=pl.col("symbol").replace_strict(code, default="", return_dtype=pl.String)
    )
    known = set(store.manifest().symbols) & set(new.get_column("symbol").unique().to_list())
    return new.filter(~bad), aside, clashes, len(known - set(both.get_column("symbol").to_list()))


def _differs() -> pl.Expr:
    """Two tellings of one bar: closes agree to rounding, the other prices nearly, volumes within a factor of two."""
    far = [(pl.col(c) / pl.col(f"{c}_held") - 1.0).abs() > PRICE_TOLERANCE for c in ("open", "high", "low")]
    ratio = pl.col("volume") / pl.col("volume_held")
    thin = (pl.col("volume_held") > 0) & ~ratio.is_between(0.5, 2.0)
    return pl.any_horizontal((pl.col("close") / pl.col("was") - 1.0).abs() > OVERLAP_TOLERANCE, *far, thin)


def _rewritten(new: pl.DataFrame, store: BarStore, rebased: frozenset[str]) -> list[str]:
    """Return the rebased symbols that bring every day that is held: a shorter past takes no longer one's place."""
    if not rebased:
        return []
    held = store.frame().filter(pl.col("symbol").is_in(list(rebased)))
    short = set(held.join(new, on=["symbol", "date"], how="anti").get_column("symbol").unique().to_list())
    return sorted(rebased - short)


def _clash(symbol: str, day: object, close: float, was: float, source: str, other: str, scope: Scope) -> Hold:
    code = "overlap_mismatch" if source == other else "source_disagreement"
    return inspection.hold_of(symbol, code, day, f"{other} {was:g}, {source} {close:g}", scope.calendar)


def contradictions(events: pl.DataFrame, scope: Scope) -> list[Hold]:
    """Return the holds of events that contradict what is on record: which of the two is right, a person must say."""
    rows = events.select("symbol", "date", "kind", "value", "was").iter_rows()
    calendar = scope.calendar
    return [
        inspection.hold_of(
            symbol, "event_disagreement", calendar.previous_or_same(day), f"{kind} {was}, now {value}", calendar
        )
        for symbol, day, kind, value, was in rows
    ]


def _years_of(bars: pl.DataFrame) -> list[int]:
    return sorted(bars.get_column("date").dt.year().unique().to_list())


def _change(
    good: pl.DataFrame, shipment: Shipment, store: BarStore, before: Manifest | None, scope: Scope, events: pl.DataFrame
) -> tuple[Change, dict[int, Future[Part]], pl.DataFrame]:
    """Return what to commit, its years on their way to the disk, and what the series rules find in it."""
    origins = () if before is None else before.origins
    number = origins.index(shipment.origin) if shipment.origin in origins else len(origins)
    new = good.with_columns(origin=pl.lit(number, pl.UInt16)).select(list(STORED))
    held, everything = _merged(new, store, before)
    fresh = new if held is None else new.join(held, on=_FACTS, how="anti")
    changed = None if held is None else set(_years_of(fresh))  # an empty store changes in every year there is
    years: dict[int, pl.DataFrame] = {}
    parts = ((y, years.setdefault(y, part)) for y, part in _by_year(everything) if changed is None or y in changed)
    begun = store.begin(parts)  # a year goes to the disk as soon as it is cut out, and meanwhile the rules look
    context = everything
    if held is not None:
        context = everything.filter(pl.col("symbol").is_in(new.get_column("symbol").unique().implode()))
    found = inspection.findings(context, events, scope)
    change = Change(
        years=years,
        origins=origins if number < len(origins) or len(fresh) == 0 else (*origins, shipment.origin),
        provenance=_joined(before, shipment.provenance),
        actions=events,
        only=before is None,
    )
    return change, begun, found


def _by_year(bars: pl.DataFrame) -> Iterator[tuple[int, pl.DataFrame]]:
    """Yield each year's bars in the order they stand in; a third of the time of a `group_by`."""
    days = bars.get_column("date").to_physical().to_numpy()
    if len(days) == 0:
        return
    first = int(days.min())
    calendar_years = np.arange(first, int(days.max()) + 1).astype("datetime64[D]").astype("datetime64[Y]").astype(int)
    number = (calendar_years - calendar_years[0]).astype(np.uint16)[days - first]
    by_year = bars[np.argsort(number, kind="stable").astype(np.uint32)]
    begin = 0
    for k, count in enumerate(np.bincount(number).tolist()):
        if count:
            yield int(calendar_years[0]) + 1970 + k, by_year[begin : begin + count]
        begin += count


def _merged(new: pl.DataFrame, store: BarStore, before: Manifest | None) -> tuple[pl.DataFrame | None, pl.DataFrame]:
    """Return the held bars of the years concerned, or None, and those bars with the new ones in their place.

    A bar told again just as it is held stays as it is, with the origin it came from first.
    """
    if before is None:
        return None, new
    years = _years_of(new)
    span = range(years[0] - CONTEXT_YEARS, years[-1] + 1)
    held = store.frame([int(y) for y in before.years if int(y) in span])
    changed = new.join(held, on=_FACTS, how="anti")
    rest = held.join(changed, on=["symbol", "date"], how="anti")
    return held, pl.concat([rest, changed]).sort("symbol", "date")


def _joined(before: Manifest | None, given: Provenance) -> Provenance:
    if before is None or before.provenance == given:
        return given
    sources = sorted({*before.provenance.source.split("+"), given.source})
    return Provenance(source="+".join(sources), feed=given.feed, adjustment=given.adjustment, universe=given.universe)


def _with_holds(change: Change, held: pl.DataFrame, called: list[Hold], *, fresh: bool) -> Change:
    if fresh:  # bars that are gone hold nobody back; what a person released stays released
        held = held.filter(pl.col("released") != "")
    return Change(
        years=change.years, origins=change.origins, provenance=change.provenance, actions=change.actions,
        holds=holds.merge(held, holds.to_frame(called)), only=change.only,
    )  # fmt: skip


def rechecked(store: BarStore, scope: Scope, bars: pl.DataFrame | None = None) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Look at the whole store again, or at its bars where they were read already.

    Returns:
        All findings, and the holds as they should be: those the rules call for today, those that came from outside
        the bars, and every release.
    """
    found = inspection.findings(store.frame() if bars is None else bars, store.actions(), scope)
    held = store.holds()
    called = holds.to_frame(inspection.holds_of(found, scope.calendar))
    kept = held.filter(~pl.col("code").is_in(_DERIVED) | (pl.col("released") != ""))
    return found, holds.merge(kept, called)


def _write_aside(aside: pl.DataFrame, folder: Path, artifacts: Artifacts) -> Path | None:
    if len(aside) == 0:
        return None
    safe = pl.col("symbol").str.replace(r"^([=+\-@\t\r])", "'${1}")  # a spreadsheet must not run what came from outside
    text = aside.with_columns(safe).write_csv()
    path = folder / f"quarantine-{short_digest(text)}.csv"
    artifacts.write(path, text.encode())
    return path
