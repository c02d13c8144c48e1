"""docs/claims.toml: which sentence of which document holds which figures, and where their values come from."""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kobe.core.errors import MissingDataError, SchemaError

BOOK = "docs/claims.toml"
NOT_A_CLAIM = "_"  # in `at`: this number of the sentence is a name or a setting, not a result
FIGURE = re.compile(r"(?<![\w.])(?P<sign>[-+]?)(?P<digits>\d{1,3}(?:,\d{3})+|\d+)(?P<rest>\.\d+)?(?P<percent>%?)(?!\w)")
DATE = re.compile(r"\d{4}-\d{2}-\d{2}|\d{2}:\d{2}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A number as it is printed; `value` is in printed units, so 3.1% is 3.1."""

    text: str
    value: float
    decimals: int
    percent: bool

    @property
    def half_step(self) -> float:
        """Half a unit of the last printed digit: what rounding may hide."""
        return 0.5 * 10.0**-self.decimals


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A sentence with figures that can be derived.

    Attributes:
        name: `topic.detail`; unique.
        document: path from the project's folder.
        says: the exact words, figures included; any white space equals any other.
        source: key in `SOURCES`.
        at: per figure of the words, in their order, the path of its value; `_` for a number that is no result.
        tolerance: in printed units; None: the value must round to what is printed.
    """

    name: str
    document: str
    says: str
    source: str
    at: tuple[str, ...]
    tolerance: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """Words with figures that are not derived: measured times, or facts of the world, with how one comes by them."""

    document: str
    says: str
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """All claims, all measured figures (times, memory: another machine has others), all stated facts."""

    claims: tuple[Claim, ...]
    measured: tuple[Told, ...]
    stated: tuple[Told, ...]

    def words_of(self, document: str) -> list[str]:
        """Return the words that stand for a document's figures, white space made plain."""
        everything: list[Claim | Told] = [*self.claims, *self.measured, *self.stated]
        return [plain(entry.says) for entry in everything if entry.document == document]


def plain(text: str) -> str:
    """Make all white space one blank, so that a line break in a document changes nothing."""
    return " ".join(text.split())


def figures_in(text: str) -> list[Figure]:
    """Return the numbers of a sentence in their order; dates and times of day are none."""
    found = []
    for match in FIGURE.finditer(DATE.sub(lambda m: " " * len(m[0]), text)):
        number = match["sign"] + match["digits"].replace(",", "") + (match["rest"] or "")
        decimals = len(match["rest"] or ".") - 1
        found.append(
            Figure(text=match[0], value=float(number), decimals=decimals, percent=bool(match["percent"]))
        )  # fmt: skip
    return found


def read_book(folder: Path) -> Book:
    """Read the book of a project's folder.

    Raises:
        MissingDataError: there is none.
        SchemaError: it is not TOML, a key is unknown or missing, a name is told twice, or a claim has more or fewer
            values than figures.
    """
    path = folder / BOOK
    if not path.is_file():
        raise MissingDataError(
            "no claims to verify", seen=path, expected="the folder of a checkout",
            next_command="kobe verify-claims --documents CHECKOUT",
        )  # fmt: skip
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise SchemaError(f"{BOOK} is not TOML", seen=str(error)) from error
    unknown = set(told) - {"claims", "measured", "stated"}
    if unknown:
        raise SchemaError(f"unknown part of {BOOK}", seen=min(unknown), expected="claims, measured, stated")
    claims = tuple(_claim(entry) for entry in told.get("claims", []))
    twice = sorted({c.name for c in claims if sum(c.name == d.name for d in claims) > 1})
    if twice:
        raise SchemaError(f"a claim's name stands twice in {BOOK}", seen=twice[0], expected="one of each")
    measured, stated = (tuple(_told(entry) for entry in told.get(part, [])) for part in ("measured", "stated"))
    return Book(claims=claims, measured=measured, stated=stated)


def _claim(entry: dict[str, Any]) -> Claim:
    _check_keys(entry, {"name", "in", "says", "from", "at"}, {"tolerance"})
    claim = Claim(
        name=entry["name"], document=entry["in"], says=entry["says"], source=entry["from"], at=tuple(entry["at"]),
        tolerance=entry.get("tolerance"),
    )  # fmt: skip
    shown = [f.text for f in figures_in(claim.says)]
    if len(shown) != len(claim.at) or not shown:
        raise SchemaError(
            f"claim {claim.name} needs one path for each figure of its words", seen=f"{len(claim.at)} paths",
            expected=f"{len(shown)}, for {', '.join(shown) or 'no figure at all'}",
        )  # fmt: skip
    return claim


def _told(entry: dict[str, Any]) -> Told:
    _check_keys(entry, {"in", "says", "by"}, set())
    return Told(document=entry["in"], says=entry["says"], by=entry["by"])


def _check_keys(entry: dict[str, Any], needed: set[str], allowed: set[str]) -> None:
    wrong = (needed - set(entry)) | (set(entry) - needed - allowed)
    if wrong:
        seen = f"{min(wrong)} in {entry.get('name', entry.get('says', entry))}"
        raise SchemaError(f"a key is unknown or missing in {BOOK}", seen=seen, expected=", ".join(sorted(needed)))


def value_at(data: object, path: str) -> object:
    """Return the value at a path: names and numbers of places, parted by `/`.

    `key=value&key=value` picks the one fitting element of a list; `#` counts.

    Raises:
        SchemaError: the path leads nowhere, or picks more than one.
    """
    here: Any = data
    for step in path.split("/"):
        if step == "#" and isinstance(here, list | dict):
            here = len(here)
        elif isinstance(here, dict) and step in here:
            here = here[step]
        elif isinstance(here, list) and "=" in step:
            wanted = dict(part.split("=", 1) for part in step.split("&"))
            fitting = [e for e in here if all(str(e.get(k)) == v for k, v in wanted.items())]
            if len(fitting) != 1:
                raise SchemaError("a claim's path must pick one", seen=f"{len(fitting)} of {path}", expected=step)
            here = fitting[0]
        elif isinstance(here, list) and step.lstrip("-").isdigit() and -len(here) <= int(step) < len(here):
            here = here[int(step)]
        else:
            keys = ", ".join(here) if isinstance(here, dict) else f"{type(here).__name__}"
            raise SchemaError("a claim's path leads nowhere", seen=f"{step} of {path}", expected=keys[:300])
    return here


def rounds_to(value: object, figure: Figure, tolerance: float | None = None) -> bool:
    """Whether a value prints as a figure; unknown values and words do not."""
    if not isinstance(value, int | float) or isinstance(value, bool) or value != value:  # noqa: PLR0124 - NaN
        return False
    printed = float(value) * (100.0 if figure.percent else 1.0)
    slack = figure.half_step * (1.0 + 1e-9) + 1e-15 * abs(printed) if tolerance is None else tolerance
    return abs(printed - figure.value) <= slack


def uncovered(document: str, text: str, book: Book) -> list[str]:
    """Return the table lines of a document, heads aside, with figures for which nothing in the book stands."""
    words = book.words_of(document)
    lines = [plain(line) for line in text.splitlines()]
    heads = {k for k, below in enumerate(lines[1:]) if below.startswith("| ---")}
    rows = [line for k, line in enumerate(lines) if line.startswith("|") and k not in heads]
    return [row for row in rows if figures_in(row) and not any(w in row or row in w for w in words)]
