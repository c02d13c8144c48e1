"""A dask scheduler with workers as their own processes, as on a real cluster; and a wire that counts its bytes."""

import os
import re
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


@contextmanager
def scheduler():
    """Run a scheduler on loopback; yields (its address, its process)."""
    command = ["-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
    with _running(command) as process:
        yield _line(process, r"Scheduler at:\s+(tcp://127\.0\.0\.1:\d+)"), process


@contextmanager
def worker(address, **environment):
    """Run a worker of one thread that can import kobe and the kit; yields its process (the nanny's)."""
    command = ["-m", "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-dashboard"]
    with _running(command, **environment) as process:
        _line(process, r"(Registered to)")
        yield process


@contextmanager
def _running(arguments, **environment):
    path = os.pathsep.join((str(REPOSITORY), str(REPOSITORY / "tests")))
    process = subprocess.Popen(
        [sys.executable, *arguments], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
        env={**os.environ, "PYTHONPATH": path, **environment},
    )  # fmt: skip
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stderr.close()


def _line(process, pattern):
    """Read the process's log until a line says what we wait for; go on reading in the background."""
    seen = []
    for line in process.stderr:
        seen.append(line)
        found = re.search(pattern, line)
        if found:
            threading.Thread(target=_drain, args=(process.stderr,), daemon=True).start()
            return found.group(1)
    raise AssertionError("".join(seen))


def _drain(stream):
    try:
        for _ in stream:
            pass
    except ValueError:
        pass  # closed


class Wire:
    """Listens on loopback, passes every connection on to an address, and counts what goes there."""

    def __init__(self, address):
        host, port = address.removeprefix("tcp://").rsplit(":", 1)
        self._target = (host, int(port))
        self.sent = 0
        self._lock = threading.Lock()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address = f"tcp://127.0.0.1:{self._server.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self._server.close()

    def _accept(self):
        while True:
            try:
                ours, _ = self._server.accept()
            except OSError:
                return
            theirs = socket.create_connection(self._target)
            threading.Thread(target=self._pass, args=(ours, theirs, True), daemon=True).start()
            threading.Thread(target=self._pass, args=(theirs, ours, False), daemon=True).start()

    def _pass(self, source, target, counted):
        with source, target:
            try:
                while content := source.recv(65536):
                    if counted:
                        with self._lock:
                            self.sent += len(content)
                    target.sendall(content)
            except OSError:
                pass
