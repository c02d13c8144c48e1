"""The documents' figures: the book fits them, a stale figure is caught, missing data are said to be missing."""

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kobe.app.claims import book as books
from kobe.app.claims.book import figures_in, read_book, rounds_to, uncovered, value_at
from kobe.app.claims.sources import SOURCES, Bench, Source
from kobe.app.claims.verify import ClaimsRequest, lost_words, run_verify_claims
from kobe.core.errors import ExitCode, MissingDataError, SchemaError, UsageError

ROOT = Path(__file__).resolve().parents[2]
PAGE = """# Figures

The rate is 12.5%, after 1,234
trades since 2015-01-02 (worst -3.20 R).

| what | a | in 2015 |
| --- | --- | --- |
| covered | 0.10 | 7 |
| nobody derives this | 0.99 |  |
| words only | yes | no |

It took 3 s.
"""
BOOK = """
claims = [
  {name = "t.rate", in = "docs/page.md", says = "is 12.5%, after 1,234 trades", from = "made", at = ["rate", "n"]},
  {name = "t.worst", in = "docs/page.md", says = "(worst -3.20 R)", from = "made", at = ["trades/who=b/r"]},
  {name = "u.row", in = "docs/page.md", says = "| covered | 0.10 | 7 |", from = "other", at = ["x", "_"]},
]
measured = [{in = "docs/page.md", says = "It took 3 s.", by = "a stopwatch"}]
"""
VALUES = {"rate": 0.12547, "n": 1234, "trades": [{"who": "a", "r": 1.0}, {"who": "b", "r": -3.2004}]}


def made_sources(values=VALUES, other=0.1):
    def refuse(bench):
        return {"x": other} if bench.data else bench.file("bars.parquet")

    return {"made": Source(command="make", derive=lambda _: values), "other": Source(command="do", derive=refuse)}


@pytest.fixture
def checkout(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "page.md").write_text(PAGE, encoding="utf-8")
    (tmp_path / "docs" / "claims.toml").write_text(BOOK, encoding="utf-8")
    return tmp_path


def verify(checkout, sources, **request):
    return run_verify_claims(ClaimsRequest(documents=checkout, **request), sources=sources)


def statuses(document):
    return {c["name"]: c["status"] for c in document.data["claims"]}


def test_every_claim_of_this_project_stands_in_its_document_and_names_a_source():
    book = read_book(ROOT)
    assert lost_words(ROOT) == []
    assert {c.source for c in book.claims} <= set(SOURCES)
    assert all((book.claims, book.measured, book.stated)), "a part of the book is gone"


def test_true_figures_hold_and_a_line_break_in_the_document_changes_nothing(checkout):
    said = verify(checkout, made_sources(), data=checkout)
    assert set(statuses(said).values()) == {"holds"}
    assert said.exit_code is ExitCode.OK
    assert said.data["measured"] == [
        {"document": "docs/page.md", "says": "It took 3 s.", "by": "a stopwatch", "status": "measured"}
    ]


@pytest.mark.parametrize(
    ("values", "wrong"),
    [
        ({**VALUES, "rate": 0.1256}, "12.5% is now 12.56"),
        ({**VALUES, "n": 1235}, "1,234 is now 1235"),
        ({**VALUES, "n": None}, "1,234 is now None"),
        ({**VALUES, "n": "many"}, "1,234 is now many"),
        ({"rate": 0.125}, "leads nowhere"),
    ],
)
def test_a_figure_that_is_no_longer_so_is_named_with_its_value_and_exit_code_8(checkout, values, wrong):
    said = verify(checkout, made_sources(values), data=checkout, only="t.rate")
    assert said.exit_code is ExitCode.INTEGRITY
    assert statuses(said) == {"t.rate": "differs"}
    assert wrong in said.data["claims"][0]["detail"]


def test_without_data_only_the_claims_that_need_them_cannot_run_and_exit_code_is_7(checkout):
    said = verify(checkout, made_sources())
    assert statuses(said) == {"t.rate": "holds", "t.worst": "holds", "u.row": "cannot run"}
    assert said.exit_code is ExitCode.PARTIAL
    assert "--data FOLDER" in next(c["detail"] for c in said.data["claims"] if c["name"] == "u.row")


def test_one_that_differs_weighs_more_than_one_that_cannot_run(checkout):
    assert verify(checkout, made_sources({**VALUES, "n": 1})).exit_code is ExitCode.INTEGRITY


def test_a_fragment_the_document_no_longer_says_differs_and_its_source_is_not_run(checkout):
    page = checkout / "docs" / "page.md"
    page.write_text(page.read_text(encoding="utf-8").replace("12.5%", "13%").replace("3 s", "4 s"), encoding="utf-8")
    said = verify(checkout, made_sources(), data=checkout)
    assert statuses(said)["t.rate"] == "differs"
    assert said.data["lost"] == [{"document": "docs/page.md", "says": "It took 3 s."}]
    assert said.exit_code is ExitCode.INTEGRITY
    assert len(lost_words(checkout)) == 2
    page.unlink()
    never = {name: Source(command="x", derive=lambda _: pytest.fail("was run")) for name in ("made", "other")}
    assert set(statuses(verify(checkout, never, data=checkout)).values()) == {"differs"}


def test_a_table_line_with_figures_nobody_derives_is_listed(checkout):
    lines = uncovered("docs/page.md", PAGE, read_book(checkout))
    assert lines == ["| nobody derives this | 0.99 | |"]


def test_only_picks_a_claim_a_topic_or_a_source(checkout):
    sources = made_sources()
    for only, names in (("t", {"t.rate", "t.worst"}), ("t.worst", {"t.worst"}), ("other", {"u.row"})):
        assert set(statuses(verify(checkout, sources, data=checkout, only=only))) == names
    with pytest.raises(UsageError, match="t, u"):
        verify(checkout, sources, only="nothing")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('at = ["rate", "n"]', 'at = ["rate"]', "one path for each figure"),
        ('name = "t.worst"', 'name = "t.rate"', "stands twice"),
        ('says = "(worst', 'sayz = "(worst', "unknown or missing"),
        ('from = "other"', 'from = "other", wish = 1', "unknown or missing"),
        ("measured =", "timings =", "unknown part"),
        ("claims = [", "claims = [[", "is not TOML"),
        ("(worst -3.20 R)", "(worst)", "no figure at all"),
    ],
)
def test_a_malformed_book_is_refused(checkout, old, new, said):
    path = checkout / books.BOOK
    path.write_text(path.read_text(encoding="utf-8").replace(old, new, 1), encoding="utf-8")
    with pytest.raises(SchemaError, match=said):
        read_book(checkout)


def test_a_book_that_is_not_there_and_a_source_we_do_not_have_are_said(checkout, tmp_path):
    with pytest.raises(MissingDataError, match="no claims to verify"):
        read_book(tmp_path / "elsewhere")
    with pytest.raises(SchemaError, match="names no source"):
        verify(checkout, {"made": made_sources()["made"]})


@pytest.mark.parametrize(
    ("words", "figures"),
    [
        ("0.066 [-0.533, 0.668]", ["0.066", "-0.533", "0.668"]),
        ("+3.1% | +0.7% to +5.8%", ["+3.1%", "+0.7%", "+5.8%"]),
        ("2,000 of 1,328,221, then 7", ["2,000", "1,328,221", "7"]),
        ("2011-12-29 to 2020-10-02 at 16:15", []),
        ("market_return_5 of v1.2 with x2 and 4th", []),
        ("below the $75 cap, 94 of 96.", ["75", "94", "96"]),
    ],
)
def test_figures_are_read_as_a_person_reads_them(words, figures):
    assert [f.text for f in figures_in(words)] == figures


@given(st.floats(-1e6, 1e6), st.integers(0, 4), st.booleans())
def test_a_value_always_rounds_to_its_own_printing_and_never_to_the_next_step(value, decimals, percent):
    shown = value * 100.0 if percent else value
    printed = f"{shown:.{decimals}f}" + ("%" if percent else "")
    (figure,) = figures_in(f" {printed}")
    assert rounds_to(value, figure)
    moved = value + 1.6 * 10.0**-decimals / (100.0 if percent else 1.0)
    assert not rounds_to(moved, figure)
    assert rounds_to(moved, figure, tolerance=2.2 * 10.0**-decimals)


def test_a_path_counts_picks_and_refuses_what_is_not_one():
    data = {"rows": [{"k": 0.3, "v": 1}, {"k": 0.0, "v": 2}, {"k": 0.0, "v": 3}]}
    assert value_at(data, "rows/#") == 3
    assert value_at(data, "rows/-1/v") == 3
    assert value_at(data, "rows/k=0.3/v") == 1
    assert value_at(data, "rows/k=0.0&v=2/v") == 2
    for wrong in ("rows/k=0.0/v", "rows/9", "rows/x", "nothing", "rows/0/v/deeper"):
        with pytest.raises(SchemaError):
            value_at(data, wrong)


def test_agreement_with_the_vendor_is_derived_from_the_real_headlines(real_file, tmp_path):
    bench = Bench(data=real_file.parent, work=tmp_path)
    told = SOURCES["news_agreement"].values(bench)
    assert told["headlines"] == sum(r["headlines"] for r in told["rows"] if r["scored by"] == "stock VADER")
    said = run_verify_claims(ClaimsRequest(documents=ROOT, data=real_file.parent, only="news"))
    assert said.exit_code is ExitCode.OK
    assert json.loads(json.dumps(said.data))["claims"]


def test_a_planted_lie_in_the_real_documents_is_caught(real_file, tmp_path):
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    shutil.copy(ROOT / "README.md", tmp_path / "README.md")
    for name in ("data.md", "claims.toml"):
        path = tmp_path / "docs" / name
        path.write_text(path.read_text(encoding="utf-8").replace("| kobe | 0.624", "| kobe | 0.724"), encoding="utf-8")
    said = run_verify_claims(ClaimsRequest(documents=tmp_path, data=real_file.parent, only="news"))
    assert said.exit_code is ExitCode.INTEGRITY
    assert [c["name"] for c in said.data["claims"] if c["status"] == "differs"] == ["news.kobe"]
