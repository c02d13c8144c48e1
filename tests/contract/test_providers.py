"""Every provider of the table: schema, paging, adjustment, limits, and the right word for every way it can fail."""

import random
from dataclasses import replace
from datetime import UTC, date, datetime

import numpy as np
import polars as pl
import pytest
from kit.market_server import MarketServer, small_market

from kobe.core.clock import SteppingClock
from kobe.core.errors import ConfigError, ExternalError, KobeError, MissingDataError, SchemaError
from kobe.data.providers import PROVIDERS
from kobe.data.providers.kit import ACTION_COLUMNS, BAR_COLUMNS, ProviderKit

FIRST, LAST = date(2019, 1, 2), date(2019, 12, 31)
SECRET = "s3cret-key-nobody-may-see"
NAMES = ("POLYGON_API_KEY", "APCA_API_KEY_ID", "APCA_API_SECRET_KEY")


@pytest.fixture
def server(calendar):
    with MarketServer(small_market(calendar)) as running:
        yield running


@pytest.fixture
def clock():
    return SteppingClock(datetime(2020, 6, 30, 22, tzinfo=UTC))


def kit(server, clock, folder, **changes) -> ProviderKit:
    given = ProviderKit(
        clock=clock, sleep=lambda s: clock.advance(seconds=s), rng=random.Random(1), limits=folder / "limits",
        cache=folder / "cache", secrets=dict.fromkeys(NAMES, SECRET), base_urls=dict.fromkeys(PROVIDERS, server.url),
        timeouts=(1.0, 1.0),
    )  # fmt: skip
    return replace(given, **changes)


@pytest.fixture(params=list(PROVIDERS))
def provider(request, server, clock, tmp_path):
    return PROVIDERS[request.param](kit(server, clock, tmp_path))


def fetch(provider, symbol="AAA", first=FIRST, last=LAST, adjustment=None):
    return provider.daily(symbol, first, last, adjustment=adjustment or provider.adjustments[-1])


def test_a_delivery_has_the_columns_the_order_and_the_span_that_were_promised(provider, server, clock):
    got = fetch(provider)
    assert tuple(got.bars.columns) == BAR_COLUMNS
    assert tuple(got.actions.columns) == ACTION_COLUMNS
    days = got.bars["date"].to_list()
    assert days == [d for d, *_ in server.market["AAA"].bars if FIRST <= d <= LAST]
    assert got.source == provider.name
    assert got.feed == ("iex" if provider.name == "alpaca" else "consolidated")
    assert got.fetched_at == clock.now()
    assert got.bars.null_count().sum_horizontal().item() == 0


def test_raw_and_adjusted_prices_are_those_of_the_tape_and_of_today(provider, server):
    for symbol in ("AAA", "BRK.B"):
        for adjustment in provider.adjustments:
            got = fetch(provider, symbol, adjustment=adjustment)
            told = server.market[symbol].told(FIRST, LAST, adjusted=adjustment == "split")
            np.testing.assert_allclose(got.bars["close"].to_numpy(), [row[4] for row in told], rtol=1e-6)
            np.testing.assert_allclose(got.bars["volume"].to_numpy(), [row[5] for row in told], rtol=1e-5)
            if provider.name == "yahoo" and adjustment == "split":
                tape = [row[4] for row in server.market[symbol].told(FIRST, LAST, adjusted=False)]
                np.testing.assert_allclose((got.bars["close"] * got.bars["raw_factor"]).to_numpy(), tape, rtol=1e-6)


def test_events_come_with_the_bars_as_they_were_on_the_tape(provider, server):
    told = fetch(provider).actions.select("date", "kind", "value").rows()
    if provider.name == "stooq":
        assert told == []
        return
    listing = server.market["AAA"]
    (split, ratio), (paid, amount) = next(iter(listing.splits.items())), next(iter(listing.dividends.items()))
    assert [(d, k) for d, k, _ in told] == [(paid, "dividend"), (split, "split")]
    assert told[0][2] == pytest.approx(amount, rel=1e-6)
    assert told[1][2] == ratio


def test_a_symbol_nobody_knows_is_missing_data(provider):
    with pytest.raises(MissingDataError):
        fetch(provider, "ZZZZ")


PASSING = ["429", "429_after", "500", "503", "hang", "drop"]


@pytest.mark.parametrize("fault", PASSING)
def test_a_fault_that_passes_is_asked_away(provider, server, fault):
    server.faults[:] = [fault]
    assert len(fetch(provider).bars) > 200
    assert len(server.requests) <= 12


@pytest.mark.parametrize("fault", ["429", "503", "drop"])
def test_a_fault_that_stays_is_out_of_reach_after_a_bounded_number_of_tries(provider, server, fault):
    server.faults[:] = [fault] * 50
    with pytest.raises(ExternalError) as told:
        fetch(provider)
    assert told.value.retryable
    assert len(server.requests) <= (24 if provider.name == "yahoo" else 8)  # its library asks for the time zone, too


REPAIRED_BY_YFINANCE = ("disorder", "double", "null")
BROKEN = {"html": SchemaError, "cut": SchemaError, "disorder": SchemaError, "double": SchemaError, "null": SchemaError,
          "401": ConfigError, "404": MissingDataError, "empty": MissingDataError}  # fmt: skip


@pytest.mark.parametrize("fault", list(BROKEN))
def test_what_is_broken_is_named_and_never_delivered(provider, server, fault):
    if provider.name == "yahoo" and fault in REPAIRED_BY_YFINANCE:
        pytest.skip("the library sorts, merges and drops by itself; the next test looks at what is left")
    server.faults[:] = [fault] * (9 if provider.name == "yahoo" else 1)
    allowed = BROKEN[fault] if provider.name != "yahoo" else KobeError
    with pytest.raises(allowed) as told:
        fetch(provider)
    assert SECRET not in str(told.value)
    assert isinstance(told.value, KobeError)


@pytest.mark.parametrize("fault", REPAIRED_BY_YFINANCE)
def test_what_yahoo_s_library_repairs_by_itself_is_still_only_the_truth(server, clock, tmp_path, fault):
    provider = PROVIDERS["yahoo"](kit(server, clock, tmp_path))
    fetch(provider, "SPY")
    server.faults[:] = [fault] * 3
    got = {row[0]: row[5] for row in fetch(provider, "SPY").bars.iter_rows()}
    truth = {d: c for d, _, _, _, c, _ in server.market["SPY"].bars}
    assert len(got) >= 250
    empty = [day for day, close in got.items() if np.isnan(close)]  # the rules set such a bar aside
    assert len(empty) <= 1
    assert all(abs(close / truth[day] - 1) < 1e-6 for day, close in got.items() if day not in empty)


def test_an_answer_adjusted_otherwise_than_asked_is_refused(server, clock, tmp_path):
    provider = PROVIDERS["polygon"](kit(server, clock, tmp_path))
    server.faults[:] = ["lie"]
    with pytest.raises(SchemaError, match="adjusted otherwise"):
        fetch(provider, adjustment="raw")


def test_retry_after_is_obeyed(server, clock, tmp_path):
    provider = PROVIDERS["stooq"](kit(server, clock, tmp_path))
    before = clock.now()
    server.faults[:] = ["429_after"]
    fetch(provider)
    assert (clock.now() - before).total_seconds() >= 7.0


def test_the_free_plan_of_polygon_is_never_overrun(server, clock, tmp_path):
    provider = PROVIDERS["polygon"](kit(server, clock, tmp_path))
    before = clock.now()
    for _ in range(4):
        fetch(provider)
    minutes = (clock.now() - before).total_seconds() / 60
    assert len(server.requests) > 20
    assert (len(server.requests) - 5) / minutes <= 5.0 + 1e-6


def test_an_empty_answer_of_yahoo_means_nothing_works_when_the_known_symbol_is_empty_too(server, clock, tmp_path):
    provider = PROVIDERS["yahoo"](kit(server, clock, tmp_path))
    server.faults[:] = ["empty"] * 20
    with pytest.raises(ExternalError):
        fetch(provider)


def test_a_key_is_asked_for_by_name_and_never_shown(server, clock, tmp_path):
    for name in ("polygon", "alpaca"):
        with pytest.raises(ConfigError, match="API_KEY"):
            PROVIDERS[name](kit(server, clock, tmp_path, secrets={}))
    assert SECRET not in repr(kit(server, clock, tmp_path))
    provider = PROVIDERS["polygon"](kit(server, clock, tmp_path))
    fetch(provider)
    assert all(SECRET not in path for path in server.requests)
    assert any(SECRET in value for headers in server.headers for value in headers.values())


def test_the_feed_of_alpaca_is_recorded(server, clock, tmp_path):
    assert fetch(PROVIDERS["alpaca"](kit(server, clock, tmp_path, feed="sip"))).feed == "consolidated"


def test_every_page_is_read(server, clock, tmp_path):
    for name in ("polygon", "alpaca"):
        got = fetch(PROVIDERS[name](kit(server, clock, tmp_path)))
        assert len(got.bars) > 5 * server.page
        assert got.bars["date"].is_unique().all()
    assert pl.Series(server.requests).str.contains("cursor|page_token").sum() > 5
