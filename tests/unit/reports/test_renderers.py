"""One document, four renderings: the verdict is in every one, what comes from outside is escaped, tables align."""

import json
import re
import sys

import pytest

from kobe.reports.document import Document, Section, Table
from kobe.reports.render import html, markdown, terminal
from kobe.reports.walk_forward import Verdict, VerdictLine, _verdict

HOSTILE = '<img src=x onerror="alert(1)">|'
VERDICT = Verdict(
    headline="No edge is shown.",
    lines=(
        VerdictLine(name="Deflated Sharpe ratio", value="0.31", threshold="0.95 or more", passed=False),
        VerdictLine(name="Entries at random", value="0.04", threshold="below 0.05", passed=True),
        VerdictLine(name="Track record", value=HOSTILE, threshold="2,205 sessions or fewer", passed=None),
    ),
    supports=("Signals revert more often than chance.",),
    does_not_support=("Any use with real money.", HOSTILE),
)


def document(*sections):
    return Document(schema="kobe.x/1", title="T", banners=("UNIVERSE BIAS: static-current",), sections=sections)


def test_the_verdict_box_says_yes_no_and_unknown_in_words_and_lists_both_kinds_of_sentences():
    page = html.render(document(_verdict("ibs_rsi", VERDICT)))
    assert re.search(r'<section class="boxed">\s*<h2>Verdict on ibs_rsi</h2>', page)
    for word in ("yes", "no", "unknown"):
        assert re.search(rf'<td class="{word}">\s*{word}</td>', page)
    assert page.index("The evidence supports") < page.index("It does not support") < page.index("real money")
    assert "onerror=&#34;alert" in page
    assert "<img" not in page
    assert "UNIVERSE BIAS" in page


def test_the_verdict_is_in_markdown_and_on_the_terminal_too(capsys):
    page = markdown.render(document(_verdict("ibs_rsi", VERDICT)))
    assert "| Deflated Sharpe ratio | no | 0.31 | 0.95 or more |" in page
    assert "**It does not support**" in page
    assert "- Any use with real money." in page
    assert "<img" not in page
    terminal.print_document(document(_verdict("ibs_rsi", VERDICT)), color=False)
    said = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    assert "It does not support" in said
    assert "unknown" in said


def test_a_verdict_without_lines_or_sentences_is_its_headline():
    bare = _verdict("a", Verdict(headline="Too few trades to say.", lines=(), supports=(), does_not_support=()))
    assert bare.table is None
    assert bare.lists == ()
    assert "Too few trades to say." in html.render(document(bare))


def test_a_table_that_says_what_the_picture_says_is_left_out_of_html_only():
    table = Table(columns=("a",), rows=(("only in words",),))
    section = Section(title="s", picture="<svg></svg>", table=table, in_place_of_picture=True)
    assert "only in words" not in html.render(document(section))
    assert "only in words" in markdown.render(document(section))
    blind = Section(title="s", table=table, in_place_of_picture=True)
    assert "only in words" in html.render(document(blind))


def test_a_folded_table_is_still_there_without_script():
    section = Section(title="s", table=Table(columns=("a",), rows=(("x",),)), folded="Numbers")
    page = html.render(document(section))
    assert re.search(r"<details><summary>Numbers</summary>.*x</td>.*</details>", page, flags=re.DOTALL)
    assert "<script" not in page


@pytest.mark.parametrize(
    ("cells", "left"),
    [(("0.060 [-0.556, 0.689]", "0.02% of trades"), False), (("2,205 sessions or fewer", "0.95"), True)],
)
def test_a_column_of_numbers_stands_right_and_one_with_sentences_left(cells, left):
    table = Table(columns=("a", "b"), rows=tuple(("n", cell) for cell in cells))
    page = html.render(document(Section(title="s", table=table)))
    assert page.count('<td class="words">') == (len(cells) if left else 0)
    assert page.count('<th scope="col" class="words">') == int(left)


def test_json_of_a_document_is_one_object_with_its_banners():
    told = json.loads(terminal.as_json(document()))
    assert told["schema"] == "kobe.x/1"
    assert told["banners"] == ["UNIVERSE BIAS: static-current"]


@pytest.mark.parametrize("columns", [60, 80, 100, 160])
def test_a_terminal_of_any_usual_width_breaks_no_name_and_no_number(columns, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    rows = (
        ("2024-04-12", "reconcile-open", "2024-04-12 09:35:00 ET", 12, "done", "books are equal " * 20),
        ("2024-04-12", "morning-report", "2024-04-12 06:30:00 ET", 1234567, "given_up", "a word: unaffordable_at_cap"),
    )
    table = Table(columns=("session", "job", "began", "took_s", "status", "said"), rows=rows)
    page = Document(schema="kobe.test/1", title="Runs", sections=(Section(title="", table=table),), data={})
    terminal.print_document(page, color=False)
    said = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    assert max(map(len, said.splitlines())) <= columns
    whole = ("reconcile-open", "morning-report", "2024-04-12", "09:35:00 ET", "1,234,567", "given_up")
    assert [word for word in (*whole, "unaffordable_at_cap") if word not in said] == []
    assert " ".join(said.split()).count("books are equal") > 10
