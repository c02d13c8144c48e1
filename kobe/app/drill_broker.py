"""A broker of this machine that is broken: it answers 503 to everything, or takes requests and never answers."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CHANGES = ("POST", "PATCH", "PUT")


@contextmanager
def broken_broker(answer: str) -> Iterator[tuple[str, Callable[[], int]]]:
    """Serve on loopback for as long as the block lasts.

    Args:
        answer: `503`, or `hang` for no answer at all.

    Yields:
        Its address, and a count of the requests so far that would have sent or changed an order.
    """
    over, methods = threading.Event(), list[str]()

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            methods.append(self.command)
            if answer == "hang":
                over.wait()
                return
            with suppress(OSError):
                self.send_response(503)
                self.send_header("Content-Length", "0")
                self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    for method in ("GET", "DELETE", *CHANGES):
        setattr(Handler, f"do_{method}", Handler.handle_any)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", lambda: sum(m in CHANGES for m in methods)
    finally:
        over.set()
        server.shutdown()
        server.server_close()
        thread.join()
