"""Logs: one JSON line per event to a file, one plain line to stderr for people, and never a secret in either.

Lines of other libraries (standard `logging`) pass through the same two doors and the same redaction. Nothing is
written to stdout, which belongs to data. structlog costs 70 ms and is imported when logging is configured.
"""

import logging
import re
import sys
from collections.abc import Iterable, Mapping, MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kobe.core.clock import Clock
from kobe.infra import durable

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger, Processor

HIDDEN = "***"
_SECRET_KEY = re.compile(r"secret|token|key|password|authorization", re.IGNORECASE)
_DEPTH = 8
_handlers: list[logging.Handler] = []


class Redactor:
    """Hides secrets in what is about to be written: by the name of the key, and by the value wherever it stands."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        """Remember secret values; they are also found percent-encoded, as in addresses.

        Args:
            secrets: values that must never be seen; empty ones are ignored.
        """
        from urllib.parse import quote

        values = {value for secret in secrets if secret.strip() for value in (secret, quote(secret, safe=""))}
        longest_first = sorted(values, key=len, reverse=True)
        self._value = re.compile("|".join(map(re.escape, longest_first))) if values else None

    def text(self, text: str) -> str:
        """Hide every registered secret inside a text."""
        return self._value.sub(HIDDEN, text) if self._value else text

    def value(self, value: Any, depth: int = 0) -> Any:
        """Hide secrets in a value and everything inside it; what JSON does not know becomes redacted text."""
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int | float):
            return value if self.text(str(value)) == str(value) else HIDDEN
        if depth < _DEPTH and isinstance(value, Mapping):
            return {self.text(str(k)): self._of_key(str(k), v, depth + 1) for k, v in value.items()}
        if depth < _DEPTH and isinstance(value, list | tuple | set | frozenset):
            return [self.value(item, depth + 1) for item in value]
        return self.text(value if isinstance(value, str) else str(value))

    def __call__(self, _logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """Work as a structlog processor: the last before rendering."""
        return {self.text(str(k)): self._of_key(str(k), v, 1) for k, v in event.items()}

    def _of_key(self, key: str, value: Any, depth: int) -> Any:
        return HIDDEN if _SECRET_KEY.search(key) else self.value(value, depth)


def configure(
    log_file: Path | None,
    level: str = "INFO",
    *,
    clock: Clock,
    secrets: Iterable[str] = (),
    console_level: str | None = "WARNING",
) -> None:
    """Send log lines to a file and to stderr; calling it again replaces the doors of the first call.

    Args:
        log_file: gets JSON lines, appended; None for no file.
        level: least level of the file.
        clock: gives each line its instant.
        secrets: values to hide wherever they stand.
        console_level: least level on stderr; None for silence there.

    Raises:
        ConfigError: the log file cannot be opened.
    """
    import structlog

    shutdown()
    redactor = Redactor(secrets)
    before: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        _stamp(clock),
    ]
    if log_file is not None:
        render = structlog.processors.JSONRenderer(ensure_ascii=False)
        _add(_file_handler(log_file), level, before, [redactor, render])
    if console_level is not None:
        _add(logging.StreamHandler(sys.stderr), console_level, before, [redactor, _human])
    structlog.configure(
        processors=[*before, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(
            min((h.level for h in _handlers), default=logging.CRITICAL)
        ),
        logger_factory=structlog.stdlib.LoggerFactory(),
    )


def shutdown() -> None:
    """Close the log file and take the doors down."""
    root = logging.getLogger()
    while _handlers:
        handler = _handlers.pop()
        root.removeHandler(handler)
        handler.close()


def logger(name: str) -> "FilteringBoundLogger":
    """Return the logger of a room, such as `logger("data")`."""
    import structlog

    bound: FilteringBoundLogger = structlog.get_logger(name)
    return bound


def _file_handler(log_file: Path) -> logging.Handler:
    try:
        durable.make_folder(log_file.parent)
        return logging.FileHandler(log_file, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise durable.fault(error, log_file) from error


def _add(handler: logging.Handler, level: str, before: "list[Processor]", last: "list[Processor]") -> None:
    """Open one door on the root logger, ending with redaction and a renderer."""
    import structlog

    chain: list[Processor] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.format_exc_info,
        *last,
    ]
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=before, processors=chain))
    handler.setLevel(level.upper())
    root = logging.getLogger()
    root.addHandler(handler)
    _handlers.append(handler)
    root.setLevel(min(h.level for h in _handlers))


def _stamp(clock: Clock) -> "Processor":
    def stamp(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        return {"at": clock.now().isoformat(timespec="milliseconds"), **event}

    return stamp


def _human(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> str:
    """One line for people: `warning what happened fact=value`; control characters cannot forge a second line."""
    facts = {k: v for k, v in event.items() if k not in {"at", "level", "event", "exception"}}
    words = [str(event.get("level", "info")), str(event.get("event", "")), *(f"{k}={v}" for k, v in facts.items())]
    line = "".join(c if c.isprintable() else repr(c)[1:-1] for c in " ".join(words))
    return f"{line}\n{event['exception']}" if event.get("exception") else line
