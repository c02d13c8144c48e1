"""A report on the disk: the same document as Markdown, HTML and JSON side by side."""

from pathlib import Path

from kobe.app.context import Context
from kobe.reports.document import Document
from kobe.reports.render import html, markdown, terminal


def write(ctx: Context, folder: Path, stem: str, document: Document) -> None:
    """Write the three files, each whole or not at all."""
    ctx.artifacts.write(folder / f"{stem}.md", markdown.render(document).encode())
    ctx.artifacts.write(folder / f"{stem}.html", html.render(document).encode())
    ctx.artifacts.write(folder / f"{stem}.json", (terminal.as_json(document) + "\n").encode())
