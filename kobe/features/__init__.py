"""Numbers computed from bars: indicators, model inputs, patterns. Pure; imports core only.

To add one: a function in its file and one line in `table.INDICATORS` or `table.FEATURES`.
"""
