"""Inline SVG pictures for the HTML reports: no script, no font, no colour that carries meaning alone."""

from collections.abc import Sequence
from datetime import date
from html import escape

import numpy as np

from kobe.core.panel import Floats

WIDTH, LEFT, RIGHT = 960, 64, 12


def _ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers that cover a range."""
    span = max(high - low, 1e-9)
    step = 10 ** np.floor(np.log10(span / count))
    step *= next((m for m in (1, 2, 5, 10) if span / (step * m) <= count), 10)
    first = np.ceil(low / step) * step
    return [float(v) for v in np.arange(first, high + step * 1e-6, step)]


class _Frame:
    """Maps data to a panel of the picture and collects its elements."""

    def __init__(self, top: float, height: float, n: int, low: float, high: float) -> None:
        self.top, self.height, self.n = top, height, max(n - 1, 1)
        pad = (high - low) * 0.04 or 1.0
        self.low, self.high = low - pad, high + pad
        self.parts: list[str] = []

    def x(self, i: float) -> float:
        return LEFT + i / self.n * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        return self.top + (self.high - value) / (self.high - self.low) * self.height

    def grid(self, unit: str) -> None:
        for value in _ticks(self.low, self.high):
            y = self.y(value)
            label = f"{value:.0%}" if unit == "%" else f"{value:,.4g}"
            self.parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
            self.parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{label}</text>')

    def years(self, days: Sequence[date]) -> None:
        for i, day in enumerate(days):
            if i and day.year != days[i - 1].year:
                x, bottom = self.x(i), self.top + self.height
                self.parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{self.top}" y2="{bottom}"/>')
                self.parts.append(f'<text x="{x + 3:.1f}" y="{bottom + 14}">{day.year}</text>')

    def points(self, values: Floats) -> str:
        keep = np.unique(np.linspace(0, len(values) - 1, min(len(values), 700)).astype(int))
        return " ".join(f"{self.x(i):.1f},{self.y(float(values[i])):.1f}" for i in keep)

    def line(self, values: Floats, k: int, dashed: str) -> None:
        self.parts.append(
            f'<polyline class="s{k}" fill="none" stroke-width="1.8"{dashed} points="{self.points(values)}"/>'
        )

    def area(self, values: Floats, k: int) -> None:
        edge = f"{self.x(0):.1f},{self.y(0):.1f}"
        end = f"{self.x(len(values) - 1):.1f},{self.y(0):.1f}"
        self.parts.append(f'<polygon class="f{k}" points="{edge} {self.points(values)} {end}"/>')


def equity_with_drawdown(days: Sequence[date], curves: dict[str, Floats], drawdowns: dict[str, Floats]) -> str:
    """Draw growth of one dollar per strategy above its drawdown; the second curve is dashed as well as coloured.

    Args:
        days: session dates, one per value.
        curves: name -> equity as a multiple of the start.
        drawdowns: name -> fraction below the highest equity so far.
    """
    lowest = min(float(c.min()) for c in curves.values())
    highest = max(float(c.max()) for c in curves.values())
    upper = _Frame(30, 260, len(days), lowest, highest)
    lower = _Frame(325, 110, len(days), min(float(d.min()) for d in drawdowns.values()), 0.0)
    for frame, unit in ((upper, ""), (lower, "%")):
        frame.grid(unit)
        frame.years(days)
    for k, (name, values) in enumerate(curves.items()):
        dashed = ' stroke-dasharray="7 4"' if k else ""
        upper.line(values, k, dashed)
        lower.area(drawdowns[name], k)
        lower.line(drawdowns[name], k, dashed)
        x = LEFT + 10 + 170 * k
        upper.parts.append(f'<line class="s{k}" stroke-width="3"{dashed} x1="{x}" x2="{x + 26}" y1="14" y2="14"/>')
        upper.parts.append(f'<text x="{x + 32}" y="18">{escape(name)}</text>')
    finals = "; ".join(f"{name} ends at {values[-1]:.2f}" for name, values in curves.items())
    label = escape(f"Growth of one dollar and drawdown, {days[0]} to {days[-1]}: {finals}")
    body = "".join(upper.parts + lower.parts)
    return f'<svg viewBox="0 0 {WIDTH} 455" role="img" aria-label="{label}"><title>{label}</title>{body}</svg>'
