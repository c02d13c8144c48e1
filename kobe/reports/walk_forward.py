"""The walk-forward comparison: what each strategy did out of sample, how sure that is, and what it depends on."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

from kobe.backtest.metrics import CurveMetrics, TradeMetrics
from kobe.core.panel import Floats
from kobe.reports.document import Cell, Document, Section, Table
from kobe.reports.render.svg import equity_with_drawdown

Interval = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Variant:
    """The same choices under one changed assumption."""

    name: str
    sharpe: float
    cagr: float
    max_drawdown: float
    profit_factor: float
    average_r: float


@dataclass(frozen=True, kw_only=True)
class SplitLine:
    """One test window."""

    number: int
    train_first: date
    test_first: date
    test_last: date
    chosen_by: str
    params: str
    signals: int
    taken: int
    net_usd: float
    average_r: float
    sharpe: float


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Everything the report says about one strategy; intervals are 95%."""

    strategy: str
    curve: CurveMetrics
    trades: TradeMetrics
    signals: int
    ambiguous_share: float
    sharpe_interval: Interval
    average_r_interval: Interval
    profit_factor_interval: Interval
    positive_windows: float
    parameter_trials: int
    variants: tuple[Variant, ...]
    splits: tuple[SplitLine, ...]
    equity: Floats
    drawdown: Floats


def build(
    days: Sequence[date], evidence: Sequence[Evidence], banners: tuple[str, ...], files: Sequence[str]
) -> Document:
    """Build the comparison; `days` are the sessions of the equity curves."""
    span = f"{days[0]} to {days[-1]}, {len(days)} sessions out of sample"
    picture = equity_with_drawdown(
        days, {e.strategy: e.equity for e in evidence}, {e.strategy: e.drawdown for e in evidence}
    )
    sections = [
        Section(title="Headline figures, with 95% intervals", table=_headline(evidence)),
        Section(
            title="Growth of one dollar, and drawdown",
            lines=("One continuous account per strategy, whole shares, costs charged, marked at each close.",),
            picture=picture,
        ),
        Section(title="The same choices under other assumptions", table=_variants(evidence)),
        *[Section(title=f"Test windows of {e.strategy}", table=_splits(e)) for e in evidence],
    ]
    if files:
        sections.append(Section(title="Files", lines=tuple(files)))
    return Document(
        schema="kobe.walk_forward/1",
        title=f"Walk-forward, {span}",
        summary=tuple(_sentence(e) for e in evidence),
        banners=banners,
        sections=tuple(sections),
        data={
            "first": str(days[0]),
            "last": str(days[-1]),
            "strategies": [_data(e) for e in evidence],
            "files": list(files),
        },
    )


def _sentence(e: Evidence) -> str:
    low, high = e.sharpe_interval
    if low > 0:
        verdict = "the interval lies above zero"
    elif high < 0:
        verdict = "the interval lies below zero"
    else:
        verdict = "the interval includes zero: no edge is shown"
    return f"{e.strategy}: Sharpe {e.curve.sharpe:.2f} [{low:.2f}, {high:.2f}]; {verdict}."


def _interval(value: float, interval: Interval) -> str:
    return f"{value:.3f} [{interval[0]:.3f}, {interval[1]:.3f}]"


def _headline(evidence: Sequence[Evidence]) -> Table:
    lines: dict[str, Callable[[Evidence], Cell]] = {
        "Sharpe (annual)": lambda e: _interval(e.curve.sharpe, e.sharpe_interval),
        "Average R per signal": lambda e: _interval(e.trades.average_r, e.average_r_interval),
        "Profit factor (R)": lambda e: _interval(e.trades.profit_factor, e.profit_factor_interval),
        "t of average R, by date": lambda e: f"{e.trades.t_clustered:.2f}",
        "Win rate": lambda e: f"{e.trades.win_rate:.1%}",
        "Closed signals": lambda e: e.trades.trades,
        "CAGR": lambda e: f"{e.curve.cagr:.2%}",
        "Max drawdown": lambda e: f"{e.curve.max_drawdown:.2%}",
        "Mean exposure": lambda e: f"{e.curve.exposure:.1%}",
        "Positive windows": lambda e: f"{e.positive_windows:.0%}",
        "Ambiguous bars": lambda e: f"{e.ambiguous_share:.2%} of trades",
        "Parameter trials": lambda e: e.parameter_trials,
    }
    rows = tuple((name, *[value(e) for e in evidence]) for name, value in lines.items())
    return Table(columns=("figure", *[e.strategy for e in evidence]), rows=rows)


def _variants(evidence: Sequence[Evidence]) -> Table:
    rows = tuple(
        (f"{e.strategy}: {v.name}", v.sharpe, f"{v.cagr:.2%}", f"{v.max_drawdown:.2%}", v.profit_factor, v.average_r)
        for e in evidence
        for v in e.variants
    )
    return Table(columns=("assumption", "Sharpe", "CAGR", "max drawdown", "profit factor (R)", "average R"), rows=rows)


def _splits(e: Evidence) -> Table:
    rows = tuple(
        (
            s.number, f"{s.test_first} to {s.test_last}", s.chosen_by, s.params, s.signals, s.taken,
            f"{s.net_usd:,.0f}", f"{s.average_r:.3f}", f"{s.sharpe:.2f}",
        )
        for s in e.splits
    )  # fmt: skip
    columns = ("split", "test window", "chosen by", "parameters", "signals", "taken", "net $", "average R", "Sharpe")
    return Table(columns=columns, rows=rows)


def _data(e: Evidence) -> dict[str, Any]:
    left_out = ("equity", "drawdown")
    return {name: value for name, value in asdict(e).items() if name not in left_out}
