"""The bars before a signal with the levels that matter, as a picture and as letters."""

from collections.abc import Mapping, Sequence

import numpy as np

from kobe.reports.render.svg_bars import Ohlc, _ohlc, _price_labels
from kobe.reports.render.svg_base import drawn, text

TALL, RIGHT_ROOM = 320.0, 104


def level_chart(label: str, bars: Sequence[Ohlc], levels: Mapping[str, float], width: int) -> str:
    """Draw bars with a dashed line per level; the last bar is the signal's.

    Args:
        label: what stands above.
        bars: (date, open, high, low, close), oldest first.
        levels: name -> price; NaN is not drawn.
        width: of the picture in pixels.
    """
    known = {name: price for name, price in levels.items() if np.isfinite(price)}
    prices = [v for bar in bars for v in bar[2:4]] + list(known.values())
    low, high = min(prices), max(prices)
    scale, step = (TALL - 64) / max(high - low, 1e-9), (width - RIGHT_ROOM) / len(bars)

    def y_of(price: float) -> float:
        return 30 + (high - price) * scale

    parts = [text(0, 14, label, kind="n")]
    for price in known.values():
        y = y_of(price)
        parts.append(
            f'<line class="s1" stroke-dasharray="5 4" x1="0" x2="{width - RIGHT_ROOM:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'
        )
    for i, bar in enumerate(bars):
        y4 = (y_of(bar[1]), y_of(bar[2]), y_of(bar[3]), y_of(bar[4]))
        parts.append(_ohlc((i + 0.5) * step, y4, step, "s0" if i == len(bars) - 1 else "ink"))
    parts += _price_labels([(name, price, y_of(price)) for name, price in known.items()], width, TALL)
    ends = (bars[0][0], bars[-1][0])
    parts += [text(0, TALL - 6, str(ends[0])), text(width - RIGHT_ROOM, TALL - 6, str(ends[1]), anchor="end")]
    said = ", ".join(f"{name} {price:,.2f}" for name, price in known.items())
    return drawn(f"{label}: {len(bars)} bars to {ends[1]}; {said}", width, TALL, parts)


def letter_chart(bars: Sequence[Ohlc], levels: Mapping[str, float], rows: int = 14) -> tuple[str, ...]:
    """Draw the same for a terminal: a column per bar, thick between open and close, levels as dotted lines.

    Args:
        bars: (date, open, high, low, close), oldest first.
        levels: name -> price; NaN is not drawn.
        rows: height in lines.
    """
    known = {name: price for name, price in levels.items() if np.isfinite(price)}
    prices = [v for bar in bars for v in bar[2:4]] + list(known.values())
    low, high = min(prices), max(prices)
    step = max(high - low, 1e-9) / (rows - 1)

    def row_of(price: float) -> int:
        return round((high - price) / step)

    grid = [[" "] * len(bars) for _ in range(rows)]
    named: dict[int, list[str]] = {}
    for name, price in known.items():
        grid[row_of(price)] = ["·"] * len(bars)
        named.setdefault(row_of(price), []).append(f"{name} {price:,.2f}")
    for k, (_, opened, top, bottom, close) in enumerate(bars):
        for y in range(row_of(top), row_of(bottom) + 1):
            grid[y][k] = "│"
        for y in range(row_of(max(opened, close)), row_of(min(opened, close)) + 1):
            grid[y][k] = "█" if close < opened else "░"
    return tuple("".join(line) + "  " + ", ".join(named.get(y, [])) for y, line in enumerate(grid))
