"""A fetch asks in order, stages what it got, goes on where it was killed, and says exactly what is missing."""

from datetime import date

import polars as pl
import pytest
from kit.market import LAST, market, put, scaled, store_in
from kit.provider import ListProvider

from kobe.core.errors import ConfigError, ExternalError, SchemaError
from kobe.data import actions, fetch
from kobe.data.fetch import Fetcher, Wish, wishes
from kobe.infra.records.artifacts import FileArtifacts

FIRST = date(2019, 1, 2)


def fetcher(folder, calendar, store, *providers, adjustment="split", feed=None) -> Fetcher:
    return Fetcher(providers=providers, adjustment=adjustment, feed=feed, folder=folder / "incoming", calendar=calendar,
                   artifacts=FileArtifacts(), store=store)  # fmt: skip


@pytest.fixture
def store(tmp_path, calendar):
    return store_in(tmp_path, calendar)


def end(bars: pl.DataFrame) -> date:
    return bars["date"].max()


def all_of(*symbols, last) -> list[Wish]:
    return [Wish(symbol=s, first=FIRST, last=last) for s in symbols]


def test_the_next_provider_is_asked_only_for_what_the_first_could_not_deliver(tmp_path, calendar, store):
    bars = market(calendar)
    one = ListProvider(
        bars.filter(pl.col("symbol") != "BBB"), name="one", faults={"CCC": [SchemaError("HTML, not CSV")]}
    )
    two = ListProvider(bars, name="two")
    done = fetcher(tmp_path, calendar, store, one, two).run(all_of("AAA", "BBB", "CCC", "ZZZ", last=end(bars)))
    assert {s: g.delivery.source for s, g in done.got.items()} == {"AAA": "one", "BBB": "two", "CCC": "two"}
    assert done.got["CCC"].refused == {"one": "schema: HTML, not CSV"}
    assert set(done.failed) == {"ZZZ"}
    assert set(done.failed["ZZZ"]) == {"one", "two"}


def test_what_was_staged_is_not_asked_for_again_unless_it_is_torn_or_another_wish(tmp_path, calendar, store):
    bars = market(calendar)
    wanted = all_of("AAA", "BBB", "CCC", last=end(bars))
    fetcher(tmp_path, calendar, store, ListProvider(bars)).run(wanted[:2])
    torn = next((tmp_path / "incoming").glob("*BBB.bars"))
    torn.write_bytes(torn.read_bytes()[:-3])
    again = ListProvider(bars)
    done = fetcher(tmp_path, calendar, store, again).run(wanted)
    assert [s for s, _, _ in again.asked] == ["BBB", "CCC"]
    assert done.resumed == 1
    assert done.got["AAA"].delivery.bars.equals(bars.filter(pl.col("symbol") == "AAA"))
    other = ListProvider(bars)
    fetcher(tmp_path, calendar, store, other).run(all_of("AAA", last=date(2020, 1, 2)))
    assert len(other.asked) == 1


def test_a_provider_that_cannot_be_used_at_all_is_asked_once(tmp_path, calendar, store):
    bars = market(calendar)
    keyless = ListProvider(bars, name="keyless", faults={s: [ConfigError("no key")] for s in ("AAA", "BBB")})
    spare = ListProvider(bars, name="spare")
    done = fetcher(tmp_path, calendar, store, keyless, spare).run(all_of("AAA", "BBB", last=end(bars)))
    assert len(keyless.asked) == 1
    assert len(done.got) == 2
    alone = ListProvider(bars, faults={"AAA": [ConfigError("no key")]})
    with pytest.raises(ConfigError, match="no key"):
        fetcher(tmp_path / "b", calendar, store, alone).run(all_of("AAA", last=end(bars)))


def test_missing_sessions_are_named_one_by_one(tmp_path, calendar, store):
    bars = market(calendar)
    days = calendar.between(FIRST, LAST)
    holes = bars.filter(~pl.col("date").is_in([days[10], days[11], days[399]]))
    done = fetcher(tmp_path, calendar, store, ListProvider(holes)).run(all_of("AAA", last=days[399]))
    assert done.got["AAA"].missing == (days[10], days[11], days[399])


def test_volumes_of_two_feeds_are_not_mixed(tmp_path, calendar, store):
    bars = market(calendar)
    iex, sip = ListProvider(bars, name="iex", feed="iex"), ListProvider(bars, name="sip")
    done = fetcher(tmp_path, calendar, store, iex, sip, feed="consolidated").run(all_of("AAA", last=end(bars)))
    assert done.got["AAA"].delivery.source == "sip"


def ingested(store, done) -> None:
    for (source, feed), group in fetch.by_origin(done.got.values()).items():
        bars, told = fetch.joined(group)
        rebased = frozenset(g.delivery.symbol for g in group if g.rebased)
        put(store, bars, told, source=source, feed=feed, rebased=rebased, at="2021-02-01T00:00:00+00:00")


def test_an_update_overlaps_five_sessions_and_skips_what_is_up_to_date(tmp_path, calendar, store):
    bars = market(calendar)
    days = calendar.between(FIRST, LAST)
    put(store, bars.filter((pl.col("date") <= days[300]) | (pl.col("symbol") == "CCC")), source="list")
    wanted, fresh = wishes(["AAA", "CCC", "NEW"], store, calendar, FIRST, days[399], full=False)
    assert fresh == ["CCC"]
    assert [(w.symbol, w.first, w.held_from) for w in wanted] == [("AAA", days[296], FIRST), ("NEW", FIRST, None)]
    done = fetcher(tmp_path, calendar, store, ListProvider(bars)).run(wanted[:1])
    ingested(store, done)
    assert len(store.panel()["AAA"]) == 400


def test_a_source_that_rewrote_its_own_past_is_fetched_whole_and_another_source_is_not_believed(
    tmp_path, calendar, store
):
    """D13: the cache was written before a 4:1 split, the update comes after it."""
    bars = market(calendar)
    days = calendar.between(FIRST, LAST)
    put(store, bars.filter(pl.col("date") <= days[300]), source="list")
    after = scaled(bars, "AAA", range(400), 0.25)
    wanted, _ = wishes(["AAA", "BBB"], store, calendar, FIRST, days[399], full=False)
    done = fetcher(tmp_path, calendar, store, ListProvider(after)).run(wanted)
    assert done.got["AAA"].rebased
    assert not done.got["BBB"].rebased
    ingested(store, done)
    panel = store.panel()
    assert len(panel["AAA"]) == 400
    assert abs(panel["AAA"].close[301] / panel["AAA"].close[300] - 1) < 0.1
    assert panel.tradable.all()
    wanted, _ = wishes(["BBB"], store, calendar, FIRST, days[399], full=True)
    liar = fetcher(
        tmp_path / "b", calendar, store, ListProvider(scaled(bars, "BBB", range(400), 0.5), name="other")
    ).run(wanted)
    ingested(store, liar)
    panel = store.panel()
    assert len(panel["BBB"]) == 400
    assert not panel.tradable[panel.symbol_of_row == panel.position("BBB")][-1]
    assert "source_disagreement" in store.holds()["code"].to_list()


def test_a_shorter_past_does_not_take_the_place_of_a_longer_one(tmp_path, calendar, store):
    bars = market(calendar)
    days = calendar.between(FIRST, LAST)
    put(store, bars.filter(pl.col("date") <= days[300]), source="list")
    short = scaled(bars, "AAA", range(400), 0.25).filter((pl.col("symbol") != "AAA") | (pl.col("date") >= days[100]))
    wanted, _ = wishes(["AAA"], store, calendar, FIRST, days[399], full=False)
    done = fetcher(tmp_path, calendar, store, ListProvider(short)).run(wanted)
    ingested(store, done)
    panel = store.panel()
    assert len(panel["AAA"]) == 301
    assert store.holds()["code"].to_list() == ["overlap_mismatch"]
    assert not panel.tradable[panel.offsets[1] - 1]


def test_failures_of_reach_alone_are_told_apart_from_missing_data():
    assert fetch.worst({"A": {"p": "external: out of reach"}, "B": {"p": "external: 429"}})
    assert not fetch.worst({"A": {"p": "external: out of reach"}, "B": {"p": "missing_data: no such symbol"}})
    assert not fetch.worst({})
    assert ExternalError("x").code == "external"


def test_events_of_a_delivery_come_along(tmp_path, calendar, store):
    bars = market(calendar)
    day = calendar.between(FIRST, LAST)[200]
    told = actions.in_columns(
        pl.DataFrame({"symbol": ["AAA"], "date": [day], "kind": ["dividend"], "value": [0.3]}), "list"
    )
    done = fetcher(tmp_path, calendar, store, ListProvider(bars, events=told)).run(all_of("AAA", last=end(bars)))
    ingested(store, done)
    assert store.actions().select("symbol", "kind", "value", "source").rows() == [("AAA", "dividend", 0.3, "list")]
