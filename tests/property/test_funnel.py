"""Nothing is lost on the way through a scan: every symbol has one fate, and the fates agree with the picks."""

from collections import Counter
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kit import panels

from kobe.core.panel import Panel
from kobe.decisions import funnel, rank, scan
from kobe.decisions.funnel import FATES, NO_BAR, OUTRANKED, PICK, TRADE
from kobe.decisions.scan import Choice, Scan
from kobe.learning.dataset import FEATURE_COLUMNS
from kobe.learning.model import LOGISTIC, Logistic, MetaModel, StrategyRecord
from kobe.risk.facts import Limits
from kobe.strategies import STRATEGIES

RANKED_FATES = {"correlated", "correlation_unknown", "sector_full", OUTRANKED, PICK, TRADE}
HELD_BACK = ("against_regime", "earnings_near", "earnings_unknown")
BARS = 110


def model(rng: np.random.Generator) -> tuple[str, MetaModel]:
    """A model with opinions of its own; its gates are 0.60."""
    n = len(FEATURE_COLUMNS)
    card = Logistic(
        medians=(0.0,) * n, indicators=(), means=(0.0,) * n, scales=(1.0,) * n,
        coefficients=tuple((rng.normal(0.0, 0.3, n)).tolist()), intercept=float(rng.normal()), sigmoid=None,
    )  # fmt: skip
    record = StrategyRecord(trades=100, wins=60, average_win_r=1.0, average_loss_r=1.0)
    records = dict.fromkeys(STRATEGIES, record)
    return "m", MetaModel(kind=LOGISTIC, records=records, strategy_params={}, logistic=card)


def held_back(rng: np.random.Generator, share: float):
    """Refuse the entries of some symbols, always the same ones and each for the same reason."""
    codes = {f"S{k:03d}": HELD_BACK[k % 3] for k in np.flatnonzero(rng.random(40) < share)}
    return lambda panel, rows: [codes.get(panel.symbols[panel.symbol_of_row[row]]) for row in rows]


@st.composite
def scans(draw):
    """A panel and everything a scan of one of its later sessions is asked with."""
    seed = draw(st.integers(0, 2**31))
    rng = np.random.default_rng(seed)
    panel = panels.random_panel(seed, symbols=draw(st.sampled_from([2, 8, 14, 20])), bars=BARS)
    panel = panel.masked(rng.random(len(panel)) < draw(st.sampled_from([0.9, 1.0])), "some")
    young = {
        "sma_bars": draw(st.sampled_from([2, 20])), "min_history_bars": draw(st.sampled_from([25, 25, 60])),
        "min_adv_usd": draw(st.sampled_from([0.0, 0.0, 5e7])), "min_price_usd": draw(st.sampled_from([5.0, 5.0, 20.0])),
    }  # fmt: skip
    params = {
        "ibs_rsi": STRATEGIES["ibs_rsi"].params(young | {"ibs_max": 1.0, "rsi_max": 95.0}),
        "turtle_soup": STRATEGIES["turtle_soup"].params(
            young | {"lookback_bars": 5, "min_age_bars": 1, "min_depth_atr": 0.0}
        ),
    }
    names = sorted(s for s in panel.symbols if draw(st.booleans()))
    choice = Choice(
        count=draw(st.integers(1, 6)),
        ensure_top=draw(st.booleans()),
        held_back=draw(st.sampled_from([None, held_back(rng, 0.4)])),
        stood_down=draw(
            st.sampled_from([frozenset(), frozenset(), frozenset({"ibs_rsi"}), frozenset({"turtle_soup"})])
        ),
        max_correlation=draw(st.sampled_from([-0.05, 0.1, 0.3, 1.0])),
        sectors={s: "AB"[k % 2] for k, s in enumerate(names)},
        max_per_sector=draw(st.integers(0, 2)),
    )
    terms = {
        "params": params, "choice": choice, "limits": Limits(order_usd=Decimal(draw(st.sampled_from([30, 400, 400])))),
        "model": draw(st.sampled_from([None, model(rng)])),
    }  # fmt: skip
    number = panel.last_session - draw(st.integers(0, 40))
    return panel, number, terms


def scanned(panel: Panel, number: int, terms: dict) -> Scan:
    return scan.run(panel, panel.calendar.sessions[number], **terms)


@settings(max_examples=120, deadline=None)
@given(scans())
def test_fates_cover_the_universe_once_and_agree_with_candidates_and_picks(case):
    panel, number, terms = case
    past, found = panel.until(number), scanned(*case)
    assert set(found.fates) == set(past.symbols)
    assert set(found.fates.values()) <= set(FATES)
    assert sum(found.funnel.values()) == len(past.symbols)
    here = {past.symbols[past.symbol_of_row[row]] for row in past.rows_at(number)}
    assert {s for s, f in found.fates.items() if f == NO_BAR} == set(past.symbols) - here
    picked = {c.signal.symbol for c in found.picks}
    assert {s for s, f in found.fates.items() if f in (PICK, TRADE)} == picked
    traded = [] if found.trade_of_day is None else [found.trade_of_day.signal.symbol]
    assert [s for s, f in found.fates.items() if f == TRADE] == traded
    ranked = {c.signal.symbol for c in found.ranked}
    assert {s for s, f in found.fates.items() if f in RANKED_FATES} == ranked
    order = list(FATES)
    for c in found.candidates:
        if c.signal.symbol not in ranked:
            assert order.index(found.fates[c.signal.symbol]) >= order.index(c.rejection)
    assert not terms["choice"].stood_down & {c.signal.strategy for c in found.ranked}


@settings(max_examples=120, deadline=None)
@given(scans())
def test_picks_are_bounded_in_number_correlation_and_sector(case):
    panel, number, terms = case
    past, found, choice = panel.until(number), scanned(*case), terms["choice"]
    names = [c.signal.symbol for c in found.picks]
    assert len(names) == len(set(names)) <= choice.count
    assert [c.rank for c in found.picks] == sorted(c.rank for c in found.picks)
    for k, one in enumerate(names) if choice.max_correlation < 1.0 else ():
        for other in names[:k]:
            a, b = past[one], past[other]
            _, i, j = np.intersect1d(a.session[-61:], b.session[-61:], return_indices=True)
            assert len(i) > 40
            x, y = (np.diff(np.log(bars.close[-61:][at])) for bars, at in ((a, i), (b, j)))
            assert np.corrcoef(x, y)[0, 1] < choice.max_correlation + 1e-12
    if choice.max_per_sector:
        held = Counter(choice.sectors.get(s) for s in names if s in choice.sectors)
        assert all(n <= choice.max_per_sector for n in held.values())


@settings(max_examples=60, deadline=None)
@given(scans())
def test_bars_that_come_later_change_nothing(case):
    panel, number, terms = case
    assert scanned(panel, number, terms) == scanned(panel.until(number), number, terms)


@settings(max_examples=60, deadline=None)
@given(scans(), st.randoms(use_true_random=False))
def test_ties_are_settled_the_same_way_in_whatever_order_candidates_come(case, random):
    panel, number, terms = case
    found = scanned(*case)
    turned = scanned(panel, number, terms | {"params": dict(reversed(terms["params"].items()))})
    assert (turned.picks, turned.fates, turned.ranked) == (found.picks, found.fates, found.ranked)
    alike = [replace(c, probability=0.7, adv_usd=1e7, signal=replace(c.signal, score=0.5)) for c in found.candidates]
    shuffled = random.sample(alike, len(alike))
    ranked = rank.ranked(shuffled)
    assert ranked == rank.ranked(alike)
    assert [c.signal.symbol for c in ranked] == sorted(c.signal.symbol for c in ranked)
    assert rank.top(ranked, 3, fill=True) == rank.top(rank.ranked(alike), 3, fill=True)


def test_the_random_scans_meet_every_kind_of_fate():
    """The properties above would be empty if the panels gave nothing to refuse."""
    met: Counter[str] = Counter()

    @settings(max_examples=150, deadline=None, derandomize=True, database=None)
    @given(scans())
    def walk(case):
        met.update(scanned(*case).funnel)

    walk()
    assert set(met) <= set(FATES)
    assert len(met) >= len(FATES) - 6, set(FATES) - set(met)


def test_a_code_that_is_not_a_fate_is_a_fault():
    panel = panels.random_panel(3, symbols=6, bars=BARS)
    params = {"ibs_rsi": STRATEGIES["ibs_rsi"].params(
        {"sma_bars": 2, "min_history_bars": 25, "min_adv_usd": 0.0, "ibs_max": 1.0, "rsi_max": 100.0})}  # fmt: skip
    terms = {"params": params, "limits": Limits(order_usd=Decimal(10_000)), "model": None}
    number = next(n for n in range(panel.last_session, 0, -1) if scanned(panel, n, terms).candidates)
    terms["choice"] = Choice(held_back=lambda _panel, rows: ["no_such_code"] * len(rows))
    with pytest.raises(ValueError, match="no_such_code"):
        scanned(panel, number, terms)
    assert funnel.counts({"A": PICK, "B": PICK, "C": NO_BAR}) == {NO_BAR: 1, PICK: 2}
