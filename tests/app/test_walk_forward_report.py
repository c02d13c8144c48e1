"""The walk-forward report on a made home: three files, one truth, a shape programs can rely on."""

import json
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import polars as pl
import pytest

from kobe.app import wiring
from kobe.app.evidence import collect
from kobe.app.evidence_charts import benchmark_of
from kobe.app.walk_forward import panel_until
from kobe.backtest import metrics, walk_forward
from kobe.backtest.folds import folds
from kobe.features.table import FeatureTable
from kobe.reports import walk_forward as report
from kobe.reports.document import jsonable
from kobe.strategies import STRATEGIES

SHAPE = Path(__file__).parents[1] / "golden" / "walk_forward_shape.json"


def page(home, kind):
    return (home / "wf_outputs" / f"walk_forward.{kind}").read_text(encoding="utf-8")


def shape(value):
    """Names and kinds of a JSON value, lists by their first element."""
    if isinstance(value, dict):
        return {key: shape(v) for key, v in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__


@pytest.fixture(scope="module")
def walked(made_home):
    """One strategy walked over the made home's bars: panel, features, record, assumptions, evidence."""
    ctx = wiring.build(made_home)
    panel = panel_until(ctx, None)
    features = FeatureTable(panel, ctx.settings.market.symbol)
    windows = folds(panel.first_session + 250, panel.last_session, train=252, test=63, step=63)
    strategy, terms = STRATEGIES["ibs_rsi"], ctx.assumptions()
    record = walk_forward.run(panel, features, strategy, strategy.defaults, windows, terms)
    return panel, features, record, terms, collect(panel, features, record, terms, seed=81)


def test_json_keeps_the_shape_programs_were_told(made_home):
    # Added on purpose: write `shape(told)` into the golden file. Gone or of another kind: the schema becomes 3.
    told = json.loads(page(made_home, "json"))
    assert told["schema"] == "kobe.walk_forward/2"
    assert shape(told) == json.loads(SHAPE.read_text(encoding="utf-8"))


def test_every_picture_of_the_page_is_well_formed_and_the_page_needs_nothing_else(made_home):
    text = page(made_home, "html")
    svgs = re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL)
    assert len(svgs) >= 2 * 12
    for svg in svgs:
        assert ET.fromstring(svg).get("aria-label")
    assert not re.search(r"<script|<link|src=|url\(|https?:", text)
    assert len(text) < 1_500_000
    assert text.count('class="wide"') == text.count('class="narrow"')
    assert text.index("UNIVERSE BIAS") < text.index("<h1>")


def test_html_markdown_and_json_tell_the_same_figures(made_home):
    told = json.loads(page(made_home, "json"))
    for e in told["strategies"]:
        for text in (page(made_home, "html"), page(made_home, "md")):
            assert f"Sharpe {e['curve']['sharpe']:.2f}" in text
            for window in e["splits"]:
                assert f"{window['test_first']} to {window['test_last']}" in text
            for trade in e["worst_trades"]:
                assert f"{trade['net_r']:+.2f}" in text
        assert len(e["months"]) == len({(m["year"], m["month"]) for m in e["months"]})


def test_the_figures_behind_the_pictures_agree_with_the_trade_lists_and_the_equity_curve(made_home):
    told = json.loads(page(made_home, "json"))
    for e in told["strategies"]:
        folders = sorted((made_home / "wf_outputs" / e["strategy"]).glob("split_*/trade_list.parquet"))
        trades = pl.concat([pl.read_parquet(f) for f in folders])
        curve = pl.concat([pl.read_parquet(f.parent / "equity_curve.parquet") for f in folders])
        closed = trades.filter(pl.col("state") == "closed")
        assert sum(e["histogram_r"]["counts"]) == closed.height == sum(x["trades"] for x in e["exits"])
        assert sum(e["sessions_held"]) == closed.height
        assert sum(x["sum_r"] for x in e["exits"]) == pytest.approx(closed["net_r"].sum())
        grown = np.prod([1 + m["return"] for m in e["months"]])
        assert grown == pytest.approx((1 + curve["return"]).product(), rel=1e-9)
        taken = closed.filter(pl.col("quantity") > 0)["net_r"].sort()
        assert [t["net_r"] for t in e["worst_trades"]] == pytest.approx(taken.head(5).to_list())
        as_reported = next(c for c in e["costs"] if c["multiplier"] == 1)
        assert as_reported["sharpe"] == pytest.approx(e["curve"]["sharpe"])


def test_more_costs_never_help_and_none_is_the_gross_result(walked):
    _, _, record, _, evidence = walked
    average = [p.average_r for p in evidence.charts.costs]
    assert [p.multiplier for p in evidence.charts.costs] == [0.0, 1.0, 2.0, 3.0]
    assert average == sorted(average, reverse=True)
    done = record.outcomes.take(record.outcomes.closed)
    assert average[0] == pytest.approx(done.gross_r.mean(), rel=1e-9)


def test_a_worst_trade_s_bars_hold_its_entry_and_its_exit(walked):
    panel, _, _, _, evidence = walked
    assert len(evidence.charts.worst) == 5
    for trade in evidence.charts.worst:
        of_day = {b[0]: b for b in trade.strip.bars}
        entry, left = of_day[trade.strip.entered], of_day[trade.strip.left]
        assert entry[1] == pytest.approx(trade.strip.entry)
        assert left[3] - 0.02 <= trade.strip.exit <= left[2] + 0.02
        assert trade.symbol in panel.symbols
        assert len(trade.strip.bars) <= 15 + 8 + 10


def test_the_stability_map_holds_the_choices_and_the_best_objective_of_each_value(walked):
    _, _, record, _, evidence = walked
    for axis in evidence.charts.axes:
        for s, split in enumerate(record.splits):
            assert axis.values[axis.chosen[s]] == str(getattr(split.params, axis.name))
            for i, value in enumerate(STRATEGIES["ibs_rsi"].grid[axis.name]):
                told = [t.objective for t in split.trials if t.params[axis.name] == value]
                known = [v for v in told if v == v]  # noqa: PLR0124 - NaN is not itself
                assert np.isnan(axis.best[i, s]) if not known else axis.best[i, s] == max(known)


def test_the_market_held_is_drawn_and_its_absence_is_said(walked):
    panel, features, record, terms, evidence = walked
    held = benchmark_of(panel, features, record, terms)
    assert held.symbol == "SPY"
    assert len(held.equity) == len(evidence.equity)
    assert held.curve.max_drawdown == pytest.approx(held.drawdown.min())
    assert metrics.cagr(np.diff(held.equity, prepend=1.0) / np.r_[1.0, held.equity[:-1]]) == pytest.approx(
        held.curve.cagr
    )
    without = panel.select({s for s in panel.symbols if s != "SPY"})
    assert benchmark_of(without, FeatureTable(without, "SPY"), record, terms) is None
    days = panel.calendar.sessions[record.splits[0].fold.test_first : record.splits[-1].fold.test_last + 1]
    said = report.build(days, [evidence], (), [])
    assert any("market could not be drawn" in line for s in said.sections for line in s.lines)
    assert said.data["benchmark"] is None


def test_a_verdict_stands_first_and_is_in_the_json(walked):
    panel, _, record, _, evidence = walked
    line = report.VerdictLine(name="n", value="1", threshold="2", passed=None)
    verdict = report.Verdict(headline="h", lines=(line,), supports=("a",), does_not_support=("b",))
    days = panel.calendar.sessions[record.splits[0].fold.test_first : record.splits[-1].fold.test_last + 1]
    said = report.build(days, [replace(evidence, verdict=verdict)], (), [])
    assert said.sections[0].title == "Verdict on ibs_rsi"
    assert said.sections[0].boxed
    assert jsonable(said.data)["strategies"][0]["verdict"] == {
        "headline": "h", "supports": ["a"], "does_not_support": ["b"],
        "lines": [{"name": "n", "value": "1", "threshold": "2", "passed": None}],
    }  # fmt: skip
