"""The panel: cutting the future, views without copies, and a digest that sees every bit."""

from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kit import panels

from kobe.core.calendar import xnys
from kobe.core.errors import MissingDataError, SchemaError
from kobe.core.panel import BAR_COLUMNS, Panel

FLOAT_COLUMNS = (*BAR_COLUMNS, "raw_factor")
FIRST = int(panels.f11().session[0])


def same(a: Panel, b: Panel) -> bool:
    columns = ("offsets", "session", *FLOAT_COLUMNS)
    return a.symbols == b.symbols and all(np.array_equal(getattr(a, c), getattr(b, c)) for c in columns)


@st.composite
def symbol_histories(draw: st.DrawFn) -> dict[str, panels.History]:
    """Up to five symbols that list, pause and delist at odd times."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    names = draw(
        st.lists(st.sampled_from(["AA", "AB", "B", "BRK.B", "C", "SPY", "ZZ"]), min_size=0, max_size=5, unique=True)
    )
    found = {}
    for name in names:
        walk = panels.random_walk(rng, 30)
        kept = np.flatnonzero(rng.random(30) < draw(st.sampled_from([0.1, 0.5, 1.0])))
        if len(kept):
            found[name] = walk.take(kept)
    return found


@settings(max_examples=150, deadline=None)
@given(made=symbol_histories(), cut=st.integers(-2, 32))
def test_cutting_the_future_equals_building_from_bars_that_end_there(made, cut):
    session = FIRST + cut
    left = {name: h.take(h.session <= session) for name, h in made.items()}
    expected = panels.panel({name: h for name, h in left.items() if len(h)})
    got = panels.panel(made).until(session)
    assert same(got, expected)
    assert got.digest == expected.digest
    assert not len(got) or got.last_session <= session
    assert not any(getattr(got, c).flags.writeable for c in ("session", "offsets", *FLOAT_COLUMNS))


@settings(max_examples=50, deadline=None)
@given(made=symbol_histories(), cut=st.integers(0, 30))
def test_the_digest_of_each_session_knows_nothing_of_later_bars_or_listings(made, cut):
    whole = panels.panel(made).digests_by_session()
    past = panels.panel(made).until(FIRST + cut).digests_by_session()
    assert past == {session: text for session, text in whole.items() if session <= FIRST + cut}
    assert len(set(whole.values())) == len(whole)


def test_the_digest_of_a_session_knows_on_which_sessions_the_earlier_bars_were():
    bars = panels.random_walk(np.random.default_rng(1), 10)
    moved = replace(bars, session=bars.session - (np.arange(10) < 4).astype(np.int32))
    last = int(bars.session[-1])
    digests = [panels.panel({"A": h}).digests_by_session()[last] for h in (bars, moved)]
    assert digests[0] != digests[1]


def test_a_cut_keeps_the_facts_about_the_bars():
    facts = {"source": "synthetic", "feed": "iex", "adjustment": "raw", "universe": "point-in-time"}
    cut = panels.panel({"A": panels.f11()}, **facts).until(FIRST + 4)
    assert {name: getattr(cut, name) for name in facts} == facts
    assert len(cut) == 5
    assert cut.banners == ("SYNTHETIC market: made-up bars, no evidence about any real one", cut.banners[1])
    assert "iex" in cut.banners[1]


def test_a_static_universe_is_never_reported_without_its_bias():
    assert "UNIVERSE BIAS: static-current" in panels.panel({"A": panels.f11()}).banners


def test_selecting_symbols_equals_building_from_those():
    made = panels.histories(panels.random_panel(3, symbols=6, bars=40))
    wanted = {"S001", "S004", "SPY"}
    chosen = panels.panel(made).select(wanted)
    assert same(chosen, panels.panel({name: h for name, h in made.items() if name in wanted}))
    assert panels.panel(made).select(set()).symbols == ()


def test_a_symbols_bars_are_read_only_views_of_the_panel():
    whole = panels.random_panel(4, symbols=4, bars=30)
    for k, bars in enumerate(whole):
        assert bars.symbol == whole.symbols[k]
        assert whole[bars.symbol].first_row == bars.first_row == whole.offsets[k]
        assert len(bars) == whole.offsets[k + 1] - whole.offsets[k]
        for name in ("session", *BAR_COLUMNS):
            column = getattr(bars, name)
            assert np.shares_memory(column, getattr(whole, name))
            assert np.array_equal(column, getattr(whole, name)[whole.offsets[k] : whole.offsets[k + 1]])
            with pytest.raises(ValueError, match="read-only"):
                column[0] = 0


def test_rows_of_a_session_are_those_of_the_symbols_that_traded():
    whole = panels.random_panel(5, symbols=6, bars=40)
    for session in range(whole.first_session, whole.last_session + 1):
        rows = whole.rows_at(session)
        traded = [s.symbol for s in whole if session in s.session]
        assert [whole.symbols[whole.symbol_of_row[r]] for r in rows] == traded
        assert set(whole.session[rows]) <= {session}


@pytest.mark.parametrize("made", [{}, {"SPY": panels.f11()}])
@pytest.mark.parametrize("symbol", ["AAA", "SPX", "ZZZ", ""])
def test_an_unknown_symbol_is_refused_with_the_command_to_run_next(made, symbol):
    with pytest.raises(MissingDataError, match=r"unknown symbol; seen: .*; next: kobe data status"):
        panels.panel(made)[symbol]


def test_equal_bars_have_equal_digests_wherever_they_came_from():
    made = panels.histories(panels.random_panel(6, symbols=3, bars=25))
    assert panels.panel(made).digest == panels.panel(dict(reversed(made.items()))).digest
    assert panels.panel(made).digest == panels.panel(panels.histories(panels.panel(made))).digest


@settings(max_examples=150, deadline=None)
@given(column=st.sampled_from(["session", *FLOAT_COLUMNS]), data=st.data())
def test_one_bit_in_any_column_changes_the_digest(column, data):
    whole = panels.panel({"A": panels.f11(), "B": panels.f11()})
    values = getattr(whole, column).copy()
    raw = values.view(np.uint8)
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= np.uint8(1 << data.draw(st.integers(0, 7)))
    assert replace(whole, **{column: values}).digest != whole.digest


def paying(made: dict[str, panels.History], seed: int) -> Panel:
    whole = panels.panel(made)
    rng = np.random.default_rng(seed)
    return replace(whole, dividend=np.where(rng.random(len(whole)) < 0.2, rng.uniform(0.01, 2.0, len(whole)), 0.0))


@settings(max_examples=80, deadline=None)
@given(made=symbol_histories(), cut=st.integers(-2, 32), seed=st.integers(0, 99))
def test_a_cut_and_a_selection_keep_the_dividends_of_their_bars_and_digests_know_no_later_ones(made, cut, seed):
    whole = paying(made, seed)
    keep = whole.session <= FIRST + cut
    past = whole.until(FIRST + cut)
    assert past.dividend.tolist() == whole.dividend[keep].tolist()
    known = {s: text for s, text in whole.digests_by_session().items() if s <= FIRST + cut}
    assert past.digests_by_session() == known
    wanted = set(whole.symbols[::2])
    mine = np.isin(np.array(whole.symbols)[whole.symbol_of_row], sorted(wanted)) if len(whole) else keep
    assert whole.select(wanted).dividend.tolist() == whole.dividend[mine].tolist()
    assert not whole.dividend.flags.writeable


def test_a_dividend_changes_the_digest_and_those_of_its_session_and_after():
    plain = panels.panel({"A": panels.f11(), "B": panels.f11()})
    at = int(np.flatnonzero((plain.session == FIRST + 4) & (plain.symbol_of_row == 1))[0])
    digests = {plain.digest}
    for row, amount in ((at, 0.5), (at, 0.25), (at - 11, 0.5)):
        paid = np.zeros(len(plain))
        paid[row] = amount
        other = replace(plain, dividend=paid)
        digests.add(other.digest)
        before, after = plain.digests_by_session(), other.digests_by_session()
        assert [before[s] == after[s] for s in sorted(before)] == [s < FIRST + 4 for s in sorted(before)]
    assert len(digests) == 4


@pytest.mark.parametrize("bad", [np.zeros(3), np.zeros(11, dtype=np.float32)])
def test_a_dividend_column_of_another_shape_or_kind_is_refused(bad):
    with pytest.raises(SchemaError, match="dividend"):
        panels.panel({"A": panels.f11()}, dividend=bad)


def test_the_digest_sees_borders_names_facts_and_the_calendar():
    whole = panels.panel({"A": panels.f11(), "B": panels.f11()})
    others = [
        replace(whole, offsets=np.array([0, 10, 22])),
        replace(whole, symbols=("A", "C")),
        replace(whole, source="synthetic"),
        replace(whole, feed="iex"),
        replace(whole, adjustment="raw"),
        replace(whole, universe="point-in-time"),
        replace(whole, calendar=xnys((date(2026, 3, 4),))),
    ]
    assert len({whole.digest, *(o.digest for o in others)}) == len(others) + 1


@pytest.mark.parametrize(
    "fault",
    [
        {"close": np.zeros(10)},
        {"close": np.zeros(11, np.float32)},
        {"offsets": np.array([0, 10])},
        {"offsets": np.array([1, 11])},
        {"symbols": ("A", "B")},
    ],
)
def test_columns_that_do_not_fit_together_are_refused(fault):
    with pytest.raises(SchemaError):
        replace(panels.panel({"A": panels.f11()}), **fault)
