"""Wherever the bars are cut, what was known by then is unchanged; and a look into the future is caught."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from kobe.core.calendar import Calendar, xnys
from kobe.data import timeframes as tf

CALENDAR: Calendar = xnys()
WEEKS = {
    "spring": [date(2026, 3, 6), date(2026, 3, 9), date(2026, 3, 10)],
    "autumn": [date(2026, 10, 30), date(2026, 11, 1), date(2026, 11, 2)],
    "thanksgiving": [date(2026, 11, 25), date(2026, 11, 26), date(2026, 11, 27), date(2026, 11, 30)],
    "christmas": [date(2026, 12, 23), date(2026, 12, 24), date(2026, 12, 25), date(2026, 12, 28)],
}
SYMBOLS = ("AAA", "BBB", "CCC")
CASES = st.tuples(
    st.sampled_from(sorted(WEEKS)), st.sampled_from(sorted(tf.MARKETS)), st.sampled_from(tf.GRIDS),
    st.sampled_from([("15m", "1h"), ("15m", "4h"), ("15m", "1d"), ("1h", "4h"), ("1h", "1d"), ("4h", "1d")]),
    st.integers(0, 10**6), st.sampled_from([0.0, 0.1, 0.7]),
)  # fmt: skip


class Case:
    """Bars of three symbols with holes, what they are, and how they add up."""

    def __init__(self, drawn) -> None:
        week, self.market, self.grid, (self.base, self.to), seed, holes = drawn
        rng = np.random.default_rng(seed)
        self.days = WEEKS[week]
        self.expected = tf.expected_bars(self.base, self.market, CALENDAR, self.days, grid=self.grid)
        parts = []
        for symbol in SYMBOLS:
            n = len(self.expected)
            close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, n)))
            opens = close * (1 + rng.normal(0, 0.002, n))
            high, low = np.maximum(opens, close) * 1.001, np.minimum(opens, close) * 0.999
            volume = rng.lognormal(8, 2, n)
            bars = pl.DataFrame({"ts": self.expected["ts"], "open": opens, "high": high, "low": low, "close": close,
                                 "volume": volume}).filter(pl.Series(rng.random(n) >= holes))  # fmt: skip
            parts.append(bars.with_columns(symbol=pl.lit(symbol)))
        shuffled = pl.concat(parts).sample(fraction=1.0, shuffle=True, seed=seed)
        self.lower = tf.with_known_at(shuffled, self.base, self.market, CALENDAR, grid=self.grid)

    def resampled(self, lower, asof=None):
        return tf.resample(lower, self.to, self.market, CALENDAR, base=self.base, grid=self.grid, asof=asof)

    def buckets(self) -> pl.DataFrame:
        return tf.expected_bars(self.to, self.market, CALENDAR, self.days, grid=self.grid)

    def instants(self) -> list[datetime]:
        """Every instant at which something opens or closes, and a little beside it."""
        edges = pl.concat([self.expected["ts"], self.expected["closes_at"]]).unique().sort().to_list()
        beside = timedelta(microseconds=1)
        return [at + shift for at in edges for shift in (-beside, timedelta(0), beside)]


def look_ahead(case: Case, instant: datetime, resample, align) -> list[str]:
    """Return what changes of the past when the future is cut away."""
    past = tf.visible_at(case.lower, instant)
    end = case.buckets()["closes_at"][-1]  # told, because the bars with holes may end before their buckets do
    longer, longer_then = resample(case, case.lower, end), resample(case, past, instant)
    beside, beside_then = align(case.lower, longer, case.to), align(past, longer_then, case.to)
    faults = []
    if not tf.visible_at(longer, instant).equals(longer_then):
        faults.append("resample")
    if not tf.visible_at(beside, instant).equals(beside_then):
        faults.append("align")
    return faults


@settings(max_examples=60, deadline=None)
@given(drawn=CASES, data=st.data())
def test_cutting_the_future_changes_nothing_that_was_known(drawn, data):
    case = Case(drawn)
    instants = case.instants()
    for place in data.draw(st.lists(st.integers(0, len(instants) - 1), min_size=3, max_size=3)):
        assert look_ahead(case, instants[place], Case.resampled, tf.align) == []
        past = tf.visible_at(case.lower, instants[place])
        emitted = case.resampled(past)  # without being told the hour, no more than the bars prove
        told = case.resampled(past, instants[place])
        assert emitted.join(told, on=emitted.columns, how="anti").is_empty()


def test_a_lonely_bar_makes_the_same_day_with_and_without_a_future():
    case = Case(("autumn", "us", "open", ("4h", "1d"), 35479, 0.7))
    assert len(case.lower) == 1
    for instant in case.instants():
        assert look_ahead(case, instant, Case.resampled, tf.align) == []


@settings(max_examples=40, deadline=None)
@given(drawn=CASES)
def test_longer_bars_hold_what_the_lower_ones_held_and_stay_inside_their_session(drawn):
    case = Case(drawn)
    end = case.buckets()["closes_at"][-1]
    made = case.resampled(case.lower, end)
    slow = slowly(case)
    assert made.select("symbol", "ts").rows() == sorted(slow)
    for bar in made.iter_rows(named=True):
        want = slow[bar["symbol"], bar["ts"]]
        assert {k: bar[k] for k in ("open", "high", "low", "close", "closes_at")} == {
            k: want[k] for k in ("open", "high", "low", "close", "closes_at")}  # fmt: skip
        assert bar["coverage"] == want["bars"] / want["expected"]
        assert bar["volume"] == pytest.approx(sum(want["volumes"]), rel=1e-14)
    assert made["volume"].sum() == pytest.approx(case.lower["volume"].sum(), rel=1e-12)
    for symbol in SYMBOLS:
        ours, theirs = (f.filter(pl.col("symbol") == symbol) for f in (made, case.lower))
        assert (ours["high"].max(), ours["low"].min()) == (theirs["high"].max(), theirs["low"].min())
    spans = made.join(case.buckets(), on="ts")
    sessions = tf.expected_bars("1d", case.market, CALENDAR, case.days, grid=case.grid)
    inside = spans.join(sessions, on="session", suffix="_session")
    assert len(inside) == len(made)
    assert (inside["opens_at"] >= inside["opens_at_session"]).all()
    assert (inside["closes_at"] <= inside["closes_at_session"]).all()


def slowly(case: Case) -> dict:
    """Add up bar by bar, from the definition."""
    buckets = case.buckets().to_dicts()
    opens = dict(case.expected.select("ts", "opens_at").iter_rows())
    home = {ts: next(b for b in buckets if b["opens_at"] <= at < b["closes_at"]) for ts, at in opens.items()}
    found: dict = {}
    for bar in case.lower.sort("symbol", "ts").iter_rows(named=True):
        bucket = home[bar["ts"]]
        one = found.setdefault((bar["symbol"], bucket["ts"]), {
            "open": bar["open"], "high": bar["high"], "low": bar["low"], "volumes": [], "bars": 0,
            "closes_at": bucket["closes_at"], "expected": sum(b is bucket for b in home.values()),
        })  # fmt: skip
        one["high"], one["low"] = max(one["high"], bar["high"]), min(one["low"], bar["low"])
        one["close"], one["bars"] = bar["close"], one["bars"] + 1
        one["volumes"].append(bar["volume"])
    return found


@settings(max_examples=30, deadline=None)
@given(drawn=CASES)
def test_each_bar_sees_the_last_longer_bar_of_its_symbol_that_was_complete(drawn):
    case = Case(drawn)
    longer = case.resampled(case.lower)
    seen = tf.align(case.lower, longer, case.to)
    assert seen.select(case.lower.columns).equals(case.lower)
    known = longer.select("symbol", "closes_at", "ts", "close", "coverage").rows()
    for symbol, at, *beside in seen.select(
        "symbol", "closes_at", *(f"{c}_{case.to}" for c in ("closes_at", "ts", "close", "coverage"))
    ).iter_rows():
        last = max((bar[1:] for bar in known if bar[0] == symbol and bar[1] <= at), default=(None,) * 4)
        assert tuple(beside) == last


@settings(max_examples=30, deadline=None)
@given(drawn=CASES, seed=st.integers(0, 10**6))
def test_the_order_of_the_bars_and_the_other_symbols_change_no_bit(drawn, seed):
    case = Case(drawn)
    whole = case.resampled(case.lower)
    again = case.resampled(case.lower.sample(fraction=1.0, shuffle=True, seed=seed))
    assert_frame_equal(whole, again, check_exact=True)
    newest = case.lower["closes_at"].max()
    for symbol in SYMBOLS:
        alone = case.resampled(case.lower.filter(pl.col("symbol") == symbol), newest)
        assert_frame_equal(whole.filter(pl.col("symbol") == symbol), alone, check_exact=True)


@settings(max_examples=30, deadline=None)
@given(drawn=CASES)
def test_gaps_and_bars_together_are_what_was_expected(drawn):
    case = Case(drawn)
    found = tf.gaps(case.lower, case.base, case.market, CALENDAR, grid=case.grid)
    days = [case.days[0] + timedelta(days=i) for i in range((case.days[-1] - case.days[0]).days + 1)]
    expected = tf.expected_bars(case.base, case.market, CALENDAR, days, grid=case.grid)["ts"]
    for symbol in SYMBOLS:
        held = case.lower.filter(pl.col("symbol") == symbol)["ts"]
        told = found.filter(pl.col("symbol") == symbol)
        missing = {ts for a, b in told.select("first", "last").iter_rows() for ts in expected if a <= ts <= b}
        life = {ts for ts in expected if len(held) and held.min() <= ts <= held.max()}
        assert missing == life - set(held)
        assert told["bars"].sum() == len(missing)


def by_opening(base, higher, interval):
    """Align on the longer bar's opening: it is seen while it is still made."""
    early = higher.with_columns(known=pl.col("closes_at"), closes_at=pl.col("ts"))
    return tf.align(base, early.sort("closes_at"), interval)


def by_date(base, higher, interval):
    """Join on the date: the whole day is seen from its first minute."""
    return tf.align(base, higher.with_columns(closes_at=pl.col("ts").dt.truncate("1d")), interval)


def after_its_first_bar(base, higher, interval):
    """Take a longer bar for complete when its first lower bar is."""
    return tf.align(base, higher.with_columns(closes_at=pl.col("ts") + pl.duration(minutes=15)), interval)


def joined(base, higher, interval, strategy):
    """Join as `align` does, with another strategy."""
    right = f"closes_at_{interval}"
    other = higher.rename({c: f"{c}_{interval}" for c in higher.columns if c != "symbol"}).sort(right)
    return base.sort("closes_at", maintain_order=True).join_asof(
        other, left_on="closes_at", right_on=right, by="symbol", strategy=strategy, coalesce=False,
        check_sortedness=False,
    )  # fmt: skip


def nearest(base, higher, interval):
    """Align on the nearest close, before or after."""
    return joined(base, higher, interval, "nearest")


def backward(base, higher, interval):
    """Align in another way and honestly."""
    return joined(base, higher, interval, "backward")


def open_buckets_too(case, lower, asof=None):
    """Emit what is still being made: with the day's end as the hour, every bucket looks complete."""
    end = case.buckets()["closes_at"][-1]
    made = case.resampled(lower, end)
    if asof is None:
        return made
    return made.filter(pl.col("ts") <= asof)


def claimed_early(case, lower, asof=None):
    """Claim that a bucket is known when it begins."""
    return case.resampled(lower, asof).with_columns(closes_at=pl.col("ts"))


def filled_backward(case, lower, asof=None):
    """Fill a bucket with the next one's close."""
    made = case.resampled(lower, asof)
    return made.with_columns(pl.col("close").shift(-1).over("symbol").fill_null(pl.col("close")))


@pytest.mark.parametrize(
    ("resample", "align"),
    [
        (Case.resampled, by_opening),
        (Case.resampled, after_its_first_bar),
        (Case.resampled, nearest),
        (open_buckets_too, tf.align),
        (claimed_early, tf.align),
        (filled_backward, tf.align),
    ],
)
@pytest.mark.parametrize("market", sorted(tf.MARKETS))
def test_a_planted_look_ahead_is_caught(market, resample, align):
    case = Case(("thanksgiving", market, "open", ("15m", "1h"), 7, 0.1))
    assert any(look_ahead(case, at, resample, align) for at in case.instants()[::7])


@pytest.mark.parametrize("market", sorted(tf.MARKETS))
def test_a_join_on_the_date_is_caught_and_an_honest_join_is_not(market):
    case = Case(("thanksgiving", market, "open", ("15m", "1d"), 7, 0.1))
    some = case.instants()[::29]
    assert any(look_ahead(case, at, Case.resampled, by_date) for at in some)
    assert not any(look_ahead(case, at, Case.resampled, backward) for at in some)


@pytest.mark.parametrize(
    ("day", "opens", "closes"),
    [
        (date(2026, 3, 6), (14, 30), (21, 0)),
        (date(2026, 3, 9), (13, 30), (20, 0)),
        (date(2026, 10, 30), (13, 30), (20, 0)),
        (date(2026, 11, 2), (14, 30), (21, 0)),
        (date(2026, 11, 27), (14, 30), (18, 0)),
    ],
)
@pytest.mark.parametrize("interval", tf.INTERVALS)
def test_on_clock_change_and_half_days_the_last_bar_of_every_interval_ends_with_the_session(
    day, opens, closes, interval
):
    bars = tf.expected_bars(interval, "us", CALENDAR, [day], grid="open")
    assert bars["ts"][0] == datetime(day.year, day.month, day.day, *opens, tzinfo=UTC)
    assert bars["closes_at"][-1] == datetime(day.year, day.month, day.day, *closes, tzinfo=UTC)
