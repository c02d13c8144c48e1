"""A document on a terminal: rich tables for people; strings from outside are never read as markup."""

import json
import sys
from collections.abc import Sequence
from typing import Any

from kobe.reports.document import Cell, Document, Section, jsonable, shown
from kobe.reports.document import Table as DocumentTable

GAP = 3
"""What stands between two columns."""
SENTENCE, LEAST_FOLD = 24, 24
"""A column is folded when it holds longer cells than this, and not into less than that."""


def as_json(document: Document) -> str:
    """Return the document's data as one JSON document with its schema."""
    payload = {"schema": document.schema, "banners": list(document.banners), **jsonable(document.data)}
    return json.dumps(payload, indent=2, ensure_ascii=False, allow_nan=False)


def print_document(document: Document, *, color: bool = True) -> None:
    """Print a document to stdout."""
    from rich.console import Console
    from rich.text import Text

    class Page(Console):
        """A console whose reader may leave: that is no fault, and rich would end the process with one."""

        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    console = Page(no_color=not color, highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 160)
    for banner in document.banners:
        console.print(Text(f"! {banner}", style="bold yellow"))
    console.print(Text(document.title, style="bold"))
    for line in document.summary:
        console.print(line, markup=False)
    wide = max((len(f.label) for f in document.figures), default=0)
    for figure in document.figures:
        note = f"  ({figure.note})" if figure.note else ""
        console.print(f"  {figure.label:<{wide}}  {figure.value}{note}", markup=False)
    for section in document.sections:
        _print_section(console, section)


def _print_section(console: Any, section: Section) -> None:
    from rich.text import Text

    console.print()
    if section.title:
        console.print(Text(section.title, style="bold cyan"))
    for line in section.lines:
        console.print(line, markup=False)
    for line in section.letters:
        console.print(line, markup=False)
    for heading, sentences in section.lists:
        console.print(Text(heading, style="bold"))
        for sentence in sentences:
            console.print(f"- {sentence}", markup=False)
    if section.table is None:
        return
    _print_table(console, section.table)


def _print_table(console: Any, table: DocumentTable) -> None:
    """Print a table so that no name or number is broken over lines while the terminal can hold them.

    Only sentences are folded; where that would leave them in a gutter, each stands beneath its row.
    """
    from rich import box
    from rich.cells import cell_len
    from rich.table import Table
    from rich.text import Text

    rows = [[shown(cell) for cell in row] for row in table.rows]
    wide = [max(map(cell_len, column)) for column in zip(table.columns, *rows, strict=True)]
    right = [_is_numeric(table, k) for k in range(len(wide))]
    long = [k for k, n in enumerate(wide) if k and n > SENTENCE]
    whole = [k for k in range(len(wide)) if k not in long]
    left = console.width - sum(wide[k] + GAP for k in whole)
    if sum(n + GAP for n in wide) > console.width and left < len(long) * (LEAST_FOLD + GAP):
        _print_beneath(console, table, rows, wide, right)
        return
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for k, name in enumerate(table.columns):
        grid.add_column(Text(name), justify="right" if right[k] else "left", overflow="fold",
                        no_wrap=k in whole)  # fmt: skip
    for row in rows:
        grid.add_row(*[Text(cell) for cell in row])
    console.print(grid)


def _print_beneath(
    console: Any, table: DocumentTable, rows: list[list[str]], wide: list[int], right: list[bool]
) -> None:
    """Print the columns for which there is room, and the longest cells of each row as lines beneath it."""
    import textwrap

    from rich.text import Text

    beneath: list[int] = []
    for k in sorted(range(1, len(wide)), key=lambda k: -wide[k]):
        if sum(n + 2 for i, n in enumerate(wide) if i not in beneath) - 2 > console.width and not right[k]:
            beneath.append(k)
    kept = [k for k in range(len(wide)) if k not in beneath]

    def line(cells: Sequence[str]) -> str:
        return "  ".join(cells[k].rjust(wide[k]) if right[k] else cells[k].ljust(wide[k]) for k in kept).rstrip()

    console.print(Text(line(table.columns), style="bold"))
    console.print("─" * min(console.width, sum(wide[k] + 2 for k in kept) - 2))
    for row in rows:
        console.print(Text(line(row)))
        for k in (k for k in sorted(beneath) if row[k]):
            label = "" if len(beneath) == 1 else f"{table.columns[k]}: "
            told = textwrap.wrap(label + row[k], console.width - 4, break_long_words=False, break_on_hyphens=False)
            console.print(Text("\n".join(f"    {part}" for part in told), style="dim"))


def _is_numeric(table: DocumentTable, k: int) -> bool:
    if table.words is not None:
        return table.columns[k] not in table.words
    return all(_is_number(row[k]) for row in table.rows)


def _is_number(cell: Cell) -> bool:
    return cell is None or isinstance(cell, int | float)
