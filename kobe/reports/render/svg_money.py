"""Money over time: the account's equity as a curve, gains and losses as bars; each also in letters for a terminal."""

from collections.abc import Sequence
from datetime import date

import numpy as np

from kobe.reports.render.svg_base import LEFT, LETTER, RIGHT, Frame, drawn, finite_span, text

BLOCKS = "▁▂▃▄▅▆▇█"
SHORTEST = 2  # a curve has a beginning and an end


def equity_curve(days: Sequence[date], equity: Sequence[float], width: int) -> str:
    """Draw the equity at each close.

    Args:
        days: sessions, oldest first.
        equity: dollars, one per session, money moved in and out taken out.
        width: of the picture in pixels.

    Returns:
        The picture; empty with fewer than two sessions.
    """
    if len(days) < SHORTEST:
        return ""
    values = np.array(equity, dtype=np.float64)
    frame = Frame(width, 26, 200 if width > 600 else 160, len(days), *finite_span(values))
    frame.grid("$")
    frame.years(days)
    frame.line(values, 0)
    x, y = frame.x(len(days) - 1), frame.y(float(values[-1]))
    frame.parts.append(f'<circle class="k0" cx="{x:.1f}" cy="{y:.1f}" r="4"/>')
    frame.parts.append(text(width - RIGHT, 14, f"{values[-1]:,.2f} $", anchor="end", kind="n"))
    frame.parts.append(text(LEFT, frame.bottom + 30, str(days[0])))
    frame.parts.append(text(width - RIGHT, frame.bottom + 30, str(days[-1]), anchor="end"))
    return drawn(equity_words(days, equity), width, frame.bottom + 38, frame.parts)


def equity_words(days: Sequence[date], equity: Sequence[float]) -> str:
    """Say what the curve shows, for those who do not see it."""
    change = equity[-1] - equity[0]
    return (
        f"Equity at the close, {days[0]} to {days[-1]}: from {equity[0]:,.2f} $ to {equity[-1]:,.2f} $ "
        f"({change:+,.2f} $), lowest {min(equity):,.2f} $, highest {max(equity):,.2f} $"
    )


def spark(values: Sequence[float]) -> str:
    """Return a curve as one line of blocks; empty with fewer than two values."""
    if len(values) < SHORTEST:
        return ""
    low, span = min(values), max(values) - min(values) or 1.0
    return "".join(BLOCKS[int((v - low) / span * (len(BLOCKS) - 1))] for v in values)


def signed_bars(labels: Sequence[str], values: Sequence[float], width: int, *, what: str) -> str:
    """Draw gains upwards and losses downwards; a loss is hollow, and each bar carries its number with its sign.

    Args:
        labels: under the bars.
        values: dollars; NaN is said to be unknown.
        width: of the picture in pixels.
        what: the bars show, for the label.

    Returns:
        The picture; empty without a value.
    """
    known = [v for v in values if np.isfinite(v)]
    if not known:
        return ""
    tall, top = 150.0, 30.0
    low, high = min([0.0, *known]), max([0.0, *known])
    scale, step = tall / max(high - low, 1e-9), (width - 2 * RIGHT) / len(values)
    zero = top + high * scale
    parts = [f'<line class="zero" x1="{RIGHT}" x2="{width - RIGHT}" y1="{zero:.1f}" y2="{zero:.1f}"/>']
    bar = min(step * 0.5, 64.0)
    for k, (label, value) in enumerate(zip(labels, values, strict=True)):
        x = RIGHT + (k + 0.5) * step
        parts.append(text(x, top + tall + 40, label, anchor="middle"))
        if not np.isfinite(value):
            parts.append(text(x, zero - 6, "unknown", anchor="middle"))
            continue
        y, kind = zero - max(value, 0.0) * scale, "h0 loss" if value < 0 else "h0"
        parts.append(f'<rect class="{kind}" x="{x - bar / 2:.1f}" y="{y:.1f}" width="{bar:.1f}" '
                     f'height="{abs(value) * scale:.1f}"/>')  # fmt: skip
        beside = zero - value * scale + (16 if value < 0 else -6)
        parts.append(text(x, beside, _short(value, step), anchor="middle", kind="n"))
    said = ", ".join(
        f"{label} {value:+,.2f} $" if np.isfinite(value) else f"{label} unknown"
        for label, value in zip(labels, values, strict=True)
    )
    return drawn(f"{what}: {said}", width, top + tall + 50, parts)


def _short(value: float, room: float) -> str:
    full = f"{value:+,.2f}"
    return full if len(full) * LETTER < room else f"{value:+,.0f}"
