"""The table of alphas is readable and in tune with splits; the figures equal their oracles; noise is no signal."""

from dataclasses import replace
from math import nan
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kit import panels
from scipy.stats import spearmanr
from statsmodels.stats.multitest import multipletests

from kobe.core.errors import UsageError
from kobe.core.expressions import digest
from kobe.features.table import FEATURES, FeatureTable
from kobe.learning import alphas
from kobe.learning.alphas import ALPHAS, Alpha, Evidence, Likeness, holm, rank_evidence, spearman, verdicts

WORLDS, SYMBOLS, DATES, HOLD, FAMILY = 300, 60, 400, 5, 12


def flat(n: int) -> np.ndarray:
    return np.zeros(n, dtype=np.int64)


@pytest.mark.parametrize("name", ALPHAS)
def test_every_alpha_states_a_sign_and_one_reason_and_is_read(name):
    alpha = ALPHAS[name]
    assert alpha.sign in {1, -1}
    assert alpha.reason.endswith(".")
    assert ". " not in alpha.reason
    assert alpha.tree


def test_no_two_alphas_mean_the_same_and_none_is_a_model_input_by_another_name():
    assert len({digest(a.tree) for a in ALPHAS.values()}) == len(ALPHAS)
    assert not ALPHAS.keys() & FEATURES.keys()


@pytest.mark.parametrize(
    ("expression", "words"),
    [("close > open", "no condition"), ("sma_200 / tomorrow", "unknown name"), ("", "complete")],
)
def test_what_is_no_alpha_is_refused_when_it_is_read(expression, words):
    with pytest.raises(UsageError, match=words):
        Alpha(expression, 1, "None.").tree  # noqa: B018 - reading it is the point


def test_a_later_split_changes_no_alpha_and_nearly_every_bar_past_the_first_year_has_all():
    made = panels.histories(panels.random_panel(5, symbols=5, bars=320))
    split = {name: h.scaled(0.25) if name == "S001" else h for name, h in made.items()}
    one, two = (FeatureTable(panels.panel(m)) for m in (made, split))
    late = one.column("bars_seen") >= 250
    for name, alpha in ALPHAS.items():
        before, after = alphas.values(one, alpha), alphas.values(two, alpha)
        assert np.allclose(before, after, rtol=1e-9, atol=1e-9, equal_nan=True), name
        assert not np.isnan(before[late]).any(), name


def test_an_alpha_may_use_model_inputs_and_parts_are_as_the_whole(monkeypatch):
    table = FeatureTable(panels.random_panel(6, symbols=3, bars=120))
    whole = alphas.values(table, Alpha("breadth + volume_z * gap_atr", 1, "None."))
    inputs = [FEATURES[n](table, np.arange(len(table.panel))) for n in ("breadth", "volume_z", "gap_atr")]
    assert np.array_equal(whole, inputs[0] + inputs[1] * inputs[2], equal_nan=True)
    monkeypatch.setattr(alphas, "CHUNK_ROWS", 37)
    fresh = FeatureTable(table.panel)
    assert np.array_equal(
        alphas.values(fresh, Alpha("breadth + volume_z * gap_atr", 1, "None.")), whole, equal_nan=True
    )


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), ties=st.booleans())
def test_the_rank_ic_and_its_t_are_those_of_a_loop_over_dates_with_scipy(seed, ties):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(500, 900))
    session = rng.integers(0, 400, n).astype(np.int32)
    stratum, year = rng.integers(0, 2, n), session.astype(np.int64) // 130
    column, r = (np.round(c, 1) if ties else c for c in rng.normal(size=(2, n)))
    column = np.where(rng.random(n) < 0.1, nan, column)
    found = rank_evidence(column, r, session, stratum, year)

    each = []
    for day in np.unique(session):
        for part in (0, 1):
            mine = (session == day) & (stratum == part) & ~np.isnan(column)
            if len(np.unique(column[mine])) > 1 and len(np.unique(r[mine])) > 1:
                each.append((day, mine.sum() - 1.0, spearmanr(column[mine], r[mine]).statistic, day // 130))
    day, weight, ic, when = (np.array(c) for c in zip(*each, strict=True))
    mean = (ic * weight).sum() / weight.sum()
    blocks = np.unique(day // alphas.BLOCK_SESSIONS)
    sums = np.array([((ic - mean) * weight)[day // alphas.BLOCK_SESSIONS == b].sum() for b in blocks])
    mass = np.array([weight[day // alphas.BLOCK_SESSIONS == b].sum() for b in blocks])
    count = mass.sum() ** 2 / (mass**2).sum()
    assert found.ic == pytest.approx(mean, abs=1e-12)
    assert found.t == pytest.approx(mean * mass.sum() / np.sqrt((sums**2).sum() * count / (count - 1)), rel=1e-9)
    assert (found.rows, found.dates) == ((~np.isnan(column)).sum(), len(np.unique(day)))
    signs = [np.sign(round((ic * weight)[when == y].sum(), 9)) for y in np.unique(when)]
    alike = sum(sign == np.sign(round(mean, 9)) for sign in signs)
    assert (found.years, found.years_alike) == (len(np.unique(when)), alike)
    order = rng.permutation(n)
    turned = rank_evidence(*(c[order] for c in (column, r, session, stratum, year)))
    assert turned.t == pytest.approx(found.t, rel=1e-9)


def test_what_never_varies_within_a_date_or_is_never_known_says_nothing():
    n, rng = 600, np.random.default_rng(1)
    session = np.repeat(np.arange(200, dtype=np.int32), 3)
    for column in (session.astype(float), np.full(n, nan)):
        found = rank_evidence(column, rng.normal(size=n), session, flat(n), flat(n))
        assert found.dates == 0
        assert np.isnan(found.p)
    alone = np.arange(n, dtype=np.int32)
    assert np.isnan(rank_evidence(rng.normal(size=n), rng.normal(size=n), alone, flat(n), flat(n)).p)


def test_a_few_dates_have_no_p():
    n, rng = 300, np.random.default_rng(2)
    session = np.repeat(np.arange(60, dtype=np.int32), 5)
    assert np.isnan(rank_evidence(rng.normal(size=n), rng.normal(size=n), session, flat(n), flat(n)).p)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_spearman_is_scipy_s_over_the_rows_both_know(seed):
    rng = np.random.default_rng(seed)
    one, other = np.round(rng.normal(size=(2, 40)), 1)
    one[rng.random(40) < 0.2] = nan
    known = ~np.isnan(one)
    assert spearman(one, other) == pytest.approx(spearmanr(one[known], other[known]).statistic, abs=1e-12)
    assert np.isnan(spearman(one, np.ones(40)))
    assert np.isnan(spearman(np.full(40, nan), other))


@settings(max_examples=60, deadline=None)
@given(p=st.lists(st.floats(0, 1), min_size=1, max_size=15), earlier=st.integers(0, 20))
def test_holm_is_statsmodels_over_these_and_earlier_looks_that_showed_nothing(p, earlier):
    with patch("gc.collect"):  # the oracle collects all garbage at each call
        oracle = multipletests([*p, *[1.0] * earlier], method="holm")[1][: len(p)]
    assert np.allclose(holm(np.array(p), len(p) + earlier), oracle, rtol=0, atol=1e-12)


def test_an_unknown_p_counts_as_a_look_that_showed_nothing():
    assert holm(np.array([nan, 0.01]), 2).tolist() == [1.0, 0.02]


def evidence(ic: float, t: float, p: float) -> Evidence:
    return Evidence(rows=100, coverage=1.0, dates=50, ic=ic, t=t, p=p, years=3, years_alike=3)


def test_each_verdict_at_its_border():
    rng = np.random.default_rng(3)
    columns = {name: rng.normal(size=400) for name in ("good", "twin", "wrong", "weak", "model", "few", "near")}
    columns["twin"] = -columns["good"]
    good = evidence(0.1, 4.0, 0.001)
    found = {"twin": evidence(-0.1, -3.0, 0.001), "good": good, "wrong": evidence(-0.1, -3.5, 0.001), "weak": good,
             "model": good, "few": replace(good, t=nan, p=nan), "near": good}  # fmt: skip
    corrected = dict.fromkeys(found, 0.0499) | {"weak": 0.05}
    signs = dict.fromkeys(found, 1) | {"twin": -1}
    like = dict.fromkeys(found) | {"model": Likeness(name="ibs", rho=-0.7), "near": Likeness(name="ibs", rho=0.699)}
    assert verdicts(found, corrected, signs, columns, like) == {
        "twin": "redundant with good", "good": "worth a trial", "wrong": "sign contradicts its reason",
        "weak": "no signal", "model": "redundant with ibs", "few": "too few dates", "near": "worth a trial",
    }  # fmt: skip


def world(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Noise as awkward as a record: shared days, fat tails, labels that overlap, signals and alphas that last."""
    rng = np.random.default_rng(seed)
    days = rng.standard_t(4, (DATES + HOLD, SYMBOLS)) + rng.normal(size=(DATES + HOLD, 1))
    ahead = np.lib.stride_tricks.sliding_window_view(days, HOLD, axis=0).sum(axis=2)[1:]
    wish = np.cumsum(rng.normal(size=(DATES, SYMBOLS)), axis=0)
    wish -= np.concatenate([np.zeros((3, SYMBOLS)), wish[:-3]])
    fired = wish >= np.sort(wish, axis=1)[np.arange(DATES), -1 - rng.integers(0, 12, DATES)][:, None]
    session, symbol = np.nonzero(fired)
    lasting = rng.normal(size=(SYMBOLS, FAMILY))
    columns = lasting[symbol] + 0.3 * rng.normal(size=(len(symbol), FAMILY))
    return columns, ahead[session, symbol], session.astype(np.int32)


@pytest.mark.long
def test_alphas_of_pure_noise_are_worth_a_trial_no_more_often_than_the_level_says():
    worth = rejected = single = 0
    for seed in range(WORLDS):
        columns, r, session = world(seed)
        found = {f"a{k}": rank_evidence(columns[:, k], r, session, flat(len(r)), flat(len(r))) for k in range(FAMILY)}
        p = np.array([e.p for e in found.values()])
        corrected = dict(zip(found, holm(p, FAMILY), strict=True))
        said = verdicts(found, corrected, dict.fromkeys(found, 1), {n: columns[:, k] for k, n in enumerate(found)},
                        dict.fromkeys(found))  # fmt: skip
        worth += alphas.WORTH in said.values()
        rejected += min(corrected.values()) < alphas.LEVEL
        single += int((p < alphas.LEVEL).sum())
    noise = 2.0 * np.sqrt(alphas.LEVEL * (1 - alphas.LEVEL) / WORLDS)
    assert worth / WORLDS <= alphas.LEVEL
    assert rejected / WORLDS <= alphas.LEVEL + noise
    assert 0.03 < single / (WORLDS * FAMILY) < 0.07, "one test alone keeps its level, too"


def test_a_planted_alpha_is_found_with_its_sign():
    _, r, session = world(1)
    rng = np.random.default_rng(1)
    planted = rank_evidence(0.2 * r + rng.normal(size=len(r)), r, session, flat(len(r)), flat(len(r)))
    against = rank_evidence(-0.2 * r + rng.normal(size=len(r)), r, session, flat(len(r)), flat(len(r)))
    assert planted.ic > 0.2
    assert planted.p < 1e-4
    assert against.t < -4
