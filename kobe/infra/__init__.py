"""Plumbing that knows nothing of trading: durable files, ledger, audit chain, locks, kill switch, logs, the clock.

Owns everything written below `state/`. May import core only, and never names a trading type: what passes through
here is bytes, JSON and keys. To add a piece: one module named after its noun, implementing a protocol of
`core/ports.py` where one exists, with its faults mapped to `core/errors.py` and a test that kills it half-way.
"""
