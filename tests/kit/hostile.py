"""Bad market-data files and what must happen to each; and a planter of known defects for real bars.

Every file is made from one clean market. A home that already trades holds its first sessions (`held_bars`); the file
offers the rest for two symbols (`offer`), ten sessions overlapping, so that each rule has something to compare with.
The defect is in `VICTIM`; `BYSTANDER` is clean and must arrive whole; all other symbols must stay as they are.
"""

import gzip
import io
import os
import re
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl

from kobe.core.calendar import Calendar
from kobe.core.clock import NEW_YORK
from kobe.data.providers.synthetic import SyntheticSpec, synthetic_market

VICTIM, BYSTANDER = "SYN001", "SYN003"
UNTOUCHED = ("SPY", "SYN004")
FILE_COLUMNS = ["date", "symbol", "open", "high", "low", "close", "volume"]
PRICES = ["open", "high", "low", "close"]
HELD, OFFERED, BAD = 160, 150, 210  # sessions: how many the home holds, where the file begins, where the defect sits
FUTURE = date(2035, 6, 15)  # a Friday inside the session table

Outcome = Literal["refused", "partial", "held", "accepted"]
Change = Callable[[pl.DataFrame], pl.DataFrame]
Write = Callable[[Path, pl.DataFrame], Path]


def _nothing(clean: pl.DataFrame) -> pl.DataFrame:
    return clean.head(0)


@dataclass(frozen=True, kw_only=True)
class Hostile:
    """A file nobody should trust, and the only answers to it that are right.

    Attributes:
        name: short and unique.
        what: the file in one sentence.
        why: the reason for the expectation.
        write: makes the file in a folder from the clean bars and returns its path.
        outcome: `refused` (exit 4, store unchanged), `partial` (exit 7, bad rows set aside), `held` (exit 7, the
            symbol is on hold) or `accepted` (exit 0, perhaps with warnings).
        or_else: other outcomes that are as safe.
        on_empty: the outcomes on an empty home, where they differ because there is nothing to compare with.
        codes: one of these must be named when rows are set aside, a symbol is held, or a warning is due.
        absent: rows of the offer (symbol, date) that must not be in the store afterwards.
        loose: more of the offer may be missing than `absent`, but nothing else may be there.
        hurt: symbols whose new bars may differ from the clean ones when they are held.
        altered: symbols whose bars rightly differ from the clean ones.
        aliases: (symbol in the file, clean symbol whose bars it carries).
        options: words added to the command.
        available: says whether this machine can make such a file.
    """

    name: str
    what: str
    why: str
    write: Write
    outcome: Outcome
    or_else: tuple[Outcome, ...] = ()
    on_empty: tuple[Outcome, ...] = ()
    codes: frozenset[str] = frozenset()
    absent: Change = _nothing
    loose: bool = False
    hurt: tuple[str, ...] = (VICTIM,)
    altered: tuple[str, ...] = ()
    aliases: tuple[tuple[str, str], ...] = ()
    options: tuple[str, ...] = ()
    available: Callable[[], bool] = lambda: True

    def outcomes(self, *, empty: bool) -> tuple[Outcome, ...]:
        """Return every right answer."""
        return self.on_empty if empty and self.on_empty else (self.outcome, *self.or_else)


def clean_market(calendar: Calendar) -> pl.DataFrame:
    """Return 252 sessions of four symbols without a defect, sorted by symbol and date, `raw_factor` 1."""
    made = synthetic_market(SyntheticSpec(symbols=7, years=1), calendar)
    kept = made.filter(pl.col("symbol").is_in([VICTIM, BYSTANDER, *UNTOUCHED]))
    return kept.sort("symbol", "date")


def sessions(clean: pl.DataFrame) -> list[date]:
    """Return the session dates of the clean market."""
    return clean.get_column("date").unique().sort().to_list()


def held_bars(clean: pl.DataFrame) -> pl.DataFrame:
    """Return what the home holds before the file arrives."""
    return clean.filter(pl.col("date") < sessions(clean)[HELD])


def offer(clean: pl.DataFrame) -> pl.DataFrame:
    """Return what a clean file would offer."""
    late = pl.col("date") >= sessions(clean)[OFFERED]
    return clean.filter(late & pl.col("symbol").is_in([VICTIM, BYSTANDER])).select(FILE_COLUMNS)


# Which rows. All take the clean market.


def bad_day(clean: pl.DataFrame) -> date:
    """Return the date of the planted defect."""
    return sessions(clean)[BAD]


def bad_row(clean: pl.DataFrame) -> pl.DataFrame:
    """Return the clean row at whose place the defect sits."""
    return offer(clean).filter((pl.col("symbol") == VICTIM) & (pl.col("date") == bad_day(clean)))


def all_of_victim(clean: pl.DataFrame) -> pl.DataFrame:
    """Return the whole offer for the victim."""
    return offer(clean).filter(pl.col("symbol") == VICTIM)


def _span(clean: pl.DataFrame, count: int, symbol: str = VICTIM) -> pl.DataFrame:
    days = sessions(clean)[BAD - count : BAD]
    return offer(clean).filter((pl.col("symbol") == symbol) & pl.col("date").is_in(days))


def _next_row(clean: pl.DataFrame) -> pl.DataFrame:
    """Return the victim's first bar after those the home holds."""
    return all_of_victim(clean).filter(pl.col("date") == sessions(clean)[HELD])


def _all_but_next(clean: pl.DataFrame) -> pl.DataFrame:
    return offer(clean).join(_next_row(clean), on=["symbol", "date"], how="anti")


# How files are made.


def _save(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def _csv(change: Change, name: str = "bars.csv") -> Write:
    return lambda folder, clean: _save(folder, name, change(clean).write_csv().encode())


def _parquet(change: Change) -> Write:
    def write(folder: Path, clean: pl.DataFrame) -> Path:
        path = folder / "bars.parquet"
        change(clean).write_parquet(path)
        return path

    return write


def _text(render: Callable[[str], str | bytes], name: str = "bars.csv") -> Write:
    """Make a file from the text of the clean offer."""

    def write(folder: Path, clean: pl.DataFrame) -> Path:
        made = render(offer(clean).write_csv())
        return _save(folder, name, made if isinstance(made, bytes) else made.encode())

    return write


def _bytes(content: bytes, name: str = "bars.csv") -> Write:
    return lambda folder, _: _save(folder, name, content)


def _words(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(pl.all().cast(pl.String))


def _with_row(clean: pl.DataFrame, **cells: str) -> pl.DataFrame:
    """Return the offer as text with cells of the bad row replaced."""
    here = (pl.col("symbol") == VICTIM) & (pl.col("date") == str(bad_day(clean)))
    new = [pl.when(here).then(pl.lit(value)).otherwise(pl.col(name)).alias(name) for name, value in cells.items()]
    return _words(offer(clean)).with_columns(new)


def _with_prices(clean: pl.DataFrame, rows: pl.Expr, factor: float, volume_factor: float = 1.0) -> pl.DataFrame:
    """Return the offer with the victim's prices multiplied where `rows` is true."""
    here = (pl.col("symbol") == VICTIM) & rows
    new = [pl.when(here).then(pl.col(c) * factor).otherwise(pl.col(c)).alias(c) for c in PRICES]
    volume = pl.when(here).then((pl.col("volume") * volume_factor).round()).otherwise(pl.col("volume"))
    return offer(clean).with_columns(*new, volume.alias("volume"))


def _since(clean: pl.DataFrame) -> pl.Expr:
    return pl.col("date") >= bad_day(clean)


def _plus(clean: pl.DataFrame, **cells: Any) -> pl.DataFrame:
    """Return the offer and one more row, the bad row's with other cells, as text."""
    extra = _words(bad_row(clean)).with_columns([pl.lit(value).alias(name) for name, value in cells.items()])
    return pl.concat([_words(offer(clean)), extra.with_columns(pl.all().cast(pl.String))])


# Values of one row.


def _cell(name: str, what: str, why: str, codes: str, **cells: str) -> Hostile:
    return Hostile(
        name=name, what=what, why=why, write=_csv(lambda clean: _with_row(clean, **cells)),
        outcome="partial", codes=frozenset(codes.split()), absent=bad_row,
    )  # fmt: skip


_NOT_A_NUMBER = "a price that is not a number is no price; guessing one would trade on an invention"
_NO_GUESS = "another country's notation read wrongly is a price wrong by a factor of a thousand"
_ALL_PRICES = {"open": "", "high": "", "low": "", "close": ""}


def _prices(value: str) -> dict[str, str]:
    return dict.fromkeys(_ALL_PRICES, value)


CELLS: tuple[Hostile, ...] = (
    _cell("nan_price", "A close of NaN.", _NOT_A_NUMBER, "non_finite", close="NaN"),
    _cell("inf_price", "A high of inf.", _NOT_A_NUMBER, "non_finite absurd_price", high="inf"),
    _cell("minus_inf_price", "A low of -inf.", _NOT_A_NUMBER, "non_finite non_positive", low="-inf"),
    _cell("empty_price", "An empty close.", _NOT_A_NUMBER, "non_finite", close=""),
    _cell("null_word_price", "A close of the word null.", _NOT_A_NUMBER, "non_finite", close="null"),
    _cell("text_price", "A close of n/a.", _NOT_A_NUMBER, "non_finite", close="n/a"),
    _cell("spreadsheet_error_price", "A close of #DIV/0!.", _NOT_A_NUMBER, "non_finite", close="#DIV/0!"),
    _cell("hex_price", "A close of 0x1F.", _NOT_A_NUMBER, "non_finite ohlc_order", close="0x1F"),
    _cell("thousands_separator", "An open of 1,234.56 in quotes.", _NO_GUESS, "non_finite", open="1,234.56"),
    _cell("decimal_comma", "A close of 35,11 in quotes.", _NO_GUESS, "non_finite ohlc_order", close="35,11"),
    _cell("currency_sign", "A close of $35.11.", _NO_GUESS, "non_finite", close="$35.11"),
    _cell("percent_sign", "A close of 3%.", _NO_GUESS, "non_finite", close="3%"),
    _cell("negative_price", "Four prices of -5.", "nobody pays to give a share away", "non_positive", **_prices("-5")),
    _cell("zero_price", "Four prices of 0.", "a return from zero is infinite", "non_positive", **_prices("0")),
    _cell("zero_open", "An open of 0, as feeds send when there was no auction.", "a fill at 0 is a free share",
          "non_positive", open="0.0"),
    _cell("high_below_low", "High and low exchanged.", "such a bar cannot have traded", "ohlc_order",
          high="1.00", low="9999.00"),
    _cell("close_above_high", "The close is above the high.", "IBS would be above 1", "ohlc_order", close="9999.00"),
    _cell("close_below_low", "The close is below the low.", "IBS would be below 0", "ohlc_order", close="0.5"),
    _cell("open_above_high", "The open is above the high.", "the next fill would lie outside its own bar",
          "ohlc_order", open="9999.00"),
    _cell("price_1e308", "Four prices of 1e308.", "their sum overflows to inf", "absurd_price", **_prices("1e308")),
    _cell("price_1e309", "Four prices of 1e309, which is read as inf.", _NOT_A_NUMBER, "non_finite absurd_price",
          **_prices("1e309")),
    _cell("price_1e-308", "Four prices of 1e-308.", "a return from it overflows to inf", "absurd_price non_positive",
          **_prices("1e-308")),
    _cell("denormal_price", "Four prices of 5e-324, the smallest double.", "a return from it overflows to inf",
          "absurd_price non_positive", **_prices("5e-324")),
    _cell("nan_volume", "A volume of NaN.", "the ADV gate would compare with NaN", "non_finite", volume="NaN"),
    _cell("empty_volume", "An empty volume.", "unknown is not zero", "non_finite", volume=""),
    _cell("negative_volume", "A volume of -100.", "no such count", "negative_volume", volume="-100"),
    _cell("volume_beyond_int64", "A volume of 99999999999999999999999.", "it would pass every liquidity gate",
          "absurd_volume", volume="99999999999999999999999"),
    _cell("volume_1e300", "A volume of 1e300.", "price times volume overflows", "absurd_volume", volume="1e300"),
    _cell("minus_one_volume", "A volume of -1, an overflown counter.", "no such count", "negative_volume",
          volume="-1"),
    Hostile(
        name="null_price_in_parquet", what="A Parquet file with a null close.", why=_NOT_A_NUMBER,
        write=_parquet(lambda clean: offer(clean).with_columns(
            pl.when((pl.col("symbol") == VICTIM) & (pl.col("date") == bad_day(clean))).then(None)
            .otherwise(pl.col("close")).alias("close"))),
        outcome="partial", codes=frozenset({"non_finite"}), absent=bad_row,
    ),
    Hostile(
        name="zero_raw_factor", what="A raw_factor of 0 in one row.", why="the tape price would be 0",
        write=_csv(lambda clean: _with_row(clean).with_columns(
            raw_factor=pl.when(pl.col("date") == str(bad_day(clean))).then(pl.lit("0")).otherwise(pl.lit("1.0")))),
        outcome="partial", codes=frozenset({"non_positive"}),
        absent=lambda clean: offer(clean).filter(pl.col("date") == bad_day(clean)),
    ),
    *(
        Hostile(
            name=name, what=f"The close is above the high by {hair:g} of it.", why=why,
            outcome=outcome, altered=(VICTIM,),
            codes=frozenset(codes.split()), absent=absent,
            write=_csv(lambda clean, hair=hair: offer(clean).with_columns(
                pl.when((pl.col("symbol") == VICTIM) & (pl.col("date") == bad_day(clean)))
                .then(pl.col("high") * (1 + hair)).otherwise(pl.col("close")).alias("close"))),
        )
        for name, hair, why, outcome, codes, absent in (
            ("close_above_high_by_noise", 1e-12, "float noise of an adjustment is no defect", "accepted", "", _nothing),
            ("close_above_high_by_a_hair", 1e-4, "a cent too high is no noise", "partial", "ohlc_order", bad_row),
        )
    ),
)  # fmt: skip

# Duplicates and dates.


def _double(clean: pl.DataFrame, factor: float) -> pl.DataFrame:
    again = bad_row(clean).with_columns([pl.col(c) * factor for c in PRICES])
    return pl.concat([offer(clean), again])


def _dated(name: str, what: str, why: str, codes: str, day: str) -> Hostile:
    """One more bar on a date that cannot be."""
    return Hostile(
        name=name, what=what, why=why, write=_csv(lambda clean: _plus(clean, date=day)),
        outcome="partial", codes=frozenset(codes.split()),
    )  # fmt: skip


def _date_format(name: str, what: str, why: str, form: str, *answers: Outcome) -> Hostile:
    """The whole offer with its dates written in another way."""
    return Hostile(
        name=name, what=what, why=why,
        write=_csv(lambda clean: offer(clean).with_columns(pl.col("date").dt.strftime(form))),
        outcome=answers[0], or_else=answers[1:],
    )  # fmt: skip


def _shifted(days: int) -> Change:
    return lambda clean: offer(clean).with_columns(pl.col("date").dt.offset_by(f"{days}d"))


def _instants(at: time, zone: Any) -> Change:
    """The offer with instants in UTC, each a local time of its session."""

    def change(clean: pl.DataFrame) -> pl.DataFrame:
        frame = offer(clean)
        days = frame.get_column("date").to_list()
        stamps = [datetime.combine(day, at, zone).astimezone(UTC) for day in days]
        return frame.with_columns(pl.Series("date", stamps, dtype=pl.Datetime("us", "UTC")))

    return change


def _integers(unit: Callable[[pl.Expr], pl.Expr]) -> Change:
    return lambda clean: offer(clean).with_columns(unit(pl.col("date")).cast(pl.Int64).alias("date"))


_SHIFTED = "a fifth of the bars fall on closed days, so the rest are a day off too: no row of it can be trusted"
_SAME_OR_NOTHING = "either the session is read as meant or the file is refused; never a day off"

DATES: tuple[Hostile, ...] = (
    Hostile(
        name="exact_duplicate", what="One row occurs twice, equal to the byte.",
        why="it must be told; one copy may stay, for both say the same",
        write=_csv(lambda clean: _double(clean, 1.0)), outcome="partial", codes=frozenset({"duplicate"}),
        absent=bad_row, loose=True,
    ),
    Hostile(
        name="conflicting_duplicate", what="One symbol and date occur twice with different prices.",
        why="nobody knows which is true", write=_csv(lambda clean: _double(clean, 1.02)), outcome="partial",
        codes=frozenset({"duplicate"}), absent=bad_row,
    ),
    Hostile(
        name="file_twice_over", what="The whole file is appended to itself, with its header in the middle.",
        why="every row is a duplicate and the second header is no bar",
        write=_text(lambda text: text + text), outcome="refused", or_else=("partial",),
        codes=frozenset({"duplicate", "missing_date"}), loose=True,
    ),
    _dated("saturday", "A bar on a Saturday.", "the exchange was closed", "not_a_session", "2024-11-02"),
    _dated("sunday", "A bar on a Sunday.", "the exchange was closed", "not_a_session", "2024-11-03"),
    _dated("good_friday", "A bar on Good Friday 2024, no federal holiday.", "the exchange was closed",
           "not_a_session", "2024-03-29"),
    _dated("christmas", "A bar on Christmas 2024.", "the exchange was closed", "not_a_session", "2024-12-25"),
    _dated("day_of_mourning", "A bar on 2018-12-05, closed for a funeral.", "the exchange was closed",
           "not_a_session", "2018-12-05"),
    _dated("future_session", "A bar of a session years ahead.", "nobody can know it", "future_bar", str(FUTURE)),
    _dated("beyond_the_calendar", "A bar of the year 2199.", "nobody can know it", "future_bar not_a_session",
           "2199-01-02"),
    _dated("before_1990", "A bar of 1987-10-19.", "the session table begins in 1990", "not_a_session", "1987-10-19"),
    _dated("year_one", "A bar of the year 1.", "a null date of some databases", "not_a_session missing_date",
           "0001-01-01"),
    _dated("epoch_zero", "A bar of 1970-01-01.", "a null date of some programs", "not_a_session", "1970-01-01"),
    _dated("year_99999", "A bar of the year 99999.", "no such date", "missing_date not_a_session future_bar",
           "99999-01-01"),
    _dated("february_30", "A bar of February 30.", "no such date", "missing_date", "2024-02-30"),
    _dated("empty_date", "A bar without a date.", "it belongs nowhere", "missing_date", ""),
    _dated("word_date", "A bar dated yesterday, in letters.", "it belongs nowhere", "missing_date", "yesterday"),
    _date_format("date_month_first", "Dates as MM/DD/YYYY.", "half of them also read as DD/MM", "%m/%d/%Y", "refused"),
    _date_format("date_day_first", "Dates as DD/MM/YYYY.", "half of them also read as MM/DD", "%d/%m/%Y", "refused"),
    _date_format("date_two_digit_year", "Dates as YY-MM-DD.", "24-07-01 may be a day, a month or a year",
                 "%y-%m-%d", "refused"),
    _date_format("date_compact", "Dates as YYYYMMDD.", _SAME_OR_NOTHING, "%Y%m%d", "refused", "accepted"),
    Hostile(
        name="date_epoch_seconds", what="Dates as seconds since 1970.", why=_SAME_OR_NOTHING, outcome="refused",
        or_else=("accepted",), write=_csv(_integers(lambda c: c.dt.epoch("s"))),
    ),
    _date_format("date_new_york_offset", "Dates as midnight with the offset of New York.", _SAME_OR_NOTHING,
                 "%Y-%m-%dT00:00:00-04:00", "accepted", "refused"),
    _date_format("date_midnight_label", "Dates as midnight UTC, meant as the date they show.", _SAME_OR_NOTHING,
                 "%Y-%m-%dT00:00:00Z", "accepted", "refused"),
    _date_format("date_mixed_garbage_tail", "Dates with words after them.", _SAME_OR_NOTHING,
                 "%Y-%m-%d (final)", "accepted", "refused"),
    Hostile(
        name="instant_of_new_york_evening", why=_SHIFTED, hurt=(VICTIM, BYSTANDER),
        what="Instants as text, 20:00 in New York, which is midnight or 01:00 UTC of the next day.",
        write=_csv(lambda clean: _instants(time(20), NEW_YORK)(clean).with_columns(
            pl.col("date").dt.strftime("%Y-%m-%dT%H:%M:%SZ"))),
        outcome="refused", or_else=("accepted", "held"), codes=frozenset({"not_a_session", "overlap_mismatch"}),
    ),
    Hostile(
        name="parquet_instant_of_new_york_evening", why=_SHIFTED, hurt=(VICTIM, BYSTANDER),
        what="Parquet instants in UTC, 20:00 in New York.", write=_parquet(_instants(time(20), NEW_YORK)),
        outcome="refused", or_else=("accepted", "held"), codes=frozenset({"not_a_session", "overlap_mismatch"}),
    ),
    Hostile(
        name="parquet_instant_of_the_close", what="Parquet instants in UTC of 16:00 in New York.",
        why=_SAME_OR_NOTHING, write=_parquet(_instants(time(16), NEW_YORK)), outcome="accepted", or_else=("refused",),
    ),
    Hostile(
        name="parquet_midnight_utc_label", what="Parquet instants at midnight UTC, meant as the date they show.",
        why=_SAME_OR_NOTHING, write=_parquet(_instants(time(0), UTC)), outcome="accepted", or_else=("refused",),
    ),
    Hostile(
        name="parquet_new_york_midnight", what="Parquet instants in the zone of New York at its midnight.",
        why=_SAME_OR_NOTHING, outcome="accepted", or_else=("refused",),
        write=_parquet(lambda clean: _instants(time(0), NEW_YORK)(clean).with_columns(
            pl.col("date").dt.convert_time_zone("America/New_York"))),
    ),
    *(
        Hostile(
            name=name, what=f"Every date is {days:+d} day, as a wrong zone makes it.", why=_SHIFTED,
            write=_csv(_shifted(days)), outcome="refused", or_else=("held",), hurt=(VICTIM, BYSTANDER),
            codes=frozenset({"not_a_session", "overlap_mismatch"}),
        )
        for name, days in (("shifted_back", -1), ("shifted_forward", 1))
    ),
    Hostile(
        name="parquet_epoch_seconds", what="Parquet integers, seconds since 1970.", why=_SAME_OR_NOTHING,
        write=_parquet(_integers(lambda c: c.dt.epoch("s"))), outcome="refused",
        or_else=("accepted",),
    ),
    Hostile(
        name="parquet_epoch_nanoseconds", what="Parquet integers, nanoseconds since 1970.", why=_SAME_OR_NOTHING,
        write=_parquet(_integers(lambda c: c.dt.epoch("ns"))), outcome="refused",
        or_else=("accepted",),
    ),
    Hostile(
        name="parquet_compact_date", what="Parquet integers such as 20240903.", why=_SAME_OR_NOTHING,
        write=_parquet(_integers(lambda c: c.dt.strftime("%Y%m%d").cast(pl.Int64))), outcome="refused",
        or_else=("accepted",),
    ),
)  # fmt: skip

# Symbols.


def _symbol(name: str, symbol: str, why: str) -> Hostile:
    """Two more bars under a symbol that is none."""

    def change(clean: pl.DataFrame) -> pl.DataFrame:
        extra = _words(_span(clean, 2)).with_columns(symbol=pl.lit(symbol))
        return pl.concat([_words(offer(clean)), extra])

    shown = symbol if len(symbol) < 30 else f"{len(symbol)} letters"
    return Hostile(
        name=name, what=f"Bars of the symbol {shown!r}.", why=why, write=_csv(change), outcome="partial",
        codes=frozenset({"bad_symbol"}),
    )  # fmt: skip


def _spelled(name: str, change: Callable[[pl.Expr], pl.Expr], what: str) -> Hostile:
    """The victim's symbol written in another way that means the same."""
    here = pl.col("symbol") == VICTIM
    spell = pl.when(here).then(change(pl.col("symbol"))).otherwise(pl.col("symbol")).alias("symbol")
    return Hostile(
        name=name, what=what, why="a harmless difference of spelling", outcome="accepted",
        write=_csv(lambda clean: offer(clean).with_columns(spell)),
    )  # fmt: skip


def _lookalike(name: str, symbol: str, what: str) -> Hostile:
    """Another symbol's bars under letters that look, or are upper-cased to look, like the victim's."""

    def change(clean: pl.DataFrame) -> pl.DataFrame:
        theirs = offer(clean).filter(pl.col("symbol") == BYSTANDER)
        return pl.concat([theirs, theirs.with_columns(symbol=pl.lit(symbol))])

    return Hostile(
        name=name, what=what, why="it would write another company's bars under the victim's name",
        write=_csv(change), outcome="partial", codes=frozenset({"bad_symbol"}), absent=all_of_victim,
    )  # fmt: skip


def _ticker(name: str, symbol: str, why: str, *or_else: Outcome) -> Hostile:
    """The victim's bars under a real ticker that programs stumble over."""
    here = pl.col("symbol") == VICTIM
    spell = pl.when(here).then(pl.lit(symbol)).otherwise(pl.col("symbol")).alias("symbol")
    return Hostile(
        name=name, what=f"Bars of the symbol {symbol}.", why=why, outcome="accepted", or_else=or_else,
        write=_csv(lambda clean: offer(clean).with_columns(spell)), codes=frozenset({"bad_symbol"} if or_else else ()),
        absent=all_of_victim, aliases=((symbol, VICTIM),), loose=bool(or_else),
    )  # fmt: skip


_PATH = "a symbol that becomes a path could leave the home"
_FORMULA = "a spreadsheet would run it when the quarantine file is opened"
_NO_TICKER = "no exchange lists it, and it breaks what prints it"

SYMBOLS: tuple[Hostile, ...] = (
    _symbol("symbol_passwd", "../../etc/passwd", _PATH),
    _symbol("symbol_backslashes", "..\\..\\autoexec", _PATH),
    _symbol("symbol_dots", "..", _PATH),
    _symbol("symbol_absolute", "/kobe-was-here", _PATH),
    _symbol("symbol_dde", "=cmd|' /C calc'!A0", _FORMULA),
    _symbol("symbol_minus", "-1+1", _FORMULA),
    _symbol("symbol_plus", "+1+1", _FORMULA),
    _symbol("symbol_at", "@SUM(A1)", _FORMULA),
    _symbol("symbol_tab_formula", "\t=1+1", _FORMULA),
    _symbol("symbol_hyperlink", '=HYPERLINK("http://127.0.0.1/","x")', _FORMULA),
    _symbol("symbol_sql", "A'; DROP TABLE bars;--", _NO_TICKER),
    _symbol("symbol_empty", "", "the bar belongs to nobody"),
    _symbol("symbol_blank", "   ", "the bar belongs to nobody"),
    _symbol("symbol_300_letters", "A" * 300, "a file name of that length fails on every system"),
    _symbol("symbol_null_byte", "SYN\x00001", _NO_TICKER),
    _symbol("symbol_newline", "SYN\n001", "it would forge a second line in a log"),
    _symbol("symbol_trailing_newline", "X\n=1", "a pattern that ends with $ lets it pass"),
    _symbol("symbol_escape_sequence", "\x1b[2JA", "a terminal would obey it"),
    _symbol("symbol_right_to_left", "SYN\u202e001", "a terminal would show other letters than there are"),
    _symbol("symbol_zero_width", "SYN\u200b001", "it looks like the victim"),
    _symbol("symbol_markup", "[red]A[/]", "a terminal library would obey it"),
    _symbol("symbol_html", "<script>1</script>", "a report would run it"),
    _symbol("symbol_emoji", "\U0001f680", _NO_TICKER),
    _symbol("symbol_index", "^VIX", "an index is not a stock"),
    _lookalike("symbol_greek_nu", "SY\u039d001", "A Greek capital Nu in place of N."),
    _lookalike("symbol_long_s", "\u017fYN001", "A long s, which upper-casing turns into a plain S."),
    _lookalike("symbol_fullwidth", "\uff33\uff39\uff2e\uff10\uff10\uff11", "Full-width letters."),
    _lookalike("symbol_arabic_digits", "SYN\u0660\u0660\u0661", "Arabic-Indic digits, digits to many patterns."),
    _spelled("symbol_lower_case", lambda c: c.str.to_lowercase(), "The victim's symbol in lower case."),
    _spelled("symbol_spaces", lambda c: "  " + c + " ", "Spaces around the victim's symbol."),
    _ticker("ticker_con", "CON", "a device on Windows, a listed company in New York; no file is named by it",
            "partial"),
    _ticker("ticker_nul", "NUL", "a device on Windows; no file is named by it", "partial"),
    _ticker("ticker_true", "TRUE", "a ticker, not a truth value"),
    _ticker("ticker_nan", "NAN", "a ticker, not a number that is none"),
    _ticker("ticker_null", "NULL", "letters, not the absence of a symbol"),
    _ticker("ticker_1e5", "1E5", "letters that read as a number", "partial"),
    Hostile(
        name="symbol_in_two_cases", what="The victim's bars in upper and, with other prices, in lower case.",
        why="both mean the same symbol, and nobody knows which is true", outcome="partial",
        codes=frozenset({"duplicate"}), absent=all_of_victim,
        write=_csv(lambda clean: pl.concat([offer(clean), all_of_victim(clean).with_columns(
            *[pl.col(c) * 1.01 for c in PRICES], symbol=pl.lit(VICTIM.lower()))])),
    ),
)  # fmt: skip

# Containers: what the bytes are.


def _refused(name: str, what: str, why: str, write: Write, *or_else: Outcome, **more: Any) -> Hostile:
    return Hostile(name=name, what=what, why=why, write=write, outcome="refused", or_else=or_else, **more)


def _accepted(name: str, what: str, why: str, write: Write, *or_else: Outcome, **more: Any) -> Hostile:
    return Hostile(name=name, what=what, why=why, write=write, outcome="accepted", or_else=or_else, **more)


def _cut(share: float, back: int = 0) -> Write:
    """A Parquet file that ends early: after a share of its bytes, or so many before its end."""

    def write(folder: Path, clean: pl.DataFrame) -> Path:
        buffer = io.BytesIO()
        offer(clean).write_parquet(buffer)
        whole = buffer.getvalue()
        return _save(folder, "bars.parquet", whole[: int(len(whole) * share) - back])

    return write


def _scribbled(folder: Path, clean: pl.DataFrame) -> Path:
    """A Parquet file of the right length with noise over the middle of its data."""
    buffer = io.BytesIO()
    offer(clean).write_parquet(buffer)
    whole = bytearray(buffer.getvalue())
    noise = np.random.default_rng(5).bytes(len(whole) // 3)
    whole[len(whole) // 4 : len(whole) // 4 + len(noise)] = noise
    return _save(folder, "bars.parquet", bytes(whole))


def _half_a_line(text: str) -> str:
    """Cut inside the victim's last line, which is made the last of the file."""
    *rest, last = [*(x for x in text.splitlines() if BYSTANDER in x), *(x for x in text.splitlines() if VICTIM in x)]
    return "\n".join([text.splitlines()[0], *rest, ",".join(last.split(",")[:3])])


def _last_row(clean: pl.DataFrame) -> pl.DataFrame:
    return all_of_victim(clean).tail(1)


def _zip(text: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bars.csv", text)
    return buffer.getvalue()


def _beside(folder: Path, clean: pl.DataFrame) -> Path:
    """The file, and one that its name would match if it were a pattern, with prices a cent apart."""
    other = offer(clean).with_columns(pl.col(c) + 0.01 for c in PRICES)
    _csv(lambda _: other, "bars1.csv")(folder, clean)
    return _csv(offer, "bars[1].csv")(folder, clean)


def _recast(**kinds: Any) -> Write:
    return _parquet(lambda clean: offer(clean).with_columns(pl.col(n).cast(k) for n, k in kinds.items()))


def _half(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _header(*pairs: tuple[str, str]) -> Callable[[str], str]:
    def render(text: str) -> str:
        head, rest = text.split("\n", 1)
        for old, new in pairs:
            head = re.sub(rf"\b{old}\b", new, head)
        return f"{head}\n{rest}"

    return render


def _each_line(text: str, tail: str, *, header: bool) -> str:
    head, *rest = text.splitlines()
    return "\n".join([head + (tail if header else ""), *(line + tail for line in rest)]) + "\n"


_UNREADABLE = "what cannot be read whole is not read in part"
_NO_COLUMN = "the columns are not there; the message names them"
_HTML = b"<!DOCTYPE html>\n<html><body>Exceeded the daily hits limit, date,symbol,open</body></html>\n"
_OURS_TO_THEIRS = (("date", "Date"), ("open", "Open"), ("high", "High"), ("low", "Low"), ("close", "Close"))
_MAPPED = tuple(word for ours, theirs in _OURS_TO_THEIRS for word in ("--map", f"{ours}={theirs}"))

CONTAINERS: tuple[Hostile, ...] = (
    _accepted("bom_utf8", "UTF-8 with a byte order mark.", "what spreadsheets save",
              _text(lambda t: t.encode("utf-8-sig"))),
    _refused("utf16", "UTF-16 with a byte order mark.", "read rightly or not at all",
             _text(lambda t: t.encode("utf-16")), "accepted"),
    _accepted("latin1_in_an_extra_column", "Latin-1 bytes in a column nobody asked for.", "read or refused, no half",
              _text(lambda t: "\n".join([*(
                  line + (",name" if k == 0 else ",Soci\xe9t\xe9") for k, line in enumerate(t.splitlines()))
              ]).encode("latin-1")), "refused"),
    _refused("latin1_symbol", "A Latin-1 byte inside a symbol.", "no ticker holds it",
             _text(lambda t: t.replace(VICTIM, "SYN\xc91").encode("latin-1")), "partial",
             codes=frozenset({"bad_symbol"}), absent=all_of_victim),
    _accepted("crlf", "Lines end with CR LF.", "what Windows writes", _text(lambda t: t.replace("\n", "\r\n"))),
    _refused("cr_only", "Lines end with CR alone.", "one endless line", _text(lambda t: t.replace("\n", "\r")),
             "accepted"),
    _accepted("no_final_newline", "The last line has no end.", "complete all the same",
              _text(lambda t: t.rstrip("\n"))),
    _accepted("blank_lines", "Blank lines between the rows and at the end.", "nothing is lost, or all is refused",
              _text(lambda t: t.replace("\n", "\n\n") + "\n\n"), "refused", "partial",
              codes=frozenset({"missing_date"})),
    _accepted("trailing_comma", "A comma at the end of every line and of the header.", "an empty column nobody asked "
              "for", _text(lambda t: _each_line(t, ",", header=True))),
    _refused("trailing_comma_in_rows", "A comma at the end of the rows, not of the header.", "rows longer than the "
             "header may be shifted", _text(lambda t: _each_line(t, ",", header=False)), "accepted"),
    _refused("semicolons", "Semicolons between the fields, commas in the numbers.", _NO_COLUMN,
             _text(lambda t: t.replace(",", ";").replace(".", ","))),
    _refused("decimal_commas_everywhere", "Every price in quotes with a decimal comma.", _NO_GUESS,
             _csv(lambda c: offer(c).with_columns(pl.col(n).cast(pl.String).str.replace(".", ",", literal=True)
                                                  for n in PRICES))),
    _refused("tabs", "Tabs between the fields.", _NO_COLUMN, _text(lambda t: t.replace(",", "\t"))),
    _refused("missing_column", "There is no close.", _NO_COLUMN, _csv(lambda c: offer(c).drop("close"))),
    _refused("missing_volume", "There is no volume.", "the liquidity gates would have nothing to judge",
             _csv(lambda c: offer(c).drop("volume"))),
    _refused("renamed_columns", "Date,Open,High,Low,Close as Yahoo writes them, without --map.", _NO_COLUMN,
             _text(_header(*_OURS_TO_THEIRS)), "accepted"),
    _accepted("renamed_columns_mapped", "The same with --map.", "what --map is for",
              _text(_header(*_OURS_TO_THEIRS)), options=_MAPPED),
    _refused("repeated_column", "Two columns are called close, and differ.", "nobody knows which is meant",
             _text(lambda t: _header(("volume", "volume,close"))(_each_line(t, ",1.0", header=False)))),
    _accepted("mapped_onto_a_present_column", "--map close=Adj while the file has a close, too.",
              "the operator named the column, or must be told that two are meant",
              _csv(lambda c: offer(c).with_columns(Adj=pl.col("close"))), "refused", options=("--map", "close=Adj")),
    _refused("mapped_to_nothing", "--map close=Nowhere while the file has no such column.",
             "the operator asked for a column that is not there", _text(lambda t: t),
             options=("--map", "close=Nowhere")),
    _refused("no_header", "There is no header.", _NO_COLUMN, _text(lambda t: t.split("\n", 1)[1])),
    _refused("only_a_header", "There is only a header.", "nothing to import", _text(lambda t: t.split("\n", 1)[0])),
    _refused("empty_csv", "An empty file.", "nothing to import", _bytes(b"")),
    _refused("empty_parquet", "An empty file called .parquet.", "nothing to import", _bytes(b"", "bars.parquet")),
    _refused("only_newlines", "A file of newlines.", "nothing to import", _bytes(b"\n" * 500)),
    _refused("only_null_bytes", "A file of null bytes, as a crash leaves it.", "nothing to import",
             _bytes(b"\0" * 4096)),
    _refused("binary_garbage", "Noise called .csv.", _UNREADABLE, _bytes(np.random.default_rng(1).bytes(20_000))),
    _refused("binary_garbage_parquet", "Noise between two Parquet marks.", _UNREADABLE,
             _bytes(b"PAR1" + np.random.default_rng(2).bytes(9_000) + b"PAR1", "bars.parquet")),
    _refused("html", "A web page called .csv, as a provider sends when its limit is reached.", _UNREADABLE,
             _bytes(_HTML)),
    _refused("json", "An error in JSON called .csv.", _UNREADABLE, _bytes(b'{"error": "limit, reached"}')),
    *(
        _refused(f"cut_parquet_{name}", f"A Parquet file cut {what}.", _UNREADABLE, _cut(share, back))
        for name, what, share, back in (
            ("quarter", "after a quarter", 0.25, 0), ("half", "in the middle", 0.5, 0),
            ("footer", "inside its footer", 1.0, 40), ("length", "before its last mark", 1.0, 8),
            ("mark", "one byte short", 1.0, 1))
    ),
    _refused("scribbled_parquet", "A Parquet file with noise over a third of its data.", _UNREADABLE, _scribbled),
    Hostile(
        name="cut_csv", what="The last line is cut after its third field.", why="a row without a close is no row",
        write=_text(_half_a_line), outcome="partial", or_else=("refused",), codes=frozenset({"non_finite"}),
        absent=_last_row,
    ),
    Hostile(
        name="cut_csv_in_a_date", what="The last line is cut inside its date.", why="a row without a close is no row",
        write=_text(lambda t: t + "2024-1"), outcome="partial", or_else=("refused",),
        codes=frozenset({"non_finite", "missing_date", "bad_symbol"}),
    ),
    _refused("open_quote", "A quote that never closes.", "the rest of the file is inside it",
             _text(lambda t: t.replace(f"{VICTIM},", f'"{VICTIM},', 1)), "partial", loose=True,
             codes=frozenset({"bad_symbol", "non_finite", "missing_date"})),
    _refused("long_row", "One row has three fields too many.", "its fields may be shifted",
             _text(lambda t: t.rstrip("\n") + ",1,2,3\n"), "partial", "accepted", loose=True,
             codes=frozenset({"non_finite", "ohlc_order"})),
    _refused("huge_line", "One line of two million letters and no end.", _UNREADABLE, _bytes(b"a" * 2_000_000)),
    Hostile(
        name="huge_symbol", what="One symbol of a million letters.", why="no ticker is that long",
        write=_csv(lambda c: _plus(c, symbol="A" * 1_000_000)), outcome="partial", or_else=("refused",),
        codes=frozenset({"bad_symbol"}),
    ),
    Hostile(
        name="huge_number", what="A price of ten thousand digits.", why="it overflows to inf or to nothing",
        write=_csv(lambda c: _with_row(c, close="9" * 10_000)), outcome="partial",
        codes=frozenset({"non_finite", "absurd_price", "ohlc_order"}), absent=bad_row,
    ),
    _accepted("newline_in_quotes", "A quoted line break in a column nobody asked for.", "valid CSV",
              _csv(lambda c: offer(c).with_columns(note=pl.lit("two\nlines")))),
    _accepted("hundred_extra_columns", "A hundred columns nobody asked for.", "they are not read",
              _csv(lambda c: offer(c).with_columns(pl.lit(k).alias(f"x{k}") for k in range(100)))),
    _accepted("odd_file_name", "A file name with markup and spaces.", "names are data",
              _csv(offer, "[bold red]bars $(x).csv")),
    _accepted("file_name_is_a_pattern", "bars[1].csv, as browsers name a second download, beside another bars1.csv.",
              "names are data; the file beside it was not asked for", _beside),
    _accepted("shuffled", "The rows in random order.", "order is ours to make",
              _csv(lambda c: offer(c).sample(fraction=1.0, shuffle=True, seed=3))),
    _accepted("interleaved", "The symbols' rows take turns.", "order is ours to make",
              _csv(lambda c: offer(c).sort("date", "symbol", descending=[False, True]))),
    _accepted("newest_first", "The newest row first.", "order is ours to make",
              _csv(lambda c: offer(c).sort("date", descending=True))),
    _accepted("one_row", "A single row.", "one good bar is a bar", _csv(_next_row), absent=_all_but_next),
    _accepted("parquet_of_strings", "A Parquet file whose prices are text.", "read rightly or not at all",
              _recast(**dict.fromkeys(PRICES, pl.String)), "refused"),
    _accepted("parquet_of_decimals", "A Parquet file whose prices are decimals.", "read rightly or not at all",
              _parquet(lambda c: offer(c).with_columns(pl.col(n).round(8).cast(pl.Decimal(20, 8)) for n in PRICES)),
              "refused"),
    _accepted("parquet_categories", "A Parquet file whose symbols are categories.", "read rightly or not at all",
              _recast(symbol=pl.Categorical), "refused"),
    _accepted("parquet_integer_volume", "A Parquet file whose volumes are integers.", "shares are whole",
              _recast(volume=pl.Int64)),
    _refused("parquet_nested", "A Parquet file whose closes are lists.", "a list is no price",
             _parquet(lambda c: offer(c).with_columns(close=pl.concat_list("close", "open")))),
    _refused("parquet_structs", "A Parquet file whose symbols are structs.", "a struct is no symbol",
             _parquet(lambda c: offer(c).with_columns(symbol=pl.struct("symbol", "volume")))),
    _refused("parquet_booleans", "A Parquet file whose prices are truth values.", "true is not one dollar",
             _parquet(lambda c: offer(c).with_columns(pl.col(n) > 0 for n in PRICES))),
    _refused("parquet_instants_as_prices", "A Parquet file whose prices are instants.", "an instant is no price",
             _parquet(lambda c: offer(c).with_columns(pl.col("date").cast(pl.Datetime("us")).alias(n)
                                                      for n in PRICES))),
    _refused("parquet_durations_as_prices", "A Parquet file whose prices are durations.", "a duration is no price",
             _parquet(lambda c: offer(c).with_columns((pl.col(n) * 1e3).cast(pl.Duration("us")) for n in PRICES))),
    _refused("parquet_no_rows", "A Parquet file without rows.", "nothing to import",
             _parquet(lambda c: offer(c).head(0))),
    _refused("parquet_of_nulls", "A Parquet file with nothing but nulls.", "nothing to import",
             _parquet(lambda c: offer(c).with_columns(pl.lit(None).alias(n) for n in FILE_COLUMNS))),
    _refused("zip_called_csv", "A ZIP archive called .csv.", _UNREADABLE, _text(_zip), "accepted"),
    _refused("gzip_called_csv", "A gzip file called .csv.", "read rightly or not at all",
             _text(lambda t: gzip.compress(t.encode())), "accepted"),
    _refused("gzip_csv", "A gzip file called .csv.gz.", "read rightly or not at all",
             _text(lambda t: gzip.compress(t.encode()), "bars.csv.gz"), "accepted"),
    _refused("gzip_cut", "A gzip file called .csv, cut in the middle.", _UNREADABLE,
             _text(lambda t: _half(gzip.compress(t.encode())))),
    _refused("gzip_bomb", "Thirty megabytes of zeros in thirty kilobytes.", "nothing to import",
             _bytes(gzip.compress(b"0" * 30_000_000, 1))),
    _refused("parquet_called_csv", "A Parquet file called .csv.", "the name lies",
             lambda folder, clean: _parquet(offer)(folder, clean).rename(folder / "bars.csv"), "accepted"),
    _refused("csv_called_parquet", "A CSV file called .parquet.", "the name lies",
             _text(lambda t: t, "bars.parquet"), "accepted"),
    _refused("spreadsheet", "A file called .xlsx.", "not a kind we read", _text(_zip, "bars.xlsx")),
    _refused("no_suffix", "A file without a suffix.", "not a kind we read", _text(lambda t: t, "bars"), "accepted"),
)  # fmt: skip

# Things that are not files.


def _folder(folder: Path, _: pl.DataFrame) -> Path:
    path = folder / "bars.csv"
    path.mkdir()
    return path


def _full_folder(folder: Path, clean: pl.DataFrame) -> Path:
    path = _folder(folder, clean)
    _bytes(_HTML, "README.html")(path, clean)
    return path


def _folder_by_symbol(*names: str) -> Write:
    """A folder of files without a symbol column: the victim's and the bystander's, then more of the victim's bars."""

    def write(folder: Path, clean: pl.DataFrame) -> Path:
        path = _folder(folder, clean)
        for name in (VICTIM, BYSTANDER, *names):
            rows = offer(clean).filter(pl.col("symbol") == (BYSTANDER if name == BYSTANDER else VICTIM))
            rows.drop("symbol").write_csv(path / f"{name}.csv")
        return path

    return write


def _folder_with(name: str, content: Callable[[str], str | bytes]) -> Write:
    """A folder with the clean file and another one."""

    def write(folder: Path, clean: pl.DataFrame) -> Path:
        path = _folder(folder, clean)
        _csv(offer, "good.csv")(path, clean)
        _text(content, name)(path, clean)
        return path

    return write


def _loop(folder: Path, _: pl.DataFrame) -> Path:
    path = folder / "bars.csv"
    path.symlink_to(path)
    return path


def _dangling(folder: Path, _: pl.DataFrame) -> Path:
    path = folder / "bars.csv"
    path.symlink_to(folder / "nowhere.csv")
    return path


def _pipe(folder: Path, _: pl.DataFrame) -> Path:
    path = folder / "bars.csv"
    os.mkfifo(path)
    return path


def _locked(folder: Path, clean: pl.DataFrame) -> Path:
    path = _csv(offer)(folder, clean)
    path.chmod(0)
    return path


def _posix() -> bool:
    return sys.platform != "win32"


PLACES: tuple[Hostile, ...] = (
    _refused("no_such_file", "There is no such file.", "nothing to import", lambda folder, _: folder / "bars.csv"),
    _refused("empty_folder", "A folder called bars.csv, empty.", "nothing to import", _folder),
    _refused("folder_of_other_things", "A folder with nothing but a web page.", "nothing to import", _full_folder),
    _accepted("folder_by_symbol", "A folder of files named by symbol.", "a usual delivery", _folder_by_symbol()),
    Hostile(
        name="folder_with_a_formula", what="A folder where one file's name, read as a symbol, is a formula.",
        why=_FORMULA, write=_folder_by_symbol("=1+1"), outcome="partial", codes=frozenset({"bad_symbol"}),
    ),
    _refused("folder_with_a_torn_file", "A folder of a good file and half a Parquet file.", _UNREADABLE,
             _folder_with("torn.parquet", lambda t: b"PAR1" + t.encode())),
    _refused("folder_with_all_bars_twice", "A folder with two copies of one file.", "all are duplicates",
             _folder_with("copy.csv", lambda t: t), "partial", "accepted", codes=frozenset({"duplicate"}), loose=True),
    _refused("symlink_loop", "A link to itself.", "it leads nowhere", _loop, available=_posix),
    _refused("dangling_link", "A link to a file that is not there.", "it leads nowhere", _dangling, available=_posix),
    _refused("pipe", "A named pipe nobody writes into.", "reading it would wait for ever", _pipe, available=_posix),
    _refused("unreadable", "A file this user may not read.", "said plainly, not as a fault of ours", _locked,
             available=lambda: _posix() and os.geteuid() != 0),
)  # fmt: skip

# Series: every bar may be true, the history is not.


def _series(name: str, what: str, why: str, codes: str, change: Change, **more: Any) -> Hostile:
    """A history that must put the victim on hold."""
    return Hostile(
        name=name, what=what, why=why, write=_csv(change), codes=frozenset(codes.split()),
        **{"outcome": "held", "altered": (VICTIM,), **more},
    )  # fmt: skip


def _stale(clean: pl.DataFrame) -> pl.DataFrame:
    """Ten sessions repeat the close before them, without volume."""
    days = sessions(clean)[BAD : BAD + 10]
    close = all_of_victim(clean).filter(pl.col("date") < days[0]).get_column("close")[-1]
    here = (pl.col("symbol") == VICTIM) & pl.col("date").is_in(days)
    values = {**dict.fromkeys(PRICES, close), "volume": 0.0}
    return offer(clean).with_columns(
        pl.when(here).then(value).otherwise(pl.col(c)).alias(c) for c, value in values.items()
    )


def _without(clean: pl.DataFrame, gone: pl.DataFrame) -> pl.DataFrame:
    return offer(clean).join(gone, on=["symbol", "date"], how="anti")


def _reused(clean: pl.DataFrame) -> pl.DataFrame:
    """A ticker that falls silent for thirty sessions and comes back as another company at seven times the price."""
    return _with_prices(clean, _since(clean), 7.3).join(_span(clean, 30), on=["symbol", "date"], how="anti")


def _flat(clean: pl.DataFrame) -> pl.DataFrame:
    close = bad_row(clean).get_column("close")[0]
    return _with_row(clean, **_prices(str(close)))


_EVERY = pl.lit(value=True)
_PHANTOM = "the strategies would read it as a crash or a rally and trade on it"
_OTHER_SCALE = "two deliveries on different scales make a phantom jump where they meet"
_GAP = "split_like_gap jump_without_event split_not_on_tape spike"
_CLASH = "overlap_mismatch source_disagreement"

SERIES: tuple[Hostile, ...] = (
    _series("split_4_for_1", "A 4:1 split nobody adjusted for.", _PHANTOM, _GAP,
            lambda c: _with_prices(c, _since(c), 0.25, 4.0)),
    _series("split_3_for_2", "A 3:2 split nobody adjusted for.", _PHANTOM, _GAP,
            lambda c: _with_prices(c, _since(c), 2 / 3, 1.5)),
    _series("reverse_split_1_for_8", "A 1:8 reverse split nobody adjusted for.", _PHANTOM, _GAP,
            lambda c: _with_prices(c, _since(c), 8.0, 0.125)),
    _series("jump_of_60_percent", "A jump of 60% without any event.", _PHANTOM, _GAP,
            lambda c: _with_prices(c, _since(c), 1.6)),
    _series("spike_10x", "One bar at ten times its price.", _PHANTOM, f"spike {_GAP}",
            lambda c: _with_prices(c, pl.col("date") == bad_day(c), 10.0)),
    _series("dip_10x", "One bar at a tenth of its price.", _PHANTOM, f"spike {_GAP}",
            lambda c: _with_prices(c, pl.col("date") == bad_day(c), 0.1)),
    _series("spike_on_the_last_bar", "The newest bar at three times its price.", _PHANTOM, f"spike {_GAP}",
            lambda c: _with_prices(c, pl.col("date") == sessions(c)[-1], 3.0)),
    _series("stale_run", "Ten equal bars without volume.", "the feed had died and repeated itself", "stale_run",
            _stale),
    _series("ticker_reused", "Thirty sessions of silence, then another company.", _PHANTOM,
            f"long_gap {_GAP}", _reused),
    _series("feed_switched", "The volume falls to 3% and stays there, as on a single exchange's feed.",
            "liquidity would be misjudged by a factor of thirty", "feed_volume",
            lambda c: _with_prices(c, _since(c), 1.0, 0.03)),
    _series("other_adjustment", "All prices 3% lower than in the store, as after a dividend adjustment.",
            _OTHER_SCALE, _CLASH, lambda c: _with_prices(c, _EVERY, 0.97), on_empty=("accepted",)),
    _series("adjusted_for_a_later_split", "All prices a quarter of the store's: a split came in between.",
            _OTHER_SCALE, _CLASH, lambda c: _with_prices(c, _EVERY, 0.25, 4.0), on_empty=("accepted",)),
    _series("cents", "All prices in cents.", _OTHER_SCALE, _CLASH, lambda c: _with_prices(c, _EVERY, 100.0),
            on_empty=("accepted",)),
    _series("gap_of_30_sessions", "Thirty sessions are missing.", "a halted stock looks so; it must be told",
            "missing_sessions long_gap", lambda c: _without(c, _span(c, 30)), outcome="held", or_else=("accepted",),
            absent=lambda c: _span(c, 30), altered=()),
    _series("gap_of_3_sessions", "Three sessions are missing.", "real stocks have such days; it must be told",
            "missing_sessions", lambda c: _without(c, _span(c, 3)), outcome="accepted",
            absent=lambda c: _span(c, 3), altered=()),
    _series("no_volume_at_all", "All volumes are zero, as for an index.", "the liquidity gates refuse it by "
            "themselves; it must be told", "zero_volume feed_volume stale_run overlap_mismatch",
            lambda c: _with_prices(c, _EVERY, 1.0, 0.0), outcome="accepted", or_else=("held",)),
    _series("one_bar_without_volume", "One bar has no volume.", "real stocks have such days; it must be told",
            "zero_volume", lambda c: _with_row(c, volume="0"), outcome="accepted"),
    _series("one_flat_bar", "One bar has one price.", "real stocks have such days; it must be told", "flat_bar",
            _flat, outcome="accepted"),
    Hostile(
        name="high_and_low_swapped", what="The victim's columns high and low are exchanged throughout.",
        why="no such bar can have traded", outcome="partial", codes=frozenset({"ohlc_order"}), absent=all_of_victim,
        write=_csv(lambda c: offer(c).with_columns(
            high=pl.when(pl.col("symbol") == VICTIM).then("low").otherwise("high"),
            low=pl.when(pl.col("symbol") == VICTIM).then("high").otherwise("low"))),
    ),
    _refused("open_and_volume_swapped", "The header names open and volume the wrong way round.",
             "no such bar can have traded", _text(_header(("open", "X"), ("volume", "open"), ("X", "volume")))),
)  # fmt: skip

CORPUS: tuple[Hostile, ...] = (*CELLS, *DATES, *SYMBOLS, *CONTAINERS, *PLACES, *SERIES)

# Known defects in real bars.

PLANTED = ("duplicate", "ohlc", "missing_session", "flat_bar", "zero_volume", "split_like_gap")
_MARGIN = 30  # bars of the symbol before and after a planted defect, so that every rule has its neighbourhood
_RATIOS = (1 / 2, 1 / 3, 1 / 4, 2 / 3, 5.0, 8.0, 10.0)
Planted = list[tuple[str, date, str]]


def plant(frame: pl.DataFrame, kind: str, rng: np.random.Generator, count: int) -> tuple[pl.DataFrame, Planted]:
    """Plant defects of one kind into bars, to measure later how many a rule finds and what else it finds.

    Args:
        frame: bars in the store's columns; a row that already has the defect is not chosen.
        kind: one of `PLANTED`.
        rng: chooses the rows.
        count: how many; of split-like gaps at most one per symbol.

    Returns:
        The bars with the defects, sorted by symbol and date, and (symbol, date, kind) of each. A gap's date is the
        first bar on the new scale.

    Raises:
        ValueError: an unknown kind, or fewer places than `count`.
    """
    if kind not in PLANTED:
        raise ValueError(f"unknown kind {kind!r}, expected one of {', '.join(PLANTED)}")
    numbered = frame.sort("symbol", "date").with_row_index("row")
    rows = _places(numbered, kind, rng)
    if len(rows) < count:
        raise ValueError(f"{count} places for {kind} were asked for, {len(rows)} are there")
    chosen = np.sort(rows[:count])
    where = numbered.join(pl.DataFrame({"row": chosen.astype(np.uint32)}), on="row")
    changed = _DEFECTS[kind](numbered, where, rng).drop("row").sort("symbol", "date", maintain_order=True)
    names, days = where.sort("row").select("symbol", "date")
    return changed, [(s, d, kind) for s, d in zip(names.to_list(), days.to_list(), strict=True)]


def _places(numbered: pl.DataFrame, kind: str, rng: np.random.Generator) -> np.ndarray:
    """Rows where the defect can be planted, in random order."""
    place, bars = pl.int_range(pl.len()).over("symbol"), pl.len().over("symbol")
    inside = (place >= _MARGIN) & (place < bars - _MARGIN)
    sound = (pl.col("volume") > 0) & (pl.col("high") > pl.col("low"))
    rows = numbered.filter(inside & sound & pl.struct("symbol", "date").is_unique())
    rows = rows.sample(fraction=1.0, shuffle=True, seed=int(rng.integers(2**32)))
    if kind == "split_like_gap":
        rows = rows.unique("symbol", keep="first", maintain_order=True)
    return rows.get_column("row").to_numpy()


def _mark(numbered: pl.DataFrame, where: pl.DataFrame, change: dict[str, pl.Expr]) -> pl.DataFrame:
    """Change columns of the chosen rows."""
    here = pl.col("row").is_in(where.get_column("row").implode())
    return numbered.with_columns(
        pl.when(here).then(value).otherwise(pl.col(name)).alias(name) for name, value in change.items()
    )


def _plant_duplicate(numbered: pl.DataFrame, where: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """Half of the copies say the same, half do not."""
    factor = pl.Series(np.where(rng.random(len(where)) < 0.5, 1.0, 1.01))
    return pl.concat([numbered, where.with_columns(pl.col(c) * factor for c in PRICES)])


def _plant_ohlc(numbered: pl.DataFrame, where: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """Half of the highs fall below the body, half of the lows rise above it, by 1% to 5%: more than any rounding."""
    size = rng.uniform(0.01, 0.05, len(where)) * np.where(rng.random(len(where)) < 0.5, -1.0, 1.0)
    sizes = where.select("row").with_columns(size=pl.Series(size))
    marked = numbered.join(sizes, on="row", how="left", maintain_order="left")
    high = pl.max_horizontal("open", "close") * (1 + pl.col("size"))
    low = pl.min_horizontal("open", "close") * (1 + pl.col("size"))
    return marked.with_columns(
        high=pl.when(pl.col("size") < 0).then(high).otherwise("high"),
        low=pl.when(pl.col("size") > 0).then(low).otherwise("low"),
    ).drop("size")


def _plant_missing(numbered: pl.DataFrame, where: pl.DataFrame, _: np.random.Generator) -> pl.DataFrame:
    return numbered.join(where.select("row"), on="row", how="anti")


def _plant_flat(numbered: pl.DataFrame, where: pl.DataFrame, _: np.random.Generator) -> pl.DataFrame:
    return _mark(numbered, where, dict.fromkeys(("open", "high", "low"), pl.col("close")))


def _plant_zero_volume(numbered: pl.DataFrame, where: pl.DataFrame, _: np.random.Generator) -> pl.DataFrame:
    return _mark(numbered, where, {"volume": pl.lit(0.0)})


def _plant_gap(numbered: pl.DataFrame, where: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """Leave everything from the chosen bar on unadjusted for a split."""
    steps = where.select("symbol", since="date", ratio=pl.Series(rng.choice(_RATIOS, len(where))))
    marked = numbered.join(steps, on="symbol", how="left", maintain_order="left")
    ratio = pl.when(pl.col("date") >= pl.col("since")).then("ratio").otherwise(1.0)
    return marked.with_columns(*[pl.col(c) * ratio for c in PRICES], volume=(pl.col("volume") / ratio).round()).drop(
        "since", "ratio"
    )


_DEFECTS: dict[str, Callable[[pl.DataFrame, pl.DataFrame, np.random.Generator], pl.DataFrame]] = {
    "duplicate": _plant_duplicate,
    "ohlc": _plant_ohlc,
    "missing_session": _plant_missing,
    "flat_bar": _plant_flat,
    "zero_volume": _plant_zero_volume,
    "split_like_gap": _plant_gap,
}
