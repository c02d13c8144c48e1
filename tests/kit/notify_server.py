"""A loopback server that takes messages as Telegram, Slack, Discord and a webhook do, with faults on demand.

`faults` is taken from the left, one for each message; when it is empty, messages are taken. `taken` is what a person
would see; what was dropped after it was taken is there too. `say` lets somebody write to the bot.
"""

import json
import threading
import time
from dataclasses import dataclass, field
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs

LONGEST_POLL_S = 5.0


@dataclass(frozen=True)
class Taken:
    """A message that arrived: which service, its text, its picture, the headers it came with, the rest of it."""

    service: str
    text: str
    picture: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    told: dict[str, Any] = field(default_factory=dict)


class _Patient(ThreadingHTTPServer):
    """Its clients hang up and die as they are told to: that is no error here."""

    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Say nothing."""


@dataclass
class NotifyServer:
    """Serves; use it as a context manager."""

    token: str = "42:secret-token"
    faults: list[str] = field(default_factory=list)
    taken: list[Taken] = field(default_factory=list)
    requests: int = 0
    updates: list[dict[str, Any]] = field(default_factory=list)
    forget: bool = True

    def __enter__(self) -> Self:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                server.answer(self, self.rfile.read(int(self.headers["Content-Length"])))

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.released, self._news = threading.Event(), threading.Condition()
        self._http = _Patient(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        """Address of the server."""
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def say(self, text: str, *, chat: int = 7, person: int = 7, at: float | None = None, **more: Any) -> int:
        """Let somebody write to the bot; returns the update's number."""
        number = len(self.updates) + 100
        message = {"message_id": number, "date": int(at if at is not None else time.time()), "chat": {"id": chat},
                   "from": {"id": person}, "text": text, **more}  # fmt: skip
        with self._news:
            self.updates.append({"update_id": number, "message": message})
            self._news.notify_all()
        return number

    def texts(self, service: str) -> list[str]:
        """What a service's reader sees, in order."""
        return [t.text for t in self.taken if t.service == service]

    def wait_for(self, count: int, timeout_s: float = 30.0) -> bool:
        """Wait until so many messages were taken."""
        with self._news:
            return self._news.wait_for(lambda: len(self.taken) >= count, timeout=timeout_s)

    def answer(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        """Answer one request, well or with the next fault."""
        if handler.path.endswith("/getUpdates"):
            self._tell_updates(handler, json.loads(body))
            return
        self.requests += 1
        fault = self.faults.pop(0) if self.faults else ""
        if fault in {"", "drop", "hang", "bad gateway"}:
            with self._news:
                self.taken.append(self._read(handler, body))
                self._news.notify_all()
        if fault == "drop":
            handler.close_connection = True
        elif fault == "hang":
            self.released.wait(20)
            handler.close_connection = True
        elif fault == "bad gateway":
            _send(handler, 502, b"<html>bad gateway</html>")
        elif fault == "429 in the body":
            _send(handler, 429, b'{"ok": false, "description": "Too Many Requests", "parameters": {"retry_after": 11}}')
        elif fault.startswith("429"):
            _send(handler, 429, b"{}", {"Retry-After": fault.partition(" ")[2] or "1"})
        elif fault:
            said = {"ok": False, "description": f"no, says {handler.path}"}
            _send(handler, int(fault), json.dumps(said).encode())
        else:
            _send(handler, 200, b'{"ok": true, "result": {}}')

    def _read(self, handler: BaseHTTPRequestHandler, body: bytes) -> Taken:
        kind, headers = handler.headers["Content-Type"], dict(handler.headers)
        if kind.startswith("multipart/"):
            fields, picture = _parts(kind, body)
            told = json.loads(fields["payload_json"]) if "payload_json" in fields else dict(fields)
        else:
            told, picture = json.loads(body) if "json" in kind else _form(body), b""
        service = handler.path.strip("/").split("/")[0]
        service = "telegram" if service == f"bot{self.token}" else service
        text = told.get("caption") or told.get("text") or told.get("content") or told.get("title") or ""
        return Taken(service, text, picture, headers, body, told)

    def _tell_updates(self, handler: BaseHTTPRequestHandler, asked: dict[str, Any]) -> None:
        """Hold the question until somebody writes, as Telegram does; an offset forgets what lies before it."""
        offset = asked["offset"] if self.forget else 0

        def news() -> list[dict[str, Any]]:
            return [u for u in self.updates if u["update_id"] >= offset]

        with self._news:
            self._news.wait_for(lambda: bool(news()), timeout=min(asked["timeout"], LONGEST_POLL_S))
            found = news()
        _send(handler, 200, json.dumps({"ok": True, "result": found}).encode())


def _parts(kind: str, body: bytes) -> tuple[dict[str, str], bytes]:
    """Read a form with files."""
    fields, picture = {}, b""
    for part in message_from_bytes(f"Content-Type: {kind}\r\n\r\n".encode() + body).get_payload():
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        if part.get_filename():
            picture = content
        else:
            fields[name] = content.decode()
    return fields, picture


def _form(body: bytes) -> dict[str, str]:
    return {k: v[0] for k, v in parse_qs(body.decode()).items()}


def _send(handler: BaseHTTPRequestHandler, status: int, body: bytes, more: dict[str, str] | None = None) -> None:
    try:
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(body)))
        for name, value in (more or {}).items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)
    except (BrokenPipeError, ConnectionResetError):
        handler.close_connection = True
