"""`kobe serve`: the door of HTTP. Bounded in everything a guest can send, and gone when it is told to stop."""

import asyncio
import signal
import socket
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from kobe.app.context import Context
from kobe.app.output import Document
from kobe.app.watching.service import HEADERS, METHODS, PAGES, Answer, Asked, Service, build, error
from kobe.core.errors import ConfigError, ExitCode

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from fastapi import FastAPI, Request, Response

MOST_CONNECTIONS = 64
MOST_HEAD_BYTES = 16 * 1024
MOST_DIGITS = 16
FIRST_REQUEST_S = 5.0
STOP_S = 5


def serve(ctx: Context, host: str | None = None, port: int | None = None) -> Document:
    """Listen until told to stop.

    Args:
        ctx: context.
        host: address; None takes the settings'.
        port: None takes the settings', 0 any free one.

    Raises:
        ConfigError: the extra is missing, the address cannot be listened at, or it needs a token and has none.
    """
    server_class, config_class = _server()
    address = host or ctx.settings.service.host
    service = build(ctx, address)
    listener = _listen(address, ctx.settings.service.port if port is None else port)
    with listener:
        name, number = listener.getsockname()[:2]
        where = f"http://[{name}]:{number}" if ":" in name else f"http://{name}:{number}"
        sys.stderr.write(f"listening at {where}: {' '.join(PAGES)}\n")
        sys.stderr.flush()
        server = server_class(config_class(make_app(service, ctx.settings.service.timeout_s)))
        server.run(sockets=[listener])
    stopped = ExitCode.INTERRUPTED if server.told == signal.SIGINT else ExitCode.TERMINATED
    return Document(schema="kobe.serve/1", title="Service stopped", data={"address": where}, exit_code=stopped)


def make_app(service: Service, timeout_s: float) -> "FastAPI":
    """Make the application: one route for each page, and one door before all of them."""
    from fastapi import FastAPI
    from starlette.exceptions import HTTPException

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    for path in PAGES:
        app.add_api_route(path, _route(service, path, timeout_s), methods=list(METHODS), response_model=None)

    @app.middleware("http")
    async def door(request: "Request", pass_on: "Callable[[Request], Awaitable[Response]]") -> "Response":
        refused = service.refusal(_asked(request))
        try:
            return await pass_on(request) if refused is None else _sent(refused)
        except Exception as fault:  # noqa: BLE001 - the top of this door: a guest learns the kind of a fault only
            return _sent(error(500, "fault", type(fault).__name__))

    @app.exception_handler(HTTPException)
    async def lost(_request: "Request", _fault: Exception) -> "Response":
        return _sent(error(404, "not_found", f"there is {', '.join(PAGES)}"))

    return app


def _route(service: Service, path: str, timeout_s: float) -> "Callable[[], Awaitable[Response]]":
    async def page() -> "Response":
        try:
            async with asyncio.timeout(timeout_s):
                return _sent(await asyncio.to_thread(service.answer, path))
        except TimeoutError:
            return _sent(error(503, "timeout", f"no answer within {timeout_s:g} s"))

    return page


def _sent(answer: Answer) -> "Response":
    """Return an answer as it goes out; each ends its connection, so that nobody holds one."""
    from starlette.responses import Response

    headers = {**HEADERS, **answer.headers, "content-type": answer.kind, "connection": "close"}
    return Response(answer.content, status_code=answer.status, headers=headers)


def _asked(request: "Request") -> Asked:
    told, client = request.headers, request.client
    length = told.get("content-length", "0")
    known = "transfer-encoding" not in told and length.isascii() and length.isdigit() and len(length) < MOST_DIGITS
    return Asked(
        method=request.method, guest=client.host if client else "", host=told.get("host", ""),
        authorization=told.get("authorization", ""), body_bytes=int(length) if known else None,
    )  # fmt: skip


def _listen(host: str, port: int) -> socket.socket:
    """Take the address before anything else starts.

    Raises:
        ConfigError: it cannot be had.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=MOST_CONNECTIONS)
    except OSError as fault:
        raise ConfigError(
            "the address cannot be listened at", seen=f"{host} port {port}: {fault.strerror or fault}",
            expected="a free port of this machine", next_command="kobe serve --port 0",
        ) from fault  # fmt: skip


def _server() -> tuple[Any, Any]:
    """Return uvicorn's server and its settings, made to stop when told and to leave slow guests alone.

    Raises:
        ConfigError: the extra is not installed.
    """
    try:
        import fastapi  # noqa: F401 - the application needs it
        import h11
        import uvicorn
        from uvicorn.protocols.http.h11_impl import H11Protocol
    except ImportError as fault:
        raise ConfigError(
            "the service needs an extra", seen=fault.name, expected="fastapi and uvicorn",
            next_command="pip install 'kobe[service]'",
        ) from fault  # fmt: skip

    class Impatient(H11Protocol):
        """Hangs up on a guest whose first request is not there in time; every answer ends its connection."""

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self.loop.call_later(FIRST_REQUEST_S, self._hang_up)

        def send_400_response(self, msg: str) -> None:
            """Answer what is no request of HTTP as everything else is answered; `msg` may hold what was sent."""
            del msg
            answer = error(400, "bad_request", "this is no request of HTTP")
            headers = {**HEADERS, "content-type": answer.kind, "connection": "close"}
            head = h11.Response(status_code=answer.status, headers=list(headers.items()), reason=b"Bad Request")
            for event in (head, h11.Data(data=answer.content), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
            self.transport.close()

        def _hang_up(self) -> None:
            if getattr(self, "cycle", None) is None:
                self.transport.close()

    class Server(uvicorn.Server):
        """Ends quietly on SIGTERM and Ctrl-C and remembers which it was."""

        told: int | None = None

        @contextmanager
        def capture_signals(self) -> "Iterator[None]":
            before = {number: signal.signal(number, self._stop) for number in (signal.SIGTERM, signal.SIGINT)}
            try:
                yield
            finally:
                for number, handler in before.items():
                    signal.signal(number, handler)

        def _stop(self, number: int, _frame: object) -> None:
            self.told, self.should_exit = number, True

    def config(app: "FastAPI") -> uvicorn.Config:
        return uvicorn.Config(
            app, http=Impatient, ws="none", lifespan="off", log_config=None, access_log=False, server_header=False,
            date_header=False, proxy_headers=False, limit_concurrency=MOST_CONNECTIONS, timeout_keep_alive=1,
            timeout_graceful_shutdown=STOP_S, h11_max_incomplete_event_size=MOST_HEAD_BYTES, loop="asyncio",
        )  # fmt: skip

    return Server, config
