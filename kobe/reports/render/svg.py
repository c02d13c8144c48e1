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


Ohlc = tuple[date, float, float, float, float]


def bar_strips(strips: Sequence[tuple[str, Sequence[Ohlc], date]]) -> str:
    """Draw small price charts side by side, each with the bar in question marked by a triangle as well as by colour.

    Args:
        strips: label, bars as (date, open, high, low, close), and the date to mark.
    """
    columns, width, height = 3, 310, 150
    rows = -(-len(strips) // columns)
    body = "".join(
        f'<g transform="translate({k % columns * (width + 12)},{k // columns * (height + 26)})">'
        f"{_strip(label, bars, marked, width, height)}</g>"
        for k, (label, bars, marked) in enumerate(strips)
    )
    text = escape("Bars around " + ", ".join(label for label, _, _ in strips))
    box = f"0 0 {columns * (width + 12)} {rows * (height + 26)}"
    return f'<svg viewBox="{box}" role="img" aria-label="{text}"><title>{text}</title>{body}</svg>'


def _strip(label: str, bars: Sequence[Ohlc], marked: date, width: int, height: int) -> str:
    top, bottom = max(b[2] for b in bars), min(b[3] for b in bars)
    scale = (height - 44) / max(top - bottom, 1e-9)
    step = (width - 20) / max(len(bars), 1)
    parts = [f'<text x="4" y="13">{escape(label)}</text>']
    for i, (day, opened, high, low, close) in enumerate(bars):
        x = 10 + (i + 0.5) * step
        kind = "s1" if day == marked else "s0"
        y = [26 + (top - value) * scale for value in (high, low, opened, close)]
        parts.append(f'<path class="{kind}" stroke-width="1.6" fill="none" d="M{x:.1f},{y[0]:.1f}V{y[1]:.1f}'
                     f'M{x - step * 0.35:.1f},{y[2]:.1f}H{x:.1f}M{x:.1f},{y[3]:.1f}h{step * 0.35:.1f}"/>')  # fmt: skip
        if day == marked:
            foot = height - 12
            parts.append(f'<path class="k1" d="M{x:.1f},{foot - 7}l4.5,8h-9z"/>')
    parts.append(f'<text x="{width - 4}" y="13" text-anchor="end">{bottom:,.4g} to {top:,.4g}</text>')
    return "".join(parts)
