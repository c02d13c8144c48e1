"""Every series rule finds what it is for, leaves calm bars alone, and is told the truth by the events."""

from datetime import date

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kit.market import LAST, changed, events, market, scaled

from kobe.data import actions, inspection, quality
from kobe.data.quality import RULES, SERIES_RULES, Action, Scope

PRICES = ("open", "high", "low", "close")


def scope(calendar, adjustment="split") -> Scope:
    return Scope(calendar=calendar, last=LAST, adjustment=adjustment)


def codes(bars, calendar, told=None, adjustment="split") -> set[tuple[str, str, date]]:
    found = inspection.findings(bars, actions.none() if told is None else told, scope(calendar, adjustment))
    return {(code, symbol, day) for symbol, day, code, _ in found.iter_rows()}


def day_of(calendar, row: int) -> date:
    return calendar.between(date(2019, 1, 2), LAST)[row]


def test_calm_bars_break_no_rule(calendar):
    bars = market(calendar)
    assert codes(bars, calendar) == set()
    assert len(inspection.screen(bars, scope(calendar)).aside) == 0


def spoiled(bars: pl.DataFrame, code: str) -> tuple[pl.DataFrame, int]:
    """Return bars of which AAA breaks one rule, and the row where it does."""
    tail = range(200, 400)
    close = pl.col("close")
    made = {
        "jump_without_event": lambda: (scaled(bars, "AAA", tail, 1.45), 200),
        "split_like_gap": lambda: (scaled(bars, "AAA", tail, 2 / 3), 200),
        "spike": lambda: (changed(bars, "AAA", 200, high=pl.col("high") * 3.5), 200),
        "stale_run": lambda: (
            changed(bars, "AAA", range(200, 206), **dict.fromkeys(PRICES, pl.lit(bars["close"][199]))),
            204,
        ),
        "long_gap": lambda: (_without(bars, 180, 201), 201),
        "feed_volume": lambda: (changed(bars, "AAA", tail, volume=pl.col("volume") * 0.03), 209),
        "missing_sessions": lambda: (_without(bars, 200, 203), 203),
        "long_wick": lambda: (changed(bars, "AAA", 200, low=pl.col("low") / 1.7), 200),
        "zero_volume": lambda: (changed(bars, "AAA", 200, volume=0.0), 200),
        "flat_bar": lambda: (changed(bars, "AAA", 200, open=close, high=close, low=close), 200),
        "equal_closes": lambda: (_equal_closes(bars), 204),
    }
    return made[code]()


def _without(bars: pl.DataFrame, first: int, last: int) -> pl.DataFrame:
    place = pl.int_range(pl.len()).over("symbol")
    return bars.filter(~((pl.col("symbol") == "AAA") & place.is_between(first, last - 1)))


def _equal_closes(bars: pl.DataFrame) -> pl.DataFrame:
    level = bars["close"][200]
    return changed(bars, "AAA", range(200, 205), close=level, open=level * 1.001, high=level * 1.01, low=level * 0.99)


WITHOUT_EVENTS = ["jump_without_event", "split_like_gap", "spike", "stale_run", "long_gap", "feed_volume",
                  "missing_sessions", "long_wick", "zero_volume", "flat_bar", "equal_closes"]  # fmt: skip
WITH_EVENTS = ["split_not_on_tape", "split_day_return", "special_dividend", "tiny_split"]


@pytest.mark.parametrize("code", WITHOUT_EVENTS)
def test_a_broken_rule_is_found_where_it_breaks_and_nowhere_else(calendar, code):
    bars, row = spoiled(market(calendar), code)
    hits = {(s, d) for c, s, d in codes(bars, calendar) if c == code}
    assert hits == {("AAA", day_of(calendar, row))}


def test_every_series_rule_is_broken_in_this_file():
    assert {rule.code for rule in SERIES_RULES} == set(WITHOUT_EVENTS) | set(WITH_EVENTS)


def test_a_split_on_record_explains_a_jump_of_raw_prices_and_a_lie_about_adjustment_is_found(calendar):
    bars, ex = market(calendar), day_of(calendar, 200)
    tape = scaled(bars, "AAA", range(200, 400), 0.25)
    told = events(("AAA", ex, "split", 4.0, ""))
    assert codes(tape, calendar, told, "raw") == set()
    assert ("split_not_on_tape", "AAA", ex) in codes(bars, calendar, told, "raw"), "adjusted prices sold as raw"
    assert ("split_not_on_tape", "AAA", ex) in codes(tape, calendar, told, "split"), "raw prices sold as adjusted"
    assert codes(bars, calendar, told, "split") == set()


def test_dividends_and_small_splits_are_told_apart_from_losses(calendar):
    bars, ex = market(calendar), day_of(calendar, 200)
    price = bars.filter(pl.col("symbol") == "AAA")["close"][199]
    big, small = price * 0.081, price * 0.079
    assert ("special_dividend", "AAA", ex) in codes(bars, calendar, events(("AAA", ex, "dividend", big, "")))
    assert codes(bars, calendar, events(("AAA", ex, "dividend", small, ""))) == set()
    assert codes(bars, calendar, events(("AAA", ex, "dividend", big, "")), "total-return") == set()
    assert {c for c, _, _ in codes(bars, calendar, events(("AAA", ex, "split", 1.05, "")))} == {"tiny_split"}
    fallen = scaled(bars, "AAA", range(200, 400), 0.82)
    assert ("split_day_return", "AAA", ex) in codes(fallen, calendar, events(("AAA", ex, "split", 2.0, "")))


def test_a_session_that_most_symbols_lack_and_a_thin_symbol_are_told(calendar):
    names = [f"S{k:02}" for k in range(12)]
    bars = market(calendar, symbols=names, sessions=60)
    thin = day_of(calendar, 30)
    most = bars.filter((pl.col("date") != thin) | pl.col("symbol").is_in(names[:5]))
    assert ("thin_session", "", thin) in codes(most, calendar)
    place = pl.int_range(pl.len()).over("symbol")
    holes = bars.filter((pl.col("symbol") != "S00") | (place % 4 != 1))
    assert any(c == "coverage" and s == "S00" for c, s, _ in codes(holes, calendar))
    ended = bars.filter((pl.col("symbol") != "S01") | (place < 40))
    assert any(c == "stale_end" and s == "S01" for c, s, _ in codes(ended, calendar))


@pytest.mark.parametrize("code", WITHOUT_EVENTS)
def test_the_shortcut_over_unusual_bars_finds_what_a_look_at_every_bar_finds(calendar, code):
    bars, _ = spoiled(market(calendar), code)
    told = events(("BBB", day_of(calendar, 100), "split", 1.04, ""), ("CCC", day_of(calendar, 90), "dividend", 6.0, ""))
    quick = codes(bars, calendar, told)
    rows = every_bar(inspection.in_order(bars), told, calendar)
    slow = {
        (rule.code, symbol, day)
        for rule in SERIES_RULES
        for symbol, day in rows.filter(rule.bad(scope(calendar)).fill_null(value=False)).select(
            pl.col("symbol").cast(pl.String), "date").iter_rows()
    }  # fmt: skip
    assert {c for c in quick if c[0] in {r.code for r in SERIES_RULES}} == slow


def every_bar(bars: pl.DataFrame, told: pl.DataFrame, calendar) -> pl.DataFrame:
    """What the series rules ask, of every bar, by polars' windows: another hand than the compiled pass."""
    named = bars.with_columns(pl.col("symbol").cast(pl.String))
    of = {kind: told.filter(pl.col("kind") == kind).select("symbol", "date", pl.col("value").alias(kind))
          for kind in ("split", "dividend")}  # fmt: skip
    for kind in of.values():
        named = named.join(kind, on=["symbol", "date"], how="left")
    later = named.with_columns(
        tape=pl.col("split").fill_null(1.0).cum_prod(reverse=True).over("symbol") / pl.col("split").fill_null(1.0)
    )
    number = pl.col("date").replace_strict({d: calendar.number(d) for d in named["date"].unique().to_list()})
    rows = later.with_columns(
        _prev=pl.col("close").shift(1).over("symbol"), _split=pl.col("split"), number=number,
        was_raw=(pl.col("close") * pl.col("tape")).shift(1).over("symbol"),
    ).with_columns(
        _same=pl.col("_prev").is_not_null(), _move=pl.col("close") / pl.col("_prev"),
        _gap=pl.col("open") / pl.col("_prev"),
        _skipped=(pl.col("number") - pl.col("number").shift(1).over("symbol") - 1).fill_null(0),
        _paid=pl.col("dividend") * pl.col("_split").fill_null(1.0) / pl.col("was_raw"),
    )  # fmt: skip
    equal = (pl.col("close") == pl.col("_prev")).fill_null(value=False)
    flat = pl.col("high") == pl.col("low")
    frozen = equal & flat & flat.shift(1, fill_value=False)
    runs = {name: held.not_().cum_sum().over("symbol") for name, held in (("e", equal), ("f", frozen))}
    rows = rows.with_columns(flat=flat, **runs)
    mean = pl.col("volume").shift(10).rolling_mean(60).over("symbol")
    ratio = pl.col("volume").rolling_max(10).over("symbol") / mean
    old_enough = pl.int_range(pl.len()).over("symbol") >= 70
    rows = rows.with_columns(
        _equal=pl.int_range(pl.len()).over("symbol", "e") + 1,
        _still=pl.when("flat").then(pl.int_range(pl.len()).over("symbol", "f") + 1).otherwise(0),
        ratio=pl.when(old_enough & (mean >= 1.0)).then(ratio),
    )
    onset = ~(pl.col("ratio").shift(1).over("symbol") < quality.FEED_SHARE).fill_null(value=False)
    return rows.with_columns(_drop=pl.when(onset).then("ratio"))


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_the_shortcut_over_odd_rows_sets_aside_what_the_rules_over_every_row_do(calendar, data):
    odd_days = [date(2020, 11, 28), date(1960, 1, 4), date(2021, 1, 4)]
    days = [*calendar.between(date(2020, 9, 1), date(2020, 12, 4)), *odd_days]
    symbols = st.sampled_from([*["AAA", "BBB"] * 5, "=X", "../b", None])
    odd = st.sampled_from([None, 0.0, -1.0, 1e-5, 9.0, 9.9999999999, 2e7, 2e12, float("nan"), float("inf")])
    spoiled_field = st.one_of(st.none(), st.integers(0, 5))
    drawn = st.lists(st.tuples(st.sampled_from([*days, None]), symbols, spoiled_field, odd), min_size=1, max_size=40)
    rows = []
    for day, symbol, field, value in data.draw(drawn):
        numbers = [10.0, 10.5, 9.5, 10.0, 1e6, 1.0]
        if field is not None:
            numbers[field] = value
        rows.append((day, symbol, *numbers))
    schema = {"date": pl.Date, "symbol": pl.String, **dict.fromkeys(quality.COLUMNS[2:], pl.Float64)}
    bars = pl.DataFrame(rows, schema=schema, orient="row")
    told = scope(calendar)
    quick = inspection.screen(bars, told)
    ordered = inspection.in_order(bars)
    flags = inspection.flags_of(ordered, told)
    bad = flags.select(pl.any_horizontal(flags.columns)).to_series()
    assert quick.good.equals(ordered.filter(~bad), null_equal=True)
    words = [" ".join(c for c, hit in row.items() if hit) for row in flags.filter(bad).iter_rows(named=True)]
    assert quick.aside["reasons"].to_list() == words


def test_every_code_is_unique_and_says_what_it_means():
    assert len(RULES) == len(quality.ROW_RULES) + len(quality.SERIES_RULES) + len(quality.OUTSIDE_RULES)
    assert len(RULES) >= 20
    assert all(rule.meaning and rule.severity in {"error", "warning", "note"} for rule in RULES.values())
    assert all(rule.action is Action.QUARANTINE for rule in RULES.values() if rule.sessions)


def test_the_listed_defects_of_the_real_files_are_found(calendar, real_file):
    folder = real_file.parent
    told = actions.judge(actions.read_actions(folder / "corporate_actions.parquet", "file")).good
    listed = pl.read_csv(folder / "known_defects.csv", try_parse_dates=True).with_columns(pl.col("date").cast(pl.Date))
    wanted = {"special": "special_dividend", "split day": "split_day_return", "tiny": "tiny_split",
              "zero": "zero_volume", "|ret|": "jump_without_event", "missing": "missing_sessions"}  # fmt: skip
    for name in ("equities_daily", "equities_daily_2000_2009"):
        bars = pl.read_parquet(folder / f"{name}.parquet").with_columns(
            pl.col("date").cast(pl.Date), pl.col("volume").cast(pl.Float64), raw_factor=pl.lit(1.0)
        )
        found = inspection.findings(inspection.in_order(bars), told, scope(calendar))
        mine = listed.filter(pl.col("file") == name)
        for words, code in wanted.items():
            kind = mine.filter(pl.col("kind").str.starts_with(words))
            hit = kind.join(found.filter(pl.col("code") == code), on=["symbol", "date"], how="semi")
            assert len(hit) >= 0.95 * len(kind), (name, words, len(hit), len(kind))
        stops = [c for c, rule in RULES.items() if rule.action is Action.QUARANTINE]
        false = found.filter(pl.col("code").is_in(stops)).join(mine, on=["symbol", "date"], how="anti")
        assert len(false) <= len(bars) / 100_000
