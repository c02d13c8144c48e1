"""Rules for bars: what is set aside, what puts a symbol on hold, and what is only told.

Row rules look at one bar. Series rules look at clean bars of a symbol in order; each is causal, so that a hold found
tonight is the hold that would have been found then.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

import polars as pl

from kobe.core.calendar import Calendar
from kobe.core.panel import BAR_COLUMNS, PRICE_COLUMNS

COLUMNS = ("date", "symbol", *BAR_COLUMNS, "raw_factor")
MEMORY_SESSIONS = 250  # no indicator looks further back, so a gap this old is in no number any more
SPECIAL_DIVIDEND = 0.08  # of the last raw close; ordinary ones stay far below
JUMP = 0.40
FEED_SHARE = 0.10
SHORT_MEMORY_SESSIONS = 60  # what the fast indicators still see
FOAM = 1e-9


class Action(StrEnum):
    """What happens to what a rule finds."""

    REJECT = "reject"
    QUARANTINE = "quarantine"
    WARN = "warn"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What a rule may know besides the bars.

    Attributes:
        calendar: which dates are sessions.
        last: newest session whose bar can be complete.
        adjustment: what the prices are.
    """

    calendar: Calendar
    last: date | None = None
    adjustment: str = "split"


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of the tables below.

    Attributes:
        code: stable name, in reports, holds and files.
        severity: `error`, `warning` or `note`.
        action: what happens.
        meaning: for people.
        bad: expression that is true where the rule is broken; null counts as broken in row rules.
        shows: expression of what was seen, for the report.
        sessions: how long a hold lasts; None: until a person releases it.
    """

    code: str
    severity: str
    action: Action
    meaning: str
    bad: Callable[[Scope], pl.Expr]
    shows: pl.Expr | None = None
    sessions: int | None = None


def _any(condition: Callable[[pl.Expr], pl.Expr], columns: tuple[str, ...]) -> pl.Expr:
    return pl.any_horizontal([condition(pl.col(c)) for c in columns])


def _not_a_session(scope: Scope) -> pl.Expr:
    return ~pl.col("date").is_in(pl.Series(scope.calendar.sessions, dtype=pl.Date).implode())


def _ohlc_order(_: Scope) -> pl.Expr:
    top, bottom = pl.max_horizontal("open", "close", "low"), pl.min_horizontal("open", "close", "high")
    return (pl.col("high") < top * (1 - FOAM)) | (pl.col("low") > bottom * (1 + FOAM))


def _future(scope: Scope) -> pl.Expr:
    return pl.lit(value=False) if scope.last is None else pl.col("date") > scope.last


def _twice(_: Scope) -> pl.Expr:
    """Rows are sorted by symbol and date: copies are neighbours."""
    same = (pl.col("symbol") == pl.col("symbol").shift(1)) & (pl.col("date") == pl.col("date").shift(1))
    same = same.fill_null(value=False)
    return same | same.shift(-1).fill_null(value=False)


ROW_RULES: tuple[Rule, ...] = (
    Rule("missing_date", "error", Action.REJECT, "the date is empty or could not be read",
         lambda _: pl.col("date").is_null()),
    Rule("bad_symbol", "error", Action.REJECT, "the symbol is empty or not a ticker",
         lambda _: pl.col("symbol").is_null() | pl.col("_bad_symbol")),
    Rule("non_finite", "error", Action.REJECT, "a price, volume or factor is empty, NaN or infinite",
         lambda _: _any(lambda c: c.is_null() | ~c.is_finite(), (*BAR_COLUMNS, "raw_factor"))),
    Rule("non_positive", "error", Action.REJECT, "a price or factor is zero or below",
         lambda _: _any(lambda c: c <= 0, (*PRICE_COLUMNS, "raw_factor"))),
    Rule("absurd_price", "error", Action.REJECT, "a price is above ten million or below a hundredth of a cent",
         lambda _: _any(lambda c: (c > 1e7) | (c < 1e-4), PRICE_COLUMNS)),
    Rule("negative_volume", "error", Action.REJECT, "the volume is below zero", lambda _: pl.col("volume") < 0),
    Rule("absurd_volume", "error", Action.REJECT, "the volume is above a trillion shares",
         lambda _: pl.col("volume") > 1e12),
    Rule("ohlc_order", "error", Action.REJECT, "high is not the highest or low not the lowest of the bar", _ohlc_order),
    Rule("not_a_session", "error", Action.REJECT, "the exchange was closed on that date", _not_a_session),
    Rule("future_bar", "error", Action.REJECT, "the session had not closed when the bar was told", _future),
    Rule("duplicate", "error", Action.REJECT, "symbol and date occur more than once", _twice),
)  # fmt: skip

SPLIT_RATIOS = (
    2 / 3, 1 / 2, 1 / 3, 1 / 4, 1 / 5, 1 / 6, 1 / 7, 1 / 8, 1 / 10, 1 / 15, 1 / 20, 2.0, 3.0, 4.0, 5.0, 8.0, 10.0,
)  # fmt: skip
_tiny = (pl.col("_split") - 1).abs() <= 0.10  # a stock dividend or a spin-off booked as a split
_plain = pl.col("_same") & (pl.col("_split").is_null() | _tiny) & (pl.col("_paid").fill_null(0.0) <= SPECIAL_DIVIDEND)
_percent = pl.lit("close ") + ((pl.col("_move") - 1) * 100).round(1).cast(pl.String) + pl.lit("% from the last")


def _like_a_split(_: Scope) -> pl.Expr:
    near = [((pl.col("_gap") / r - 1).abs() < 0.02) & ((pl.col("_move") / r - 1).abs() < 0.05) for r in SPLIT_RATIOS]
    calm = pl.col("high") / pl.col("low") < 1.08  # a real fall of a third is not a quiet day
    return _plain & calm & pl.any_horizontal(near)


def _lies(scope: Scope) -> pl.Expr:
    """A split of 3:2 or more, and the prices contradict what they are said to be."""
    size, tape = pl.col("_split").log().abs(), (pl.col("close") / pl.col("_prev")).log() + pl.col("_split").log()
    expected = tape if scope.adjustment == "raw" else tape - pl.col("_split").log()
    return (size > 0.4) & (expected.abs() > 0.7 * size)


SERIES_RULES: tuple[Rule, ...] = (
    Rule(
        "jump_without_event",
        "error",
        Action.QUARANTINE,
        "the close moved by more than 40% and no event explains it",
        lambda _: _plain & ((pl.col("_move") - 1).abs() > JUMP),
        _percent,
        MEMORY_SESSIONS,
    ),
    Rule(
        "split_like_gap",
        "error",
        Action.QUARANTINE,
        "open and close moved by the ratio of a usual split, no event",
        _like_a_split,
        _percent,
        MEMORY_SESSIONS,
    ),
    Rule(
        "split_not_on_tape",
        "error",
        Action.QUARANTINE,
        "a split is on record and the prices say they are adjusted otherwise than declared",
        _lies,
        pl.lit("split ") + pl.col("_split").round(4).cast(pl.String) + pl.lit(", ") + _percent,
        None,
    ),
    Rule(
        "split_day_return",
        "warning",
        Action.QUARANTINE,
        "more than 12% after a split: wrong ratio, or a spin-off with it",
        lambda _: pl.col("_split").is_not_null() & ~_tiny & ((pl.col("_move") - 1).abs() > 0.12),
        pl.lit("split ") + pl.col("_split").round(4).cast(pl.String) + pl.lit(", ") + _percent,
        MEMORY_SESSIONS,
    ),
    Rule(
        "special_dividend",
        "warning",
        Action.QUARANTINE,
        "a dividend above 8% of the price: the series gaps without a loss",
        lambda _: pl.col("_paid") > SPECIAL_DIVIDEND,
        pl.lit("paid ") + (pl.col("_paid") * 100).round(1).cast(pl.String) + pl.lit("% of the last close"),
        SHORT_MEMORY_SESSIONS,
    ),
    Rule(
        "spike",
        "error",
        Action.QUARANTINE,
        "high or low is three times away from open and close",
        lambda _: (
            (pl.col("high") > 3 * pl.max_horizontal("open", "close"))
            | (pl.col("low") * 3 < pl.min_horizontal("open", "close"))
        ),
        pl.lit("low ") + pl.col("low").cast(pl.String) + pl.lit(", high ") + pl.col("high").cast(pl.String),
        SHORT_MEMORY_SESSIONS,
    ),
    Rule(
        "stale_run",
        "error",
        Action.QUARANTINE,
        "five or more bars in a row without any movement",
        lambda _: (pl.col("_still") >= 5) & (pl.col("_still") % 5 == 0),
        pl.col("_still").cast(pl.String) + pl.lit(" equal flat bars"),
        SHORT_MEMORY_SESSIONS,
    ),
    Rule(
        "long_gap",
        "warning",
        Action.QUARANTINE,
        "more than 20 sessions are missing before this bar",
        lambda _: pl.col("_skipped") > 20,
        pl.col("_skipped").cast(pl.String) + pl.lit(" sessions missing"),
        MEMORY_SESSIONS,
    ),
    Rule(
        "feed_volume",
        "warning",
        Action.QUARANTINE,
        "the largest volume of ten days is below a tenth of the mean of the sixty before: another feed",
        lambda _: pl.col("_drop") < FEED_SHARE,
        pl.lit("at most ") + (pl.col("_drop") * 100).round(1).cast(pl.String) + pl.lit("% of the volume before"),
        MEMORY_SESSIONS,
    ),
    Rule(
        "missing_sessions",
        "warning",
        Action.WARN,
        "sessions are missing before this bar",
        lambda _: pl.col("_skipped") > 0,
        pl.col("_skipped").cast(pl.String) + pl.lit(" missing"),
    ),
    Rule(
        "tiny_split",
        "note",
        Action.WARN,
        "a split coefficient within 10% of 1: a stock dividend or a spin-off",
        lambda _: _tiny & (pl.col("_split") != 1.0),
        pl.lit("coefficient ") + pl.col("_split").round(4).cast(pl.String),
    ),
    Rule(
        "long_wick",
        "note",
        Action.WARN,
        "high or low is half as much away from open and close",
        lambda _: (
            (pl.col("high") > 1.5 * pl.max_horizontal("open", "close"))
            | (pl.col("low") * 1.5 < pl.min_horizontal("open", "close"))
        ),
    ),
    Rule("zero_volume", "note", Action.WARN, "nothing was traded", lambda _: pl.col("volume") == 0),
    Rule(
        "flat_bar",
        "note",
        Action.WARN,
        "open, high, low and close are equal",
        lambda _: pl.col("high") == pl.col("low"),
    ),
    Rule("equal_closes", "note", Action.WARN, "five or more equal closes in a row", lambda _: pl.col("_equal") == 5),
)


def _told(code: str, meaning: str, action: Action = Action.WARN, severity: str = "warning") -> Rule:
    return Rule(code, severity, action, meaning, lambda _: pl.lit(value=False))


OUTSIDE_RULES: tuple[Rule, ...] = (
    _told("overlap_mismatch", "closes of the same days differ from those held: one of the two is adjusted otherwise",
          Action.QUARANTINE, "error"),
    _told("source_disagreement", "two sources tell different closes for the same day", Action.QUARANTINE, "error"),
    _told("event_disagreement", "two sources tell different splits or dividends for the same day", Action.QUARANTINE,
          "error"),
    _told("coverage", "the symbol has fewer than 90% of the sessions of its life"),
    _told("thin_session", "fewer than 80% of the symbols alive have a bar in this session"),
    _told("stale_end", "the symbol's last bar is older than the store's", severity="note"),
    _told("by_hand", "put on hold by a person", Action.QUARANTINE, "error"),
)  # fmt: skip

RULES: dict[str, Rule] = {rule.code: rule for rule in (*ROW_RULES, *SERIES_RULES, *OUTSIDE_RULES)}
