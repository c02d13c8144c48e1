"""Corporate actions as events: splits, dividends, new tickers, reused tickers and delistings.

Prices are kept as they were delivered; the events turn them into split-adjusted ones when they are read (D12), so an
event learned late mends the whole past at once.
"""

from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kobe.core.errors import MissingDataError, SchemaError
from kobe.core.frames import pl

KINDS = ("split", "dividend", "rename", "delisting", "relisted")
SCHEMA = {"symbol": str, "date": date, "kind": str, "value": float, "detail": str, "source": str}
KEY = ["symbol", "date", "kind"]
AGREEMENT = 1e-3  # two sources tell the same split or dividend when they differ by rounding only
DELISTING_LOSS = {"acquired": 0.0, "moved": 0.0, "performance:nyse": 0.30, "performance:nasdaq": 0.55}
"""Fraction of the last price lost when nothing better is known (Shumway 1997; Shumway and Warther 1999)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """Events that can be used, and those set aside with `reasons`."""

    good: "pl.DataFrame"
    aside: "pl.DataFrame"


def none() -> "pl.DataFrame":
    """Return no events, in the store's columns."""
    return pl.DataFrame(schema=SCHEMA)


def read_actions(path: Path, source: str) -> "pl.DataFrame":
    """Read events from a file: one event a row (`kind`, `value`), or the wide form one day a row.

    The wide form has `split_coefficient` and `dividend_amount`; 1 and 0 mean that there was none.

    Raises:
        MissingDataError: there is no such file.
        SchemaError: it is neither form.
    """
    if not path.is_file():
        raise MissingDataError("no such file", seen=path, expected="a .parquet or .csv file of corporate actions")
    try:
        frame = pl.read_parquet(path) if path.suffix == ".parquet" else pl.read_csv(path, try_parse_dates=True)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise SchemaError(f"{path.name} cannot be read", seen=str(error).splitlines()[0][:160]) from error
    have = set(frame.columns)
    if {"symbol", "date", "kind", "value"} <= have:
        events = frame
    elif {"symbol", "date", "split_coefficient", "dividend_amount"} <= have:
        events = _from_wide(frame)
    else:
        raise SchemaError(
            "columns are missing for corporate actions", seen=", ".join(frame.columns),
            expected="symbol, date, kind, value or symbol, date, split_coefficient, dividend_amount",
        )  # fmt: skip
    return in_columns(events, source)


def _from_wide(frame: "pl.DataFrame") -> "pl.DataFrame":
    base = [pl.col("symbol"), pl.col("date")]
    splits = frame.filter(pl.col("split_coefficient") != 1.0).select(
        *base, kind=pl.lit("split"), value="split_coefficient"
    )
    paid = frame.filter(pl.col("dividend_amount") != 0.0).select(
        *base, kind=pl.lit("dividend"), value="dividend_amount"
    )
    return pl.concat([splits, paid])


def in_columns(events: "pl.DataFrame", source: str) -> "pl.DataFrame":
    """Bring events into the store's columns; a missing detail is empty."""
    if "detail" not in events.columns:
        events = events.with_columns(detail=pl.lit(""))
    return events.with_columns(
        pl.col("date").cast(pl.Date), pl.col("symbol").cast(pl.String).str.strip_chars().str.to_uppercase(),
        pl.col("value").cast(pl.Float64, strict=False), pl.col("detail").cast(pl.String).fill_null(""),
        source=pl.lit(source),
    ).select(list(SCHEMA))  # fmt: skip


def judge(events: "pl.DataFrame") -> Judged:
    """Set aside what cannot be an event."""
    priced = pl.col("kind").is_in(["split", "dividend"])
    useless = priced & ~(pl.col("value").is_finite() & (pl.col("value") > 0)).fill_null(value=False)
    named = pl.col("kind") == "rename"
    absurd = (pl.col("kind") == "split") & (
        (pl.col("value") > 1000) | pl.col("value").is_between(0.0, 1e-3, closed="none")
    )
    reasons = pl.concat_str(
        [
            pl.when(~pl.col("kind").is_in(KINDS).fill_null(value=False)).then(pl.lit("unknown_kind")),
            pl.when(pl.col("date").is_null() | (pl.col("symbol").fill_null("") == "")).then(pl.lit("no_key")),
            pl.when(useless).then(pl.lit("no_value")),
            pl.when(absurd).then(pl.lit("absurd_split")),
            pl.when(named & (pl.col("detail") == "")).then(pl.lit("no_new_symbol")),
        ],
        separator=" ",
        ignore_nulls=True,
    )
    judged = events.with_columns(reasons=reasons)
    return Judged(
        good=judged.filter(pl.col("reasons") == "").drop("reasons"), aside=judged.filter(pl.col("reasons") != "")
    )


def merge(held: "pl.DataFrame", new: "pl.DataFrame") -> "tuple[pl.DataFrame, pl.DataFrame]":
    """Add new events to those held.

    Returns:
        All events, and the new ones that contradict a held one (same symbol, day and kind, another value): the held
        ones stay, because neither can be called right without a person.
    """
    new = new.unique(KEY, keep="first", maintain_order=True)
    both = new.join(held.select(*KEY, was="value", was_detail="detail"), on=KEY, how="left")
    known = pl.col("was_detail").is_not_null()
    same = ((pl.col("value") / pl.col("was") - 1.0).abs() <= AGREEMENT) | (
        ~pl.col("kind").is_in(["split", "dividend"]) & (pl.col("detail") == pl.col("was_detail"))
    )
    fresh = both.filter(~known).select(list(SCHEMA))
    contradicting = both.filter(known & ~same.fill_null(value=False)).drop("was_detail")
    return pl.concat([held, fresh]).sort(KEY), contradicting


def renamed(bars: "pl.DataFrame", events: "pl.DataFrame") -> "pl.DataFrame":
    """Give every bar the identity it has today: the newest ticker of its company.

    A `rename` on a day carries bars under the old ticker before that day to the new one (in `detail`); `relisted`
    says that the ticker began to mean another company that day, and earlier bars become `TICKER.1`.
    """
    moves = events.filter(pl.col("kind").is_in(["rename", "relisted"])).sort("date")
    for symbol, day, kind, detail in moves.select("symbol", "date", "kind", "detail").iter_rows():
        target = detail if kind == "rename" else f"{symbol}.1"
        mine = (pl.col("symbol").cast(pl.String) == symbol) & (pl.col("date") < day)
        bars = bars.with_columns(symbol=pl.when(mine).then(pl.lit(target)).otherwise(pl.col("symbol").cast(pl.String)))
    return bars


def split_factors(
    symbols: tuple[str, ...], offsets: npt.NDArray[np.int64], days: npt.NDArray[np.int32], events: "pl.DataFrame"
) -> npt.NDArray[np.float64]:
    """Return, per bar, the product of all later splits: raw price = split-adjusted price * factor.

    Args:
        symbols: in panel order.
        offsets: int64[n_symbols + 1], row borders.
        days: int32[rows], days since 1970-01-01, ascending within a symbol.
        events: stored events; only splits are looked at.

    Returns:
        float64[rows], 1 after the last split.
    """
    factors = np.ones(len(days))
    place = {symbol: k for k, symbol in enumerate(symbols)}
    splits = events.filter(pl.col("kind") == "split").select("symbol", pl.col("date").to_physical(), "value")
    for symbol, day, ratio in splits.iter_rows():
        k = place.get(symbol)
        if k is not None:
            rows = slice(int(offsets[k]), int(offsets[k + 1]))
            earlier = int(np.searchsorted(days[rows], day))
            factors[rows.start : rows.start + earlier] *= ratio
    return factors


def dividends(
    symbols: tuple[str, ...], offsets: npt.NDArray[np.int64], days: npt.NDArray[np.int32], events: "pl.DataFrame"
) -> npt.NDArray[np.float64] | None:
    """Return, per bar, the cash dividends of its day in dollars per share of that day's tape, or None without any.

    An ex-date without a bar counts on the symbol's next one, where what is held is first worth less; a dividend
    before the first bar or after the last one was received by nobody who trades these bars.

    Args:
        symbols: in panel order.
        offsets: int64[n_symbols + 1], row borders.
        days: int32[rows], days since 1970-01-01, ascending within a symbol.
        events: stored events; only dividends are looked at.

    Returns:
        float64[rows], 0 where none is paid; several on one day are added up. Known at the open of the bar.
    """
    told = events.filter(pl.col("kind") == "dividend").select("symbol", pl.col("date").to_physical(), "value")
    place = {symbol: k for k, symbol in enumerate(symbols)}
    paid = np.zeros(len(days))
    for symbol, day, value in told.iter_rows():
        k = place.get(symbol)
        if k is None:
            continue
        mine = days[int(offsets[k]) : int(offsets[k + 1])]
        if mine[0] <= day <= mine[-1]:
            paid[int(offsets[k]) + int(np.searchsorted(mine, day))] += value
    return paid if paid.any() else None


def final_losses(symbols: tuple[str, ...], events: "pl.DataFrame") -> npt.NDArray[np.float64]:
    """Return, per symbol, the fraction of the last price lost at its delisting; NaN where no event tells (D14, 2.6).

    `value` decides when it is there; else `detail`, one of `DELISTING_LOSS`.
    """
    losses = np.full(len(symbols), np.nan)
    place = {symbol: k for k, symbol in enumerate(symbols)}
    ends = events.filter(pl.col("kind") == "delisting").select("symbol", "value", "detail")
    for symbol, value, detail in ends.iter_rows():
        if symbol in place:
            known = value is not None and np.isfinite(value)
            losses[place[symbol]] = value if known else DELISTING_LOSS.get(detail.lower(), np.nan)
    return losses
