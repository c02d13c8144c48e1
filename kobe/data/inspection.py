"""Apply the quality rules: split bars into good and set aside, and find what is odd in the good ones."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from kobe.core.calendar import Calendar
from kobe.data import actions
from kobe.data.holds import Hold
from kobe.data.quality import ROW_RULES, RULES, SERIES_RULES, SYMBOL_PATTERN, Action, Rule, Scope

FINDING = {"symbol": pl.String, "date": pl.Date, "code": pl.String, "detail": pl.String}
COVERAGE, THIN = 0.90, 0.80


@dataclass(frozen=True, slots=True, kw_only=True)
class Screened:
    """Bars that passed the row rules, sorted by symbol and date, and bars set aside with a `reasons` column."""

    good: pl.DataFrame
    aside: pl.DataFrame


def counts(aside: pl.DataFrame) -> dict[str, int]:
    """Return how many bars each reason set aside; a bar may have several."""
    reasons = aside.get_column("reasons").str.split(" ").explode(empty_as_null=True, keep_nulls=True).drop_nulls()
    return {str(code): int(n) for code, n in sorted(reasons.value_counts().iter_rows())}


def screen(bars: pl.DataFrame, scope: Scope) -> Screened:
    """Apply the row rules. All copies of a duplicate are set aside, for nobody knows which is true."""
    bars = in_order(bars)
    names = bars.get_column("symbol").unique().drop_nulls().cast(pl.String)
    odd = names.filter(~names.str.contains(SYMBOL_PATTERN))
    wrong = pl.col("symbol").cast(pl.String).is_in(odd.implode()) if len(odd) else pl.lit(value=False)
    judged = bars.with_columns(_bad_symbol=wrong)
    flags = judged.select(
        *[rule.bad(scope).fill_null(value=True).alias(rule.code) for rule in ROW_RULES], _row=pl.int_range(pl.len())
    )
    bad = flags.filter(pl.any_horizontal([rule.code for rule in ROW_RULES]))
    if len(bad) == 0:
        return Screened(good=bars, aside=_with_reasons(bars.clear(), bad))
    keep = np.ones(len(bars), dtype=np.bool_)
    keep[bad.get_column("_row").to_numpy()] = False
    return Screened(good=bars.filter(pl.Series(keep)), aside=_with_reasons(bars.filter(pl.Series(~keep)), bad))


def _with_reasons(aside: pl.DataFrame, flags: pl.DataFrame) -> pl.DataFrame:
    words = [pl.when(pl.col(rule.code)).then(pl.lit(rule.code)) for rule in ROW_RULES]
    reasons = flags.select(reasons=pl.concat_str(words, separator=" ", ignore_nulls=True)).get_column("reasons")
    return aside.with_columns(pl.col("symbol").cast(pl.String), reasons=reasons)


def in_order(bars: pl.DataFrame) -> pl.DataFrame:
    """Return bars sorted by symbol and date with the symbol as a number underneath, which is what makes this fast."""
    if not isinstance(bars.schema["symbol"], pl.Enum):
        names = bars.get_column("symbol").unique().drop_nulls().cast(pl.String).sort()
        bars = bars.with_columns(pl.col("symbol").cast(pl.Enum(names)))
    code, day = pl.col("symbol").to_physical().cast(pl.Int64), pl.col("date").to_physical()
    step = (code.diff() > 0) | ((code.diff() == 0) & (day.diff() >= 0))
    sorted_already = bars.select(step.fill_null(value=False).slice(1).all()).item()
    return bars if sorted_already else bars.sort("symbol", "date")


def findings(good: pl.DataFrame, events: pl.DataFrame, scope: Scope) -> pl.DataFrame:
    """Apply the series rules to clean, sorted bars.

    Returns:
        One row per finding: symbol, date, code, detail; sorted by symbol, date and code.
    """
    if len(good) == 0:
        return pl.DataFrame(schema=FINDING)
    known = _basis(in_order(good), events, scope)
    flags = known.select([rule.bad(scope).fill_null(value=False).alias(rule.code) for rule in SERIES_RULES])
    found = [_shown(known, flags.get_column(rule.code), rule) for rule in SERIES_RULES]
    return pl.concat([*found, _whole_symbols(known), _thin_sessions(known, scope.calendar)]).sort(
        "symbol", "date", "code"
    )


def _shown(known: pl.DataFrame, flag: pl.Series, rule: Rule) -> pl.DataFrame:
    detail = pl.lit("") if rule.shows is None else rule.shows
    return known.filter(flag).select(
        pl.col("symbol").cast(pl.String), "date", code=pl.lit(rule.code), detail=detail.cast(pl.String)
    )


def _basis(bars: pl.DataFrame, events: pl.DataFrame, scope: Scope) -> pl.DataFrame:
    """Add what the series rules look at; every column of a row knows that row and earlier ones of its symbol only."""
    same = (pl.col("symbol") == pl.col("symbol").shift(1)).fill_null(value=False)
    number = np.searchsorted(scope.calendar.days, bars.get_column("date").to_physical().to_numpy()).astype(np.int32)
    known = bars.with_columns(
        _same=same, _n=pl.Series(number), _i=pl.int_range(pl.len(), dtype=pl.Int32),
        _raw=pl.col("close") * pl.Series(_tape_factors(bars, events, scope.adjustment)),
        _prev=pl.when(same).then(pl.col("close").shift(1)),
        _volume=(pl.col("volume") + 1).log(),
    )  # fmt: skip
    known = _with_events(known, events)
    ratio = pl.col("_split").fill_null(1.0) if scope.adjustment == "raw" else pl.lit(1.0)
    paid = pl.col("_dividend") * pl.col("_split").fill_null(1.0) / pl.col("_raw").shift(1)
    if scope.adjustment == "total-return":  # there a dividend leaves no gap
        paid = pl.lit(None, pl.Float64)
    close_still = pl.col("_same") & (pl.col("close") == pl.col("_prev"))
    flat = pl.col("high") == pl.col("low")
    known = known.with_columns(
        _start=pl.when(pl.col("_same")).then(None).otherwise(pl.col("_i")).forward_fill(),
        _skipped=pl.when(pl.col("_same")).then(pl.col("_n") - pl.col("_n").shift(1) - 1),
        _move=pl.col("close") * ratio / pl.col("_prev"),
        _gap=pl.col("open") * ratio / pl.col("_prev"),
        _paid=pl.when(pl.col("_same")).then(paid),
        _tiny=((pl.col("_split") - 1).abs() <= actions.TINY_SPLIT).fill_null(value=False).cast(pl.Int8),
        _equal=_run(close_still),
        _still=pl.when(flat).then(_run(close_still & flat & flat.shift(1))),
        _short=pl.col("_volume").rolling_median(10), _long=pl.col("_volume").rolling_mean(60).shift(10),
    )  # fmt: skip
    enough = pl.col("_i") - pl.col("_start") >= 70
    quiet = (pl.col("_split").is_null() | (pl.col("_tiny") == 1)) & (pl.col("_paid").fill_null(0.0) <= 0.08)
    return known.with_columns(
        _plain=pl.col("_same") & quiet, _drop=pl.when(enough).then(pl.col("_short") - pl.col("_long"))
    )


def _run(goes_on: pl.Expr) -> pl.Expr:
    """Return how many rows in a row a condition has held, this one included, counted from 1."""
    begun = pl.when(goes_on.fill_null(value=False)).then(None).otherwise(pl.col("_i")).forward_fill()
    return pl.col("_i") - begun + 1


def _tape_factors(
    bars: pl.DataFrame, events: pl.DataFrame, adjustment: str
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    if adjustment == "raw":
        return np.ones(len(bars))
    given = bars.get_column("raw_factor").to_numpy()
    lengths = bars.group_by("symbol", maintain_order=True).len()
    offsets = np.concatenate(([0], np.cumsum(lengths.get_column("len").to_numpy()))).astype(np.int64)
    names = tuple(lengths.get_column("symbol").cast(pl.String).to_list())
    days = bars.get_column("date").to_physical().to_numpy()
    return np.where(given == 1.0, actions.split_factors(names, offsets, days, events), given)


def _with_events(known: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
    """Put the split ratio and the dividend of the day beside each bar; null where there is none."""
    kind = known.schema["symbol"]
    names = kind.categories if isinstance(kind, pl.Enum) else pl.Series([], dtype=pl.String)
    told = events.filter(pl.col("symbol").is_in(names.implode()))
    told = told.with_columns(pl.col("symbol").cast(kind))
    splits = told.filter(pl.col("kind") == "split").group_by("symbol", "date").agg(_split=pl.col("value").product())
    paid = told.filter(pl.col("kind") == "dividend").group_by("symbol", "date").agg(_dividend=pl.col("value").sum())
    return known.join(splits, on=["symbol", "date"], how="left", maintain_order="left").join(
        paid, on=["symbol", "date"], how="left", maintain_order="left"
    )


def _whole_symbols(known: pl.DataFrame) -> pl.DataFrame:
    """Find symbols with too few bars for their life, and those that ended before the others."""
    lives = known.group_by("symbol").agg(
        pl.col("date").max(), bars=pl.len(), life=pl.col("_n").max() - pl.col("_n").min() + 1
    )
    share = pl.col("bars") / pl.col("life")
    thin = lives.filter(share < COVERAGE).select(
        pl.col("symbol").cast(pl.String), "date", code=pl.lit("coverage"),
        detail=pl.col("bars").cast(pl.String) + pl.lit(" of ") + pl.col("life").cast(pl.String) + pl.lit(" sessions"),
    )  # fmt: skip
    ended = lives.filter(pl.col("date") < pl.col("date").max()).select(
        pl.col("symbol").cast(pl.String), "date", code=pl.lit("stale_end"), detail=pl.lit("last bar")
    )
    return pl.concat([thin, ended])


def _thin_sessions(known: pl.DataFrame, calendar: Calendar) -> pl.DataFrame:
    """Find sessions that lack bars of many symbols alive on both sides of them; reported without a symbol."""
    lives = known.group_by("symbol").agg(first=pl.col("_n").min(), last=pl.col("_n").max())
    size = len(calendar.sessions) + 1
    alive = np.cumsum(
        np.bincount(lives.get_column("first").to_numpy(), minlength=size)
        - np.bincount(lives.get_column("last").to_numpy() + 1, minlength=size)
    )
    present = np.bincount(known.get_column("_n").to_numpy(), minlength=size)
    thin = np.flatnonzero((alive >= 10) & (present < THIN * alive))
    rows = [
        ("", calendar.sessions[n], "thin_session", f"{present[n]} of {alive[n]} symbols have a bar")
        for n in thin.tolist()
    ]
    return pl.DataFrame(rows, schema=FINDING, orient="row")


def holds_of(found: pl.DataFrame, calendar: Calendar) -> list[Hold]:
    """Return the holds that findings call for."""
    quarantine = [code for code, rule in RULES.items() if rule.action is Action.QUARANTINE]
    rows = found.filter(pl.col("code").is_in(quarantine) & (pl.col("symbol") != "")).unique(
        ["symbol", "code", "date"], keep="first", maintain_order=True
    )
    facts = rows.select("symbol", "code", "date", "detail").iter_rows()
    return [hold_of(symbol, code, day, detail, calendar) for symbol, code, day, detail in facts]


def hold_of(symbol: str, code: str, day: object, detail: str, calendar: Calendar) -> Hold:
    """Return the hold of one finding, ending where its rule says."""
    since = calendar.sessions[int(np.searchsorted(calendar.days, np.datetime64(str(day), "D").astype(np.int32)))]
    lasts = RULES[code].sessions
    end = None if lasts is None else calendar.number(since) + lasts
    until = None if end is None or end >= len(calendar.sessions) else calendar.sessions[end]
    return Hold(symbol, code, since, until, detail)


def tally(found: pl.DataFrame) -> Sequence[tuple[str, str, str, int, int]]:
    """Return code, severity, action, findings and symbols per rule that found something, in the table's order."""
    per = {
        code: (n, k) for code, n, k in found.group_by("code").agg(n=pl.len(), k=pl.col("symbol").n_unique()).iter_rows()
    }
    return [(c, r.severity, r.action.value, *per[c]) for c, r in RULES.items() if c in per]
