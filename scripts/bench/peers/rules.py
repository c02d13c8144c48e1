"""The rules every side trades, written once: W1 whole, and the part of it that any peer can express."""

IBS_MAX, RSI_BARS, RSI_MAX, RSI_EXIT = 0.20, 2, 10.0, 70.0
SMA_BARS, ATR_BARS, STOP_ATR, HOLD_BARS = 200, 14, 2.0, 5
COST = 0.0005  # a side, as a fraction of the price
NOISE = 1e-9  # (42.24 - 42.07) / (42.92 - 42.07) is 0.2 in cents and a little more in floats
FOREVER_BARS = 1_000_000

IBS_GRID, RSI_GRID = (0.10, 0.15, 0.20, 0.25), (5.0, 10.0, 15.0)
TRAIN, TEST = 252, 63
W1_SESSIONS = 2_358  # the last of the panel; W2 needs 252 + 36 x 63 sessions

WHOLE = "setup at the close, fill at the next open, stop 2 ATR from the fill, RSI exit at the next open, 5 bars"
REDUCED = "setup at the close, fill at the next open, RSI exit at the next open; no stop and no time exit"
