"""The words every room uses: types, the bar panel, errors, ports, clock, calendar, ids, units.

Imports nothing of kobe and touches nothing outside the process. A new word is a frozen class in types.py.
"""
