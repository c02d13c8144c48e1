"""The ledger on a PostgreSQL server: its guards, its promises, a server that goes away, and what no message repeats."""

import signal
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
from kit.postgres import Cluster

from kobe.core.clock import SteppingClock
from kobe.core.errors import ConfigError, ExternalError, IntegrityError, KobeError
from kobe.infra.records.ledger import SqlLedger
from kobe.infra.records.ledger_schema import VERSION


@pytest.fixture
def ledger(postgres_url: str, clock: SteppingClock) -> Iterator[SqlLedger]:
    with closing(SqlLedger(postgres_url, clock, busy_timeout_s=0.2)) as ledger:
        yield ledger


def kinds(ledger: SqlLedger) -> list[str]:
    return [event.kind for event in ledger.events("things")]


@contextmanager
def refused(kind: type[KobeError], *secrets: str) -> Iterator[None]:
    """Expect a fault whose words, and those of every error behind it that is shown, hold no secret."""
    with pytest.raises(kind) as raised:
        yield
    shown: BaseException | None = raised.value
    while shown is not None:
        assert not any(secret in str(shown) for secret in secrets)
        shown = shown.__cause__ or (None if shown.__suppress_context__ else shown.__context__)


@pytest.mark.parametrize(
    "statement",
    [
        "TRUNCATE events",
        "SET session_replication_role = replica; DELETE FROM events",
        "INSERT INTO events VALUES (1, 's', 'e', 'k', 0, '{}', 'n') ON CONFLICT (sequence) DO UPDATE SET key = 'n'",
    ],
)
def test_no_program_can_rewrite_history_in_the_server_s_own_ways(
    ledger: SqlLedger, postgres_cluster: Cluster, postgres_url: str, statement: str
) -> None:
    ledger.append("things", "a", "made", {"x": 1}, key="k")
    with pytest.raises(Exception, match="events_never"):
        postgres_cluster.execute(statement, postgres_url)
    assert [e.payload for e in ledger.events("things")] == [{"x": 1}]


def test_a_guard_that_is_switched_off_counts_as_gone(
    ledger: SqlLedger, postgres_cluster: Cluster, postgres_url: str
) -> None:
    ledger.append("things", "a", "made", {}, key="1")
    postgres_cluster.execute("ALTER TABLE events DISABLE TRIGGER events_never_change", postgres_url)
    with pytest.raises(IntegrityError, match="without events_never_change"):
        ledger.check()


def test_a_newer_or_foreign_schema_is_a_matter_of_configuration(
    ledger: SqlLedger, postgres_cluster: Cluster, postgres_url: str
) -> None:
    ledger.append("things", "a", "made", {}, key="1")
    ledger.close()
    for words, message in ((f"kobe ledger, schema {VERSION + 1}", "newer kobe"), ("mine", "another program")):
        postgres_cluster.execute(f"COMMENT ON TABLE events IS '{words}'", postgres_url)
        with pytest.raises(ConfigError, match=message):
            ledger.append("things", "a", "moved", {}, key="2")


def test_two_schemas_of_a_database_are_two_ledgers_that_do_not_wait_for_each_other(
    ledger: SqlLedger, postgres_cluster: Cluster, clock: SteppingClock
) -> None:
    with closing(SqlLedger(postgres_cluster.fresh(), clock, busy_timeout_s=0.2)) as other, ledger.exclusive():
        assert ledger.append("things", "a", "made", {}, key="1")
        assert other.append("things", "a", "other", {}, key="1")
        assert kinds(other) == ["other"]
    assert kinds(ledger) == ["made"]


def test_a_commit_waits_for_the_disk_whatever_the_server_s_default_is(
    postgres_cluster: Cluster, clock: SteppingClock
) -> None:
    address = postgres_cluster.fresh().replace("options=", "options=-csynchronous_commit%3Doff%20")
    with closing(SqlLedger(address, clock)) as ledger, ledger.exclusive():
        ask = ledger._local.ask
        assert ask("SHOW synchronous_commit", {}) == [("on",)]
        assert ask("SHOW fsync", {}) == [("on",)]


def test_a_search_path_that_leads_nowhere_is_a_matter_of_configuration(
    postgres_cluster: Cluster, clock: SteppingClock
) -> None:
    address = postgres_cluster.address("-csearch_path=nowhere")
    with closing(SqlLedger(address, clock)) as ledger, pytest.raises(ConfigError, match="no schema"):
        ledger.append("things", "a", "made", {}, key="1")


def test_a_database_that_cannot_hold_every_letter_is_refused(postgres_cluster: Cluster, clock: SteppingClock) -> None:
    postgres_cluster.execute("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0")
    with closing(SqlLedger(postgres_cluster.address(database="latin"), clock)) as ledger:
        with pytest.raises(ConfigError, match="LATIN1"):
            ledger.append("things", "a", "made", {}, key="1")
        ledger.close()


def test_a_user_who_may_not_write_is_told_so_by_no_name(
    ledger: SqlLedger, postgres_cluster: Cluster, postgres_url: str, clock: SteppingClock
) -> None:
    ledger.append("things", "a", "made", {}, key="1")
    schema = postgres_url.rpartition("%3D")[2]
    postgres_cluster.execute("CREATE ROLE reader_of_things LOGIN")
    postgres_cluster.execute(f"GRANT USAGE ON SCHEMA {schema} TO reader_of_things")
    postgres_cluster.execute(f"GRANT SELECT ON {schema}.events TO reader_of_things")
    theirs = postgres_url.replace("kobe@", "reader_of_things@")
    with closing(SqlLedger(theirs, clock)) as other:
        assert kinds(other) == ["made"]
        with refused(ConfigError, "reader_of_things"):
            other.append("things", "a", "moved", {}, key="2")


def test_a_server_that_refuses_says_neither_user_nor_password(postgres_cluster: Cluster, clock: SteppingClock) -> None:
    postgres_cluster.execute("CREATE ROLE locked LOGIN PASSWORD 'right'")
    addresses = {
        "locked:hunter2": (postgres_cluster.address(user="locked:hunter2"), ConfigError),
        "locked": (postgres_cluster.address(user="locked"), ConfigError),
        "stranger": (postgres_cluster.address(user="stranger:hunter2"), ConfigError),
        "no database": (postgres_cluster.address(user="stranger:hunter2", database="void"), ConfigError),
        "no socket": ("postgresql://stranger:hunter2@/db?host=%2Fnowhere", ExternalError),
        "no port": ("postgresql://stranger:hunter2@127.0.0.1:1/db", ExternalError),
        "no host": ("postgresql://stranger:hunter2@nowhere.invalid/db", ExternalError),
    }
    for address, kind in addresses.values():
        with closing(SqlLedger(address, clock, busy_timeout_s=0.2)) as ledger:
            with refused(kind, "hunter2", "locked", "stranger"):
                ledger.events("things")
            with refused(kind, "hunter2", "locked", "stranger"):
                ledger.append("things", "a", "made", {}, key="1")


def test_a_connection_that_the_server_dropped_is_opened_anew(ledger: SqlLedger, postgres_cluster: Cluster) -> None:
    ledger.append("things", "a", "made", {}, key="1")
    drop = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'kobe'"
    postgres_cluster.execute(drop)
    assert kinds(ledger) == ["made"]
    with refused(ExternalError), ledger.exclusive():
        ledger.append("things", "a", "half", {}, key="2")
        postgres_cluster.execute(drop)
        ledger.append("things", "a", "half", {}, key="3")
    assert kinds(ledger) == ["made"]
    assert ledger.append("things", "a", "moved", {}, key="2")


def test_a_server_that_dies_loses_nothing_it_confirmed_and_keeps_nothing_half(
    ledger: SqlLedger, postgres_cluster: Cluster
) -> None:
    for number in range(20):
        ledger.append("things", "a", f"made {number}", {}, key=str(number))
    with refused(ExternalError), ledger.exclusive():
        ledger.append("things", "a", "half", {}, key="half")
        postgres_cluster.stop(signal.SIGQUIT)  # without a checkpoint, as in a power cut
    try:
        with refused(ExternalError, "kobe@") as _:
            ledger.append("things", "a", "more", {}, key="more")
    finally:
        postgres_cluster.start()
    assert kinds(ledger) == [f"made {number}" for number in range(20)]
    assert ledger.append("things", "a", "more", {}, key="more")
    ledger.check()
