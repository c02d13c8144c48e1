"""Evidence: how signals would have fared. Pure; imports core, features, options, strategies, risk.

Fills and costs live in `fills.py` and `costs.py` and are the same for backtest, simulated broker and live exits.
"""
