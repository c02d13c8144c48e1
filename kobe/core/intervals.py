"""Intervals of proportions; no library needed, so that every room may ask cheaply."""

import math


def wilson_interval(wins: int, n: int, z: float = 1.959963984540054) -> tuple[float, float]:
    """Wilson interval of a proportion (95% by default); (NaN, NaN) for n = 0."""
    if n == 0:
        return math.nan, math.nan
    p, z2 = wins / n, z * z
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = z * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return centre - half, centre + half
