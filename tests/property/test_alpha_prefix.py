"""No alpha sees the future: what bars up to a session give equals, bit for bit, what all bars give up to it."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kit import panels

from kobe.core.panel import Floats, Panel
from kobe.features.table import FeatureTable
from kobe.learning import alphas
from kobe.learning.alphas import ALPHAS

Compute = Callable[[FeatureTable], Floats]


def everything() -> dict[str, Compute]:
    return {name: lambda table, alpha=alpha: alphas.values(table, alpha) for name, alpha in ALPHAS.items()}


def noise_after(whole: Panel, session: int) -> Panel:
    rng = np.random.default_rng(session)
    factor = np.where(whole.session > session, np.exp(rng.normal(0, 0.2, len(whole))), 1.0)
    volume = np.where(whole.session > session, rng.permutation(whole.volume), whole.volume)
    return replace(whole, volume=volume, **{c: getattr(whole, c) * factor for c in panels.PRICES})


def seeing(computes: dict[str, Compute], whole: Panel, sessions: list[int], cut: Callable[[Panel, int], Panel]) -> set:
    """Return the names whose values up to a session change when what comes after it is cut off or changed."""
    found, full = set(), FeatureTable(whole)
    for session in sessions:
        past = FeatureTable(cut(whole, session))
        for name, compute in computes.items():
            one, two = (
                np.where(np.isnan(v := compute(t)), np.nan, v)[t.panel.session <= session] for t in (full, past)
            )
            if one.tobytes() != two.tobytes():
                found.add(name)
    return found


@pytest.mark.parametrize("cut", [Panel.until, noise_after])
def test_no_alpha_over_real_bars_sees_the_future(real_panel, real_file, cut):
    histories = panels.histories(real_panel.select({"SPY", *real_panel.symbols[::5]}))
    real = panels.panel({**histories, **panels.read(real_file, panels.AWKWARD)})
    rng = np.random.default_rng(7)
    moments = rng.choice(np.arange(real.first_session + 255, real.last_session), 5, replace=False).tolist()
    assert not seeing(everything(), real, [real.first_session + 1, *moments, real.last_session - 1], cut)


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), data=st.data())
def test_no_alpha_over_random_bars_sees_the_future(seed, data):
    whole = panels.random_panel(seed, symbols=6, bars=290)
    sessions = [data.draw(st.integers(whole.first_session, whole.last_session - 1)), whole.last_session - 3]
    assert not seeing(everything(), whole, sessions, Panel.until)
    assert not seeing(everything(), whole, sessions, noise_after)


@pytest.mark.parametrize("cut", [Panel.until, noise_after])
def test_a_planted_look_into_the_future_is_caught(cut):
    whole = panels.random_panel(13, symbols=4, bars=120)
    planted = {"planted": lambda t: np.roll(t.panel.close, -1) / t.panel.close}
    sessions = list(range(whole.first_session + 10, whole.last_session, 20))
    assert seeing({**everything(), **planted}, whole, sessions, cut) == {"planted"}
