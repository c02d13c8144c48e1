"""Bars: small price charts, histograms, and figures under several assumptions side by side."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from kobe.core.panel import Floats, Ints
from kobe.reports.render.svg_base import LEFT, LETTER, RIGHT, Frame, drawn, text

Ohlc = tuple[date, float, float, float, float]


def bar_strips(strips: Sequence[tuple[str, Sequence[Ohlc], date]]) -> str:
    """Draw small price charts side by side, each with the bar in question marked by a triangle as well as by colour.

    Args:
        strips: label, bars as (date, open, high, low, close), and the date to mark.
    """
    columns, width, height = 3, 310, 150
    rows = -(-len(strips) // columns)
    body = [
        f'<g transform="translate({k % columns * (width + 12)},{k // columns * (height + 26)})">'
        f"{_strip(label, bars, marked, width, height)}</g>"
        for k, (label, bars, marked) in enumerate(strips)
    ]
    words = "Bars around " + ", ".join(label for label, _, _ in strips)
    return drawn(words, columns * (width + 12), rows * (height + 26), body)


def _strip(label: str, bars: Sequence[Ohlc], marked: date, width: int, height: int) -> str:
    top, bottom = max(b[2] for b in bars), min(b[3] for b in bars)
    scale = (height - 44) / max(top - bottom, 1e-9)
    step = (width - 20) / max(len(bars), 1)
    parts = [text(4, 13, label)]
    for i, bar in enumerate(bars):
        x = 10 + (i + 0.5) * step
        y = [26 + (top - value) * scale for value in bar[1:]]
        parts.append(_ohlc(x, (y[0], y[1], y[2], y[3]), step, "s1" if bar[0] == marked else "s0"))
        if bar[0] == marked:
            foot = height - 12
            parts.append(f'<path class="k1" d="M{x:.1f},{foot - 7}l4.5,8h-9z"/>')
    parts.append(text(width - 4, 13, f"{bottom:,.4g} to {top:,.4g}", anchor="end"))
    return "".join(parts)


def _ohlc(x: float, y: tuple[float, float, float, float], step: float, kind: str) -> str:
    opened, high, low, close = y
    return (
        f'<path class="{kind}" stroke-width="1.6" fill="none" d="M{x:.1f},{high:.1f}V{low:.1f}'
        f'M{x - step * 0.35:.1f},{opened:.1f}H{x:.1f}M{x:.1f},{close:.1f}h{step * 0.35:.1f}"/>'
    )


@dataclass(frozen=True, kw_only=True)
class TradeStrip:
    """The bars around one trade; prices in adjusted dollars.

    Attributes:
        label, result: what stands above the bars, left and right.
        bars: (date, open, high, low, close), oldest first.
        entered, left: dates of the fills.
        entry, stop, exit: prices of the fills and of the protective stop; NaN is not drawn.
    """

    label: str
    result: str
    bars: tuple[Ohlc, ...]
    entered: date
    left: date
    entry: float
    stop: float
    exit: float


def trade_strips(strips: Sequence[TradeStrip], width: int) -> str:
    """Draw trades with their bars: entry a triangle from the left, exit a cross, the stop a dashed level.

    Args:
        strips: the trades.
        width: of the picture in pixels.

    Returns:
        The picture; empty without trades.
    """
    shown = [s for s in strips if s.bars]
    if not shown:
        return ""
    columns = 2 if width > 600 else 1
    wide, tall = width / columns - 8, 178.0
    parts = [
        f'<g transform="translate({k % columns * (wide + 16):.1f},{k // columns * (tall + 12):.1f})">'
        f"{_trade(strip, wide, tall)}</g>"
        for k, strip in enumerate(shown)
    ]
    said = "; ".join(f"{s.label}, {s.result}" for s in shown)
    return drawn(f"Bars of trades: {said}", width, -(-len(shown) // columns) * (tall + 12), parts)


def _trade(strip: TradeStrip, wide: float, tall: float) -> str:
    levels = [v for b in strip.bars for v in b[2:4]] + [strip.entry, strip.stop, strip.exit]
    low, high = (pick([v for v in levels if np.isfinite(v)]) for pick in (min, max))
    scale, step = (tall - 58) / max(high - low, 1e-9), (wide - 84) / len(strip.bars)

    def y_of(price: float) -> float:
        return 28 + (high - price) * scale

    parts = [text(0, 14, strip.label, kind="n"), text(wide, 14, strip.result, anchor="end")]
    if np.isfinite(strip.stop):
        y = y_of(strip.stop)
        parts.append(f'<line class="s1" stroke-dasharray="5 4" x1="0" x2="{wide - 80:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>')
    for i, bar in enumerate(strip.bars):
        x = (i + 0.5) * step
        parts.append(_ohlc(x, (y_of(bar[1]), y_of(bar[2]), y_of(bar[3]), y_of(bar[4])), step, "ink"))
        if bar[0] == strip.entered:
            parts.append(f'<path class="k0" d="M{x - step * 0.4:.1f},{y_of(strip.entry):.1f}l-9,-5v10z"/>')
        if bar[0] == strip.left:
            parts.append(f'<path class="s1" stroke-width="2.4" d="M{x + step * 0.4:.1f},{y_of(strip.exit) - 4:.1f}'
                         f'l8,8m0,-8l-8,8"/>')  # fmt: skip
    named = [("entry", strip.entry), ("stop", strip.stop), ("exit", strip.exit)]
    parts += _price_labels([(words, price, y_of(price)) for words, price in named if np.isfinite(price)], wide, tall)
    ends = (strip.bars[0][0], strip.bars[-1][0])
    parts += [text(0, tall - 6, str(ends[0])), text(wide - 82, tall - 6, str(ends[1]), anchor="end")]
    return "".join(parts)


def _price_labels(named: Sequence[tuple[str, float, float]], wide: float, tall: float) -> list[str]:
    """Write prices at their level, moved apart where they would touch."""
    parts, y = [], -100.0
    room = {i: (len(named) - i - 1) * 13 for i in range(len(named))}
    for i, (words, price, level) in enumerate(sorted(named, key=lambda n: n[2])):
        y = max(y + 13, min(level + 4, tall - 24 - room[i]))
        parts.append(text(wide, y, f"{words} {price:,.2f}", anchor="end"))
    return parts


def histogram(edges: Floats, counts: Mapping[str, Ints], width: int, *, unit: str) -> str:
    """Draw how often values fell between edges, one panel per name; the first and last bar hold all beyond.

    Args:
        edges: float64[n + 1], ascending.
        counts: name -> int64[n].
        width: of the picture in pixels.
        unit: of the values, such as "R".

    Returns:
        The picture; empty without names.
    """
    if not counts:
        return ""
    top, parts, n = 22.0, [], len(edges) - 1
    for k, (name, held) in enumerate(counts.items()):
        frame = Frame(width, top, 130, n + 1, 0.0, float(max(held.max(initial=0), 1)))
        frame.parts.append(text(LEFT, top - 6, f"{name}: {int(held.sum()):,}"))
        frame.grid()
        foot = frame.y(0.0)
        for i, count in enumerate(held):
            x, wide, y = frame.x(i), frame.x(i + 1) - frame.x(i), frame.y(float(count))
            kind = f"h{k % 2}" if edges[i] >= 0 else f"h{k % 2} loss"
            frame.parts.append(f'<rect class="{kind}" x="{x + 0.5:.1f}" y="{y:.1f}" width="{wide - 1:.1f}" '
                               f'height="{max(foot - y, 0):.1f}"/>')  # fmt: skip
        frame.parts += _edge_labels(frame, edges, unit)
        parts += frame.parts
        top = frame.bottom + 46
    said = "; ".join(f"{name} {_most_common(edges, held)} {unit}" for name, held in counts.items())
    return drawn(f"Histogram; most common: {said}", width, top - 24, parts)


def _most_common(edges: Floats, held: Ints) -> str:
    i = int(np.argmax(held)) if len(held) else 0
    return f"{edges[i]:.2g} to {edges[i + 1]:.2g}"


def _edge_labels(frame: Frame, edges: Floats, unit: str) -> list[str]:
    parts, last = [], len(edges) - 1
    for i, edge in enumerate(edges):
        if abs(edge - round(float(edge))) > 1e-9:
            continue
        words = f"{edge:+.0f} {unit}" if edge else f"0 {unit}"
        end = "end" if i == last else "start" if i == 0 else "middle"
        parts.append(text(frame.x(i), frame.bottom + 15, words, anchor=end))
    return parts


def dot_rows(
    labels: Sequence[str], values: Mapping[str, Sequence[float]], width: int, *, figure: str, decimals: int = 2
) -> str:
    """Draw one figure under several assumptions: a row each, a number beside every mark, a line at zero.

    Args:
        labels: of the assumptions.
        values: name -> one value per assumption; NaN is said in words and not drawn.
        width: of the picture in pixels.
        figure: what is drawn.
        decimals: of the numbers.

    Returns:
        The picture; empty without values.
    """
    known = [v for row in values.values() for v in row if np.isfinite(v)]
    if not known or not labels:
        return ""
    low, high = min([*known, 0.0]), max([*known, 0.0])
    left, room = 8 + LETTER * max(len(x) for x in labels), 54
    scale = (width - left - RIGHT - 2 * room) / max(high - low, 1e-9)

    def x_of(value: float) -> float:
        return left + room + (value - low) * scale

    parts, y, x = [text(0, 14, figure, kind="n")], 24.0, (len(figure) + 3) * LETTER
    for k, name in enumerate(values):
        parts += [_mark(x, 10, k), text(x + 10, 14, name)]
        x += (len(name) + 4) * LETTER
    for i, label in enumerate(labels):
        parts.append(text(0, y + 9 + 10 * len(values), label))
        for k, row in enumerate(values.values()):
            y += 20
            parts += _dot(x_of, row[i], y - 6, k, decimals)
        y += 6
    x = x_of(0.0)
    parts.append(f'<line class="zero" x1="{x:.1f}" x2="{x:.1f}" y1="22" y2="{y:.1f}"/>')
    said = "; ".join(f"{n}: " + ", ".join(f"{a} {v:.{decimals}f}" for a, v in zip(labels, r, strict=True))
                     for n, r in values.items())  # fmt: skip
    return drawn(f"{figure}. {said}", width, y + 8, parts)


def _dot(x_of: Callable[[float], float], value: float, y: float, k: int, decimals: int) -> list[str]:
    if not np.isfinite(value):
        return [text(x_of(0.0) + 9, y + 4, "unknown")]
    place = x_of(value)
    stem = f'<line class="s{k % 2}" stroke-width="2" x1="{x_of(0.0):.1f}" x2="{place:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'
    anchor, away = ("end", -9) if value < 0 else ("start", 9)
    return [stem, _mark(place, y, k), text(place + away, y + 4, f"{value:.{decimals}f}", anchor=anchor)]


def _mark(x: float, y: float, k: int) -> str:
    """A disc for the first strategy, a square for the second: told apart without colour."""
    if k % 2 == 0:
        return f'<circle class="k0" cx="{x:.1f}" cy="{y:.1f}" r="5"/>'
    return f'<rect class="k1" x="{x - 4.5:.1f}" y="{y - 4.5:.1f}" width="9" height="9"/>'
