"""Records that survive: the event ledger, the hash-chained audit, whole-or-nothing files.

May import core and `infra/durable.py`. To add a kind of record: one module here, a crash test in `tests/crash`
that kills its writer and finds every acknowledged record again.
"""
