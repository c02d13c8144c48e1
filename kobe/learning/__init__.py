"""What past signals teach: data set, calibrated model, registry, promotion. Imports up to backtest, and infra.

A model never sees an in-sample trade, never a future one, and says "no skill" when it has none.
"""
