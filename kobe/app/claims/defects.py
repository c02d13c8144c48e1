"""How many of the listed defects of the test data the quality rules find, and of defects planted into its bars."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from kobe.core.calendar import Calendar
from kobe.data import actions, inspection, quality
from kobe.data.quality import Scope

MAIN, OLD = "equities_daily", "equities_daily_2000_2009"
KIND_RULES = {
    "special dividend": ("special_dividend", "split_like_gap", "jump_without_event"),
    "split day": ("split_day_return", "split_not_on_tape"),
    "tiny split": ("tiny_split",),
    "zero volume": ("zero_volume",),
    "|ret|>40%": ("jump_without_event", "split_like_gap"),
    "missing sessions": ("missing_sessions",),
}
PLANTED = {
    "duplicate": ("duplicate",), "ohlc": ("ohlc_order",), "missing_session": ("missing_sessions",),
    "flat_bar": ("flat_bar",), "zero_volume": ("zero_volume",),
    "split_like_gap": ("split_like_gap", "jump_without_event"),
}  # fmt: skip
STOPS = tuple(code for code, rule in quality.RULES.items() if rule.action is quality.Action.QUARANTINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """Defects of one kind in one file.

    Attributes:
        listed: how many there are.
        found: of these, how many a rule of the kind flags.
        flagged: (symbol, date) pairs the rules flag.
        true: of these, how many hold a listed defect of any kind.
    """

    file: str
    kind: str
    listed: int
    found: int
    flagged: int
    true: int

    @property
    def precision(self) -> float:
        """Share of the flagged that are listed."""
        return self.true / max(self.flagged, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class FalseHolds:
    """Findings that put a symbol on hold though no defect is listed there: (symbol, date, rule)."""

    file: str
    bars: int
    found: tuple[tuple[str, str, str], ...]


def bars_of(data: Path, name: str) -> pl.DataFrame:
    """Read one of the equities files of the test data in the store's columns."""
    frame = pl.read_parquet(data / f"{name}.parquet")
    return frame.with_columns(
        pl.col("date").cast(pl.Date), pl.col("volume").cast(pl.Float64), raw_factor=pl.lit(1.0)
    ).sort("symbol", "date")


def events_of(data: Path) -> pl.DataFrame:
    """Read the corporate actions of the test data."""
    return actions.judge(actions.read_actions(data / "corporate_actions.parquet", "file")).good


def listed_defects(data: Path, calendar: Calendar) -> tuple[list[Count], list[FalseHolds]]:
    """Look for every defect listed in `known_defects.csv`.

    Args:
        data: folder of the test data.
        calendar: the sessions.
    """
    events, scope = events_of(data), Scope(calendar=calendar)
    listed = pl.read_csv(data / "known_defects.csv", try_parse_dates=True).with_columns(pl.col("date").cast(pl.Date))
    counts, false = [], []
    for name in (MAIN, OLD):
        bars, mine = bars_of(data, name), listed.filter(pl.col("file") == name)
        found = inspection.findings(bars, events, scope)
        counts += [_count(name, words, mine, found) for words in KIND_RULES]
        wrong = found.filter(pl.col("code").is_in(STOPS)).join(mine, on=["symbol", "date"], how="anti")
        rows = tuple((s, str(d), c) for s, d, c, _ in wrong.rows())
        false.append(FalseHolds(file=name, bars=len(bars), found=rows))
    return [c for c in counts if c.listed], false


def _count(file: str, words: str, mine: pl.DataFrame, found: pl.DataFrame) -> Count:
    wanted = mine.filter(pl.col("kind").str.starts_with(words) | pl.col("kind").str.contains(words, literal=True))
    flagged = found.filter(pl.col("code").is_in(KIND_RULES[words])).unique(["symbol", "date"])
    hit = wanted.join(flagged, on=["symbol", "date"], how="semi").unique(["symbol", "date"])
    true = flagged.join(mine, on=["symbol", "date"], how="semi")
    return Count(file=file, kind=words, listed=len(wanted), found=len(hit), flagged=len(flagged), true=len(true))


def planted_defects(data: Path, calendar: Calendar, count: int = 400, seed: int = 81) -> list[Count]:
    """Plant defects of each kind at random rows of the real bars and see how many are found there.

    Args:
        data: folder of the test data.
        calendar: the sessions.
        count: of each kind.
        seed: of their places.
    """
    bars, events, scope = bars_of(data, MAIN), events_of(data), Scope(calendar=calendar)
    rng = np.random.default_rng(seed)
    before = inspection.findings(bars, events, scope)
    counts = []
    for kind, rules in PLANTED.items():
        rows = np.sort(rng.choice(np.arange(1000, len(bars) - 1000, 300), size=count, replace=False))
        spoiled, where = _spoiled(bars, rows, kind, seed)
        screened = inspection.screen(spoiled, scope)
        aside = screened.aside.filter(pl.col("reasons").str.contains("|".join(rules)))
        found = inspection.findings(screened.good, events, scope).filter(pl.col("code").is_in(rules))
        new = found.join(before, on=["symbol", "date", "code"], how="anti")
        keys = [pl.col("symbol").cast(pl.String), pl.col("date")]
        flagged = pl.concat([aside.select(keys), new.select(keys)]).unique()
        hit = where.join(flagged, on=["symbol", "date"], how="semi")
        true = flagged.join(where, on=["symbol", "date"], how="semi")
        counts.append(
            Count(file=MAIN, kind=kind, listed=len(where), found=len(hit), flagged=len(flagged), true=len(true))
        )
    return counts


def _spoiled(
    bars: pl.DataFrame, rows: npt.NDArray[np.int64], kind: str, seed: int
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the bars with one defect planted at each row, and the symbol and date where it must be seen."""
    hit = pl.Series(np.isin(np.arange(len(bars)), rows))
    where = bars.filter(hit).select("symbol", "date")
    if kind == "duplicate":
        return pl.concat([bars, bars.filter(hit).with_columns(pl.col("close") * 1.0001)]).sort("symbol", "date"), where
    if kind == "missing_session":
        after = bars.filter(hit.shift(1, fill_value=False) & (bars["symbol"] == bars["symbol"].shift(1)))
        return bars.filter(~hit), after.select("symbol", "date")
    if kind == "split_like_gap":
        return _gapped(bars, rows, seed + 1), where
    values: dict[str, Any] = {
        "ohlc": {"high": pl.col("low") * 0.999}, "flat_bar": dict.fromkeys(("open", "high", "low"), pl.col("close")),
        "zero_volume": {"volume": pl.lit(0.0)},
    }[kind]  # fmt: skip
    return bars.with_columns([pl.when(hit).then(v).otherwise(pl.col(c)).alias(c) for c, v in values.items()]), where


def _gapped(bars: pl.DataFrame, rows: npt.NDArray[np.int64], seed: int) -> pl.DataFrame:
    """Return the bars with every price from a row on multiplied as an unrecorded split would."""
    factor = np.ones(len(bars))
    ends = np.append(np.flatnonzero(np.diff(bars["symbol"].rle_id().to_numpy())) + 1, len(bars))
    rng = np.random.default_rng(seed)
    for row in rows:
        factor[row : ends[np.searchsorted(ends, row, side="right")]] *= rng.choice([0.5, 1 / 3, 2 / 3, 0.25, 2.0])
    return bars.with_columns([pl.col(c) * pl.Series(factor) for c in ("open", "high", "low", "close")])


def as_data(counts: list[Count], false: list[FalseHolds], planted: list[Count]) -> dict[str, Any]:
    """Return the figures of docs/data.md: kinds of all files together, false holds by file, planted kinds."""
    kinds = {kind: _together([c for c in counts if c.kind == kind]) for kind in dict.fromkeys(c.kind for c in counts)}
    plain = [c for c in planted if c.kind != "split_like_gap"]
    gaps = [c for c in planted if c.kind == "split_like_gap"]
    return {
        "kinds": kinds,
        "false_holds": {f.file: {"bars": f.bars, "found": len(f.found)} for f in false},
        "planted": {"plain": _together(plain), "each": plain[0].listed, "split_like_gap": _together(gaps)},
    }


def _together(counts: list[Count]) -> dict[str, float]:
    flagged, true = sum(c.flagged for c in counts), sum(c.true for c in counts)
    return {
        "listed": sum(c.listed for c in counts), "found": sum(c.found for c in counts),
        "precision": true / max(flagged, 1),
    }  # fmt: skip
