"""The ledger in one schema of a PostgreSQL database: the same statements, through SQLAlchemy and psycopg.

All writers of a schema take one advisory lock for as long as their transaction lasts, so that numbers are given in
the order of the commits. What the driver says never reaches a message as it stands: it names users.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from kobe.core.errors import ConfigError, KobeError
from kobe.infra.records import ledger_database as database
from kobe.infra.records import ledger_schema as schema
from kobe.infra.records.ledger_database import Ask

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection, Engine, TextClause
    from sqlalchemy.exc import DBAPIError

_LOCK_SPACE = 0x6B6F6265  # the upper half of the lock's name; the lower half is the schema
_LOCK = f"""SELECT pg_advisory_xact_lock(({_LOCK_SPACE}::bigint << 32) + oid::bigint)
    FROM pg_namespace WHERE nspname = current_schema()"""  # noqa: S608 - our own number
_GUARDS = schema.GUARDS | {"events_never_emptied": "TRUNCATE"}
_REFUSE = "events_refuse"
_VERSION_WORDS = "kobe ledger, schema "
_HOME = "SELECT current_schema(), current_setting('server_encoding')"
_NAMES = """SELECT c.relname, CASE WHEN c.relkind = 'r' THEN obj_description(c.oid, 'pg_class') END
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = current_schema() AND c.relname LIKE 'events%'
    UNION ALL
    SELECT t.tgname, NULL FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = current_schema() AND c.relname = 'events' AND t.tgenabled = 'A'"""
# What a failed connection says carries no code; these are its words, and whether asking again can help.
_REFUSALS = {
    "password authentication failed": "the server refuses this user",
    "no password supplied": "the server asks for a password",
    "does not exist": "there is no such database or user",
    "pg_hba.conf": "the server takes no such connection",
    "permission denied": "the server refuses this user",
}
_FAILURES = {
    "timeout expired": "no answer in time",
    "refused": "nobody listens there",
    "could not translate host name": "there is no such host",
    "failed to resolve host": "there is no such host",
    "No such file": "nobody listens there",
}
_DENIED = ("25006", "28", "3D", "3F", "42501", "22P05")


class PostgresDatabase:
    """Events in the schema that the address leads to; any number of clients, one of them writing at a time."""

    def __init__(self, address: str, *, read_only: bool, busy_timeout_s: float) -> None:
        """Nothing is opened or made until the first use.

        Raises:
            ConfigError: the address cannot be read, or the driver is not installed.
        """
        self._url = _url(address)
        host = self._url.host or self._url.query.get("host") or "local"
        self.place = f"postgresql://{host}/{self._url.database or ''}"
        self.path = None
        self._read_only = read_only
        self._busy_timeout_s = busy_timeout_s
        self._opened: Engine | None = None
        self._checked = False

    @contextmanager
    def reading(self) -> Iterator[Ask | None]:
        """Read what is committed; None where no ledger was made yet."""
        with self._connected() as connection:
            yield self._asking(connection) if self._checked or self._is_made(connection) else None

    def stamp(self) -> object:
        """None: the server tells no client whether others wrote."""
        return None

    def rows(self, statement: str, values: dict[str, Any]) -> list[tuple[Any, ...]]:
        """Read once; nothing where no ledger was made yet."""
        with self.reading() as ask:
            return [] if ask is None else ask(statement, values)

    @contextmanager
    def writing(self) -> Iterator[Ask]:
        """Hold the schema's only right to write for as long as the block lasts."""
        if self._read_only:
            raise ConfigError("the ledger is open for reading only", seen=self.place)
        with self._connected() as connection:
            ask = self._asking(connection)
            ask(_LOCK, {})
            if not self._checked and not self._is_made(connection):
                self._make(ask)
            yield ask
            with self._translated():
                connection.commit()
            self._checked = True

    def damage(self, ask: Ask) -> list[str]:
        """Look for what would lose records: a server that does not wait for its disk, guards that are gone."""
        off = [name for name in ("fsync", "full_page_writes") if ask(f"SHOW {name}", {})[0][0] != "on"]
        if off:
            raise ConfigError(
                "the server does not keep what it confirms", seen=f"{self.place}: {', '.join(off)} = off",
                expected="on", next_command="ALTER SYSTEM SET fsync = on; ALTER SYSTEM SET full_page_writes = on",
            )  # fmt: skip
        version, names = _version_and_names(ask)
        database.accept(self.place, version, names, set(_GUARDS))
        return []

    def close(self) -> None:
        """Close the connections that nobody is using."""
        if self._opened is not None:
            self._opened.dispose()
        self._opened, self._checked = None, False

    def _is_made(self, connection: "Connection") -> bool:
        """Check the schema that is there; False where there is none."""
        ask = self._asking(connection)
        home, encoding = ask(_HOME, {})[0]
        if home is None or encoding != "UTF8":
            found = "the search path leads to no schema" if home is None else f"the database is in {encoding}"
            raise database.unusable(self.place, found, "a schema in a database in UTF8")
        version, names = _version_and_names(ask)
        if schema.TABLE not in names:
            return False
        database.accept(self.place, version, names, set(_GUARDS))
        self._checked = True
        return True

    @staticmethod
    def _make(ask: Ask) -> None:
        """Make the schema inside the transaction of its first writer."""
        ask(schema.CREATE_TABLE.format(sequence="BIGINT"), {})
        for statement in schema.INDEXES.values():
            ask(statement, {})
        ask(
            f"""CREATE OR REPLACE FUNCTION {_REFUSE}() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE EXCEPTION '%', TG_NAME USING ERRCODE = 'integrity_constraint_violation'; END $$""",
            {},
        )
        for name, deed in _GUARDS.items():
            each = "STATEMENT" if deed == "TRUNCATE" else "ROW"
            guard = f"BEFORE {deed} ON {schema.TABLE} FOR EACH {each} EXECUTE FUNCTION {_REFUSE}()"
            ask(f"CREATE TRIGGER {name} {guard}", {})
            ask(f"ALTER TABLE {schema.TABLE} ENABLE ALWAYS TRIGGER {name}", {})  # a replica's session asks it, too
        ask(f"COMMENT ON TABLE {schema.TABLE} IS '{_VERSION_WORDS}{schema.VERSION}'", {})

    @contextmanager
    def _connected(self) -> "Iterator[Connection]":
        """Give a connection whose transaction ends with the block, undone unless it was committed."""
        from sqlalchemy.exc import SQLAlchemyError

        engine = self._engine()
        with self._translated():
            connection = engine.connect()
        try:
            yield connection
        finally:
            with suppress(SQLAlchemyError):  # a connection that is gone was undone by the server
                if engine is not self._opened:  # the ledger was closed meanwhile: nobody will use it again
                    connection.detach()
                connection.close()

    def _engine(self) -> "Engine":
        if self._opened is None:
            import sqlalchemy as sa

            wait_s = max(2, round(self._busy_timeout_s))
            self._opened = sa.create_engine(
                self._url, pool_pre_ping=True, max_overflow=-1, hide_parameters=True,
                connect_args={"connect_timeout": wait_s, "client_encoding": "utf8", "application_name": "kobe"},
            )  # fmt: skip
            sa.event.listen(self._opened, "connect", self._begin_session)
        return self._opened

    def _begin_session(self, connection: Any, _: object) -> None:
        """Let a new connection keep the ledger's promises, whatever the server's defaults are."""
        read_only = "on" if self._read_only else "off"
        connection.execute(
            f"SET synchronous_commit = on; SET lock_timeout = {max(1, round(self._busy_timeout_s * 1000))};"
            f" SET default_transaction_isolation = 'read committed'; SET default_transaction_read_only = {read_only}"
        )
        connection.commit()

    def _asking(self, connection: "Connection") -> Ask:
        def ask(statement: str, values: dict[str, Any]) -> list[tuple[Any, ...]]:
            with self._translated():
                result = connection.execute(_text(statement), values)
                return [tuple(row) for row in result] if result.returns_rows else []

        return ask

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Say what the server refused as one of our errors, without the driver's own words."""
        from sqlalchemy.exc import DBAPIError

        try:
            yield
        except DBAPIError as error:
            fault = self._fault(error)
        else:
            return
        raise fault from None

    def _fault(self, error: "DBAPIError") -> KobeError:
        code = getattr(error.orig, "sqlstate", None) or ""
        name = f"{type(error.orig).__name__} {code}".strip()
        if not code:
            return self._fault_of_connection(str(error.orig), name)
        if code == "55P03":
            return database.held(self.place, "no lock in time")
        if code.startswith(("23", "XX", "42P01")):
            guard = re.search(r"events_\w+", str(error.orig))
            return database.damaged(self.place, f"{name} {guard.group() if guard else ''}".strip())
        if code.startswith(_DENIED):
            return database.unusable(self.place, name, "a schema this user may write")
        if code == "53100":
            return database.silent(self.place, name, retryable=True, what="the disk is full")
        passing = code.startswith(("08", "40", "53", "57"))
        return database.silent(self.place, name, retryable=passing)

    def _fault_of_connection(self, said: str, name: str) -> KobeError:
        for words, meaning in _REFUSALS.items():
            if words in said:
                return database.unusable(self.place, meaning, "an address whose user may connect")
        meaning = next((meaning for words, meaning in _FAILURES.items() if words in said), name)
        return database.silent(self.place, meaning, retryable=True)


def _url(address: str) -> "URL":
    """Read an address.

    Raises:
        ConfigError: it is none, or what speaks PostgreSQL is not installed.
    """
    try:
        import psycopg  # noqa: F401 - the driver SQLAlchemy loads later, when its absence would be harder to tell
        from sqlalchemy import make_url
        from sqlalchemy.exc import ArgumentError
    except ImportError as error:
        raise ConfigError(
            "PostgreSQL needs an extra of kobe", seen=f"no module {error.name}", expected="psycopg and SQLAlchemy",
            next_command="pip install 'kobe[postgres]'",
        ) from error  # fmt: skip
    try:
        return make_url(address).set(drivername="postgresql+psycopg")
    except (ArgumentError, ValueError):
        pass
    raise ConfigError(  # outside the handler: what the parser says repeats the address, and with it the password
        "the ledger's address cannot be read", seen="postgresql://...", expected="postgresql://USER@HOST:PORT/DATABASE"
    )


@lru_cache(maxsize=64)
def _text(statement: str) -> "TextClause":
    from sqlalchemy import text

    return text(statement)


def _version_and_names(ask: Ask) -> tuple[int, set[str]]:
    """Read the version of the schema and the names of the ledger's tables, indexes and guards in force."""
    rows = ask(_NAMES, {})
    told = next((words for name, words in rows if name == schema.TABLE and words), "")
    digits = told.removeprefix(_VERSION_WORDS)
    return int(digits) if told.startswith(_VERSION_WORDS) and digits.isdigit() else 0, {name for name, _ in rows}
