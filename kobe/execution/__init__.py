"""Orders: from a cleared request to a flat position. Imports core, infra, risk and the fills and costs of backtest.

To add a broker: a file in `brokers/` and one line in `brokers.BROKERS`. States are folds over ledger events.
"""
