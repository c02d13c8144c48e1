"""Apply the quality rules: split bars into good and set aside, and find what is odd in the good ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt
import polars as pl

from kobe.core.calendar import Calendar
from kobe.core.types import SYMBOL_PATTERN
from kobe.data import kernels
from kobe.data.basis import Basis, columns_of, read_only
from kobe.data.holds import Hold
from kobe.data.quality import ROW_RULES, RULES, SERIES_RULES, Action, Rule, Scope

FINDING = {"symbol": pl.String, "date": pl.Date, "code": pl.String, "detail": pl.String}
EPOCH = date(1970, 1, 1)
COVERAGE, THIN, LEAST_SYMBOLS = 0.90, 0.80, 10


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
    """Apply the row rules. All copies of a duplicate are set aside, for nobody knows which is true.

    Only bars that are not plainly good reach the rules (`kernels.odd_rows`).
    """
    bars = in_order(bars)
    wrong = ~names_of(bars).str.contains(SYMBOL_PATTERN)
    odd = _odd_rows(bars, wrong.to_numpy(), scope)
    if not odd.any():
        return Screened(good=bars, aside=_with_reasons(bars.clear(), flags_of(bars.clear(), scope)))
    doubtful = bars.filter(pl.Series(odd))
    flags = flags_of(doubtful, scope)
    bad = flags.select(pl.any_horizontal(flags.columns)).to_series()
    odd[np.flatnonzero(odd)[~bad.to_numpy()]] = False
    good = bars.filter(pl.Series(~odd)) if odd.any() else bars
    return Screened(good=good, aside=_with_reasons(doubtful.filter(bad), flags.filter(bad)))


def names_of(bars: pl.DataFrame) -> pl.Series:
    """Return the symbols behind the numbers, sorted."""
    kind = bars.schema["symbol"]
    assert isinstance(kind, pl.Enum)
    return kind.categories


def flags_of(bars: pl.DataFrame, scope: Scope) -> pl.DataFrame:
    """Return one column per row rule, true where it is broken; copies of one bar must be neighbours."""
    names = names_of(bars)
    bad_names = pl.col("symbol").cast(pl.String).is_in(names.filter(~names.str.contains(SYMBOL_PATTERN)).implode())
    judged = bars.with_columns(_bad_symbol=bad_names)
    return judged.select(rule.bad(scope).fill_null(value=True).alias(rule.code) for rule in ROW_RULES)


def _odd_rows(bars: pl.DataFrame, wrong: npt.NDArray[np.bool_], scope: Scope) -> npt.NDArray[np.bool_]:
    days = scope.calendar.days
    open_days = np.zeros(int(days[-1] - days[0]) + 1, dtype=np.bool_)
    open_days[days - days[0]] = True
    last = np.iinfo(np.int32).max if scope.last is None else (scope.last - EPOCH).days
    factor = read_only(bars.get_column("raw_factor").to_numpy())
    columns = columns_of(bars)
    if bars.get_column("symbol").null_count():
        codes = np.where(columns.code < 0, len(wrong), columns.code).astype(np.int32)
        columns = columns._replace(code=read_only(codes))
    found: npt.NDArray[np.bool_] = kernels.odd_rows(
        columns, factor, np.append(wrong, True), open_days, int(days[0]), last
    )
    return found


def _with_reasons(aside: pl.DataFrame, flags: pl.DataFrame) -> pl.DataFrame:
    words = [pl.when(pl.col(rule.code)).then(pl.lit(rule.code)) for rule in ROW_RULES]
    reasons = flags.select(reasons=pl.concat_str(words, separator=" ", ignore_nulls=True)).get_column("reasons")
    return aside.with_columns(pl.col("symbol").cast(pl.String), reasons=reasons)


def in_order(bars: pl.DataFrame) -> pl.DataFrame:
    """Return bars sorted by symbol and date with the symbol as a number underneath, which is what makes this fast."""
    if not isinstance(bars.schema["symbol"], pl.Enum):
        names = bars.get_column("symbol").unique().drop_nulls().cast(pl.String).sort()
        bars = bars.with_columns(pl.col("symbol").cast(pl.Enum(names)))
    bars = bars.rechunk()  # in one piece, its columns are arrays without a copy
    whole = bars.get_column("symbol").null_count() == 0 and bars.get_column("date").null_count() == 0
    columns = columns_of(bars) if whole else None
    return bars if columns and kernels.ascending(columns.code, columns.day) else bars.sort("symbol", "date")


def findings(good: pl.DataFrame, events: pl.DataFrame, scope: Scope) -> pl.DataFrame:
    """Apply the series rules to clean, sorted bars.

    Only bars with something unusual about them reach the rules; `Basis.suspects` says what that is.

    Returns:
        One row per finding: symbol, date, code, detail; sorted by symbol, date and code.
    """
    if len(good) == 0:
        return pl.DataFrame(schema=FINDING)
    bars = in_order(good)
    basis = Basis.of(bars, events, scope)
    suspects = basis.suspects
    flags = suspects.select([rule.bad(scope).fill_null(value=False).alias(rule.code) for rule in SERIES_RULES])
    found = [_shown(suspects, flags.get_column(rule.code), rule) for rule in SERIES_RULES]
    whole = [_whole_symbols(bars, basis), _thin_sessions(basis, scope.calendar)]
    return pl.concat([*found, *whole]).sort("symbol", "date", "code")


def _shown(known: pl.DataFrame, flag: pl.Series, rule: Rule) -> pl.DataFrame:
    detail = pl.lit("") if rule.shows is None else rule.shows
    return known.filter(flag).select(
        pl.col("symbol").cast(pl.String), "date", code=pl.lit(rule.code), detail=detail.cast(pl.String)
    )


def _whole_symbols(bars: pl.DataFrame, basis: Basis) -> pl.DataFrame:
    """Find symbols with too few bars for their life, and those that ended before the others."""
    first, last = basis.starts, np.append(basis.starts[1:], len(bars)) - 1
    lives = bars[last].select(
        pl.col("symbol").cast(pl.String), "date", bars=pl.Series(last - first + 1),
        life=pl.Series(basis.number[last] - basis.number[first] + 1).cast(pl.Int64),
    )  # fmt: skip
    thin = lives.filter(pl.col("bars") / pl.col("life") < COVERAGE).select(
        "symbol", "date", code=pl.lit("coverage"),
        detail=pl.col("bars").cast(pl.String) + pl.lit(" of ") + pl.col("life").cast(pl.String) + pl.lit(" sessions"),
    )  # fmt: skip
    ended = lives.filter(pl.col("date") < pl.col("date").max()).select(
        "symbol", "date", code=pl.lit("stale_end"), detail=pl.lit("last bar")
    )
    return pl.concat([thin, ended])


def _thin_sessions(basis: Basis, calendar: Calendar) -> pl.DataFrame:
    """Find sessions that lack bars of many symbols alive on both sides of them; reported without a symbol."""
    first, last = basis.starts, np.append(basis.starts[1:], len(basis.number)) - 1
    size = len(calendar.sessions) + 1
    begun = np.bincount(basis.number[first], minlength=size)
    ended = np.bincount(basis.number[last] + 1, minlength=size)
    alive = np.cumsum(begun - ended)
    present = np.bincount(basis.number, minlength=size)
    thin = np.flatnonzero((alive >= LEAST_SYMBOLS) & (present < THIN * alive))
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
