"""What sending an order costs besides the wire, and what ten years of orders cost to read.

python -m scripts.bench.orders [SUBMITS]
"""

import sys
import tempfile
import time
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

from kobe.core.clock import SteppingClock
from kobe.core.ports import BrokerOrder
from kobe.core.types import Effect, OrderRequest, OrderStatus, OrderType, Outcome, Side, Verdict
from kobe.execution.oms import Oms
from kobe.execution.order import OrderFold
from kobe.infra.kill_switch import FileKillSwitch
from kobe.infra.records.audit import AuditChain
from kobe.infra.records.ledger import SqlLedger
from kobe.risk.gates import GATES
from kobe.risk.review import clear

NOW = datetime(2024, 6, 3, 14, tzinfo=UTC)
TEN_YEARS = 2520
BAR_MS = 20.0


@dataclass
class WireOfNoLength:
    """A broker that fills everything at once, so that only our own work is measured."""

    name: str = "none"
    environment: str = "sim"
    known: dict[str, BrokerOrder] = field(default_factory=dict)

    def submit(self, request: OrderRequest) -> BrokerOrder:
        """Fill it."""
        answer = BrokerOrder(
            client_order_id=request.client_order_id, symbol=request.symbol, quantity=request.quantity,
            is_buy=request.is_buy, status=OrderStatus.FILLED, filled=request.quantity,
            average_price=request.limit_price, at=NOW,
        )  # fmt: skip
        self.known[request.client_order_id] = answer
        return answer

    def lookup(self, client_order_id: str) -> BrokerOrder | None:
        """Tell it."""
        return self.known.get(client_order_id)


def request(number: int, effect: Effect = Effect.OPEN) -> OrderRequest:
    """Return an order of its own name and signal."""
    return OrderRequest(
        client_order_id=f"kobe-ibs_rsi-S{number}-2024-05-31-long-{effect.value}-1", signal_id=f"s{number}",
        strategy="ibs_rsi", symbol=f"S{number}", side=Side.LONG, effect=effect, order_type=OrderType.IOC_LIMIT,
        quantity=7, limit_price=Decimal("10.04"), stop_price=None, session=date(2024, 6, 3), reason="bench",
    )  # fmt: skip


def desk(folder: Path) -> Oms:
    """Return an order manager with durable records in a folder."""
    clock = SteppingClock(NOW)
    ledger = SqlLedger(folder / "kobe.db", clock)
    return Oms(
        ledger=ledger, fold=OrderFold(ledger), broker=WireOfNoLength(),  # type: ignore[arg-type]
        audit=AuditChain(folder / "audit", clock, "bench"), kill_switch=FileKillSwitch(folder / "KILL_SWITCH"),
        clock=clock, wait=lambda _: None,
    )  # fmt: skip


def passed() -> tuple[Verdict, ...]:
    """Return the verdicts of gates that all pass."""
    return tuple(Verdict(gate=g, outcome=Outcome.PASS, code="ok", observed="", limit="") for g in GATES)


def main() -> None:
    """Print both figures."""
    submits = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    with tempfile.TemporaryDirectory() as told:
        folder = Path(told)
        oms, took = desk(folder), []
        for k in range(submits):
            cleared = clear(request(k), passed())
            assert cleared is not None
            began = time.perf_counter()
            done = oms.submit(cleared)
            took.append((time.perf_counter() - began) * 1000)
            assert done.status is OrderStatus.FILLED
        took.sort()
        p50, p99 = took[len(took) // 2], took[int(len(took) * 0.99)]
        print(f"submit without the wire, {submits} orders: p50 {p50:.2f} ms, p99 {p99:.2f} ms (bar {BAR_MS:g}),"
              f" max {took[-1]:.2f} ms")  # fmt: skip
        oms.ledger.close()  # type: ignore[attr-defined]
        again = desk(folder)
        began = time.perf_counter()
        orders = again.orders()
        first = time.perf_counter() - began
        began = time.perf_counter()
        again.orders()
        later = time.perf_counter() - began
        scale = 2 * TEN_YEARS / len(orders)
        print(f"reading {len(orders)} orders from the ledger: {first * 1000:.1f} ms, again {later * 1000:.2f} ms;"
              f" ten years (two a session): about {first * scale * 1000:.0f} ms")  # fmt: skip


if __name__ == "__main__":
    main()
