"""`kobe stress`: what Black Monday, March 2020, the flash crash and a volatility shock would do to the book."""

from dataclasses import dataclass, replace

import numpy as np

from kobe.app import stress_book
from kobe.app.context import Context
from kobe.backtest import stress
from kobe.backtest.scenarios import SCENARIOS, Scenario, path_of_bars
from kobe.backtest.stress import Book
from kobe.core.errors import KobeError, UsageError
from kobe.core.panel import Panel
from kobe.reports import stress as report
from kobe.reports.document import Document

PATH_TOLERANCE = 0.02  # a fund of the index ends within this of it; further off, the bars are of something else


@dataclass(frozen=True, kw_only=True)
class StressRequest:
    """Which scenarios (none named: all), with what equity, and whether the walk-forward's book is meant."""

    scenarios: tuple[str, ...] = ()
    equity_usd: float | None = None
    of_walk_forward: bool = False


def run_stress(ctx: Context, request: StressRequest) -> Document:
    """Put the book through market breaks; an empty book is a success that says so.

    Raises:
        UsageError: unknown scenario or an equity that is not above 0.
        MissingDataError: bars or walk-forward are not there.
    """
    unknown = [s for s in request.scenarios if s not in SCENARIOS]
    if unknown:
        raise UsageError("unknown scenario", seen=unknown[0], expected=", ".join(SCENARIOS))
    if request.equity_usd is not None and not 0.0 < request.equity_usd < float("inf"):
        raise UsageError("the equity must be above 0", seen=request.equity_usd, expected="dollars, such as 10000")
    subject = stress_book.fullest(ctx) if request.of_walk_forward else stress_book.actual(ctx)
    seed = ctx.settings.run.seed
    if not subject.book.holdings:
        ctx.audit.append("stress", {"of": subject.of, "as_of": str(subject.as_of), "positions": 0, "losses_usd": {}})
        return report.empty(subject.of, subject.as_of, notes=subject.notes, banners=subject.banners)
    book = subject.book if request.equity_usd is None else _with_equity(subject.book, request.equity_usd)
    chosen = [_recorded(ctx, SCENARIOS[name]) for name in request.scenarios or SCENARIOS]
    results = [(s, stress.apply(book, s, seed=seed)) for s in chosen]
    losses = {s.name: {"loss_usd": r.loss_usd, "survives": r.survives} for s, r in results}
    ctx.audit.append(
        "stress",
        {"of": subject.of, "as_of": str(subject.as_of), "positions": len(book.holdings), "seed": seed,
         "losses_usd": losses},
    )  # fmt: skip
    return report.build(
        subject.of, subject.as_of, book, results, notes=subject.notes, banners=subject.banners, seed=seed
    )


def _with_equity(book: Book, equity_usd: float) -> Book:
    """Return the same holdings in an account of another size; the difference is cash, or a loan."""
    return replace(book, cash_usd=book.cash_usd + equity_usd - book.equity_usd)


def _recorded(ctx: Context, scenario: Scenario) -> Scenario:
    """Return a scenario with the days the market symbol's bars tell, where the store has them."""
    if scenario.span is None:
        return scenario
    try:
        panel = ctx.panel()
    except KobeError:
        return scenario
    return recorded(panel, scenario, ctx.settings.market.symbol)


def recorded(panel: Panel, scenario: Scenario, market: str) -> Scenario:
    """Replace a scenario's straight line by recorded bars.

    Left as it is: without a span, on a made-up market, when a session is missing, or when the bars end somewhere
    else than the index did.
    """
    if scenario.span is None or panel.is_synthetic or market not in panel.symbols:
        return scenario
    first, last = (panel.calendar.number(d) for d in scenario.span)
    bars = panel[market]
    rows = np.flatnonzero((bars.session >= first) & (bars.session <= last))
    if len(rows) != last - first + 1:
        return scenario
    prices = np.column_stack([c[rows] for c in (bars.open, bars.high, bars.low, bars.close)])
    if abs(prices[-1, 3] / prices[0, 3] - 1.0 - scenario.facts[0].change) > PATH_TOLERANCE:
        return scenario
    halts = [panel.calendar.number(d) for d in scenario.halts]
    return replace(
        scenario,
        days=path_of_bars(prices, np.isin(bars.session[rows[1:]], halts)),
        assumption=f"the recorded days of {market}, own moves there at the open, stops slip on the days of halts",
    )
