"""`kobe universe`: choose who may be traded, show it, and measure what a list of today does to the past."""

from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from kobe.app.context import Context
from kobe.backtest import engine, metrics
from kobe.backtest.montecarlo import bootstrap_interval, clustered_interval
from kobe.core.errors import MissingDataError, SchemaError, UsageError
from kobe.core.panel import Panel
from kobe.core.units import SESSIONS_PER_YEAR
from kobe.data import universe
from kobe.features.table import FeatureTable
from kobe.reports.document import Document, Section, Table
from kobe.strategies import STRATEGIES

EVERY = {"monthly": 1, "quarterly": 3, "yearly": 12}
"""Rebalance rhythm -> months between two choices."""


@dataclass(frozen=True, kw_only=True)
class BuildRequest:
    """How to choose.

    Attributes:
        name: of the universe.
        as_of: the session on whose close the (last) choice rests; None: the store's newest.
        rules: what is asked of a symbol.
        since: first choice of a rolling universe; None: one static list.
        every: rhythm of a rolling universe, a key of `EVERY`.
        optionable: file with the symbols that have listed options, or None.
    """

    name: str
    as_of: date | None
    rules: universe.Rules
    since: date | None = None
    every: str = "quarterly"
    optionable: Path | None = None
    dry_run: bool = False


def run_build(ctx: Context, request: BuildRequest) -> Document:
    """Rank by dollar volume, price and history as of a date and keep the list with its proof."""
    panel = ctx.store.panel()
    newest = ctx.calendar.sessions[panel.last_session]
    last = ctx.calendar.previous_or_same(request.as_of or newest)
    days = [last] if request.since is None else _choice_days(ctx, request.since, last, request.every)
    rules = request.rules
    if request.optionable is not None:
        rules = replace(rules, optionable=frozenset(_symbols(request.optionable)))
    made, table = universe.build(panel, request.name, days, rules, rolling=request.since is not None)
    place = None if request.dry_run else universe.write(made, table, ctx.paths.universe, ctx.artifacts)
    if place is not None:
        ctx.audit.append("universe", {"name": made.name, "kind": made.kind, "chosen": made.proof["chosen"]})
    return _built(made, table, place)


def _choice_days(ctx: Context, since: date, last: date, every: str) -> list[date]:
    if every not in EVERY:
        raise UsageError("unknown rhythm", seen=every, expected=", ".join(EVERY))
    months = [d for d in ctx.calendar.between(since, last) if ctx.calendar.next(d).month != d.month]
    chosen = [d for d in months if d.month % EVERY[every] == 0]
    return chosen or [last]


def _symbols(file: Path) -> list[str]:
    if not file.is_file():
        raise MissingDataError("no such file", seen=file, expected="a CSV or text file, one symbol a line")
    lines = file.read_text(encoding="utf-8").splitlines()
    found = [line.split(",")[0].strip().upper() for line in lines]
    return [s for s in found if s and s != "SYMBOL"]


def _built(made: universe.Universe, table: pl.DataFrame, place: Path | None) -> Document:
    chosen = table.filter(pl.col("rank").is_not_null())
    reasons = dict(table.filter(pl.col("reason") != "").group_by("reason").len().sort("reason").iter_rows())
    banners = () if made.kind == universe.POINT_IN_TIME else (f"UNIVERSE BIAS: {made.kind}",)
    where = f"Kept in {place}." if place else "Nothing was written (--dry-run)."
    days = made.proof["as_of"]
    if made.proof["rules"]["optionable"] == "not asked":
        where += " Listed options were not asked for (--optionable FILE)."
    return Document(
        schema="kobe.universe_build/1",
        title=f"Universe {made.name} as of {days[-1]}",
        summary=(f"{len(chosen):,} of {len(table):,} symbols chosen, {len(days)} times; {made.kind}.", where),
        banners=banners,
        sections=(
            Section(title="Left out", table=Table(columns=("reason", "symbols"), rows=tuple(reasons.items()))),
            Section(title="First twenty", table=Table(columns=tuple(table.columns[:5]),
                                                      rows=tuple(chosen.head(20).select(table.columns[:5]).rows()))),
        ),
        data={"name": made.name, "kind": made.kind, "proof": made.proof, "left_out": reasons,
              "members": chosen.get_column("symbol").to_list()},
    )  # fmt: skip


def run_universe_import(ctx: Context, name: str, file: Path, *, dry_run: bool) -> Document:
    """Bring membership records in: intervals or snapshots."""
    if not file.is_file():
        raise MissingDataError("no such file", seen=file, expected="a .parquet or .csv file of membership records")
    try:
        frame = pl.read_parquet(file) if file.suffix == ".parquet" else pl.read_csv(file, try_parse_dates=True)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise SchemaError(f"{file.name} cannot be read", seen=str(error).splitlines()[0][:160]) from error
    made = universe.from_records(frame, name, ctx.calendar, file.name)
    if not dry_run:
        universe.write(made, None, ctx.paths.universe, ctx.artifacts)
        ctx.audit.append("universe", {"name": made.name, "kind": made.kind, "records": len(frame)})
    return _shown(made, None)


def run_show(ctx: Context, name: str, day: date | None) -> Document:
    """Show a universe, and who belongs on a day."""
    return _shown(universe.read(ctx.paths.universe, name), day)


def _shown(made: universe.Universe, day: date | None) -> Document:
    spans = made.membership
    first, last = _span(spans)
    members = made.members(day) if day else []
    names = spans.get_column("symbol").n_unique()
    summary = [f"{made.kind}: {names:,} symbols in {len(spans):,} intervals, {first} to {last}."]
    if made.proof.get("odd_symbols"):
        summary.append(f"Left out, not tickers: {', '.join(made.proof['odd_symbols'][:10])}.")
    if day:
        summary.append(f"{len(members):,} members on {day}.")
    rows = tuple((s, str(a), str(b or "")) for s, a, b in spans.head(20).iter_rows())
    return Document(
        schema="kobe.universe/1",
        title=f"Universe {made.name}",
        summary=tuple(summary),
        banners=() if made.kind == universe.POINT_IN_TIME else (f"UNIVERSE BIAS: {made.kind}",),
        sections=(Section(title="First intervals", table=Table(columns=("symbol", "start", "end"), rows=rows)),),
        data={"name": made.name, "kind": made.kind, "proof": made.proof, "day": str(day) if day else None,
              "members": members, "intervals": len(spans)},
    )  # fmt: skip


def _span(membership: pl.DataFrame) -> tuple[str, str]:
    """Return the first start and the last end of a membership; `open` while anybody still belongs."""
    first, last, goes_on = membership.select(
        pl.col("start").min().cast(pl.String), pl.col("end").max().cast(pl.String), open=pl.col("end").is_null().any()
    ).row(0)
    return first or "never", "open" if goes_on else last or "open"


def run_bias(ctx: Context, name: str) -> Document:
    """Measure the bias: how much of the membership has bars, and what the last list earns over the list of then."""
    made = universe.read(ctx.paths.universe, name)
    if made.kind != universe.POINT_IN_TIME:
        raise UsageError("only a point-in-time universe can show the bias of a static one", seen=made.kind)
    panel = ctx.store.panel()
    covered = universe.coverage(panel, made)
    newest = ctx.calendar.sessions[panel.last_session]
    _, ends = _span(made.membership)
    last = newest if ends == "open" else min(newest, ctx.calendar.previous(date.fromisoformat(ends)))
    final = made.members(last)
    always = [(symbol, ctx.calendar.sessions[0], None) for symbol in final]
    membership = pl.DataFrame(always, schema=universe.SCHEMA, orient="row")
    static = replace(made, kind=universe.STATIC, membership=membership)
    lists = {"static": universe.masked(panel, static), "point in time": universe.masked(panel, made)}
    haircuts = (ctx.settings.account.delisting_haircut, 0.0)
    results = [_compared(ctx, name, lists, haircut) for name in ctx.settings.strategies for haircut in haircuts]
    columns = ("strategy", "vanished lose", "list", "trades", "mean net R", "from", "to", "Sharpe")
    rows = tuple(
        (r["strategy"], f"{r['vanished_loses']:.0%}", label, r[f"{k}_trades"], r[f"{k}_mean_r"], r[f"{k}_r_from"],
         r[f"{k}_r_to"], r[f"{k}_sharpe"])
        for r in results for k, label in (("static", "of the last day"), ("then", "of then"))
    )  # fmt: skip
    worst = covered.sort("share").row(0, named=True)
    years = tuple((str(year), *rest) for year, *rest in covered.rows())
    return Document(
        schema="kobe.universe_bias/1",
        title=f"Bias of the list of {last} against the membership of {made.name}",
        summary=(
            f"{len(final):,} members on {last}.",
            f"Coverage is worst in {worst['year']}: {worst['share']:.1%} of member-sessions have a bar.",
            *(_sentence(r) for r in results),
        ),
        banners=lists["point in time"].banners,
        sections=(
            Section(title="Coverage", table=Table(columns=tuple(covered.columns), rows=years)),
            Section(title="Results", table=Table(columns=columns, rows=rows)),
        ),
        data={"last": str(last), "coverage": covered.to_dicts(), "results": results},
    )  # fmt: skip


def _sentence(r: dict[str, Any]) -> str:
    gap = f"{r['static_minus_then_per_year']:+.1%} a year [{r['from']:+.1%}, {r['to']:+.1%}]"
    return f"{r['strategy']}, a vanished symbol losing {r['vanished_loses']:.0%}: static list against membership {gap}."


def _compared(ctx: Context, name: str, lists: dict[str, Panel], haircut: float) -> dict[str, Any]:
    """Run one strategy with its configured parameters on both lists: same bars, other symbols may be entered."""
    strategy = STRATEGIES[name]
    params = strategy.params(ctx.settings.strategies[name])
    assumptions = replace(ctx.assumptions(), delisting_haircut=haircut)
    row: dict[str, Any] = {"strategy": name, "vanished_loses": haircut}
    returns = {}
    for label, panel in lists.items():
        features = FeatureTable(panel, ctx.settings.market.symbol)
        outcomes = engine.evaluate(panel, features, strategy.signals(panel, features, params), assumptions)
        book = engine.run_portfolio(panel, outcomes, assumptions, panel.first_session, panel.last_session)
        done = outcomes.take(outcomes.closed)
        short = "static" if label == "static" else "then"
        low, high = clustered_interval(done.net_r, done.session, lambda v: float(v.mean()), seed=ctx.settings.run.seed)
        row |= {f"{short}_trades": len(done), f"{short}_mean_r": float(done.net_r.mean()), f"{short}_r_from": low,
                f"{short}_r_to": high, f"{short}_sharpe": metrics.sharpe(book.returns)}  # fmt: skip
        returns[short] = book.returns
    gap = returns["static"] - returns["then"]
    low, high = bootstrap_interval(gap, lambda v: float(np.mean(v)) * SESSIONS_PER_YEAR, seed=ctx.settings.run.seed)
    return row | {"static_minus_then_per_year": float(gap.mean()) * SESSIONS_PER_YEAR, "from": low, "to": high}


def rules_of(size: int, min_price: float, min_adv: float, min_history: int) -> universe.Rules:
    """Return the rules of a command's options.

    Raises:
        UsageError: one is not a sensible bound.
    """
    rules = universe.Rules(size=size, min_price_usd=min_price, min_adv_usd=min_adv, min_history=min_history)
    if size < 1 or min(min_price, min_adv, min_history) < 0:
        raise UsageError("bounds cannot be negative", seen=asdict(rules), expected="size >= 1, others >= 0")
    return rules
