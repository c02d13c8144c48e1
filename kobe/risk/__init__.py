"""Whether an order may be sent, and how large. Pure; imports core and options.

To add a gate: `gates/NAME.py` with a `check`, and one line in `gates.GATES`, whose order is the evaluation order.
"""
