"""Brokers behind `core.ports.Broker` and `core.ports.QuoteSource`, by the mode that uses them.

To add one: a file with a `make(kit)` that reaches for nothing yet, and one line in the table.
"""

from collections.abc import Callable

from kobe.execution.brokers import alpaca, sim
from kobe.execution.brokers.kit import BrokerKit, TradingDoor

BROKERS: dict[str, Callable[[BrokerKit], TradingDoor]] = {"sim": sim.make, "paper": alpaca.make, "live": alpaca.make}
