"""Nothing in the pipeline sees the future, and every leak we know how to plant is seen by the check that says so."""

from dataclasses import fields, replace

import numpy as np
import polars as pl
import pytest

from kobe.app import wiring
from kobe.app.leakcheck import check, cuts, learned, report, warm_up
from kobe.app.leakcheck import world as worlds
from kobe.app.leakcheck.cells import ROW, Case, Cells, compare
from kobe.app.leakcheck.check import comparisons, laboratory, run_mutants, run_probes
from kobe.app.leakcheck.mutants import MUTANTS
from kobe.app.leakcheck.probes import PROBES
from kobe.app.leakcheck.report import LeakcheckRequest, run_leakcheck
from kobe.app.leakcheck.stages import Pipeline, Stages, Terms, adjust
from kobe.core.errors import ExitCode, MissingDataError, UsageError
from kobe.data import actions
from kobe.data.assemble import panel_from
from kobe.data.manifest import Provenance

NEEDS_MODEL = {"fit", "model"}  # hundreds of trades: asked in the long tests only
NEEDS_CANDIDATES = {"scan"}
SEED = 81


def without(names, table):
    return {name: entry for name, entry in table.items() if name not in names}


@pytest.fixture(scope="module")
def ctx(tmp_path_factory):
    return wiring.build(tmp_path_factory.mktemp("leak"))


@pytest.fixture(scope="module")
def terms(ctx) -> Terms:
    return Terms.of(ctx)


@pytest.fixture(scope="module")
def small(calendar):
    return worlds.synthetic(calendar, 36, SEED)


@pytest.fixture(scope="module")
def places(small, terms):
    return cuts.chosen(small, terms, 6, SEED)


@pytest.fixture(scope="module")
def caught(small, terms, places):
    lab = laboratory(small, terms, places, SEED)
    quick = {name: m for name, m in MUTANTS.items() if lab.whole.pipeline.replaced(m.plant(Pipeline())) != "train"}
    return {c.mutant: c for c in run_mutants(lab, quick, without(NEEDS_MODEL, PROBES), places)}


def test_no_stage_of_the_pipeline_sees_the_future_of_a_made_up_market(small, terms, places):
    lab = laboratory(small, terms, places, SEED)
    found = run_probes(lab, without(NEEDS_MODEL, PROBES), places)
    assert [(f.probe, f.alarms) for f in found if f.differing] == []
    assert {f.probe for f in found if not f.cells} == set()
    assert sum(f.rounded for f in found) > 0, "a split by three must be among the events, or rounding is not tested"
    assert not lab.worlds, "what was made for a cut is dropped after it"


def test_no_stage_of_the_pipeline_sees_the_future_of_real_bars(real_frame, real_file, calendar, terms):
    told = actions.judge(actions.read_actions(real_file.parent / "corporate_actions.parquet", "test")).good
    late = (pl.col("kind") == "split") & (pl.col("date") >= pl.date(2012, 1, 1))
    split = told.filter(late).get_column("symbol").unique().to_list()
    names = real_frame.get_column("symbol").unique().sort().to_list()
    kept = [*[n for n in names if n in split][:8], *[n for n in names if n not in split][:8], "SPY"]
    bars = real_frame.filter(pl.col("symbol").is_in(kept))
    panel = panel_from(bars, calendar, Provenance(source="test"), told)
    world = worlds.of_panel(panel, told.filter(pl.col("symbol").is_in(kept)), "SPY", 12)
    assert len(world.events.filter(pl.col("kind") == "split")) >= 4
    some = cuts.chosen(world, terms, 3, SEED)
    found = run_probes(laboratory(world, terms, some, SEED), without(NEEDS_MODEL, PROBES), some)
    assert [(f.probe, f.alarms) for f in found if f.differing] == []
    assert {f.probe for f in found if not f.cells} <= NEEDS_CANDIDATES


@pytest.mark.parametrize("name", [n for n in MUTANTS if Pipeline().replaced(MUTANTS[n].plant(Pipeline())) != "train"])
def test_a_planted_leak_is_caught(name, caught):
    catch = caught[name]
    assert catch.alarm is not None, f"missed: {catch.meaning}"
    assert catch.differing >= 1
    assert catch.alarm.session <= catch.alarm.cut
    assert catch.stage in PROBES[catch.alarm.probe].rests_on


def test_there_are_mutants_of_every_part_and_each_replaces_one_part_only():
    parts = {name: Pipeline().replaced(m.plant(Pipeline())) for name, m in MUTANTS.items()}
    known = {f.name for f in fields(Pipeline)}
    assert len(MUTANTS) >= 15
    assert set(parts.values()) == known - {"inputs"}
    assert {part for probe in PROBES.values() for part in probe.rests_on} == known


@pytest.mark.long
def test_on_the_market_of_the_planted_leaks_the_honest_pipeline_raises_no_alarm(terms, calendar):
    """That all of them are caught there is the command's own test (tests/cli)."""
    world = worlds.synthetic(calendar, report.MUTANT_SYMBOLS, report.MUTANT_SEED)
    some = cuts.chosen(world, terms, report.MUTANT_CUTS, report.MUTANT_SEED)
    found = run_probes(laboratory(world, terms, some, report.MUTANT_SEED), PROBES, some)
    assert [(f.probe, f.verdict) for f in found] == [(name, "clean") for name in PROBES]


@pytest.mark.long
def test_every_probe_catches_some_leak_by_itself(terms, calendar):
    world = worlds.synthetic(calendar, report.MUTANT_SYMBOLS, report.MUTANT_SEED)
    some = cuts.chosen(world, terms, report.MUTANT_CUTS, report.MUTANT_SEED)
    alone = {
        "adjustment": "total_return_prices", "holds": "holds_placed_early", "universe": "members_counted_later",
        "indicators": "centred_average", "inputs": "return_to_come", "signals": "rsi_rank_in_whole_sample",
        "outcomes": "labels_beyond_the_exit", "scan": "scan_told_the_return",
        "gate_inputs": "gate_told_the_last_volume", "choices": "no_purge",
        "out_of_sample": "rsi_rank_in_whole_sample", "dataset": "labels_clipped",
        "fit": "fitted_on_all_rows", "model": "members_of_today",
    }  # fmt: skip
    assert set(alone) == set(PROBES)
    lab = laboratory(world, terms, some, report.MUTANT_SEED)
    for probe, mutant in alone.items():
        (catch,) = run_mutants(lab, {mutant: MUTANTS[mutant]}, {probe: PROBES[probe]}, some)
        assert catch.alarm is not None, f"{probe} does not see {mutant}"


def cells(names, values, **more) -> Cells:
    return Cells(
        symbol=np.array(names), session=np.arange(len(names), dtype=np.int32), columns={"x": np.array(values)}, **more
    )


CASE = Case(probe="p", test="t", cut=9, rescaled=frozenset({"B"}))


def test_figures_are_compared_to_the_bit_and_an_unknown_equals_an_unknown():
    whole = cells(["A", "A", "A"], [1.0, np.nan, 3.0])
    assert compare(CASE, whole, whole).differing == 0
    found = compare(CASE, whole, cells(["A", "A", "A"], [np.nextafter(1.0, 2.0), np.nan, np.nan]))
    assert (found.differing, found.rounded, [a.session for a in found.alarms]) == (2, 0, [0, 2])


def test_a_figure_that_only_one_side_has_is_an_alarm():
    found = compare(CASE, cells(["A", "A"], [1.0, 2.0]), cells(["A"], [1.0]))
    assert [(a.column, a.session, a.whole, a.known) for a in found.alarms] == [(ROW, 1, 1.0, 0.0)]


def test_rounding_is_forgiven_to_symbols_that_split_later_and_to_nobody_else():
    near = 1.0 + 1e-12
    assert compare(CASE, cells(["A"], [1.0]), cells(["A"], [near])).differing == 1
    assert compare(CASE, cells(["B/ibs_rsi"], [1.0]), cells(["B/ibs_rsi"], [near])).rounded == 1
    assert compare(CASE, cells(["B"], [1.0]), cells(["B"], [1.0 + 1e-6])).differing == 1


def test_another_unit_is_forgiven_only_where_the_columns_have_units():
    three, one = np.array([3.0]), np.array([1.0])
    whole, known = cells(["B"], [10.0], units=three), cells(["B"], [30.0], units=one)
    assert (compare(CASE, whole, known).rounded, compare(CASE, whole, known).differing) == (1, 0)
    assert compare(CASE, cells(["B"], [10.0]), cells(["B"], [30.0])).differing == 1
    assert compare(CASE, whole, replace(known, columns={"x": np.array([31.0])})).differing == 1


def test_a_cut_world_holds_nothing_later_and_another_future_leaves_the_past_as_it_was(small):
    session = small.span[0] + 500
    past, other = small.until(session), worlds.other_future(small, session, SEED)
    assert past.bars.get_column("date").max() == small.day(session)
    assert past.events.get_column("date").max() <= small.day(session)
    assert other.until(session).bars.equals(past.bars)
    assert other.until(session).events.equals(past.events)
    assert not other.bars.equals(small.bars)
    assert not other.events.equals(small.events)
    assert other.bars.get_column("symbol").n_unique() <= small.bars.get_column("symbol").n_unique()


def test_a_world_made_of_a_panel_gives_that_panel_back(synthetic_panel):
    world = worlds.of_panel(synthetic_panel, actions.none(), "SPY", 30)
    again = adjust(world, Stages(world=world, pipeline=Pipeline(), terms=None).held)
    assert again.symbols == synthetic_panel.symbols
    for name in ("open", "high", "low", "close", "volume", "raw_factor"):
        np.testing.assert_allclose(getattr(again, name), getattr(synthetic_panel, name), rtol=1e-6)


def test_the_awkward_sessions_are_cut_and_too_short_a_history_is_refused(small, terms, places):
    why = " ".join(c.why for c in places)
    for words in ("eve of a split", "day of a split", "last session of training", "eve of a listing"):
        assert words in why
    assert places == sorted(places)
    assert len({c.session for c in places}) == 6
    with pytest.raises(MissingDataError, match="300 or more"):
        cuts.chosen(small.until(small.span[0] + 200), terms, 3, SEED)


def test_wilder_averages_need_many_periods_of_history_and_windows_need_one(small, terms):
    stages = Stages(world=small, pipeline=Pipeline(), terms=terms)
    needs = {(n.indicator, n.period): n for n in warm_up.measure(stages.whole_panel, SEED)}
    for n in (14, 20):
        assert needs["atr", n].bars in (10 * n, 20 * n)
        assert needs["rsi", n].bars in (10 * n, 20 * n)
        assert needs["sma", n].bars == n
        assert needs["prior_low", n].bars == n
    assert needs["bars_seen", 14].bars is None
    assert needs["atr", 14].worst[0] > needs["atr", 14].worst[2] > needs["atr", 14].worst[4]


def test_a_planted_leak_makes_the_verb_fail_with_the_symbol_the_session_and_the_column(ctx):
    request = LeakcheckRequest(synthetic=True, symbols=10, cuts=1, plant="ibs_of_tomorrow")
    told = run_leakcheck(ctx, request)
    assert told.exit_code is ExitCode.INTEGRITY
    assert "LEAK in indicators" in told.summary[1]
    alarm = told.data["alarms"][0]
    assert (alarm["probe"], alarm["column"], alarm["known"]) == ("indicators", "ibs 2", None)
    assert alarm["session"] == alarm["cut"] == told.data["cuts"][0]["session"]
    with pytest.raises(UsageError, match="no such planted leak"):
        run_leakcheck(ctx, replace(request, plant="nonsense"))


def test_scrambled_rows_are_the_later_ones_only():
    frame = pl.DataFrame({name: [0.5] * 6 for name in ("r_net", *learned.FEATURE_COLUMNS)} | {"y": [1] * 6})
    later = np.array([False] * 3 + [True] * 3)
    other = learned._scrambled(frame, later, SEED)
    assert other[:3].equals(frame[:3].with_columns(pl.col("y").cast(pl.Int8)))
    assert (other[3:].select(learned.FEATURE_COLUMNS).to_numpy() != 0.5).all()


def test_a_probe_of_years_of_past_is_not_asked_early(small, terms, places):
    lab = laboratory(small, terms, places, SEED)
    early = min(c.session for c in places)
    assert early not in lab.late
    assert list(comparisons(lab, "choices", PROBES["choices"], early)) == []
    assert check.laboratory(small, terms, places, SEED).late == lab.late
