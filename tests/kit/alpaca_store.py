"""The file in which the made-up Alpaca keeps its books: lines of JSON, each with what one change has left behind."""

import json
from pathlib import Path
from typing import Any

from kit.alpaca_books import Books, Json

_SMALL = ("cash", "positions", "scripts", "number", "last_equity")  # what a client's request may change
_APART = {"orders", "by_client", "activities"}


class Store:
    """One file; without a path nothing is kept. A line torn by a kill is passed over."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._told = 0  # activities that are in the file

    def load(self) -> tuple[Json | None, list[Json], list[Json]]:
        """Return (books, faults, requests) as they were left; no books when there is no file."""
        if self.path is None or not self.path.is_file():
            return None, [], []
        state: Json = {"orders": {}, "by_client": {}, "activities": []}
        faults: list[Json] = []
        requests: dict[int, Json] = {}
        for line in self.path.read_text().splitlines():
            try:
                change = json.loads(line)
            except json.JSONDecodeError:
                continue
            if "request" in change:
                requests[change["request"]["n"]] = change["request"]
                continue
            state.update(change["set"])
            faults = change["faults"]
            for order in change["orders"]:
                state["orders"][order["id"]] = order
                state["by_client"][order["client_order_id"]] = order["id"]
            state["activities"] += change["activities"]
        return state, faults, [requests[n] for n in sorted(requests)]

    def begin(self, books: Books, faults: list[Json], requests: list[Json]) -> None:
        """Write everything anew, in one step."""
        if self.path is None:
            return
        self._told = 0
        books.touched.update(books.orders)
        lines = [self._change(books, faults, whole=True), *(json.dumps({"request": row}) for row in requests)]
        fresh = self.path.with_name(f"{self.path.name}.new")
        fresh.write_text("".join(f"{line}\n" for line in lines))
        fresh.replace(self.path)

    def save(self, books: Books, faults: list[Json], *, whole: bool) -> None:
        """Write what has changed; `whole` after the admin door, which may change anything."""
        if self.path is not None:
            self._append(self._change(books, faults, whole=whole))

    def note(self, row: Json) -> None:
        """Write what is known of a request; the last word on it counts."""
        if self.path is not None:
            self._append(json.dumps({"request": row}))

    def _change(self, books: Books, faults: list[Json], *, whole: bool) -> str:
        names = set(books.state) - _APART if whole else _SMALL
        changed = books.touched.union(order["id"] for order in books.open_orders())
        change: dict[str, Any] = {
            "set": {name: books.state[name] for name in names}, "faults": faults,
            "orders": [order for name, order in books.orders.items() if name in changed] if changed else [],
            "activities": books.state["activities"][self._told :],
        }  # fmt: skip
        books.touched.clear()
        self._told = len(books.state["activities"])
        return json.dumps(change)

    def _append(self, line: str) -> None:
        with self.path.open("a") as file:
            file.write(line + "\n")
