"""The pictures: well-formed, escaped, inside their frame, and never a peak lost or a meaning told by colour alone."""

import itertools
import re
from datetime import date, timedelta
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kobe.reports.render import svg_bars, svg_base, svg_curves, svg_maps

HOSTILE = "<script>\"&'</script>"
START = date(2015, 1, 2)
WIDTHS = (svg_base.WIDE, svg_base.NARROW)


def days(n):
    return [START + timedelta(days=k) for k in range(n)]


def walk(n, seed=1):
    return np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 0.01, n)))


def strip(name="AAA", stop=9.0):
    bars = tuple((d, 10.0, 11.0, 9.5, 10.5) for d in days(20))
    return svg_bars.TradeStrip(label=name, result="-1.00 R, stop", bars=bars, entered=bars[5][0], left=bars[9][0],
                               entry=10.0, stop=stop, exit=9.0)  # fmt: skip


def axis(splits=30, name="ibs_max"):
    best = np.random.default_rng(2).normal(1, 1, (3, splits))
    best[0, 0] = np.nan
    chosen = tuple(k % 4 - 1 for k in range(splits))
    return svg_maps.Axis(name=name, values=("0.1", "0.2", "0.3"), best=best, chosen=chosen)


def pictures(width, name="ibs_rsi"):
    """Every picture once, with a name from outside in it."""
    n = 700
    curve = walk(n)
    down = curve / np.maximum.accumulate(curve) - 1
    ends = np.arange(251.0, n, 21)
    months = {(2015 + k // 12, k % 12 + 1): 0.01 * np.sin(k) for k in range(40)}
    counts = {name: np.array([5, 0, 3, 9]), "other": np.array([1, 2, 3, 4])}
    sharpe = np.sin(ends)
    return {
        "equity": svg_curves.equity_with_drawdown(days(n), {name: curve, "b": curve}, {name: down}, width),
        "rolling": svg_curves.rolling_with_band(days(n), ends, sharpe, sharpe - 1, sharpe + 1, width, name=name, k=1),
        "exposure": svg_curves.exposure(days(n), {name: np.abs(np.sin(np.arange(n)))}, width),
        "months": svg_maps.month_map(months, width, name=name),
        "stability": svg_maps.stability_map([axis()], [k % 2 == 0 for k in range(30)], width, name=name),
        "trades": svg_bars.trade_strips([strip(name), strip("BBB", np.nan)], width),
        "histogram": svg_bars.histogram(np.array([-2.0, -1, 0, 1, 2]), counts, width, unit="R"),
        "dots": svg_bars.dot_rows(["x1", "x2"], {name: [0.5, -1.0], "b": [np.nan, 2.0]}, width, figure="Sharpe"),
        "strips": svg_bars.bar_strips([(name, strip().bars, START)]),
    }


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", sorted(pictures(960)))
def test_a_picture_is_well_formed_names_itself_and_holds_no_script_and_no_address(width, name):
    picture = pictures(width, HOSTILE)[name]
    root = ET.fromstring(picture)
    assert root.tag == "svg"
    assert root.get("role") == "img"
    assert len(root.get("aria-label")) > 10
    assert root.find("title").text == root.get("aria-label")
    assert "<script" not in picture
    assert "http" not in picture
    assert "nan" not in re.sub(r"<text[^>]*>[^<]*</text>|aria-label=\"[^\"]*\"|<title>[^<]*</title>", "", picture)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", sorted(set(pictures(960)) - {"strips"}))
def test_text_and_marks_stay_inside_the_picture(width, name):
    root = ET.fromstring(pictures(width)[name])
    wide, tall = (float(v) for v in root.get("viewBox").split()[2:])
    assert wide == width

    def visit(node, dx, dy):
        moved = re.match(r"translate\(([-\d.]+),([-\d.]+)\)", node.get("transform", ""))
        dx, dy = (dx + float(moved[1]), dy + float(moved[2])) if moved else (dx, dy)
        if node.tag == "text":
            length = len(node.text) * svg_base.LETTER
            x, y = float(node.get("x")) + dx, float(node.get("y")) + dy
            left = {"end": x - length, "middle": x - length / 2}.get(node.get("text-anchor"), x)
            assert left >= -4, node.text
            assert left + length <= wide + 8, node.text
            assert 8 <= y <= tall, node.text
        for key in ("cx", "x1", "x2"):
            assert -1 <= float(node.get(key, 0)) + dx <= wide + 1
        for child in node:
            visit(child, dx, dy)

    visit(root, 0.0, 0.0)


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_to_draw_is_no_picture_and_no_fault(width):
    none = np.full(3, np.nan)
    assert svg_curves.equity_with_drawdown([], {}, {}, width) == ""
    assert svg_curves.rolling_with_band(days(9), np.arange(3.0), none, none, none, width, name="a", k=0) == ""
    assert svg_curves.exposure(days(3), {}, width) == ""
    assert svg_maps.month_map({}, width, name="a") == ""
    assert svg_maps.stability_map([], [True], width, name="a") == ""
    assert svg_maps.stability_map([axis()], [], width, name="a") == ""
    assert svg_bars.trade_strips([], width) == ""
    assert svg_bars.histogram(np.array([0.0, 1.0]), {}, width, unit="R") == ""
    assert svg_bars.dot_rows(["x1"], {"a": [np.nan]}, width, figure="Sharpe") == ""
    assert svg_base.responsive(lambda _: "") == ""


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_are_few_ascend_and_stay_inside_the_range(low, span):
    found = svg_base.ticks(low, low + span)
    slack = span * 1e-4 + 1e-9 * abs(low)
    assert len(found) <= 7
    assert all(a < b for a, b in itertools.pairwise(found))
    assert all(low - slack <= v <= low + span + slack for v in found)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=500), st.integers(4, 100))
def test_thinning_keeps_the_ends_the_highest_and_the_lowest_value(values, count):
    values = np.array(values)
    kept = svg_base.thinned(values, count)
    assert kept[0] == 0
    assert kept[-1] == len(values) - 1
    assert values[kept].max() == values.max()
    assert values[kept].min() == values.min()
    assert len(kept) <= max(count + 2, 4)


def test_a_worst_day_between_two_points_is_drawn():
    curve = np.ones(5000)
    curve[3333] = 0.5
    picture = svg_curves.equity_with_drawdown(days(5000), {"a": curve}, {"a": curve - 1}, 380)
    lowest = svg_base.Frame(380, 0, 1, 5000, 0.5, 1.0).x(3333)
    assert f"{lowest:.1f}," in picture
    assert "fell 50.0%" in picture


def test_every_month_has_its_number_with_a_sign_and_years_are_compounded():
    cells = {(2015, 1): 0.10, (2015, 2): -0.10, (2016, 1): 0.005}
    for width in WIDTHS:
        words = [t.text for t in ET.fromstring(svg_maps.month_map(cells, width, name="a")).iter("text")]
        assert [w for w in words if w[0] in "+-"].count("+10.0") == 1
        assert {"-10.0", "+0.5", "-1.0"} <= set(words)


def test_ten_years_on_a_phone_are_two_blocks_of_five():
    cells = {(2011 + k, 1): 0.01 for k in range(10)}
    root = ET.fromstring(svg_maps.month_map(cells, 380, name="a"))
    years = [t for t in root.iter("text") if re.fullmatch(r"20\d\d", t.text)]
    assert len({t.get("y") for t in years}) == 2
    assert [len([t for t in years if t.get("y") == y]) for y in dict.fromkeys(t.get("y") for t in years)] == [5, 5]


def test_a_disc_was_chosen_in_training_and_a_ring_is_the_default():
    one = svg_maps.Axis(name="a", values=("1", "2"), best=np.ones((2, 3)), chosen=(0, 1, -1))
    picture = svg_maps.stability_map([one], [True, False, False], 960, name="x")
    assert picture.count('class="disc"') == 1
    assert picture.count('class="ring"') == 1


def test_curves_and_strategies_are_told_apart_without_colour():
    curve = walk(50)
    picture = svg_curves.equity_with_drawdown(days(50), dict.fromkeys("abc", curve), {}, 960)
    looks = re.findall(r'<polyline class="s\d" fill="none" stroke-width="[\d.]+"( stroke-dasharray="[^"]+")?', picture)
    assert len(set(looks)) == 3
    dots = svg_bars.dot_rows(["x1"], {"a": [1.0], "b": [2.0]}, 960, figure="f")
    assert dots.count("<circle") == dots.count('<rect class="k1"') == 2


def test_the_bars_of_a_trade_carry_entry_exit_stop_and_their_prices():
    picture = svg_bars.trade_strips([strip()], 960)
    words = [t.text for t in ET.fromstring(picture).iter("text")]
    assert {"entry 10.00", "stop 9.00", "exit 9.00", "-1.00 R, stop"} <= set(words)
    heights = sorted(float(t.get("y")) for t in ET.fromstring(picture).iter("text") if " " in t.text[:6])
    assert all(b - a >= 12 for a, b in itertools.pairwise(heights) if b != a)
    assert "nan" not in svg_bars.trade_strips([strip(stop=np.nan)], 960)


def test_losses_in_a_histogram_are_marked_and_the_counts_are_in_the_drawing():
    picture = svg_bars.histogram(np.array([-1.0, 0.0, 1.0]), {"a": np.array([30, 10])}, 960, unit="R")
    rects = ET.fromstring(picture).iter("rect")
    heights = {r.get("class"): float(r.get("height")) for r in rects}
    assert heights["h0 loss"] == pytest.approx(3 * heights["h0"], rel=0.01)
