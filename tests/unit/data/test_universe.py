"""Who may be traded is decided by what was known, kept with its proof, and a list of today says that it is one."""

from datetime import date

import numpy as np
import polars as pl
import pytest
from kit.market import LAST, market

from kobe.core.errors import IntegrityError, MissingDataError, SchemaError, UsageError
from kobe.data import universe
from kobe.data.assemble import panel_from
from kobe.data.manifest import Provenance
from kobe.data.universe import POINT_IN_TIME, STATIC, Rules
from kobe.infra.records.artifacts import FileArtifacts

NAMES = ("AAA", "BBB", "CCC", "DDD")


def day_of(calendar, row: int) -> date:
    return calendar.between(date(2019, 1, 2), LAST)[row]


@pytest.fixture
def panel(calendar):
    """AAA trades most at first, DDD later; CCC is cheap."""
    bars = market(calendar, symbols=NAMES)
    place = pl.int_range(pl.len()).over("symbol")
    grows = pl.when(pl.col("symbol") == "DDD").then(pl.when(place < 200).then(0.5).otherwise(9.0)).otherwise(
        pl.when(pl.col("symbol") == "AAA").then(3.0).otherwise(1.0))  # fmt: skip
    cheap = [(pl.col(c) * pl.when(pl.col("symbol") == "CCC").then(0.05).otherwise(1.0)).alias(c) for c in
             ("open", "high", "low", "close")]  # fmt: skip
    bars = bars.with_columns(volume=pl.col("volume") * grows).with_columns(cheap)
    return panel_from(bars, calendar, Provenance(source="test", universe=POINT_IN_TIME))


RULES = Rules(size=2, min_history=50)


def test_the_ranking_knows_nothing_after_its_day(panel, calendar):
    day = day_of(calendar, 150)
    whole = universe.ranking(panel, day, RULES)
    assert whole.equals(universe.ranking(panel.until(calendar.number(day)), day, RULES))
    assert whole.filter(pl.col("rank").is_not_null())["symbol"].to_list() == ["AAA", "BBB"]
    assert dict(whole.select("symbol", "reason").rows()) == {"AAA": "", "BBB": "", "CCC": "price", "DDD": "beyond_size"}
    late = universe.ranking(panel, day_of(calendar, 399), RULES)
    assert late.filter(pl.col("rank").is_not_null())["symbol"].to_list() == ["DDD", "AAA"]


def test_each_rule_has_its_code_on_both_sides(panel, calendar):
    day = day_of(calendar, 99)
    reason = lambda rules: dict(universe.ranking(panel, day, rules).select("symbol", "reason").rows())["AAA"]  # noqa: E731
    adv = universe.ranking(panel, day, Rules(size=9))["adv_usd"].max()
    assert reason(Rules(size=9, min_history=100)) == ""
    assert reason(Rules(size=9, min_history=101)) == "history"
    assert reason(Rules(size=9, min_history=1, min_adv_usd=adv)) == ""
    assert reason(Rules(size=9, min_history=1, min_adv_usd=np.nextafter(adv, np.inf))) == "adv"
    assert reason(Rules(size=9, min_history=1, optionable=frozenset({"BBB"}))) == "not_optionable"
    gone = panel.select({"AAA", "BBB"})
    later = universe.ranking(gone, day_of(calendar, 399), Rules(size=9))
    assert later["reason"].to_list() == ["", ""]


def test_a_rolling_choice_holds_from_the_next_session_and_a_static_one_for_all_time(panel, calendar):
    days = [day_of(calendar, 150), day_of(calendar, 350)]
    rolling, _ = universe.build(panel, "liquid", days, RULES, rolling=True)
    assert rolling.kind == POINT_IN_TIME
    assert rolling.members(day_of(calendar, 150)) == []
    assert rolling.members(day_of(calendar, 151)) == ["AAA", "BBB"]
    assert rolling.members(day_of(calendar, 351)) == ["AAA", "DDD"]
    static, _ = universe.build(panel, "today", days[-1:], RULES, rolling=False)
    assert static.kind == STATIC
    assert static.members(date(1999, 1, 4)) == ["AAA", "DDD"]
    masked = universe.masked(panel, rolling)
    inside = {(masked.symbols[k], int(s)) for k, s in zip(masked.symbol_of_row[masked.tradable],
                                                           masked.session[masked.tradable], strict=True)}  # fmt: skip
    expected = {(s, calendar.number(day_of(calendar, r))) for r in range(151, 400)
                for s in rolling.members(day_of(calendar, r))}  # fmt: skip
    assert inside == expected
    assert masked.banners == ()
    assert universe.masked(panel, static).banners == ("UNIVERSE BIAS: static-current",)


def test_a_true_list_over_biased_bars_still_says_so(panel, calendar):
    from dataclasses import replace

    rolling, _ = universe.build(panel, "liquid", [day_of(calendar, 150)], RULES, rolling=True)
    biased = replace(panel, universe=STATIC)
    assert "static-current" in universe.masked(biased, rolling).banners[0]


def test_snapshots_become_intervals_known_at_the_next_session(calendar):
    frame = pl.DataFrame({"date": [date(2019, 1, 31)] * 2 + [date(2019, 2, 28)] * 2 + [date(2019, 3, 29)],
                          "symbol": ["AAA", "BBB", "BBB", "-", "AAA"]})  # fmt: skip
    made = universe.from_records(frame, "index", calendar, "test")
    assert made.members(date(2019, 1, 31)) == []
    assert made.members(date(2019, 2, 28)) == ["AAA", "BBB"]
    assert made.members(date(2019, 3, 1)) == ["BBB"]
    assert made.members(date(2019, 4, 1)) == ["AAA"]
    assert made.proof["odd_symbols"] == ["-"]
    with pytest.raises(SchemaError):
        universe.from_records(pl.DataFrame({"a": [1]}), "index", calendar, "test")


def test_a_universe_and_its_proof_belong_together(panel, calendar, tmp_path):
    made, table = universe.build(panel, "liquid", [day_of(calendar, 150)], RULES, rolling=True)
    place = universe.write(made, table, tmp_path, FileArtifacts())
    assert universe.read(tmp_path, "liquid").membership.equals(made.membership)
    path = place / "membership.csv"
    path.write_text(path.read_text() + "ZZZ,1990-01-02,\n")
    with pytest.raises(IntegrityError, match="proof"):
        universe.read(tmp_path, "liquid")
    with pytest.raises(MissingDataError, match="kobe universe build"):
        universe.read(tmp_path, "other")
    for bad in ("../x", "A B", ""):
        with pytest.raises(UsageError):
            universe.read(tmp_path, bad)


def test_coverage_counts_member_sessions_with_and_without_bars(panel, calendar):
    frame = pl.DataFrame({"symbol": ["AAA", "GONE", "B.BB"], "start": [day_of(calendar, 0)] * 3,
                          "end": [day_of(calendar, 100), day_of(calendar, 50), None]})  # fmt: skip
    made = universe.from_records(frame, "index", calendar, "test")
    covered = universe.coverage(panel, made)
    sessions = {
        y: sum(d.year == y for d in calendar.between(date(2019, 1, 2), day_of(calendar, 399))) for y in (2019, 2020)
    }
    first = covered.row(0, named=True)
    assert first["member_sessions"] == 100 + 50 + sessions[2019]
    assert first["with_bar"] == 100 + sessions[2019]
    assert first["unknown_symbols"] == 1
    assert covered.row(1, named=True)["share"] == 1.0


def test_no_signal_rests_on_a_bar_outside_the_universe(panel, calendar):
    from kobe.features.table import FeatureTable
    from kobe.strategies import STRATEGIES

    changes = {"min_history_bars": 20, "sma_bars": 20, "ibs_max": 0.6, "rsi_max": 60.0}
    params = STRATEGIES["ibs_rsi"].params(changes)
    made, _ = universe.build(panel, "liquid", [day_of(calendar, 150)], RULES, rolling=True)
    masked = universe.masked(panel, made)
    all_rows = STRATEGIES["ibs_rsi"].signals(panel, FeatureTable(panel, "AAA"), params).row
    rows = STRATEGIES["ibs_rsi"].signals(masked, FeatureTable(masked, "AAA"), params).row
    assert len(rows) > 0
    assert set(rows) == {r for r in all_rows if masked.tradable[r]}
