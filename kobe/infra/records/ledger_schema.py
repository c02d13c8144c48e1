"""How the ledger lies in its file: the table, its guards, and the connections that may write it."""

import sqlite3
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy import Engine, Select, Table

VERSION = 1
WRITING = "BEGIN IMMEDIATE"
_TABLE = "events"
_INDEX = "events_of_entity"
_PRAGMAS = ("synchronous=FULL", "fullfsync=ON", "foreign_keys=ON", "recursive_triggers=ON", "trusted_schema=OFF")
_TRIGGERS = {
    "events_never_change": "BEFORE UPDATE ON events",
    "events_never_leave": "BEFORE DELETE ON events",
    # INSERT OR REPLACE removes rows without asking the delete trigger
    "events_never_replaced": """BEFORE INSERT ON events WHEN EXISTS (SELECT 1 FROM events
        WHERE sequence = NEW.sequence OR (stream = NEW.stream AND key = NEW.key))""",
}
NAMES = {_TABLE, _INDEX, *_TRIGGERS}


@cache
def table() -> "Table":
    """Describe the one table; sequence numbers are never given twice."""
    import sqlalchemy as sa

    return sa.Table(
        _TABLE,
        sa.MetaData(),
        sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("stream", sa.Text, nullable=False),
        sa.Column("entity", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("at_ns", sa.BigInteger, nullable=False),
        sa.Column("payload", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.UniqueConstraint("stream", "key"),
        sa.Index(_INDEX, "stream", "entity"),
        sqlite_autoincrement=True,
    )


@cache
def same_key() -> "Select[Any]":
    """Select the event that has a `stream` and `key`."""
    import sqlalchemy as sa

    c = table().c
    return table().select().where(c.stream == sa.bindparam("stream"), c.key == sa.bindparam("key"))


def connect(path: Path, *, read_only: bool, busy_timeout_s: float) -> sqlite3.Connection:
    """Return a connection with its promises kept: full synchronisation, transactions begun by whoever uses it."""
    address = f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rwc'}"
    connection = sqlite3.connect(
        address, uri=True, timeout=busy_timeout_s, isolation_level=None, check_same_thread=False
    )
    try:
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}").close()
    except BaseException:
        connection.close()
        raise
    return connection


def version_and_names(connection: sqlite3.Connection) -> tuple[int, set[str]]:
    """Read the version of a file's schema and the names of its tables, indexes and triggers."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    names = connection.execute("SELECT name FROM sqlite_master WHERE substr(name, 1, 7) != 'sqlite_'")
    return int(version), {str(row[0]) for row in names}


COLUMNS = ("sequence", "stream", "entity", "kind", "at_ns", "payload")


def rows(connection: sqlite3.Connection, stream: str, entity: str | None) -> list[dict[str, Any]]:
    """Return the events of a stream, or of one entity in it, oldest first."""
    asked, values = "stream = ?", [stream]
    if entity is not None:
        asked, values = "stream = ? AND entity = ?", [stream, entity]
    query = f"SELECT {', '.join(COLUMNS)} FROM {_TABLE} WHERE {asked} ORDER BY sequence"  # noqa: S608 - our own names
    return [dict(zip(COLUMNS, row, strict=True)) for row in connection.execute(query, values)]


def open_engine(path: Path, *, read_only: bool, busy_timeout_s: float) -> "Engine":
    """Return an engine whose connections keep their promises: full synchronisation, transactions begun by us.

    A transaction begins with the execution option `begin`, such as `WRITING`; None leaves it out.
    """
    import sqlalchemy as sa

    engine = sa.create_engine(
        "sqlite://",
        creator=lambda: connect(path, read_only=read_only, busy_timeout_s=busy_timeout_s),
        poolclass=sa.QueuePool,
    )

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        statement = connection.get_execution_options().get("begin", "BEGIN")
        if statement is not None:
            connection.exec_driver_sql(statement)

    return engine


def found(engine: "Engine") -> tuple[int, set[str], str]:
    """Read the version of a file's schema, the names of its tables, indexes and triggers, and its journal mode."""
    with engine.connect() as connection:
        version = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
        names = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE substr(name, 1, 7) != 'sqlite_'")
        own = {str(row[0]) for row in names}
        return int(version), own, str(connection.exec_driver_sql("PRAGMA journal_mode").scalar_one())


def create(engine: "Engine") -> None:
    """Make the schema in one transaction."""
    with engine.execution_options(begin=WRITING).begin() as connection:
        table().create(connection)
        for name, moment in _TRIGGERS.items():
            refusal = f"SELECT RAISE(ABORT, '{name}')"
            connection.exec_driver_sql(f"CREATE TRIGGER {name} {moment} BEGIN {refusal}; END")
        connection.exec_driver_sql(f"PRAGMA user_version = {VERSION}")
