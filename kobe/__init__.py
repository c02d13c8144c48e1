"""kobe: rules-based trading of US stocks, from bars to a recorded order. Start at core/types.py."""

__version__ = "0.1.0"
