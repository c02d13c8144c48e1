"""Nothing sees the future: what is computed from bars up to t equals, bit for bit, what all bars give up to t."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kit import panels

from kobe.core.panel import Panel
from kobe.features.table import FEATURES, INDICATORS, FeatureTable
from kobe.strategies import STRATEGIES
from kobe.strategies.spec import BaseParams

PERIODS = (1, 2, 5, 14, 20, 200)
OF_ALL_SYMBOLS = {"breadth"}
CHANGES = {
    "ibs_rsi": [
        {},
        {"shorts": True},
        {"ibs_max": 0.25, "rsi_max": 15.0, "exit_rule": "sma5", "shorts": True},
        {"ibs_max": 0.10, "rsi_max": 5.0, "exit_rule": "ibs"},
        {"sma_bars": 20, "min_history_bars": 0, "min_adv_usd": 0.0, "shorts": True},
    ],
    "turtle_soup": [
        {},
        {"stop_mode": "sweep", "target_r": 2.0, "shorts": True},
        {"target_r": 0.5},
        {"sma_bars": 20, "min_history_bars": 0, "min_adv_usd": 0.0, "min_depth_atr": 0.0, "shorts": True},
    ],
}
Columns = dict[str, np.ndarray]
Compute = Callable[[FeatureTable, np.ndarray], Columns]


def indicators(table: FeatureTable, rows: np.ndarray) -> Columns:
    """Every indicator with several periods, at some rows."""
    return {f"{name} {n}": table.column(name, n)[rows] for name in INDICATORS for n in PERIODS}


def features(table: FeatureTable, rows: np.ndarray) -> Columns:
    """Every model input, at some rows."""
    return dict(zip(FEATURES, table.matrix(rows).T, strict=True))


def signals(table: FeatureTable, rows: np.ndarray, name: str, params: BaseParams) -> Columns:
    """Everything a strategy says about some rows; NaN where it says nothing."""
    found = STRATEGIES[name].signals(table.panel, table, params)
    columns = {"exit_mask": found.exit_mask[rows]}
    for column in ("side", "stop_distance", "stop_level", "target_r", "atr", "score"):
        for side in (1, -1):
            picked = found.side == side
            dense = np.full(len(table.panel), np.nan)
            dense[found.row[picked]] = getattr(found, column)[picked]
            columns[f"{column} {side:+d}"] = dense[rows]
    return columns


def strategies() -> dict[str, Compute]:
    found = {}
    for name, strategy in STRATEGIES.items():
        for change in CHANGES[name]:
            found[f"{name} {change}"] = partial(signals, name=name, params=strategy.params(change))
    return found


def everything() -> dict[str, Compute]:
    return {"indicators": indicators, "features": features, **strategies()}


def different(a: Columns, b: Columns) -> set[str]:
    """Return the columns of which any bit differs; all NaN are one."""

    def bits(column: np.ndarray) -> bytes:
        return np.where(np.isnan(column), np.nan, column.astype(np.float64)).tobytes()

    return {name for name in a if bits(a[name]) != bits(b[name])}


def seeing(
    computes: dict[str, Compute],
    whole: Panel,
    sessions: Iterable[int],
    cut: Callable[[Panel, int], Panel] = Panel.until,
) -> dict[str, set[str]]:
    """Return the columns that change when what comes after a session is cut off (or changed by `cut`).

    Compared are the rows of that session and of up to 40 sessions before it.
    """
    found: dict[str, set[str]] = {}
    full = FeatureTable(whole)
    for session in sessions:
        past = FeatureTable(cut(whole, session))
        for name, compute in computes.items():
            oldest = session if compute is features else session - 40  # a model input is asked for at the newest rows
            rows = [np.flatnonzero((t.panel.session <= session) & (t.panel.session >= oldest)) for t in (full, past)]
            if changed := different(compute(full, rows[0]), compute(past, rows[1])):
                found[name] = found.get(name, set()) | changed
    return found


def noise_after(whole: Panel, session: int) -> Panel:
    """Multiply every bar after a session by its own noise, keeping high above low."""
    rng = np.random.default_rng(session)
    factor = np.where(whole.session > session, np.exp(rng.normal(0, 0.2, len(whole))), 1.0)
    volume = np.where(whole.session > session, rng.permutation(whole.volume), whole.volume)
    return replace(whole, volume=volume, **{c: getattr(whole, c) * factor for c in panels.PRICES})


@pytest.fixture(scope="module")
def real(real_panel, real_file) -> Panel:
    """Real symbols of the shared fixture and those whose files hold known defects."""
    return panels.panel({**panels.histories(real_panel), **panels.read(real_file, panels.AWKWARD)})


@pytest.fixture(scope="module")
def moments(real) -> list[int]:
    """Some 25 sessions: the first ones, around the first SMA200 and the rest at random."""
    rng = np.random.default_rng(42)
    drawn = rng.choice(np.arange(real.first_session + 260, real.last_session), 17, replace=False)
    early = [real.first_session + i for i in (0, 1, 19, 199, 249, 250)]
    return [*early, *sorted(drawn.tolist()), real.last_session - 1]


def test_nothing_computed_from_real_bars_sees_the_future(real, moments):
    assert not seeing(everything(), real, moments)


def test_the_checked_bars_hold_signals_of_every_kind(real):
    table = FeatureTable(real)
    for name, compute in strategies().items():
        columns = compute(table, np.arange(len(real)))
        sides = ("+1", "-1") if "shorts" in name else ("+1",)
        for side in sides:
            assert np.count_nonzero(~np.isnan(columns[f"side {side}"])) >= 20, name


def test_corrupting_later_bars_changes_no_signal_and_no_column(real, moments):
    assert not seeing(everything(), real, moments[4::5], noise_after)


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), data=st.data())
def test_nothing_computed_from_random_bars_sees_the_future(seed, data):
    whole = panels.random_panel(seed, symbols=8, bars=290)
    some = st.integers(whole.first_session, whole.last_session - 1)
    sessions = [data.draw(some), whole.last_session - data.draw(st.integers(1, 30))]
    assert not seeing(everything(), whole, sessions)
    assert not seeing(everything(), whole, sessions, noise_after)


def test_a_symbols_numbers_do_not_depend_on_which_others_there_are(real):
    kept = {"SPY", "CHTR", "EBAY", "CARR", *real.symbols[::7]}
    fewer = real.select(kept)
    rows = np.flatnonzero(np.isin(np.array(real.symbols)[real.symbol_of_row], sorted(kept)))
    sample = np.arange(0, len(rows), 37)
    full, part = FeatureTable(real), FeatureTable(fewer)
    for name, compute in everything().items():
        at = sample if compute is features else np.arange(len(rows))
        assert different(compute(full, rows[at]), compute(part, at)) <= OF_ALL_SYMBOLS, name


def test_a_symbols_numbers_do_not_depend_on_its_place_among_the_others():
    whole = panels.random_panel(12, symbols=9, bars=300)
    made = panels.histories(whole)
    turned = {name: name if name == "SPY" else f"Z{90 - i}" for i, name in enumerate(sorted(made))}
    other = panels.panel({turned[name]: bars for name, bars in made.items()})
    rows = np.concatenate([other[turned[s.symbol]].first_row + np.arange(len(s)) for s in whole])
    assert not np.array_equal(rows, np.arange(len(whole)))
    one, two = FeatureTable(whole), FeatureTable(other)
    for name, compute in everything().items():
        assert not different(compute(one, np.arange(len(whole))), compute(two, rows)), name


def _tomorrow(table: FeatureTable, rows: np.ndarray) -> Columns:
    return {"leak": np.roll(table.panel.close, -1)[rows]}


def _whole_sample_score(table: FeatureTable, rows: np.ndarray) -> Columns:
    close = table.panel.close
    return {"leak": ((close - close.mean()) / close.std())[rows]}


def _whole_sample_rank(table: FeatureTable, rows: np.ndarray) -> Columns:
    volume = table.panel.volume
    return {"leak": np.argsort(np.argsort(volume))[rows] / len(volume)}


def _centred_mean(table: FeatureTable, rows: np.ndarray) -> Columns:
    return {"leak": np.convolve(table.panel.close, np.ones(5) / 5, mode="same")[rows]}


def _pivot_at_its_own_bar(table: FeatureTable, rows: np.ndarray) -> Columns:
    low = np.pad(table.panel.low, 2, constant_values=np.inf)
    around = np.lib.stride_tricks.sliding_window_view(low, 5)
    return {"leak": (around.min(axis=1) == table.panel.low)[rows]}


def _filled_backwards(table: FeatureTable, rows: np.ndarray) -> Columns:
    sma = table.column("sma", 20)
    known = np.append(np.flatnonzero(~np.isnan(sma)), len(sma) - 1)
    return {"leak": sma[known[np.searchsorted(known, rows)]]}


def _knows_how_long_the_data_are(table: FeatureTable, rows: np.ndarray) -> Columns:
    return {"leak": np.nextafter(table.panel.close, table.panel.last_session % 2 * np.inf)[rows]}


def _buys_what_rises_tomorrow(table: FeatureTable, rows: np.ndarray) -> Columns:
    soon = np.diff(table.panel.close, append=0.0) > 0
    return {"leak": np.where((table.column("ibs") <= 0.2) & soon, 1.0, np.nan)[rows]}


LEAKS = (
    _tomorrow, _whole_sample_score, _whole_sample_rank, _centred_mean, _pivot_at_its_own_bar, _filled_backwards,
    _knows_how_long_the_data_are, _buys_what_rises_tomorrow,
)  # fmt: skip


@pytest.mark.parametrize("leak", LEAKS, ids=lambda f: f.__name__.strip("_"))
def test_a_planted_look_into_the_future_is_caught(leak):
    whole = panels.random_panel(13, symbols=6, bars=120)
    sessions = range(whole.first_session + 10, whole.last_session, 7)
    assert seeing({"honest": indicators, "planted": leak}, whole, sessions) == {"planted": {"leak"}}


@pytest.mark.parametrize("leak", [_tomorrow, _whole_sample_score, _centred_mean, _buys_what_rises_tomorrow])
def test_a_planted_look_into_the_future_is_caught_by_corruption_too(leak):
    whole = panels.random_panel(14, symbols=6, bars=120)
    sessions = range(whole.first_session + 10, whole.last_session, 7)
    assert seeing({"honest": indicators, "planted": leak}, whole, sessions, noise_after) == {"planted": {"leak"}}
