"""The walk-forward comparison: what each strategy did out of sample, how sure that is, and what it depends on."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from datetime import date
from typing import Any

from kobe.backtest.metrics import CurveMetrics, TradeMetrics
from kobe.core.panel import Floats
from kobe.reports import walk_forward_charts as pictures
from kobe.reports.document import Cell, Document, Section, Table
from kobe.reports.render.svg_base import responsive
from kobe.reports.render.svg_curves import equity_with_drawdown
from kobe.reports.walk_forward_charts import Benchmark, Charts

Interval = tuple[float, float]
HEADLINE = "Headline figures, with 95% intervals"
ANSWERS = {True: "yes", False: "no", None: "unknown"}


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


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictLine:
    """One test of the evidence.

    Attributes:
        name: what was tested.
        value: what was seen, as a person reads it.
        threshold: what it had to reach.
        passed: whether it did; None where it could not be computed.
    """

    name: str
    value: str
    threshold: str
    passed: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the evidence about one strategy comes to.

    Attributes:
        headline: the answer in one sentence.
        lines: the tests it rests on.
        supports: sentences the evidence bears out.
        does_not_support: sentences it must not be quoted for.
    """

    headline: str
    lines: tuple[VerdictLine, ...]
    supports: tuple[str, ...]
    does_not_support: tuple[str, ...]


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
    charts: Charts
    verdict: Verdict | None = None


def build(
    days: Sequence[date],
    evidence: Sequence[Evidence],
    banners: tuple[str, ...],
    files: Sequence[str],
    *,
    benchmark: Benchmark | None = None,
) -> Document:
    """Build the comparison.

    Args:
        days: sessions of the equity curves.
        evidence: one per strategy.
        banners: warnings of the bars.
        files: what was written, relative to the home.
        benchmark: the market held over the same sessions, where there are bars of it.
    """
    span = f"{days[0]} to {days[-1]}, {len(days)} sessions out of sample"
    named = [(e.strategy, e.charts) for e in evidence]
    sections = [
        *[_verdict(e.strategy, e.verdict) for e in evidence if e.verdict is not None],
        Section(title=HEADLINE, table=_headline(evidence, benchmark)),
        _curves(days, evidence, benchmark),
        *pictures.rolling_sections(days, named),
        *[pictures.month_section(name, charts) for name, charts in named],
        pictures.cost_section(named),
        Section(title="The same choices under other assumptions", table=_variants(evidence)),
        *pictures.trade_sections(named),
        *[pictures.worst_section(name, charts) for name, charts in named],
        pictures.exposure_section(days, named),
        *[pictures.stability_section(name, charts) for name, charts in named],
        *[Section(title=f"Test windows of {e.strategy}", table=_splits(e)) for e in evidence],
    ]
    if files:
        sections.append(Section(title="Files", lines=tuple(files)))
    return Document(
        schema="kobe.walk_forward/2",
        title=f"Walk-forward, {span}",
        summary=tuple(_sentence(e) for e in evidence),
        banners=banners,
        sections=tuple(sections),
        data={
            "first": str(days[0]),
            "last": str(days[-1]),
            "strategies": [_data(e, days) for e in evidence],
            "benchmark": None if benchmark is None else {"symbol": benchmark.symbol, **asdict(benchmark.curve)},
            "files": list(files),
        },
    )


def _verdict(strategy: str, verdict: Verdict) -> Section:
    rows = tuple((line.name, ANSWERS[line.passed], line.value, line.threshold) for line in verdict.lines)
    lists = (("The evidence supports", verdict.supports), ("It does not support", verdict.does_not_support))
    return Section(
        title=f"Verdict on {strategy}",
        lines=(verdict.headline,),
        table=Table(columns=("test", "passed", "seen", "needed"), rows=rows) if rows else None,
        lists=tuple((heading, sentences) for heading, sentences in lists if sentences),
        boxed=True,
    )


def _curves(days: Sequence[date], evidence: Sequence[Evidence], benchmark: Benchmark | None) -> Section:
    curves = {e.strategy: e.equity for e in evidence}
    drawdowns = {e.strategy: e.drawdown for e in evidence}
    said = "One continuous account per strategy, whole shares, costs charged, marked at each close."
    other = "The market could not be drawn: no bar of it to buy in the first session."
    if benchmark is not None:
        held = f"{benchmark.symbol} bought and held"
        curves, drawdowns = curves | {held: benchmark.equity}, drawdowns | {held: benchmark.drawdown}
        told = "its dividends kept in cash" if benchmark.pays else "without dividends, of which the store has none"
        other = f"{held}: the same sessions, bought once at the first open with costs, {told}."
    return Section(
        title="Growth of one dollar, and drawdown",
        lines=(said, other),
        picture=responsive(lambda width: equity_with_drawdown(days, curves, drawdowns, width)) or None,
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


def _headline(evidence: Sequence[Evidence], benchmark: Benchmark | None) -> Table:
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
    rows = [(name, *[value(e) for e in evidence]) for name, value in lines.items()]
    columns = ("figure", *[e.strategy for e in evidence])
    if benchmark is None:
        return Table(columns=columns, rows=tuple(rows))
    b = benchmark.curve
    held = {"Sharpe (annual)": f"{b.sharpe:.3f}", "CAGR": f"{b.cagr:.2%}", "Max drawdown": f"{b.max_drawdown:.2%}"}
    rows = [(*row, held.get(str(row[0]), "")) for row in rows]
    return Table(columns=(*columns, f"{benchmark.symbol} held"), rows=tuple(rows))


def _variants(evidence: Sequence[Evidence]) -> Table:
    rows = tuple(
        (f"{e.strategy}: {v.name}", f"{v.sharpe:.2f}", f"{v.cagr:.2%}", f"{v.max_drawdown:.2%}",
         f"{v.profit_factor:.3f}", f"{v.average_r:.3f}")
        for e in evidence
        for v in e.variants
    )  # fmt: skip
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


def _data(e: Evidence, days: Sequence[date]) -> dict[str, Any]:
    left_out = ("equity", "drawdown", "charts")
    plain = {f.name: getattr(e, f.name) for f in fields(e) if f.name not in left_out}
    nested = {name: _plain(value) for name, value in plain.items()}
    return {**nested, **pictures.data_of(e.charts, days)}


def _plain(value: object) -> object:
    """Turn dataclasses into mappings, one by one: the arrays of the pictures are never copied."""
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
