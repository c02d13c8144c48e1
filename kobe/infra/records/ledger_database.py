"""What the ledger asks of a database, and the words in which each database says what went wrong."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from kobe.core.errors import ConfigError, ExternalError, IntegrityError
from kobe.infra.records import ledger_schema as schema

Ask = Callable[[str, dict[str, Any]], list[tuple[Any, ...]]]
"""Runs one statement with named values inside a transaction and returns its rows; faults are KobeErrors."""
_DOCTOR = "kobe doctor"


class Database(Protocol):
    """Where a ledger lies. Its schema is made at the first write and checked whenever it is opened."""

    place: str
    """Where it is, for messages: never a user or a password."""

    @property
    def path(self) -> Path | None:
        """Its file; None where a server keeps it."""
        ...

    def reading(self) -> "AbstractContextManager[Ask | None]":
        """Read; None where nothing was ever written."""
        ...

    def stamp(self) -> object:
        """Return what is equal to an earlier answer only while nothing was committed; None where nobody can tell."""
        ...

    def rows(self, statement: str, values: dict[str, Any]) -> list[tuple[Any, ...]]:
        """Read once; nothing where nothing was ever written."""
        ...

    def writing(self) -> AbstractContextManager[Ask]:
        """Hold the only right to write: the transaction is kept when the block ends and undone when it raises."""
        ...

    def damage(self, ask: Ask) -> list[str]:
        """Look for damage by the database's own means, and name it."""
        ...

    def close(self) -> None:
        """Close what is open; the next use opens it again."""
        ...


def accept(place: str, version: int, names: set[str], guards: set[str]) -> None:
    """Refuse a schema that is newer, somebody else's or stripped of its guards.

    Raises:
        ConfigError, IntegrityError: it is.
    """
    if version > schema.VERSION:
        raise ConfigError(
            "the ledger was written by a newer kobe",
            seen=f"{place}: schema {version}",
            expected=f"schema {schema.VERSION}",
            next_command="kobe --version",
        )
    if not version:
        raise ConfigError("the database is that of another program", seen=place, next_command=_DOCTOR)
    lost = schema.missing(names, guards)
    if lost:
        raise damaged(place, f"without {', '.join(sorted(lost))}")


def held(place: str, found: str) -> ExternalError:
    """Say that somebody else is writing."""
    return ExternalError(
        "another kobe process holds the ledger", seen=f"{place}: {found}", next_command="kobe status", retryable=True
    )


def damaged(place: str, found: str) -> IntegrityError:
    """Say that records are not what they were."""
    return IntegrityError("the ledger is damaged", seen=f"{place}: {found}", next_command=_DOCTOR)


def unusable(place: str, found: str, expected: str) -> ConfigError:
    """Say that this user may not do this there."""
    return ConfigError("the ledger cannot be used", seen=f"{place}: {found}", expected=expected, next_command=_DOCTOR)


def silent(place: str, found: str, *, retryable: bool, what: str = "the ledger did not answer") -> ExternalError:
    """Say that the database or its disk did not do what was asked."""
    return ExternalError(what, seen=f"{place}: {found}", next_command=_DOCTOR, retryable=retryable)
