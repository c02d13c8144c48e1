"""Maps: returns by month, and which parameters were chosen in which split. Every shade has its number or its mark."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from kobe.core.panel import Floats
from kobe.reports.render.svg_base import LETTER, drawn, text

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
STRONGEST = 0.62  # opacity of the strongest shade: the number on it stays legible in light and in dark
YEARS_ABREAST = 8
_YEAR = 13  # the column behind December: the year as a whole


def month_map(returns: Mapping[tuple[int, int], float], width: int, *, name: str) -> str:
    """Draw returns by year and month in percent: a number with its sign in every shaded cell.

    On a desk years are rows; on a phone months are, and years stand side by side in blocks of eight.

    Args:
        returns: (year, month) -> fraction; months without a session are missing.
        width: of the picture in pixels.
        name: whose returns, for the label.

    Returns:
        The picture; empty without a month.
    """
    if not returns:
        return ""
    years = sorted({year for year, _ in returns})
    cells = {**returns, **{(y, _YEAR): _compounded([v for (a, _), v in returns.items() if a == y]) for y in years}}
    scale = float(np.quantile(np.abs(list(returns.values())), 0.95)) or 1.0
    names = [*MONTHS, "year"]
    blocks = [years] if width > 600 else _blocks(years)
    parts, top = [], 0.0
    for block in blocks:
        wide = width > 600
        across, down = (len(names), len(block)) if wide else (len(block), len(names))
        cell, left = (width - 44) / max(across, 6), 40
        parts += [text(left + (c + 0.5) * cell, top + 14, names[c] if wide else str(block[c]), anchor="middle")
                  for c in range(across)]  # fmt: skip
        for r in range(down):
            parts.append(text(left - 6, top + 37 + r * 24, str(block[r]) if wide else names[r], anchor="end"))
            for c in range(across):
                key = (block[r], c + 1) if wide else (block[c], r + 1)
                if key in cells:
                    place = (left + c * cell, top + 22 + r * 24, cell)
                    parts.append(_cell(place, cells[key], scale * (3.5 if key[1] == _YEAR else 1)))
        top += 22 + down * 24 + 14
    best, worst = (pick(returns, key=lambda k: returns[k]) for pick in (max, min))
    said = ", ".join(f"{MONTHS[k[1] - 1]} {k[0]} {returns[k]:+.1%}" for k in (best, worst))
    return drawn(f"Monthly returns of {name}, in percent; best and worst: {said}", width, top - 8, parts)


def _blocks(years: Sequence[int]) -> list[Sequence[int]]:
    """Cut years into blocks of nearly equal size that fit side by side."""
    rows = -(-len(years) // YEARS_ABREAST)
    size = -(-len(years) // rows)
    return [years[i : i + size] for i in range(0, len(years), size)]


def _compounded(values: Sequence[float]) -> float:
    return float(np.prod([1.0 + v for v in values])) - 1.0


def _cell(place: tuple[float, float, float], value: float, scale: float) -> str:
    x, y, wide = place
    shade = min(abs(value) / scale, 1.0) * STRONGEST
    kind = "k0" if value >= 0 else "k1"
    number = f"{value * 100:+.1f}"
    return (
        f'<rect class="{kind}" fill-opacity="{shade:.2f}" x="{x + 1:.1f}" y="{y:.1f}" width="{wide - 2:.1f}" '
        f'height="22" rx="2"/>{text(x + wide / 2, y + 15, number, anchor="middle", kind="n")}'
    )


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One parameter of a grid over the splits.

    Attributes:
        name: of the parameter.
        values: what the grid tries, in its order, as words.
        best: float64[values, splits], best objective in training of the combinations with that value; NaN: none had
            trades enough.
        chosen: per split the place in `values` that was used in the test window; -1 for a value outside the grid.
    """

    name: str
    values: tuple[str, ...]
    best: Floats
    chosen: tuple[int, ...]


def stability_map(axes: Sequence[Axis], by_training: Sequence[bool], width: int, *, name: str) -> str:
    """Draw grid values against split numbers: a disc was chosen in training, a ring is the default taken instead.

    A cell is shaded the stronger, the better the best combination with that value did in training.

    Args:
        axes: the parameters searched.
        by_training: per split, whether training chose or the defaults were used.
        width: of the picture in pixels.
        name: of the strategy, for the label.

    Returns:
        The picture; empty without axes or splits.
    """
    if not axes or not by_training:
        return ""
    splits = len(by_training)
    left = 14 + LETTER * max(len(v) for a in axes for v in (*a.values, a.name))
    step, row = (width - left - 8) / splits, 20.0
    highest = max((float(np.nanmax(a.best)) for a in axes if np.isfinite(a.best).any()), default=1.0)
    parts, y = [], 4.0
    for axis in axes:
        parts.append(text(0, y + 12, axis.name, kind="n"))
        y += 18
        for i, value in enumerate(axis.values):
            parts.append(text(left - 6, y + 14, value, anchor="end"))
            for s in range(splits):
                parts.append(_stability_cell((left + s * step, y, step, row), axis, i, s, highest))
                if axis.chosen[s] == i:
                    parts.append(_mark(left + (s + 0.5) * step, y + row / 2, min(step, row) * 0.3, by_training[s]))
            y += row
        y += 8
    every = 5 if splits > 12 else 1
    parts += [text(left + (s + 0.5) * step, y + 8, str(s + 1), anchor="middle")
              for s in range(every - 1, splits, every)]  # fmt: skip
    parts.append(text(left, y + 28, "split"))
    chosen = sum(by_training)
    label = f"Parameters of {name} by split: training chose in {chosen} of {splits}, the defaults were used in the rest"
    return drawn(label, width, y + 34, parts)


def _stability_cell(place: tuple[float, float, float, float], axis: Axis, i: int, s: int, highest: float) -> str:
    x, y, wide, tall = place
    value = float(axis.best[i, s])
    if not np.isfinite(value):
        return ""
    shade = max(0.03, min(value / max(highest, 1e-9), 1.0) * STRONGEST)
    where = f'x="{x + 0.5:.1f}" y="{y + 0.5:.1f}" width="{max(wide - 1, 0.5):.1f}" height="{tall - 1:.1f}"'
    return f'<rect class="k0" fill-opacity="{shade:.2f}" {where}/>'


def _mark(x: float, y: float, radius: float, by_training: bool) -> str:
    kind = "disc" if by_training else "ring"
    return f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"/>'
