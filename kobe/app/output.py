"""How documents and errors reach the person or program that asked; the doors import nothing below `app`."""

from kobe.core.errors import KobeError
from kobe.reports.document import Document
from kobe.reports.render import terminal

__all__ = ["Document", "as_json", "error_json", "print_document"]

as_json = terminal.as_json
print_document = terminal.print_document


def error_json(error: KobeError) -> str:
    """Return an error for programs."""
    facts = {"code": error.code, "message": error.message, "exit_code": int(error.exit_code)}
    said = {**facts, "what": error.what, "next_command": error.next_command}
    return terminal.as_json(Document(schema="kobe.error/1", title="error", data={"error": said}))
