"""A report before it is rendered: the same document becomes a terminal page, Markdown, HTML or JSON."""

from dataclasses import dataclass, field
from typing import Any

from kobe.core.errors import ExitCode

Cell = str | int | float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Columns and rows of plain values; numbers are formatted by the renderer's one rule.

    Attributes:
        columns: their headings.
        rows: one cell per column.
        words: the columns that hold words, written from the left; the others hold numbers, however they are written,
            and the first column names its row. None: each renderer judges by the cells.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    words: frozenset[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One number a reader looks for first, with what it is and a few words about it."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A heading with lines of text, lists of sentences, an optional table and an optional picture.

    Attributes:
        picture: inline SVG of our own making; only HTML shows it.
        letters: the picture drawn with letters, for terminal and Markdown.
        lists: (heading, sentences) pairs.
        boxed: HTML draws a frame around it: what a reader in a hurry must not miss.
        folded: HTML folds the table away under these words; empty: it is open.
        in_place_of_picture: the table holds what the picture holds; HTML, which shows the picture, leaves it out.
    """

    title: str
    lines: tuple[str, ...] = ()
    table: Table | None = None
    picture: str | None = None
    letters: tuple[str, ...] = ()
    lists: tuple[tuple[str, tuple[str, ...]], ...] = ()
    boxed: bool = False
    folded: str = ""
    in_place_of_picture: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """What a command has to say.

    Attributes:
        schema: name and version of `data`, such as `kobe.scan/1`.
        title: one line.
        summary: the answer, in at most a few lines.
        figures: the numbers to see first; HTML shows them as a row of tiles.
        data: JSON-ready values for programs; NaN is null.
        banners: warnings every rendering must show.
        sections: the rest, in order.
        exit_code: what the process returns.
    """

    schema: str
    title: str
    summary: tuple[str, ...] = ()
    figures: tuple[Figure, ...] = ()
    data: dict[str, Any] = field(default_factory=dict)
    banners: tuple[str, ...] = ()
    sections: tuple[Section, ...] = ()
    exit_code: ExitCode = ExitCode.OK


def shown(value: Cell) -> str:
    """Format a value for people: four significant decimals for numbers, a dash for what is unknown."""
    if value is None or (isinstance(value, float) and value != value):  # noqa: PLR0124 - NaN is not itself
        return "-"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def jsonable(value: Any) -> Any:
    """Make a value JSON-ready: NaN and infinities become null, tuples lists, numpy scalars plain."""
    if isinstance(value, dict):
        return {str(k): jsonable(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(v) for v in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):  # noqa: PLR0124
        return None
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
