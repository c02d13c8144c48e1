"""A document on a terminal: rich tables for people; strings from outside are never read as markup."""

import json
import sys
from typing import Any

from kobe.reports.document import Cell, Document, Section, jsonable, shown
from kobe.reports.document import Table as DocumentTable


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
    from rich import box
    from rich.table import Table
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
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for k, name in enumerate(section.table.columns):
        right = _is_numeric(section.table, k)
        table.add_column(Text(name), justify="right" if right else "left", overflow="fold")
    for row in section.table.rows:
        table.add_row(*[Text(shown(cell)) for cell in row])
    console.print(table)


def _is_numeric(table: DocumentTable, k: int) -> bool:
    if table.words is not None:
        return table.columns[k] not in table.words
    return all(_is_number(row[k]) for row in table.rows)


def _is_number(cell: Cell) -> bool:
    return cell is None or isinstance(cell, int | float)
