"""`kobe slippage`: what fills cost by their quotes, with an interval, and the dated rate the cost model may use."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, timedelta
from typing import Any

import numpy as np

from kobe.app import desk
from kobe.app.context import Context
from kobe.app.gap_sides import open_of
from kobe.core.clock import midnight, new_york_date
from kobe.core.errors import ExitCode
from kobe.core.panel import Floats, Panel
from kobe.execution import slippage
from kobe.execution.slippage import LEAST_FILLS, STREAM, Sample
from kobe.features.table import FeatureTable
from kobe.reports.document import Document, Section, Table, jsonable

DRAWS = 2_000
SIDES = ("buy", "sell", "all")
MEASURES = {
    "mid": "against the middle of the quote it was sent on",
    "reference": "against the backtest's price: the official open, the stop's level",
    "excess": "what slippage_bps would have been right: beyond the half-spread of the cost model",
}


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One measure over some fills, basis points a side; NaN where too little is known."""

    measure: str
    side: str
    n: int
    dates: int
    median_bps: float
    mean_bps: float
    low_bps: float
    high_bps: float

    @property
    def speaks(self) -> bool:
        """Whether there are enough fills for the interval to mean something."""
        return self.n >= LEAST_FILLS and bool(np.isfinite(self.high_bps))


def samples(ctx: Context, day: date | None = None) -> list[Sample]:
    """Return every order with fills of the ledger as a measurement, oldest first; or those of one session."""
    oms, found = desk.manager(ctx), []
    asked = oms.orders() if day is None else oms.recent(day)
    quoted = slippage.quotes(e for e in ctx.ledger.events(desk.QUOTES) if e.entity in asked)
    span = None if day is None else (midnight(day), midnight(day + timedelta(days=1)))
    for order in asked.values():
        if order.fills and (span is None or span[0] <= order.fills[0].at < span[1]):
            opened = open_of(ctx, order.request.symbol, new_york_date(order.fills[0].at))
            found.append(slippage.sample(order, quoted.get(order.request.client_order_id), opened))
    return sorted(_with_spread(ctx, found), key=lambda s: (s.day, s.client_order_id))


def _with_spread(ctx: Context, found: list[Sample]) -> list[Sample]:
    """Add the half-spread the cost model charges, by the liquidity known the day before."""
    if not found:
        return []
    panel = ctx.panel()
    panel = panel.select({s.symbol for s in found})
    column = FeatureTable(panel).column("adv_usd", 20) if len(panel) else np.empty(0)
    costs = ctx.costs
    result = []
    for s in found:
        row = _row_before(panel, s.symbol, s.day)
        if row is None:
            result.append(s)
            continue
        half = costs.half_spread(costs.at(s.day), np.array([float(s.price)]), column[row : row + 1])
        result.append(replace(s, half_spread_bps=float(half[0]) * 1e4))
    return result


def _row_before(panel: Panel, symbol: str, day: date) -> int | None:
    if symbol not in panel.symbols:
        return None
    mine = panel[symbol]
    at = int(np.searchsorted(panel.calendar.days[mine.session], np.datetime64(day, "D").astype(np.int32))) - 1
    return None if at < 0 else mine.first_row + at


def measure(found: Sequence[Sample], seed: int) -> list[Measured]:
    """Return every measure by side; intervals are of the mean, by resampling whole dates."""
    result = []
    for name in MEASURES:
        for side in SIDES:
            mine = [(s, v) for s in found if side in (s.side, "all") and (v := getattr(s, f"{name}_bps")) is not None]
            values = np.array([v for _, v in mine], dtype=np.float64)
            days = np.array([s.day.toordinal() for s, _ in mine], dtype=np.int32)
            result.append(_measured(name, side, values, days, seed))
    return result


def _measured(name: str, side: str, values: Floats, days: Any, seed: int) -> Measured:
    from kobe.backtest.montecarlo import clustered_interval

    nan = float("nan")
    if not len(values):
        return Measured(measure=name, side=side, n=0, dates=0, median_bps=nan, mean_bps=nan, low_bps=nan, high_bps=nan)
    low, high = clustered_interval(values, days, lambda v: float(v.mean()), seed=seed, samples=DRAWS)
    return Measured(
        measure=name, side=side, n=len(values), dates=len(np.unique(days)), median_bps=float(np.median(values)),
        mean_bps=float(values.mean()), low_bps=low, high_bps=high,
    )  # fmt: skip


def run_show(ctx: Context) -> Document:
    """Show what fills cost, and what the cost model charges today."""
    found = samples(ctx)
    return _document(ctx, found, measure(found, ctx.settings.run.seed), ())


def run_apply(ctx: Context, *, dry_run: bool = False) -> Document:
    """Write the upper bound of the measured interval as a rate from the next session on; it only ever raises."""
    found = samples(ctx)
    measures = measure(found, ctx.settings.run.seed)
    whole = next(m for m in measures if (m.measure, m.side) == ("excess", "all"))
    if not whole.speaks:
        told = f"{whole.n} fills that can be measured say nothing yet; {LEAST_FILLS} are needed: nothing is applied"
        return replace(_document(ctx, found, measures, (told,)), exit_code=ExitCode.REFUSED)
    effective = ctx.calendar.next(ctx.calendar.last_complete(ctx.clock.now()))
    if ctx.today in ctx.calendar and ctx.today >= effective:
        effective = ctx.calendar.next(ctx.today)
    bps = round(max(whole.high_bps, 0.0), 2)
    facts = {"n": whole.n, "mean_bps": round(whole.mean_bps, 4), "interval_bps": [round(whole.low_bps, 4),
             round(whole.high_bps, 4)], "until": str(found[-1].day)}  # fmt: skip
    document = slippage.rate_document(effective, bps, facts)
    used = "" if ctx.settings.costs.use_measured else "; costs.use_measured is false, so nothing uses it"
    told = f"{bps} bps a side from {effective} on, where the schedule charges less{used}"
    if not dry_run:
        events = ctx.ledger.events(STREAM)
        if not events or events[-1].payload != document:
            ctx.ledger.append(STREAM, "measured", "rate", document, key=f"rate:{len(events) + 1}")
            ctx.audit.append("slippage_rate", document)
    else:
        told = f"would write: {told} (--dry-run)"
    return _document(ctx, found, measures, (told,))


def _document(ctx: Context, found: list[Sample], measures: list[Measured], told: tuple[str, ...]) -> Document:
    rows = tuple(
        (m.measure, m.side, m.n, m.dates, m.median_bps, m.mean_bps, m.low_bps, m.high_bps,
         "yes" if m.speaks else f"no: fewer than {LEAST_FILLS}")
        for m in measures
    )  # fmt: skip
    today = ctx.costs.at(ctx.today)
    columns = ("measure", "side", "fills", "dates", "median", "mean", "low 95%", "high 95%", "speaks")
    lines = tuple(f"{name}: {text}" for name, text in MEASURES.items())
    rates = [e.payload for e in ctx.ledger.events(STREAM)]
    return Document(
        schema="kobe.slippage/1",
        title=f"Slippage of {len(found)} filled orders",
        summary=(*told, f"The cost model charges {today.slippage_bps:g} bps a side today beyond the half-spread."),
        sections=(Section(title="Basis points a side, positive is a cost", lines=lines,
                          table=Table(columns=columns, rows=rows)),),
        data={
            "measures": jsonable([asdict(m) | {"speaks": m.speaks} for m in measures]),
            "samples": [jsonable(asdict(s) | {"day": str(s.day), "price": str(s.price), "excess_bps": s.excess_bps})
                        for s in found],
            "charged_bps": today.slippage_bps, "rates": rates, "use_measured": ctx.settings.costs.use_measured,
        },
    )  # fmt: skip
