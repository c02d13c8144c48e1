"""Every file of the hostile corpus through the real command line, into a home that trades and into an empty one."""

import csv
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from kit import command
from kit.hostile import (
    BYSTANDER,
    CORPUS,
    FILE_COLUMNS,
    PLANTED,
    PRICES,
    UNTOUCHED,
    VICTIM,
    Hostile,
    clean_market,
    held_bars,
    offer,
    plant,
)
from kit.market import store_in
from polars.testing import assert_frame_equal
from typer.testing import CliRunner

from kobe.core.calendar import xnys
from kobe.core.errors import MissingDataError
from kobe.data.quality import RULES, Action
from kobe.interfaces.cli.main import app

CALENDAR = xnys()
KEYS = ["symbol", "date"]
REJECTS = {code for code, rule in RULES.items() if rule.action is Action.REJECT}
HOLDS = {code for code, rule in RULES.items() if rule.action is Action.QUARANTINE}
SOURCE = ("--source", "hostile")
EXIT = {"accepted": 0, "refused": 4, "partial": 7, "held": 7}
WARNINGS = {code for code, rule in RULES.items() if rule.action is Action.WARN}
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\u202e]")
BY_NAME = [pytest.param(entry, id=entry.name) for entry in CORPUS]
OF_EACH_KIND = [
    "nan_price", "shifted_forward", "symbol_dde", "symbol_escape_sequence", "html", "cut_parquet_half",
    "binary_garbage", "empty_folder", "split_4_for_1", "shuffled",
]  # fmt: skip


@dataclass(frozen=True)
class Answer:
    """What the command line said."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict:
        def refuse(word: str) -> None:
            raise AssertionError(f"{word} is not JSON")

        return json.loads(self.out, parse_constant=refuse)

    @property
    def named(self) -> set[str]:
        """Every rule the answer names."""
        return set(RULES) & set(re.findall(r"[a-z_]+", self.out))


def kobe(home: Path, *words: str) -> Answer:
    """Run the command line in this process; whatever escapes it, even a panic of the reader, fails the test."""
    done = CliRunner().invoke(app, ["--home", str(home), *words])
    assert done.exception is None or isinstance(done.exception, SystemExit), repr(done.exception)
    return Answer(done.exit_code, done.stdout, done.stderr)


def kobe_process(home: Path, *words: str, cwd: Path) -> Answer:
    """Run the command line in a process of its own."""
    done = command.kobe(home, *words, cwd=cwd)
    return Answer(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def clean() -> pl.DataFrame:
    return clean_market(CALENDAR)


@pytest.fixture(scope="module")
def trading_home(clean: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose store holds the first sessions of the clean market; copied for each test, never written into."""
    folder = tmp_path_factory.mktemp("trading")
    file = folder / "bars.parquet"
    held_bars(clean).write_parquet(file)
    answer = kobe(folder / "home", "data", "import", str(file), *SOURCE, "--json")
    assert answer.code == 0, answer
    return folder / "home"


@dataclass(frozen=True)
class Stage:
    """One test's folders: the home lies deep enough that `../../..` from inside it is still watched."""

    root: Path
    home: Path
    inbox: Path

    def outside(self) -> list[Path]:
        """Everything below the root that is not the home's or the inbox's."""
        kept = (self.home, self.inbox)
        return [p for p in self.root.rglob("*") if not any(p.is_relative_to(k) or k.is_relative_to(p) for k in kept)]


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    made = Stage(tmp_path, tmp_path / "a" / "b" / "c" / "home", tmp_path / "inbox")
    made.home.mkdir(parents=True)
    made.inbox.mkdir()
    monkeypatch.chdir(made.home.parent)
    yield made
    assert made.outside() == []


def fill(stage: Stage, trading_home: Path, *, empty: bool) -> None:
    if not empty:
        shutil.copytree(trading_home, stage.home, dirs_exist_ok=True)


def stored(home: Path) -> pl.DataFrame | None:
    """Read the store back, digests verified; None where there is none."""
    try:
        frame = store_in(home, CALENDAR).frame()
    except MissingDataError:
        return None
    return frame.select(*FILE_COLUMNS, "raw_factor").with_columns(pl.col("symbol").cast(pl.String)).sort(KEYS)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# What must hold for every answer


def assert_spoken_plainly(answer: Answer) -> None:
    for text in (answer.out, answer.err):
        assert "Traceback" not in text
        assert "panicked" not in text
        assert not CONTROL.search(text), repr(CONTROL.search(text))
    assert len([line for line in answer.err.splitlines() if line.strip()]) <= 1, answer.err


def assert_document(answer: Answer) -> None:
    document = answer.document
    assert document["schema"].startswith("kobe.")
    assert document["schema"].rpartition("/")[2].isdigit()
    if answer.code == EXIT["refused"]:
        assert document["schema"].startswith("kobe.error/")
        assert document["error"]["exit_code"] == answer.code
        assert document["error"]["message"]


def assert_every_bar_is_sound(bars: pl.DataFrame) -> None:
    numbers = [*PRICES, "volume", "raw_factor"]
    assert bars.select(pl.all_horizontal(pl.col(c).is_finite().fill_null(value=False).all() for c in numbers)).item()
    assert bars.select(pl.all_horizontal((pl.col(c) > 1e-6).all() for c in (*PRICES, "raw_factor"))).item()
    assert bars.get_column("volume").is_between(0, 1e13).all()
    top, bottom = pl.max_horizontal("open", "close", "low"), pl.min_horizontal("open", "close", "high")
    wrong = bars.filter((pl.col("high") < top * (1 - 1e-6)) | (pl.col("low") > bottom * (1 + 1e-6)))
    assert len(wrong) == 0, wrong
    assert bars.get_column("date").is_in(pl.Series(CALENDAR.sessions).implode()).all()
    assert not bars.select(KEYS).is_duplicated().any()


def assert_nothing_half_written(home: Path) -> None:
    assert [p for p in home.rglob("*") if p.name.startswith(".tmp-")] == []


def assert_no_cell_is_a_formula(home: Path) -> None:
    csv.field_size_limit(2**24)
    for path in home.rglob("*.csv"):
        with path.open(encoding="utf-8", newline="") as file:
            cells = [cell for row in csv.reader(file) for cell in row]
        runs = [cell for cell in cells if cell.startswith(FORMULA_STARTS) and not _is_number(cell)]
        assert runs == [], (path.name, runs)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def same_bars(found: pl.DataFrame, wanted: pl.DataFrame) -> None:
    columns = [*KEYS, *PRICES, "volume"]
    assert_frame_equal(found.select(columns).sort(KEYS), wanted.select(columns).sort(KEYS), rel_tol=2e-7, abs_tol=0.0)


# What must hold for this file


def wanted(entry: Hostile, clean: pl.DataFrame, before: pl.DataFrame | None) -> pl.DataFrame:
    """Return the store as it must be when the good rows were taken and the bad ones were not."""
    frames = [offer(clean).join(entry.absent(clean), on=KEYS, how="anti")]
    frames += [
        offer(clean).filter(pl.col("symbol") == theirs).with_columns(symbol=pl.lit(alias))
        for alias, theirs in entry.aliases
    ]
    fresh = pl.concat(frames)
    if before is None:
        return fresh
    old = before.select(FILE_COLUMNS)
    return pl.concat([old, fresh.join(old, on=KEYS, how="anti")])


def assert_no_bar_is_untrue(entry: Hostile, clean: pl.DataFrame, after: pl.DataFrame, *, held: bool) -> None:
    """Every stored bar is a bar of the clean market, except where this file rightly brings others."""
    truth = pl.concat([
        clean.select(FILE_COLUMNS),
        *[clean.filter(pl.col("symbol") == s).select(FILE_COLUMNS).with_columns(symbol=pl.lit(a))
          for a, s in entry.aliases],
    ])  # fmt: skip
    judged = after.filter(~pl.col("symbol").is_in([*entry.altered, *(entry.hurt if held else ())]))
    same_bars(judged, truth.join(judged.select(KEYS), on=KEYS))


def assert_taken(entry: Hostile, clean: pl.DataFrame, before: pl.DataFrame | None, after: pl.DataFrame) -> None:
    """Good rows are there, bad rows are not."""
    target, judged = wanted(entry, clean, before), after
    if entry.loose:
        missing = target.join(after, on=KEYS, how="anti")
        target = target.join(missing, on=KEYS, how="anti")
        judged = after.join(target.select(KEYS), on=KEYS, how="semi")
    unaltered = ~pl.col("symbol").is_in(entry.altered)
    same_bars(judged.filter(unaltered), target.filter(unaltered))
    assert_frame_equal(judged.select(KEYS).sort(KEYS), target.select(KEYS).sort(KEYS))


def assert_held(
    entry: Hostile, clean: pl.DataFrame, before: pl.DataFrame | None, after: pl.DataFrame | None, home: Path
) -> None:
    """The symbol is on the list of holds, its old bars stay, and the bystander arrives."""
    on_hold = kobe(home, "data", "quarantine", "list", "--all", "--json").out
    for symbol in entry.hurt:
        assert symbol in on_hold, f"{symbol} is not on hold"
    if after is None:
        return
    if before is not None:
        old = before.filter(pl.col("symbol").is_in(entry.hurt))
        same_bars(after.join(old.select(KEYS), on=KEYS, how="semi"), old)
    others = ~pl.col("symbol").is_in(entry.hurt)
    same_bars(after.filter(others), wanted(entry, clean, before).filter(others))


def outcome_of(entry: Hostile, answer: Answer, *, empty: bool) -> str:
    """Return which of the right outcomes this answer is."""
    allowed = entry.outcomes(empty=empty)
    fits = [o for o in allowed if EXIT[o] == answer.code]
    assert fits, f"exit {answer.code}, right would be {allowed}: {answer.out} {answer.err}"
    if {"partial", "held"} <= set(fits):
        return "held" if answer.named & HOLDS else "partial"
    return fits[0]


def assert_codes(entry: Hostile, outcome: str, answer: Answer, home: Path) -> None:
    """Say which rule it was: at once when bars were set aside or a symbol held, a warning at the next check."""
    due = entry.codes & {"partial": REJECTS, "held": HOLDS, "accepted": WARNINGS, "refused": set()}[outcome]
    if outcome == "accepted" and due:
        answer = kobe(home, "data", "check", "--dry-run", "--json")
    if due or outcome in ("partial", "held"):
        assert due & answer.named, f"one of {due} expected, {answer.named} named"


def judge(entry: Hostile, clean: pl.DataFrame, stage: Stage, before: pl.DataFrame | None, answer: Answer) -> None:
    """Check one answer and the home it left behind; `before` is None for a home that was empty."""
    assert_spoken_plainly(answer)
    assert_nothing_half_written(stage.home)
    assert_no_cell_is_a_formula(stage.home)
    outcome = outcome_of(entry, answer, empty=before is None)
    assert_document(answer)
    after = stored(stage.home)
    if after is not None:
        assert_every_bar_is_sound(after)
        assert_no_bar_is_untrue(entry, clean, after, held=outcome == "held")
    if outcome == "refused":
        assert (after is None) == (before is None)
        assert before is None or after.equals(before)
    elif outcome == "held":
        assert_held(entry, clean, before, after, stage.home)
    else:
        assert_taken(entry, clean, before, after)
    if before is not None:
        kept = pl.col("symbol").is_in(UNTOUCHED)
        assert after.filter(kept).equals(before.filter(kept))
    assert_codes(entry, outcome, answer, stage.home)


def written(entry: Hostile, stage: Stage, clean: pl.DataFrame) -> Path:
    if not entry.available():
        pytest.skip("this machine or this user cannot make such a file")
    return entry.write(stage.inbox, clean)


@pytest.mark.parametrize(
    "empty", [pytest.param(False, id="trading"), pytest.param(True, id="empty", marks=pytest.mark.long)]
)
@pytest.mark.parametrize("entry", BY_NAME)
def test_a_hostile_file_meets_its_right_answer(entry, empty, clean, trading_home, stage, capfd):
    fill(stage, trading_home, empty=empty)
    before = stored(stage.home)
    file = written(entry, stage, clean)
    answer = kobe(stage.home, "data", "import", str(file), *SOURCE, *entry.options, "--json")
    assert "panicked" not in capfd.readouterr().err
    judge(entry, clean, stage, before, answer)


@pytest.mark.long
@pytest.mark.parametrize("entry", BY_NAME)
def test_a_rehearsal_changes_nothing_and_speaks_plainly(entry, clean, trading_home, stage, capfd):
    fill(stage, trading_home, empty=False)
    before = contents(stage.home / "data")
    file = written(entry, stage, clean)
    answer = kobe(stage.home, "data", "import", str(file), *SOURCE, *entry.options, "--dry-run")
    assert "panicked" not in capfd.readouterr().err
    assert_spoken_plainly(answer)
    assert answer.code in (0, 4, 7), answer
    assert contents(stage.home / "data") == before


@pytest.mark.parametrize("entry", [p for p in BY_NAME if p.id in OF_EACH_KIND])
def test_a_process_of_its_own_answers_the_same(entry, clean, trading_home, stage):
    fill(stage, trading_home, empty=False)
    before = stored(stage.home)
    file = written(entry, stage, clean)
    words = ("data", "import", str(file), *SOURCE, *entry.options, "--json")
    answer = kobe_process(stage.home, *words, cwd=stage.home.parent)
    judge(entry, clean, stage, before, answer)
    for verify in ("audit", "data"):
        assert kobe(stage.home, verify, "verify").code == 0


@pytest.mark.parametrize("empty", [False, True], ids=["trading", "empty"])
def test_the_clean_file_is_taken_whole(empty, clean, trading_home, stage):
    fill(stage, trading_home, empty=empty)
    before = stored(stage.home)
    file = stage.inbox / "bars.csv"
    offer(clean).write_csv(file)
    answer = kobe(stage.home, "data", "import", str(file), *SOURCE, "--json")
    assert answer.code == 0, answer
    assert answer.named & (REJECTS | HOLDS) == set()
    assert kobe(stage.home, "data", "check", "--json").named <= {"stale_end"}
    good = Hostile(name="clean", what="", why="", write=lambda *_: file, outcome="accepted")
    assert_taken(good, clean, before, stored(stage.home))


def test_the_corpus_is_well_formed(clean):
    names = [entry.name for entry in CORPUS]
    assert len(names) == len(set(names)) >= 45
    assert set(OF_EACH_KIND) <= set(names)
    for entry in CORPUS:
        assert entry.what.endswith(".")
        assert entry.why
        assert entry.codes <= set(RULES), entry.name
        assert entry.codes or not {"partial", "held"} & set(entry.outcomes(empty=False)), entry.name
    for symbol in (VICTIM, BYSTANDER, *UNTOUCHED):
        assert len(clean.filter(pl.col("symbol") == symbol)) == 252
    steps = clean.select(pl.col("close").pct_change().over("symbol").abs().max()).item()
    assert steps < 0.2, "the clean market must not look broken"
    assert_every_bar_is_sound(clean)


# The planter of known defects


@pytest.mark.parametrize("kind", PLANTED)
def test_planted_defects_are_there_and_nothing_else_changed(kind, clean):
    count = 3
    changed, planted = plant(clean, kind, np.random.default_rng(7), count)
    again, planted_again = plant(clean, kind, np.random.default_rng(7), count)
    assert planted == planted_again
    assert_frame_equal(changed, again)
    assert len({(s, d) for s, d, _ in planted}) == count
    assert {k for _, _, k in planted} == {kind}
    for symbol, day, _ in planted:
        here = (pl.col("symbol") == symbol) & (pl.col("date") == day)
        assert _has_defect(kind, clean, changed, here)
    rest = ~pl.struct(KEYS).is_in([{"symbol": s, "date": d} for s, d, _ in planted])
    if kind == "split_like_gap":
        rest = ~pl.col("symbol").is_in([s for s, _, _ in planted])
    assert_frame_equal(changed.filter(rest), clean.filter(rest), rel_tol=0, abs_tol=0)


def _has_defect(kind: str, clean: pl.DataFrame, changed: pl.DataFrame, here: pl.Expr) -> bool:
    was, now = clean.filter(here), changed.filter(here)
    top, bottom = pl.max_horizontal("open", "close", "low"), pl.min_horizontal("open", "close", "high")
    tests = {
        "duplicate": len(now) == 2,
        "missing_session": len(now) == 0,
        "zero_volume": len(now) == 1 and now.get_column("volume")[0] == 0,
        "flat_bar": len(now) == 1 and now.get_column("high")[0] == now.get_column("low")[0],
        "ohlc": len(now.filter((pl.col("high") < top * 0.995) | (pl.col("low") > bottom * 1.005))) == 1,
        "split_like_gap": len(now) == 1 and abs(now.get_column("close")[0] / was.get_column("close")[0] - 1) > 0.3,
    }
    return tests[kind]


def test_planting_refuses_what_it_cannot_do(clean):
    rng = np.random.default_rng(1)
    with pytest.raises(ValueError, match="unknown kind"):
        plant(clean, "nonsense", rng, 1)
    with pytest.raises(ValueError, match="places"):
        plant(clean, "split_like_gap", rng, 5)
