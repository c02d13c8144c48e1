"""Alpaca's trading and data API on this machine, for the real client: good answers, and faults on demand.

In a test: `with AlpacaServer() as server: TradingClient(KEY, SECRET, url_override=server.url)`. As a process of its
own, with this folder's parent on PYTHONPATH: `python -m kit.alpaca_server [--state FILE]`; it prints one line of JSON
with its url and pid, and ends at SIGTERM or when its input closes. With a state file the books outlive the process.
The admin door is POST /_kit/NAME with a JSON object; `Desk` has a method for each name.
"""

import argparse
import json
import os
import signal
import socket
import struct
import sys
import threading
import time
from contextlib import suppress
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qsl, unquote, urlsplit

from kit import alpaca_admin, alpaca_faults, alpaca_routes
from kit.alpaca_books import Books, Refusal
from kit.alpaca_desk import KEY, SECRET, AlpacaDesk, Desk, Json, alpaca_process
from kit.alpaca_store import Store

__all__ = ["KEY", "SECRET", "AlpacaDesk", "AlpacaServer", "Desk", "alpaca_process"]
HTML = b"<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"
_PLAIN_ANSWERS = {
    "500": (500, {"code": 50010000, "message": "internal server error occurred"}),
    "504": (504, {"code": 50410000, "message": "request timed out"}),
    "429": (429, {"code": 42910000, "message": "rate limit exceeded"}),
    "401": (401, {"code": 40110000, "message": "request is not authorized"}),
    "duplicate_422": (422, {"code": 40010001, "message": "client_order_id must be unique"}),
}


class _Lost(Exception):  # noqa: N818 - the wanted end of a request
    """The connection is to be reset without an answer."""


class AlpacaServer(Desk):
    """The server; use it as a context manager. Settings are those of `alpaca_books.SETTINGS`."""

    def __init__(
        self, cash: str = "10000", *, key: str = KEY, secret: str = SECRET, state: Path | None = None, port: int = 0,
        **settings: Any,
    ) -> None:  # fmt: skip
        self.key, self.secret, self.port = key, secret, port
        self._start = {"cash": cash, **settings}
        self._lock = threading.RLock()
        self._let_go = threading.Event()
        self._connections: set[socket.socket] = set()
        self._store = Store(state)
        self._begin(*self._store.load())

    def __enter__(self) -> Self:
        server = self

        class Handler(_Handler):
            alpaca = server

        self._http = _Http(("127.0.0.1", self.port), Handler)
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._let_go.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()
        with self._lock:
            for connection in self._connections:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in self._http.talks:
            thread.join(5)

    @property
    def url(self) -> str:
        """Address of the server, for `url_override`."""
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    # -- books ---------------------------------------------------------------------------------------------------

    def _begin(self, state: Json | None, faults: list[Json], requests: list[Json]) -> None:
        self.books = Books(state, **self._start)
        self._faults, self._requests = faults, requests
        self._minute, self._used = 0.0, 0
        self._store.begin(self.books, faults, requests)

    def _save(self, *, whole: bool) -> None:
        self._store.save(self.books, self._faults, whole=whole)

    # -- the admin door ------------------------------------------------------------------------------------------

    def call(self, name: str, **body: Any) -> Any:
        """Do what a route of the admin door does.

        Raises:
            ValueError: no such route, or the broker refuses.
        """
        body = json.loads(json.dumps(body, default=str))
        with self._lock:
            if name == "requests":
                return [dict(row) for row in self._requests]
            if name == "faults":
                self._faults += [alpaca_faults.rule(**rule) for rule in body["rules"]]
            elif name in {"clear_faults", "reset"}:
                self._faults.clear()
                self._let_go.set()
                self._let_go = threading.Event()
                if name == "reset":
                    self._begin(None, [], [])
            elif name not in alpaca_admin.ROUTES:
                raise ValueError(f"no such route: {name}")
            else:
                try:
                    told = alpaca_admin.ROUTES[name](self.books, **body)
                except Refusal as refusal:
                    raise ValueError(json.dumps(refusal.body)) from refusal
                if name not in alpaca_admin.READS:
                    self._save(whole=True)
                return json.loads(json.dumps(told))
            self._save(whole=True)
            return None

    # -- requests ------------------------------------------------------------------------------------------------

    def serve(self, handler: "_Handler", method: str, target: str, content: bytes) -> None:
        """Answer one request, well or with a fault."""
        if target.startswith("/_kit/"):
            self._serve_desk(handler, target, content)
            return
        body = content.decode("utf-8", "replace")
        with self._lock:
            row: Json = {"n": len(self._requests), "method": method, "path": target, "body": body, "fault": None,
                         "done_status": None, "status": None, "accepted": False}  # fmt: skip
            self._requests.append(row)
            fault = alpaca_faults.take(self._faults, method, target, body)
            if fault is not None:
                row["fault"] = fault["fault"]
                self._save(whole=False)
            self._store.note(row)
            books, let_go = self.books, self._let_go
        try:
            self._serve_api(handler, row, fault, books, let_go)
        except _Lost:
            handler.reset()
        finally:
            with self._lock:
                if self.books is books:
                    self._store.note(row)

    def _serve_desk(self, handler: "_Handler", target: str, content: bytes) -> None:
        try:
            body = json.loads(content or b"{}")
            told = self.call(target.removeprefix("/_kit/"), **body)
        except (ValueError, TypeError, KeyError) as error:
            handler.answer(400, str(error).encode())
            return
        handler.answer(200, json.dumps(told).encode())

    def _serve_api(
        self, handler: "_Handler", row: Json, fault: Json | None, books: Books, let_go: threading.Event
    ) -> None:
        name = fault["fault"] if fault else ""
        if name == "lost_before" and not fault["done"]:
            raise _Lost
        if name == "hang_before":
            waited = let_go.wait(30 if fault["seconds"] is None else fault["seconds"])
            if waited or not fault["done"]:
                raise _Lost
        status, told = 0, None
        if fault is None or fault["done"]:
            status, told = self._do(handler, row, name, books)
        if name in {"lost_before", "lost_after"}:
            raise _Lost
        if name == "hang" and let_go.wait(30 if fault["seconds"] is None else fault["seconds"]):
            raise _Lost
        headers = self._limits()
        if name == "502_html":
            row["status"] = 502
            handler.answer(502, HTML, headers, kind="text/html")
            return
        if name in _PLAIN_ANSWERS:
            status, told = _PLAIN_ANSWERS[name]
            if name == "429":
                headers |= {"X-RateLimit-Remaining": "0", "Retry-After": str(fault["seconds"] or 1)}
        row["status"] = status
        damaged = name in alpaca_faults.DAMAGES and 200 <= status < 300
        content = alpaca_faults.damaged(name if damaged else "", told)
        handler.answer(status, content, headers, cut=name == "cut_body" and damaged)

    def _do(self, handler: "_Handler", row: Json, fault: str, books: Books) -> tuple[int, Any]:
        """Let the broker act, under the lock; returns what it would answer."""
        parts = urlsplit(row["path"])
        with self._lock:
            if self.books is not books:  # reset meanwhile
                raise _Lost
            refused = self._refused(handler)
            if refused is not None:
                status, told = refused
            else:
                if fault == "partial_then_canceled":
                    alpaca_admin.script(books, parts=["half"], status="canceled")
                query = dict(parse_qsl(parts.query, keep_blank_values=True))
                try:
                    body = json.loads(row["body"], parse_float=Decimal) if row["body"] else None
                    status, told = alpaca_routes.answer(books, row["method"], unquote(parts.path), query, body)
                except json.JSONDecodeError:
                    status, told = 400, {"code": 40010000, "message": "request body format is invalid"}
                self._save(whole=False)
            row["done_status"], row["accepted"] = status, status < 300
        return status, told

    def _refused(self, handler: "_Handler") -> tuple[int, Any] | None:
        """Wrong keys and too many requests meet this before anything else."""
        keys = (handler.headers.get("APCA-API-KEY-ID"), handler.headers.get("APCA-API-SECRET-KEY"))
        if keys != (self.key, self.secret):
            return self.books.settings["auth_status"], _PLAIN_ANSWERS["401"][1]
        now, limit = time.monotonic(), self.books.settings["rate_limit"]
        if now - self._minute >= 60:
            self._minute, self._used = now, 0
        self._used += 1
        return _PLAIN_ANSWERS["429"] if limit is not None and self._used > limit else None

    def _limits(self) -> dict[str, str]:
        limit = self.books.settings["rate_limit"] or 200
        left, ends = max(limit - self._used, 0), 60 - (time.monotonic() - self._minute)
        headers = {"X-RateLimit-Limit": str(limit), "X-RateLimit-Remaining": str(left),
                   "X-RateLimit-Reset": str(int(time.time() + max(ends, 0)) + 1)}  # fmt: skip
        return headers if left else headers | {"Retry-After": str(int(max(ends, 0)) + 1)}

    def met(self, connection: socket.socket) -> None:
        """Remember an open connection."""
        with self._lock:
            self._connections.add(connection)

    def left(self, connection: socket.socket) -> None:
        """Forget a connection."""
        with self._lock:
            self._connections.discard(connection)


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.talks: list[threading.Thread] = []

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread that can be joined."""
        talk = threading.Thread(target=self.process_request_thread, args=(request, client_address), daemon=True)
        self.talks = [known for known in self.talks if known.is_alive()]
        self.talks.append(talk)
        talk.start()

    def shutdown_request(self, request: Any) -> None:
        """Close a connection; one that is to be reset gets no orderly end first."""
        if any(request.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8)):
            self.close_request(request)
        else:
            super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that hang up; show what is our own fault."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    alpaca: AlpacaServer
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body leave together
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self.alpaca.met(self.connection)

    def finish(self) -> None:
        self.alpaca.left(self.connection)
        with suppress(OSError, ValueError):
            super().finish()

    def _serve(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.alpaca.serve(self, self.command, self.path, content)

    do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = _serve  # noqa: N815 - the names http.server looks for

    def answer(
        self, status: int, content: bytes, headers: dict[str, str] | None = None, *, kind: str = "application/json",
        cut: bool = False,
    ) -> None:  # fmt: skip
        """Send an answer; a cut one stops half way."""
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if cut else content)
        self.close_connection = self.close_connection or cut

    def reset(self) -> None:
        """Close the connection the hard way, as a crashed peer does."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(description="A made-up Alpaca on 127.0.0.1.")
    parser.add_argument("--state", type=Path, help="a file that keeps the books")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--settings", type=json.loads, default={}, help="cash, key, secret and settings as JSON")
    chosen = parser.parse_args()
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    with AlpacaServer(state=chosen.state, port=chosen.port, **chosen.settings) as server:
        print(json.dumps({"url": server.url, "pid": os.getpid()}), flush=True)  # noqa: T201 - its only word
        threading.Thread(target=_wait_for_the_end_of_input, args=(stop,), daemon=True).start()
        stop.wait()


def _wait_for_the_end_of_input(stop: threading.Event) -> None:
    while os.read(0, 4096):
        pass
    stop.set()


if __name__ == "__main__":
    main()
