"""Curves over time: growth with drawdown, rolling Sharpe with its band, exposure."""

from collections.abc import Mapping, Sequence
from datetime import date

import numpy as np

from kobe.core.panel import Floats
from kobe.reports.render.svg_base import Frame, drawn, finite_span, legend, text


def equity_with_drawdown(
    days: Sequence[date], curves: Mapping[str, Floats], drawdowns: Mapping[str, Floats], width: int
) -> str:
    """Draw growth of one dollar per name above its drawdown; each curve has its own dashes as well as its colour.

    Args:
        days: session dates, one per value.
        curves: name -> float64[days], equity as a multiple of the start.
        drawdowns: name -> float64[days], fraction below the highest equity so far; names may be missing here.
        width: of the picture in pixels.

    Returns:
        The picture; empty without a curve.
    """
    if not days or not curves:
        return ""
    parts, top = legend(list(curves), width)
    tall = 260 if width > 600 else 190
    upper = Frame(width, top, tall, len(days), *finite_span(*curves.values()))
    lower = Frame(width, upper.bottom + 34, tall * 0.42, len(days), finite_span(*drawdowns.values())[0], 0.0)
    upper.grid()
    lower.grid("%")
    for frame in (upper, lower):
        frame.years(days)
    for k, (name, values) in enumerate(curves.items()):
        upper.line(values, k)
        if name in drawdowns:
            if k < 2:
                lower.area(drawdowns[name], k)
            lower.line(drawdowns[name], k)
    finals = "; ".join(f"{name} ends at {values[-1]:.2f}" for name, values in curves.items())
    deepest = "; ".join(f"{name} fell {-np.min(values):.1%}" for name, values in drawdowns.items())
    label = f"Growth of one dollar and drawdown, {days[0]} to {days[-1]}: {finals}; at worst {deepest}"
    return drawn(label, width, lower.bottom + 22, [*parts, *upper.parts, *lower.parts])


def rolling_with_band(
    days: Sequence[date], places: Floats, value: Floats, low: Floats, high: Floats, width: int, *, name: str, k: int
) -> str:
    """Draw a rolling figure with its band around it and a strong line at zero.

    Args:
        days: all sessions.
        places: float64[m], positions in `days` at which the figure was asked for.
        value: float64[m], the figure; NaN where unknown.
        low: float64[m], lower end of the band.
        high: float64[m], upper end of the band.
        width: of the picture in pixels.
        name: what is drawn, for the label.
        k: number of the curve, for its colour and dashes.

    Returns:
        The picture; empty when no value is known.
    """
    known = np.isfinite(value)
    if not known.any():
        return ""
    span = finite_span(value, low, high, np.zeros(1))
    frame = Frame(width, 10, 180 if width > 600 else 150, len(days), *span)
    frame.grid()
    frame.years(days)
    frame.band(low, high, places, k)
    frame.line(value, k, places)
    above = float(np.mean(low[known] > 0))
    label = (
        f"{name}: between {value[known].min():.2f} and {value[known].max():.2f}, at the end {value[known][-1]:.2f}; "
        f"the band lies above zero in {above:.0%} of the windows"
    )
    return drawn(label, width, frame.bottom + 22, frame.parts)


def exposure(days: Sequence[date], curves: Mapping[str, Floats], width: int) -> str:
    """Draw how much of the equity was in the market, one panel per name.

    Args:
        days: session dates.
        curves: name -> float64[days], gross open value over equity at each close.
        width: of the picture in pixels.
    """
    if not days or not curves:
        return ""
    top, parts = 22.0, []
    for k, (name, values) in enumerate(curves.items()):
        frame = Frame(width, top, 84, len(days), 0.0, max(finite_span(values)[1], 0.01))
        frame.parts.append(text(frame.x(0), top - 6, name))
        frame.grid("%")
        frame.years(days)
        frame.area(values, k)
        frame.line(values, k)
        parts += frame.parts
        top = frame.bottom + 44
    means = "; ".join(f"{name} {np.nanmean(v):.0%} on average" for name, v in curves.items())
    return drawn(f"Share of the equity in the market: {means}", width, top - 20, parts)
