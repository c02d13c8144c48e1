"""Odd bars and quotes: how far a value lies from the median of its own past, in robust deviations.

A deviation is 1.4826 times the median distance from the median: what a standard deviation is for a bell curve, and
what a few wild days do not move. Only bars up to the judged session are looked at, so later ones change nothing.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime

import numpy as np

from kobe.core.panel import Bars, Floats, Panel
from kobe.reports.document import Document, Section, Table

LEAST_PAST = 20
MOST_Z = 99.0
OF_BELL_CURVE, OF_MEAN = 1.4826, 1.2533
SPREAD = "spread"


def _log_return(bars: Bars, rows: slice) -> Floats:
    return np.diff(np.log(bars.close[rows]))


def _log_volume(bars: Bars, rows: slice) -> Floats:
    return np.log1p(bars.volume[rows])[1:]


def _log_range(bars: Bars, rows: slice) -> Floats:
    """Log of the day's range; a bar without one counts as a hundredth of a percent."""
    span = np.log(bars.high[rows] / bars.low[rows])[1:]
    return np.log(np.maximum(span, 1e-4))


MEASURES: dict[str, Callable[[Bars, slice], Floats]] = {
    "return": _log_return,
    "volume": _log_volume,
    "range": _log_range,
}
"""Name -> the values of some rows, the first one left out; one line adds a measure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One value against its past; `z` is NaN where there is too little of it. Logs, as `MEASURES` make them."""

    symbol: str
    measure: str
    value: float
    median: float
    z: float

    @property
    def words(self) -> str:
        """The reading for people."""
        return f"{self.symbol}: {_shown(self.measure, self.value, self.median)}, {self.z:+.1f} robust deviations"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One kind of data: when it was newest, how old that is, and whether it is too old; None: not judged."""

    name: str
    newest: date | datetime | None
    age: str
    is_old: bool | None


@dataclass(frozen=True, kw_only=True)
class Watched:
    """What was looked at in one session.

    Attributes:
        session: the judged one.
        names: symbol -> why it is watched.
        readings: every value that could be judged.
        silent: watched symbols without a bar of the session.
        sources: how old the data are.
        most_z: a reading at or beyond it is odd.
        banners: what every report on these bars says.
    """

    session: date
    names: Mapping[str, str]
    readings: Sequence[Reading]
    silent: Sequence[str]
    sources: Sequence[Source]
    most_z: float
    banners: tuple[str, ...] = ()

    @property
    def odd(self) -> list[Reading]:
        """The readings at or beyond the bound, the oddest first."""
        found = [r for r in self.readings if abs(r.z) >= self.most_z]
        return sorted(found, key=lambda r: (-abs(r.z), r.symbol, r.measure))


def robust_z(value: float, past: Floats) -> float:
    """Return how many robust deviations a value lies from the median of its past.

    Args:
        value: the judged one.
        past: float64[n], values before it; those that are not finite are left out.

    Returns:
        Within +-99; NaN with fewer than 20 values, or for a value that is no number. Where most of the past is one
        and the same value the mean distance stands in for the median one; where all of it is, any other value is 99.
    """
    known = past[np.isfinite(past)]
    if len(known) < LEAST_PAST or not math.isfinite(value):
        return math.nan
    median = float(np.median(known))
    distance = np.abs(known - median)
    scale = OF_BELL_CURVE * float(np.median(distance)) or OF_MEAN * float(np.mean(distance))
    away = value - median
    if abs(away) >= MOST_Z * scale:
        return math.copysign(MOST_Z, away) if away else 0.0
    return away / scale


def read(bars: Bars, session: int, window: int) -> list[Reading] | None:
    """Judge a symbol's bar of a session against the bars before it.

    Args:
        bars: of the symbol; what comes after the session is not looked at.
        session: its number.
        window: bars the median is taken of.

    Returns:
        One reading for each measure with enough of a past; None when there is no bar of the session.
    """
    end = int(np.searchsorted(bars.session, session, side="right"))
    if end == 0 or int(bars.session[end - 1]) != session:
        return None
    rows = slice(max(end - window - 2, 0), end)
    found = []
    for name, values_of in MEASURES.items():
        values = values_of(bars, rows)
        if len(values):
            found.append(_reading(bars.symbol, name, values))
    return [r for r in found if not math.isnan(r.z)]


def read_spread(symbol: str, spreads: Sequence[float]) -> Reading | None:
    """Judge the last of some quoted spreads, fractions of the middle, against those before; None with too few."""
    values = np.log(np.maximum(np.asarray(spreads, dtype=np.float64), 1e-6))
    if not len(values):
        return None
    found = _reading(symbol, SPREAD, values)
    return None if math.isnan(found.z) else found


def _reading(symbol: str, measure: str, values: Floats) -> Reading:
    value, past = float(values[-1]), values[:-1]
    median = float(np.median(past)) if len(past) else math.nan
    return Reading(symbol=symbol, measure=measure, value=value, median=median, z=robust_z(value, past))


def judge(panel: Panel, session: int, symbols: Sequence[str], window: int) -> tuple[list[Reading], list[str]]:
    """Judge some symbols in a session; also returns those without a bar of it."""
    readings, silent = list[Reading](), list[str]()
    for symbol in symbols:
        found = read(panel[symbol], session, window) if symbol in panel.symbols else None
        if found is None:
            silent.append(symbol)
        else:
            readings += found
    return readings, silent


def _shown(measure: str, value: float, median: float) -> str:
    if measure == "return":
        return f"return {math.expm1(value):+.2%}, usually {math.expm1(median):+.2%}"
    if measure == "volume":
        return f"volume {math.expm1(value):,.0f}, usually {math.expm1(median):,.0f}"
    return f"{measure} {math.exp(value):.2%} of the price, usually {math.exp(median):.2%}"


def build(watched: Watched) -> Document:
    """Build the report: what is odd first, then every reading and every source."""
    odd, silent = watched.odd, list(watched.silent)
    old = [s.name for s in watched.sources if s.is_old]
    told = [f"{len(odd)} odd of {len(watched.readings)} readings of {len(watched.names)} names"]
    told += [f"No bar of the session: {', '.join(silent)}"] if silent else []
    told += [f"Old: {', '.join(old)}"] if old else []
    every = sorted(watched.readings, key=lambda r: (-abs(r.z), r.symbol))
    readings = tuple(
        (r.symbol, watched.names.get(r.symbol, ""), _shown(r.measure, r.value, r.median), round(r.z, 1) + 0.0)
        for r in every
    )
    judged = {True: "yes", False: "no", None: "-"}
    sources = tuple((s.name, str(s.newest or "-")[:16], s.age, judged[s.is_old]) for s in watched.sources)
    return Document(
        schema="kobe.anomalies/1",
        title=f"Odd values at {watched.session}",
        summary=tuple(told),
        banners=watched.banners,
        sections=tuple(
            s
            for s in (
                Section(title="Odd", lines=tuple(r.words for r in odd)),
                Section(title="Readings", table=Table(columns=("symbol", "why", "value", "z"), rows=readings)),
                Section(title="Data", table=Table(columns=("source", "newest", "age", "too old"), rows=sources)),
            )
            if s.lines or (s.table is not None and s.table.rows)
        ),
        data={
            "session": str(watched.session), "odd_z": watched.most_z, "odd": [asdict(r) for r in odd],
            "readings": [asdict(r) for r in every], "silent": silent, "watched": dict(watched.names),
            "sources": [asdict(s) for s in watched.sources],
        },
    )  # fmt: skip
