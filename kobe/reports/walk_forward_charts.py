"""What the pictures of the walk-forward report show, and the sections made of them; tables say the same in words."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np

from kobe.backtest.metrics import CurveMetrics
from kobe.backtest.rolling import RollingSharpe
from kobe.core.panel import Floats, Ints
from kobe.reports.document import Cell, Section, Table
from kobe.reports.render import svg_bars, svg_curves, svg_maps
from kobe.reports.render.svg_bars import TradeStrip
from kobe.reports.render.svg_base import responsive
from kobe.reports.render.svg_maps import MONTHS, Axis

MONTH_SESSIONS = 21


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """The market bought in the first session and held.

    Attributes:
        symbol: what was bought.
        curve: its figures.
        equity: float64[sessions], multiple of the start.
        drawdown: float64[sessions], fraction below the highest equity so far.
        pays: whether the store has dividends of it; without, its line is too low.
    """

    symbol: str
    curve: CurveMetrics
    equity: Floats
    drawdown: Floats
    pays: bool = False


@dataclass(frozen=True, kw_only=True)
class CostPoint:
    """The same choices with every cost multiplied."""

    multiplier: float
    sharpe: float
    average_r: float


@dataclass(frozen=True, kw_only=True)
class ExitLine:
    """How some of the closed signals ended; R after costs."""

    reason: str
    trades: int
    average_r: float
    sum_r: float


@dataclass(frozen=True, kw_only=True)
class WorstTrade:
    """One of the account's worst trades with the bars around it."""

    symbol: str
    side: str
    reason: str
    net_r: float
    net_usd: float
    strip: TradeStrip


@dataclass(frozen=True, kw_only=True)
class Charts:
    """Everything the pictures of one strategy are drawn from.

    Attributes:
        rolling: Sharpe ratio of 252 sessions with its band.
        months: (year, month, return of the account).
        axes: the grid over the splits.
        by_training: per split, whether training chose.
        objectives: float64[splits], training objective of what was used; NaN where it has none.
        edges, counts: histogram of R after costs; the outer bars hold all beyond.
        holding: int64, closed signals by sessions held; element 0 is one session.
        exits: closed signals by reason.
        costs: the costs times 0, 1, 2 and 3.
        exposure: float64[sessions], gross open value over equity.
        worst: the account's worst trades in R, worst first.
    """

    rolling: RollingSharpe
    months: tuple[tuple[int, int, float], ...]
    axes: tuple[Axis, ...]
    by_training: tuple[bool, ...]
    objectives: Floats
    edges: Floats
    counts: Ints
    holding: Ints
    exits: tuple[ExitLine, ...]
    costs: tuple[CostPoint, ...]
    exposure: Floats
    worst: tuple[WorstTrade, ...]


Named = Sequence[tuple[str, Charts]]


def rolling_sections(days: Sequence[date], named: Named) -> list[Section]:
    """Return one section per strategy: the rolling Sharpe ratio with its band."""
    return [_rolling(days, name, charts.rolling, k) for k, (name, charts) in enumerate(named)]


def _rolling(days: Sequence[date], name: str, r: RollingSharpe, k: int) -> Section:
    title = f"Rolling Sharpe ratio of {name}"
    if not len(r.ends):
        return Section(title=title, lines=(f"No window: fewer than {r.window_sessions} sessions.",))

    def picture(width: int) -> str:
        places = r.ends.astype(np.float64)
        return svg_curves.rolling_with_band(days, places, r.value, r.low, r.high, width, name=title, k=k)

    rows = tuple((str(days[e]), f"{v:.2f}", f"{low:.2f}", f"{high:.2f}") for e, v, low, high in _apart(r))
    return Section(
        title=title,
        lines=(
            f"Of the {r.window_sessions} sessions before; the shade is its 95% bootstrap band.",
            "Neighbouring windows overlap: a long stretch above zero is one observation, not many.",
        ),
        picture=responsive(picture) or None,
        table=Table(columns=("window ends", "Sharpe", "95% from", "to"), rows=rows),
        folded="Numbers, of windows that share no session",
    )


def _apart(r: RollingSharpe) -> list[tuple[int, float, float, float]]:
    """Windows that share no session, newest last."""
    places = [len(r.ends) - 1]
    for k in range(len(r.ends) - 1, -1, -1):
        if r.ends[places[0]] - r.ends[k] >= r.window_sessions:
            places.insert(0, k)
    return [(int(r.ends[k]), float(r.value[k]), float(r.low[k]), float(r.high[k])) for k in places]


def month_section(name: str, charts: Charts) -> Section:
    """Return the returns by month; years are compounded."""
    cells = {(year, month): value for year, month, value in charts.months}
    years = sorted({year for year, _ in cells})
    rows = tuple(
        (str(y), *[_percent(cells.get((y, m))) for m in range(1, 13)],
         _percent(float(np.prod([1 + v for (a, _), v in cells.items() if a == y])) - 1))
        for y in years
    )  # fmt: skip
    return Section(
        title=f"Monthly returns of {name}, percent",
        lines=("The account's, after costs; the first and last month may be cut. The sign stands beside the shade.",),
        picture=responsive(lambda width: svg_maps.month_map(cells, width, name=name)) or None,
        table=Table(columns=("year", *MONTHS, "year as a whole"), rows=rows),
        in_place_of_picture=True,
    )


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value * 100:+.1f}"


def stability_section(name: str, charts: Charts) -> Section:
    """Return which combination was used per split, and how good its axis looked in training."""
    axes, by_training = charts.axes, charts.by_training
    rows = tuple((a.name, value, a.chosen.count(i)) for a in axes for i, value in enumerate(a.values))
    return Section(
        title=f"Which parameters of {name} were chosen",
        lines=(
            "A disc: training chose this value; a ring: no combination stood on a plateau, the default was used.",
            "The stronger a shade, the better the best combination with that value did in training (t by date).",
            "Discs that wander from split to split mean that training finds nothing that lasts.",
        ),
        picture=responsive(lambda width: svg_maps.stability_map(axes, by_training, width, name=name)) or None,
        table=Table(columns=("parameter", "value", "splits that used it"), rows=rows),
        folded="Numbers: how often each value was used",
    )


def trade_sections(named: Named) -> list[Section]:
    """Return how results in R are spread and how trades ended."""
    edges = named[0][1].edges
    counts = {name: charts.counts for name, charts in named}
    beyond = (
        f"The outer bars hold all below {edges[1]:+.2f} and above {edges[-2]:+.2f} R; pale, dotted ones are losses."
    )
    exits = tuple(
        (f"{name}: {x.reason}", x.trades, f"{x.trades / max(sum(y.trades for y in charts.exits), 1):.1%}",
         f"{x.average_r:.3f}", f"{x.sum_r:,.1f}")
        for name, charts in named for x in charts.exits
    )  # fmt: skip
    held = [(name, charts.holding) for name, charts in named]
    longest = max((len(h) for _, h in held), default=0)
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (name, *[int(h[k]) if k < len(h) else 0 for k in range(longest)]) for name, h in held
    )
    columns = ("sessions held", *[str(k + 1) if k < longest - 1 else f"{k + 1} or more" for k in range(longest)])
    return [
        Section(
            title="Results of the closed signals, in units of risk",
            lines=("Every closed signal after costs, whether or not the account had room for it.", beyond),
            picture=responsive(lambda width: svg_bars.histogram(edges, counts, width, unit="R")) or None,
            table=Table(columns=("ended by", "signals", "share", "average R", "sum of R"), rows=exits),
        ),
        Section(title="Sessions from fill to exit", table=Table(columns=columns, rows=rows)),
    ]


def cost_section(named: Named) -> Section:
    """Return Sharpe ratio and average R under multiplied costs."""
    labels = [f"costs x{p.multiplier:g}" for p in named[0][1].costs]

    def picture(width: int) -> str:
        sharpe = {name: [p.sharpe for p in c.costs] for name, c in named}
        average = {name: [p.average_r for p in c.costs] for name, c in named}
        drawn = svg_bars.dot_rows(labels, sharpe, width, figure="Sharpe ratio")
        return drawn + svg_bars.dot_rows(labels, average, width, figure="Average R", decimals=3)

    rows = tuple(
        (f"{name}: costs x{p.multiplier:g}", f"{p.sharpe:.2f}", f"{p.average_r:.3f}")
        for name, c in named
        for p in c.costs
    )
    return Section(
        title="What costs do to it",
        lines=("The same choices and signals, spread, slippage and fees multiplied; x1 is as reported.",),
        picture=responsive(picture) or None,
        table=Table(columns=("costs", "Sharpe", "average R"), rows=rows),
        in_place_of_picture=True,
    )


def exposure_section(days: Sequence[date], named: Named) -> Section:
    """Return how much of the equity was in the market over time."""
    curves = {name: charts.exposure for name, charts in named}
    smooth = {name: _trailing_mean(v, MONTH_SESSIONS) for name, v in curves.items()}
    rows = tuple((name, f"{v.mean():.1%}", f"{v.max():.1%}", f"{np.mean(v == 0):.1%}") for name, v in curves.items())
    return Section(
        title="Share of the equity in the market",
        lines=(f"Gross open value over equity at each close; the picture is the mean of {MONTH_SESSIONS} sessions.",),
        picture=responsive(lambda width: svg_curves.exposure(days, smooth, width)) or None,
        table=Table(columns=("strategy", "mean", "highest", "sessions with none"), rows=rows),
    )


def _trailing_mean(values: Floats, window: int) -> Floats:
    """Mean of the last `window` values, of fewer at the start."""
    total = np.concatenate(([0.0], np.cumsum(values)))
    last = np.arange(1, len(values) + 1)
    first = np.maximum(last - window, 0)
    result: Floats = (total[last] - total[first]) / (last - first)
    return result


def worst_section(name: str, charts: Charts) -> Section:
    """Return the account's worst trades with their bars."""
    strips = [w.strip for w in charts.worst]
    rows = tuple(
        (w.symbol, w.side, str(w.strip.entered), str(w.strip.left), _price(w.strip.entry),
         _price(w.strip.stop), _price(w.strip.exit), w.reason, f"{w.net_r:+.2f}", f"{w.net_usd:+,.0f}")
        for w in charts.worst
    )  # fmt: skip
    columns = ("symbol", "side", "entered", "left", "entry", "stop", "exit", "why", "R", "net $")
    gap = "Prices are split-adjusted. A loss beyond -1 R is an open beyond the stop, or costs."
    marks = "A triangle from the left is the entry, a cross the exit, the dashed level the protective stop."
    return Section(
        title=f"The {len(charts.worst)} worst trades of {name}",
        lines=(marks, gap) if charts.worst else ("The account made no trade that is closed.",),
        picture=responsive(lambda width: svg_bars.trade_strips(strips, width)) or None,
        table=Table(columns=columns, rows=rows) if rows else None,
    )


def _price(value: float) -> str:
    return f"{value:,.2f}" if np.isfinite(value) else "-"


def data_of(charts: Charts, days: Sequence[date]) -> dict[str, Any]:
    """Return the numbers behind the pictures, JSON-ready; daily curves and trials are in the splits' files."""
    r = charts.rolling
    return {
        "rolling_sharpe": {
            "window_sessions": r.window_sessions, "ends": [str(days[e]) for e in r.ends],
            "value": r.value.tolist(), "low": r.low.tolist(), "high": r.high.tolist(),
        },
        "months": [{"year": y, "month": m, "return": v} for y, m, v in charts.months],
        "stability": {
            "axes": [{"name": a.name, "values": list(a.values), "chosen": list(a.chosen)} for a in charts.axes],
            "by_training": list(charts.by_training), "objectives": charts.objectives.tolist(),
        },
        "histogram_r": {"edges": charts.edges.tolist(), "counts": charts.counts.tolist()},
        "sessions_held": charts.holding.tolist(),
        "exits": [{"reason": x.reason, "trades": x.trades, "average_r": x.average_r, "sum_r": x.sum_r}
                  for x in charts.exits],
        "costs": [{"multiplier": p.multiplier, "sharpe": p.sharpe, "average_r": p.average_r} for p in charts.costs],
        "worst_trades": [
            {"symbol": w.symbol, "side": w.side, "entered": str(w.strip.entered), "left": str(w.strip.left),
             "entry": w.strip.entry, "stop": w.strip.stop, "exit": w.strip.exit, "reason": w.reason,
             "net_r": w.net_r, "net_usd": w.net_usd}
            for w in charts.worst
        ],
    }  # fmt: skip
