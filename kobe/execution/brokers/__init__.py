"""Brokers behind `core.ports.Broker`. To add one: a file with its class, and one line in the table."""

from kobe.execution.brokers.sim import SimBroker

BROKERS = {"sim": SimBroker}
