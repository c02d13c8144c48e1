"""How the ledger lies in its file: the table, its guards, and the connections that may write it."""

import sqlite3
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, Select, Table

VERSION = 1
_TABLE = "events"
_INDEX = "events_of_entity"
WRITING = "BEGIN IMMEDIATE"
_PRAGMAS = ("synchronous=FULL", "fullfsync=ON", "foreign_keys=ON", "recursive_triggers=ON", "trusted_schema=OFF")
_TRIGGERS = {
    "events_never_change": "BEFORE UPDATE ON events",
    "events_never_leave": "BEFORE DELETE ON events",
    # INSERT OR REPLACE removes rows without asking the delete trigger
    "events_never_replaced": """BEFORE INSERT ON events WHEN EXISTS (SELECT 1 FROM events
        WHERE sequence = NEW.sequence OR (stream = NEW.stream AND key = NEW.key))""",
}


@cache
def table() -> "Table":
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
    import sqlalchemy as sa

    table = table()
    return table.select().where(table.c.stream == sa.bindparam("stream"), table.c.key == sa.bindparam("key"))


def engine(path: Path, *, read_only: bool, busy_timeout_s: float) -> "Engine":
    """An engine whose connections keep their promises: full synchronisation, transactions begun by us."""
    import sqlalchemy as sa

    address = f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rwc'}"

    def connect() -> sqlite3.Connection:
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

    engine = sa.create_engine("sqlite://", creator=connect, poolclass=sa.QueuePool)

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        statement = connection.get_execution_options().get("begin", "BEGIN")
        if statement is not None:
            connection.exec_driver_sql(statement)

    return engine


def found(engine: "Engine") -> tuple[int, set[str], str]:
    """Version of a file's schema, the names of its own tables, indexes and triggers, and its journal mode."""
    with engine.connect() as connection:
        version = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
        names = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE substr(name, 1, 7) != 'sqlite_'")
        found = {str(row[0]) for row in names}
        return int(version), found, str(connection.exec_driver_sql("PRAGMA journal_mode").scalar_one())


def create(engine: "Engine") -> None:
    """Make the schema in one transaction."""
    with engine.execution_options(begin=WRITING).begin() as connection:
        table().create(connection)
        for name, moment in _TRIGGERS.items():
            refusal = f"SELECT RAISE(ABORT, '{name}')"
            connection.exec_driver_sql(f"CREATE TRIGGER {name} {moment} BEGIN {refusal}; END")
        connection.exec_driver_sql(f"PRAGMA user_version = {VERSION}")
