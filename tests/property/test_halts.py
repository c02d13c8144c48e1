"""A halt is judged by what was known in it: whoever looks later sees the same end of a trade as who looked then."""

import numpy as np
import pytest
from kit.panels import with_rows

from kobe.backtest import engine, fills
from kobe.backtest.costs import flat_costs
from kobe.backtest.engine import Assumptions
from kobe.core.panel import Panel
from kobe.features.table import FeatureTable
from kobe.strategies import STRATEGIES

ASSUMED = Assumptions(costs=flat_costs(5.0))


def outcomes(panel: Panel) -> dict[tuple[str, int], tuple[int, int, float]]:
    """Closed trades by symbol and signal session: reason, session in which the end was known, net R."""
    features, strategy = FeatureTable(panel), STRATEGIES["ibs_rsi"]
    o = engine.evaluate(panel, features, strategy.signals(panel, features, strategy.defaults), ASSUMED)
    return {
        (panel.symbols[o.symbol[i]], int(o.session[i])): (
            int(o.walked.reason[i]), int(o.exit_session[i]), float(o.net_r[i])
        )
        for i in np.flatnonzero(o.closed)
    }  # fmt: skip


def halted(panel: Panel, missing: int) -> tuple[Panel, tuple[str, int], int]:
    """Take bars out while a trade that ran three sessions or more was open; return it and its last session before."""
    features, strategy = FeatureTable(panel), STRATEGIES["ibs_rsi"]
    o = engine.evaluate(panel, features, strategy.signals(panel, features, strategy.defaults), ASSUMED)
    w = o.walked
    long_ones = np.flatnonzero(o.closed & (w.exit_row - w.entry_row >= 3) & (o.session < panel.last_session - 40))
    i = int(long_ones[len(long_ones) // 2])
    first = int(w.entry_row[i]) + 1
    keep = np.ones(len(panel), dtype=np.bool_)
    keep[first : first + missing] = False
    return with_rows(panel, keep), (panel.symbols[o.symbol[i]], int(o.session[i])), int(panel.session[first - 1])


@pytest.mark.parametrize("missing", [1, 4, 5, 6, 20])
def test_cutting_the_bars_inside_a_halt_changes_no_end_that_was_known(synthetic_panel, missing):
    panel, trade, before = halted(synthetic_panel, missing)
    whole = outcomes(panel)
    for cut in range(before, before + missing + 4):
        known = {key: found for key, found in whole.items() if found[1] <= cut}
        assert outcomes(panel.until(cut)) == known
    reason, at, _ = whole[trade]
    assert (reason == fills.END_OF_DATA) == (missing >= 5)
    if missing >= 5:
        assert at == before + 5
