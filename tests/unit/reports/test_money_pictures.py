"""Money as pictures and as tables: signs and words before colour, whatever the numbers are."""

import itertools
import re
from datetime import date, timedelta
from decimal import Decimal
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kobe.reports import book_tables
from kobe.reports.book_tables import Closed, Holding, Price, Refused
from kobe.reports.document import Document, Figure, Section, Table
from kobe.reports.render import html, markdown, png, svg_base, svg_money, terminal

START = date(2024, 12, 16)
WIDTHS = (svg_base.WIDE, svg_base.NARROW)
MONEY = st.floats(-1e7, 1e7, allow_nan=False)
CENTS = st.decimals("0.01", "9999.99", places=2)


def days(n):
    return [START + timedelta(days=k) for k in range(n)]


def inside(picture, width):
    root = ET.fromstring(picture)
    wide, tall = (float(v) for v in root.get("viewBox").split()[2:])
    assert wide == width
    for node in root.iter("text"):
        length, x = len(node.text) * svg_base.LETTER, float(node.get("x"))
        left = {"end": x - length, "middle": x - length / 2}.get(node.get("text-anchor"), x)
        assert left >= -6, node.text
        assert left + length <= wide + 8, node.text
        assert 8 <= float(node.get("y")) <= tall, node.text
    return root


@given(st.lists(MONEY, min_size=2, max_size=40), st.sampled_from(WIDTHS))
def test_an_equity_curve_is_well_formed_and_says_both_ends_and_the_change(values, width):
    root = ET.fromstring(svg_money.equity_curve(days(len(values)), values, width))
    words = root.find("title").text
    assert root.get("aria-label") == words
    assert f"{values[-1]:,.2f} $" in words
    assert f"({values[-1] - values[0]:+,.2f} $)" in words
    assert "nan" not in words


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("values", [(10_000, 10_000.5, 9_999), (1_234_567, 1_300_000, 1_250_000), (100.0, 100.0)])
def test_the_letters_of_the_curve_stay_inside_and_its_levels_differ(values, width):
    root = inside(svg_money.equity_curve(days(len(values)), values, width), width)
    levels = [t.text for t in root.iter("text") if t.get("text-anchor") == "end" and not t.text.startswith("20")]
    levels = [t for t in levels if "$" not in t]
    assert len(set(levels)) == len(levels)


@pytest.mark.parametrize("width", WIDTHS)
def test_a_loss_is_hollow_carries_its_sign_and_what_is_unknown_is_said(width):
    labels = ("Mon 12-16", "Tue 12-17", "Wed 12-18", "Thu 12-19", "Fri 12-20")
    root = inside(svg_money.signed_bars(labels, (12.5, -3.0, 0.0, float("nan"), 1e5), width, what="Profit"), width)
    words = {t.text for t in root.iter("text")}
    assert {"+12.50", "-3.00", "unknown"} <= words
    assert [r.get("class") for r in root.iter("rect")].count("h0 loss") == 1
    assert "Tue 12-17 -3.00 $" in root.find("title").text


def test_too_little_to_draw_is_no_picture():
    assert svg_money.equity_curve(days(1), (1.0,), 960) == ""
    assert svg_money.signed_bars((), (), 960, what="x") == ""
    assert svg_money.signed_bars(("a",), (float("nan"),), 960, what="x") == ""
    assert svg_money.spark((1.0,)) == ""
    assert book_tables.curve([(START, Decimal(1))]) is None


@given(st.lists(MONEY, min_size=2, max_size=60))
def test_a_spark_has_a_block_per_value_and_its_highest_block_at_the_highest_value(values):
    line = svg_money.spark(values)
    assert len(line) == len(values)
    assert line[values.index(max(values))] == max(line)
    assert line[values.index(min(values))] == svg_money.BLOCKS[0]


def holding(entry, last, stop, *, side="long", quantity=2, left=1):
    return Holding(symbol="ABC", strategy="ibs_rsi", side=side, quantity=quantity, entry_usd=entry,
                   last=None if last is None else Price(usd=last, source="close of 2024-12-16"), before_usd=None,
                   stop_usd=stop, atr_usd=2.0, opened=START, exit_session=START, sessions_left=left)  # fmt: skip


@given(CENTS, CENTS, CENTS, st.integers(1, 1000))
def test_a_short_position_is_the_mirror_of_a_long_one(entry, last, stop, quantity):
    long = holding(entry, last, stop, quantity=quantity)
    short = holding(entry, last, stop, side="short", quantity=quantity)
    assert long.open_usd == -short.open_usd == (last - entry) * quantity
    assert long.distance_usd == -short.distance_usd == last - stop
    assert long.distance_atr == pytest.approx(float(last - stop) / 2)


def test_a_position_without_a_stop_or_a_price_is_named_in_words():
    bare = holding(Decimal(10), None, None, left=-1)
    assert bare.open_usd is bare.distance_share is bare.gap is None
    section = book_tables.positions([bare])
    assert "no order is known to guard it" in section.lines[-1]
    assert section.table.rows[0][-1].endswith("overdue")
    assert "NO STOP KNOWN: ABC" in book_tables.position_words([bare])
    assert book_tables.position_words([]) == "No position is open"


def test_refusals_are_counted_by_code_the_most_frequent_first():
    def refused(code):
        return Refused(
            session=START, symbol="ABC", order="o", gate="g", code=code, observed="1", limit="2", meaning=code
        )

    told = book_tables.tally([refused("b"), refused("a"), refused("c"), refused("c")])
    assert [(code, n) for code, n, _ in told] == [("c", 2), ("a", 1), ("b", 1)]


def test_figures_and_word_columns_are_in_every_rendering(capsys):
    table = Table(columns=("what", "net $", "why"), rows=(("ABC", "+1.00", "stop"),), words=frozenset({"what", "why"}))
    document = Document(schema="kobe.x/1", title="T", figures=(Figure(label="Day, $", value="+1.00", note="<b>"),),
                        sections=(Section(title="s", table=table),))  # fmt: skip
    page = html.render(document)
    assert re.search(r"<dt>Day, \$</dt><dd>\+1\.00</dd>\s*<dd class=\"note\">&lt;b&gt;</dd>", page)
    assert re.search(r'<th scope="row" class="name">\s*ABC</th>', page)
    assert re.search(r'<td class="name">\s*stop</td>', page)
    assert "| --- | ---: | --- |" in markdown.render(document)
    assert "- Day, $: **+1.00** (&lt;b>)" in markdown.render(document)
    terminal.print_document(document, color=False)
    assert "Day, $  +1.00  (<b>)" in capsys.readouterr().out


def test_a_closed_trade_is_json_ready_to_the_cent():
    closed = Closed(symbol="ABC", strategy="ibs_rsi", side="long", quantity=3, entry_usd=Decimal("1.23456"),
                    exit_usd=Decimal(2), fees_usd=Decimal("0.014"), net_usd=Decimal("2.2823"), r=None, opened=START,
                    closed=START, reason="time")  # fmt: skip
    assert closed.row() | {"entry_usd": "1.2346", "fees_usd": "0.01", "net_usd": "2.28", "r": None} == closed.row()


@given(st.lists(st.floats(0, 100), max_size=6), st.floats(0.1, 10))
def test_labels_of_levels_never_stand_on_each_other(places, least):
    found = png._apart(sorted(places), least)
    assert all(b - a >= least - 1e-9 for a, b in itertools.pairwise(found))


@given(st.text())
def test_words_of_a_picture_are_one_line_of_letters_the_font_has(words):
    line = png._plain(words)
    assert len(line) <= 74
    assert line.isprintable()
    assert all(ord(c) < 256 for c in line)
