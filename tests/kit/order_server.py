"""The made-up Alpaca with a shelf: its books are put aside under a name and taken out again for each trial.

As a process of its own, with this folder's parent on PYTHONPATH: `python -m kit.order_server`; it prints its url as
JSON and ends when its input closes. Routes besides those of `alpaca_server`: `put_aside`, `take_out`, `so_far`, `told`.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kit import alpaca_faults
from kit.alpaca_books import OPEN
from kit.alpaca_server import AlpacaDesk, AlpacaServer


class OrderServer(AlpacaServer):
    """The server; its shelf lasts as long as it does."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._shelf: dict[str, str] = {}

    def call(self, name: str, **body: Any) -> Any:
        """Do what a route does."""
        with self._lock:
            if name == "put_aside":
                self._shelf[body["shelf"]] = json.dumps(self.books.state)
                return None
            if name == "take_out":
                return self._take_out(**body)
            if name in ("so_far", "told"):
                return self._so_far() if name == "so_far" else self._told()
            if name == "clear_faults":
                self.books.state["scripts"].clear()  # a fault that met an order's execution is over as well
            return super().call(name, **body)

    def _take_out(self, shelf: str, rules: list[dict[str, Any]], scripts: list[dict[str, Any]]) -> None:
        super().call("clear_faults")
        state = json.loads(self._shelf[shelf])
        state["scripts"] += scripts
        self._begin(state, [alpaca_faults.rule(**rule) for rule in rules], [])

    def _so_far(self) -> dict[str, Any]:
        met = sum(row["fault"] is not None for row in self._requests)
        names = [o["client_order_id"] for o in self.books.orders.values() if o["_parent"] is None]
        left = len(self.books.state["scripts"])
        return {"met": met, "scripts": left, "requests": len(self._requests), "names": names}

    def _told(self) -> dict[str, Any]:
        orders = [{**self.books.wire(o, nested=False), "parent": o["_parent"], "open": o["status"] in OPEN}
                  for o in self.books.orders.values()]  # fmt: skip
        held = {s: p["qty"] for s, p in self.books.state["positions"].items()}
        fills = [a for a in self.books.state["activities"] if a["activity_type"] == "FILL"]
        return json.loads(json.dumps({"orders": orders, "positions": held, "fills": fills, "requests": self._requests}))


class Shelf(AlpacaDesk):
    """The desk of an `OrderServer` in another process."""

    def put_aside(self, name: str) -> None:
        """Keep the books as they are under a name."""
        self.call("put_aside", shelf=name)

    def take_out(self, name: str, rules: list[dict[str, Any]], scripts: list[dict[str, Any]]) -> None:
        """Open the books kept under a name, with faults to come and scripts for the next orders; no request yet."""
        self.call("take_out", shelf=name, rules=rules, scripts=scripts)

    def so_far(self) -> dict[str, Any]:
        """Return how many requests came and met a fault, how many scripts are left, and the names of all orders."""
        return self.call("so_far")

    def told(self) -> dict[str, Any]:
        """Return orders with their legs, positions, fills and requests."""
        return self.call("told")


@contextmanager
def order_server(**settings: Any) -> Iterator[Shelf]:
    """Run a server as a process of its own."""
    command = [sys.executable, "-m", "kit.order_server", json.dumps(settings)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, env=environment, text=True) as process:
        try:
            yield Shelf(json.loads(process.stdout.readline())["url"])
        finally:
            process.stdin.close()  # it stops when its input ends
            process.wait(20)


def main() -> None:
    """Serve until the input ends."""
    with OrderServer(**json.loads(sys.argv[1])) as server:
        print(json.dumps({"url": server.url}), flush=True)  # noqa: T201 - its only word
        while os.read(0, 4096):
            pass


if __name__ == "__main__":
    main()
