"""A PostgreSQL server of the tests' own: in a temporary folder, reached through a socket in it, gone afterwards."""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

REQUIRED = "KOBE_REQUIRE_POSTGRES"
"""Where this variable is set, a machine without PostgreSQL fails the tests instead of skipping them."""
OWNER = "kobe"
PORT = 5432  # part of the socket's name only: the server listens on no network
WAIT_S = 60.0
SETTINGS = {
    "listen_addresses": "",
    "fsync": "on",
    "max_connections": "40",
    "shared_buffers": "16MB",
    "timezone": "America/New_York",  # a server's zone must not matter
}


class Cluster:
    """One server with one database; each ledger gets a schema of its own in it."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs = programs
        self._folder = folder
        self._data = folder / "data"
        self._user = _unprivileged()
        self._server: subprocess.Popen[bytes] | None = None
        if self._user:
            os.chown(folder, self._user["user"], self._user["group"])
        self._run(
            "initdb", "--auth=trust", f"--username={OWNER}", "--encoding=UTF8", "--locale=C", "--no-sync",
            f"--pgdata={self._data}",
        )  # fmt: skip
        hba = self._data / "pg_hba.conf"
        hba.write_text("local all locked scram-sha-256\nlocal all all trust\n", encoding="ascii")
        self.start()

    def start(self) -> None:
        """Start the server and wait until it answers."""
        settings = [f"--{name}={value}" for name, value in SETTINGS.items()]
        command = [self._programs / "postgres", "-D", self._data, "-k", self._folder, "-p", str(PORT), *settings]
        with (self._folder / "log").open("ab") as log:
            self._server = subprocess.Popen(command, stdout=log, stderr=log, cwd=self._folder, **self._user)
        deadline = time.monotonic() + WAIT_S
        while not self._answers():
            if time.monotonic() > deadline or self._server.poll() is not None:
                pytest.fail(f"PostgreSQL did not start: {(self._folder / 'log').read_text()[-2000:]}")
            time.sleep(0.05)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop the server by its process id: by default at once, its clients dropped and its records whole."""
        server, self._server = self._server, None
        if server is None:
            return
        server.send_signal(how)
        try:
            server.wait(WAIT_S)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()

    def fresh(self) -> str:
        """Make an empty schema and return its address."""
        name = f"t_{secrets.token_hex(6)}"
        self.execute(f"CREATE SCHEMA {name}")
        return self.address(f"-csearch_path={name}")

    def address(self, options: str = "", *, user: str = OWNER, database: str = "postgres") -> str:
        """Return the address of the server as somebody."""
        more = f"&options={quote(options)}" if options else ""
        return f"postgresql://{user}@/{database}?host={quote(str(self._folder), safe='')}&port={PORT}{more}"

    def execute(self, statement: str, address: str | None = None) -> list[tuple[Any, ...]]:
        """Run a statement as a program that knows nothing of kobe."""
        import psycopg

        with psycopg.connect(address or self.address(), autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def _answers(self) -> bool:
        import psycopg

        try:
            self.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def _run(self, program: str, *arguments: str) -> None:
        command = [self._programs / program, *arguments]
        done = subprocess.run(command, capture_output=True, cwd=self._folder, check=False, **self._user)
        if done.returncode:
            pytest.fail(f"{program}: {done.stderr.decode()[-2000:]}")


@contextmanager
def cluster() -> Iterator[Cluster]:
    """Give a running server, or skip what asked for it where no PostgreSQL is installed."""
    programs = _programs()
    if programs is None:
        reason = "no PostgreSQL server is installed (Debian, Ubuntu: the package postgresql)"
        (pytest.fail if os.environ.get(REQUIRED) else pytest.skip)(reason)
    folder = Path(tempfile.mkdtemp(prefix="kobe-pg-"))  # short: a socket's path has at most a hundred characters
    server = None
    try:
        server = Cluster(programs, folder)
        yield server
    finally:
        if server is not None:
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _programs() -> Path | None:
    """Find the folder with `initdb` and `postgres`."""
    if sys.platform == "win32":
        return None
    folders = []
    if shutil.which("pg_config"):
        told = subprocess.run(["pg_config", "--bindir"], capture_output=True, text=True, check=False)
        folders.append(Path(told.stdout.strip()))
    folders += [Path(found).resolve().parent for found in [shutil.which("initdb")] if found]
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((f for f in folders if (f / "initdb").is_file() and (f / "postgres").is_file()), None)


def _unprivileged() -> dict[str, Any]:
    """Say who runs the server: it refuses to be root, so that root steps aside for another user."""
    if os.geteuid() != 0:
        return {}
    import pwd

    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    entry = known.get("postgres") or known["nobody"]
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
