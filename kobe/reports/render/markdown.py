"""A document as Markdown: STATUS.md, the end-of-day report, anything a person opens in an editor."""

from kobe.reports.document import Document, Section, Table, shown


def _escape(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def render(document: Document) -> str:
    """Return the document as Markdown; pictures are left out."""
    lines = [f"# {_escape(document.title)}", ""]
    lines += [f"> **{_escape(banner)}**" for banner in document.banners]
    lines += [""] if document.banners else []
    lines += [f"{_escape(line)}  " for line in document.summary]
    lines += [""] if document.figures else []
    lines += [f"- {_escape(f.label)}: **{_escape(f.value)}**" + (f" ({_escape(f.note)})" if f.note else "")
              for f in document.figures]  # fmt: skip
    for section in document.sections:
        lines += ["", *_section(section)]
    return "\n".join(lines).rstrip() + "\n"


def _section(section: Section) -> list[str]:
    lines = [f"## {_escape(section.title)}", ""] if section.title else []
    lines += [f"- {_escape(line)}" for line in section.lines]
    if section.letters:
        lines += ["", "```text", *(line.replace("`", "'").rstrip() for line in section.letters), "```"]
    for heading, sentences in section.lists:
        lines += ["", f"**{_escape(heading)}**", "", *[f"- {_escape(s)}" for s in sentences]]
    if section.table is not None:
        if section.lines or section.lists:
            lines.append("")
        lines.append("| " + " | ".join(_escape(c) for c in section.table.columns) + " |")
        lines.append("|" + "".join(f" {_rule(section.table, c)} |" for c in section.table.columns))
        lines += ["| " + " | ".join(_escape(shown(c)) for c in row) + " |" for row in section.table.rows]
    return lines


def _rule(table: Table, column: str) -> str:
    return "---" if table.words is None or column in table.words else "---:"
