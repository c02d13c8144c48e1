"""Rules every bar must pass before it is kept. A bad bar is set aside with its reasons, never dropped in silence."""

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from kobe.core.calendar import Calendar
from kobe.core.panel import BAR_COLUMNS, PRICE_COLUMNS

COLUMNS = ("date", "symbol", *BAR_COLUMNS, "raw_factor")
SYMBOL_PATTERN = r"^[A-Z0-9][A-Z0-9.\-]{0,14}$"  # nothing that could leave a folder or start a formula


@dataclass(frozen=True, slots=True)
class Rule:
    """A reason to set a bar aside: its code, what it means, and the expression that is true for bad bars."""

    code: str
    meaning: str
    bad: Callable[[Calendar], pl.Expr]


def _any(condition: Callable[[pl.Expr], pl.Expr], columns: tuple[str, ...]) -> pl.Expr:
    return pl.any_horizontal([condition(pl.col(c)) for c in columns])


def _not_a_session(calendar: Calendar) -> pl.Expr:
    return ~pl.col("date").is_in(pl.Series(calendar.sessions, dtype=pl.Date).implode())


def _ohlc_order(_: Calendar) -> pl.Expr:
    top, bottom = pl.max_horizontal("open", "close", "low"), pl.min_horizontal("open", "close", "high")
    return (pl.col("high") < top) | (pl.col("low") > bottom)


RULES: tuple[Rule, ...] = (
    Rule("missing_date", "the date is empty or could not be read", lambda _: pl.col("date").is_null()),
    Rule(
        "bad_symbol",
        "the symbol is empty or not a ticker",
        lambda _: ~pl.col("symbol").fill_null("").str.contains(SYMBOL_PATTERN),
    ),
    Rule(
        "non_finite",
        "a price, volume or factor is empty, NaN or infinite",
        lambda _: _any(lambda c: c.is_null() | ~c.is_finite(), (*BAR_COLUMNS, "raw_factor")),
    ),
    Rule(
        "non_positive",
        "a price or factor is zero or below",
        lambda _: _any(lambda c: c <= 0, (*PRICE_COLUMNS, "raw_factor")),
    ),
    Rule("absurd_price", "a price is above ten million dollars", lambda _: _any(lambda c: c > 1e7, PRICE_COLUMNS)),
    Rule("negative_volume", "the volume is below zero", lambda _: pl.col("volume") < 0),
    Rule("ohlc_order", "high is not the highest or low not the lowest of the bar", _ohlc_order),
    Rule("not_a_session", "the exchange was closed on that date", _not_a_session),
    Rule("duplicate", "symbol and date occur more than once", lambda _: pl.struct("symbol", "date").is_duplicated()),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """Bars that passed, sorted by symbol and date, and bars set aside with a `reasons` column."""

    good: pl.DataFrame
    quarantined: pl.DataFrame

    @property
    def counts(self) -> dict[str, int]:
        """How many bars each rule set aside; a bar may break several."""
        reasons = self.quarantined.get_column("reasons").str.split(" ").explode()
        return {str(code): int(n) for code, n in sorted(reasons.value_counts().iter_rows())}


def check(bars: pl.DataFrame, calendar: Calendar) -> Checked:
    """Split bars into good and quarantined; all copies of a duplicate are set aside, for nobody knows which is true."""
    flags = [rule.bad(calendar).fill_null(value=True).alias(f"#{rule.code}") for rule in RULES]
    flagged = bars.with_columns(flags)
    names = [f"#{rule.code}" for rule in RULES]
    bad = flagged.get_column(names[0])
    for name in names[1:]:
        bad = bad | flagged.get_column(name)
    reasons = pl.concat_str(
        [pl.when(pl.col(n)).then(pl.lit(n[1:])) for n in names], separator=" ", ignore_nulls=True
    ).alias("reasons")
    return Checked(
        good=bars.filter(~bad).sort("symbol", "date"),
        quarantined=flagged.filter(bad).with_columns(reasons).drop(names).sort("symbol", "date"),
    )
