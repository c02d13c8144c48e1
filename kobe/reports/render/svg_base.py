"""What every picture of a report is made of: round ticks, a frame that maps values to places, text, thinned curves.

A picture is an inline SVG of our own making: no script, no font, no colour that carries meaning alone. Its width is
given in pixels of a phone or a desk, so that 12-pixel text stays 12 pixels on both.
"""

from collections.abc import Callable, Sequence
from datetime import date
from html import escape

import numpy as np

from kobe.core.panel import Floats, Ints

WIDE, NARROW = 960, 380
LEFT, RIGHT = 58, 12
DASHES = ("", ' stroke-dasharray="7 4"', ' stroke-dasharray="2 3"')
LETTER = 6.6  # pixels of an average letter of the 12-pixel text; labels are laid out with it


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return about `count` round numbers inside a range, in ascending order."""
    span = max(high - low, 1e-9)
    step = 10 ** np.floor(np.log10(span / count))
    step *= next((m for m in (1, 2, 5, 10) if span / (step * m) <= count), 10)
    first = np.ceil(low / step - 1e-9) * step
    places = np.arange(first, high + step * 1e-6, step)
    return [0.0 if abs(v) < step * 1e-6 else float(v) for v in places]


def text(x: float, y: float, words: str, *, anchor: str = "start", kind: str = "") -> str:
    """Return a line of text; what comes from outside is escaped."""
    place = "" if anchor == "start" else f' text-anchor="{anchor}"'
    marked = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{place}{marked}>{escape(words)}</text>'


def drawn(label: str, width: float, height: float, parts: Sequence[str]) -> str:
    """Return the picture; `label` says in words what it shows, for those who do not see it."""
    said = escape(label)
    body = "".join(parts)
    box = f"0 0 {width:.0f} {height:.0f}"
    return f'<svg viewBox="{box}" role="img" aria-label="{said}"><title>{said}</title>{body}</svg>'


def responsive(draw: Callable[[int], str]) -> str:
    """Return a picture for a desk and one for a phone; the page shows the one that fits. Empty when nothing is drawn.

    Args:
        draw: makes the picture for a width in pixels.
    """
    wide = draw(WIDE)
    return f'<div class="wide">{wide}</div><div class="narrow">{draw(NARROW)}</div>' if wide else ""


def finite_span(*curves: Floats) -> tuple[float, float]:
    """Return the lowest and highest finite value of some curves; (0, 1) when there is none."""
    values = np.concatenate([c[np.isfinite(c)] for c in curves]) if curves else np.empty(0)
    return (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)


def thinned(values: Floats, count: int) -> Ints:
    """Return the places of at most about `count` values that keep every peak and every trough worth seeing.

    The curve is cut into `count / 2` equal parts, and of each the lowest and the highest value stay, so that a worst
    day is never lost between two points. NaN are left out.
    """
    known = np.flatnonzero(np.isfinite(values))
    if len(known) <= count:
        return known
    parts = np.array_split(known, max(count // 2, 1))
    ends = [known[0], known[-1]]
    kept = [k for part in parts for k in (part[np.argmin(values[part])], part[np.argmax(values[part])])]
    return np.unique(np.array(ends + kept, dtype=np.int64))


def _dollars(value: float, levels: Sequence[float]) -> str:
    """Write a level so that neighbours differ: with cents where they are close, in millions where they are long."""
    step = levels[1] - levels[0] if len(levels) > 1 else 1.0
    if abs(value) >= 1e6:
        return f"{value / 1e6:,.2f}M" if step >= 1e4 else f"{value / 1e6:,.4f}M"
    return f"{value:,.0f}" if step >= 1.0 else f"{value:,.1f}" if step >= 0.1 else f"{value:,.2f}"


class Frame:
    """A panel of a picture: maps (position, value) to places inside it and collects its elements.

    Args:
        width: of the whole picture, pixels.
        top, height: of this panel.
        n: how many positions lie side by side.
        low, high: span of the values; a twenty-fifth is added on both sides.
    """

    def __init__(self, width: int, top: float, height: float, n: int, low: float, high: float) -> None:
        self.width, self.top, self.height, self.n = width, top, height, max(n - 1, 1)
        pad = (high - low) * 0.04 or abs(high) * 0.04 or 1.0
        self.low, self.high = low - pad, high + pad
        self.parts: list[str] = []

    @property
    def bottom(self) -> float:
        """Lower edge in pixels."""
        return self.top + self.height

    def x(self, i: float) -> float:
        """Place of a position from the left."""
        return LEFT + i / self.n * (self.width - LEFT - RIGHT)

    def y(self, value: float) -> float:
        """Place of a value from the top."""
        return self.top + (self.high - value) / (self.high - self.low) * self.height

    def grid(self, unit: str = "") -> None:
        """Draw level lines with their values; `unit` is "%" for fractions and "$" for money."""
        levels = ticks(self.low, self.high, max(2, min(5, int(self.height / 26))))
        fine = len(levels) > 1 and levels[1] - levels[0] < 0.01
        for value in levels:
            y = self.y(value)
            label = (f"{value:.1%}" if fine else f"{value:.0%}") if unit == "%" else f"{value:,.4g}"
            label = _dollars(value, levels) if unit == "$" else label
            kind = "zero" if value == 0.0 else "grid"
            self.parts.append(f'<line class="{kind}" x1="{LEFT}" x2="{self.width - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
            self.parts.append(text(LEFT - 7, y + 4, label, anchor="end"))

    def years(self, days: Sequence[date]) -> None:
        """Draw a line where each year begins, and the year itself where there is room for it."""
        right = -100.0
        for i, day in enumerate(days):
            if i == 0 or day.year == days[i - 1].year:
                continue
            x = self.x(i)
            self.parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{self.top}" y2="{self.bottom:.1f}"/>')
            if x - right > 6 * LETTER and x + 4 * LETTER < self.width:
                self.parts.append(text(x + 3, self.bottom + 14, str(day.year)))
                right = x

    def points(self, values: Floats, places: Floats | None = None) -> str:
        """Return the points of a curve, thinned to what the width can show."""
        where = np.arange(len(values)) if places is None else places
        return " ".join(f"{self.x(where[i]):.1f},{self.y(float(values[i])):.1f}" for i in self._kept(values))

    def _kept(self, values: Floats) -> Ints:
        return thinned(values, int(self.width * 0.8))

    def line(self, values: Floats, k: int, places: Floats | None = None) -> None:
        """Draw curve number k: each has its colour and its dashes."""
        look = f'class="s{k}" fill="none" stroke-width="{1.8 if k < 2 else 1.3}"{DASHES[k % 3]}'
        self.parts.append(f'<polyline {look} points="{self.points(values, places)}"/>')

    def area(self, values: Floats, k: int, base: float = 0.0) -> None:
        """Fill between a curve and a level."""
        kept = self._kept(values)
        if len(kept):
            foot = self.y(base)
            ends = f"{self.x(kept[0]):.1f},{foot:.1f}", f"{self.x(kept[-1]):.1f},{foot:.1f}"
            self.parts.append(f'<polygon class="f{k}" points="{ends[0]} {self.points(values)} {ends[1]}"/>')

    def band(self, low: Floats, high: Floats, places: Floats, k: int) -> None:
        """Fill between two curves."""
        known = np.isfinite(low) & np.isfinite(high)
        there = [f"{self.x(p):.1f},{self.y(v):.1f}" for p, v in zip(places[known], high[known], strict=True)]
        back = [f"{self.x(p):.1f},{self.y(v):.1f}" for p, v in zip(places[known], low[known], strict=True)]
        if there:
            self.parts.append(f'<polygon class="f{k}" points="{" ".join(there + back[::-1])}"/>')


def legend(names: Sequence[str], width: int, y: float = 14) -> tuple[list[str], float]:
    """Return the legend of curves 0, 1, ... and the height it takes: names wrap where the width ends."""
    parts, x = [], float(LEFT)
    for k, name in enumerate(names):
        takes = 34 + len(name) * LETTER + 16
        if x > LEFT and x + takes > width:
            x, y = float(LEFT), y + 18
        parts.append(f'<line class="s{k}" stroke-width="3"{DASHES[k % 3]} x1="{x:.1f}" x2="{x + 26:.1f}" '
                     f'y1="{y - 4:.1f}" y2="{y - 4:.1f}"/>')  # fmt: skip
        parts.append(text(x + 32, y, name))
        x += takes
    return parts, y + 12
