"""`kobe scan --why-not SYMBOL`: at which step it failed, by how much, and what would have to change."""

import math
from dataclasses import dataclass
from datetime import date

from kobe.app import decision, views
from kobe.app.context import Context
from kobe.core.errors import MissingDataError
from kobe.core.types import Candidate
from kobe.decisions import funnel
from kobe.decisions.scan import Scan
from kobe.decisions.view import position
from kobe.reports.document import Document, Section, Table
from kobe.strategies import STRATEGIES
from kobe.strategies.conditions import Condition


@dataclass(frozen=True, kw_only=True)
class Step:
    """One thing that was asked of a symbol, what was seen, and what would have been enough."""

    strategy: str
    code: str
    asked: str
    seen: float | str
    limit: float | str
    met: bool
    change: str


def run_why_not(ctx: Context, symbol: str, session: date | None, top: int | None = None) -> Document:
    """Follow a symbol through the scan of a session as it was recorded, else as it would be now; nothing is written."""
    day = session or ctx.calendar.last_complete(ctx.clock.now())
    recorded = top is None and (ctx.paths.of_session(day) / decision.RECORD).is_file()
    inputs = decision.Inputs(**decision.read_record(ctx, day)["inputs"]) if recorded else decision.gather(ctx, day, top)
    found = decision.decide(ctx, inputs)
    if symbol not in found.fates:
        raise MissingDataError(
            "the store held no bar of this symbol by then", seen=f"{symbol}, {day}", next_command="kobe data status"
        )
    fate = found.fates[symbol]
    steps = [*_rules(ctx, inputs, symbol, day), *_ranking(found, symbol)]
    failed = [s for s in steps if not s.met]
    told = [f"{symbol} on {day}: {fate} ({funnel.FATES[fate]})"]
    told += [f"{s.strategy}: {s.asked} was {_plain(s.seen)}; {s.change}" for s in failed]
    columns = ("strategy", "asked", "was", "limit", "met", "what would have to change")
    rows = tuple(
        (s.strategy, s.asked, s.seen, s.limit, "yes" if s.met else "no", s.change if not s.met else "") for s in steps
    )
    return Document(
        schema="kobe.why_not/1", title=f"Why not {symbol}?", summary=tuple(told), banners=found.banners,
        sections=(Section(title="Every step", table=Table(columns=columns, rows=rows)),) if rows else (),
        data={
            "symbol": symbol, "session": str(day), "fate": fate, "meaning": funnel.FATES[fate],
            "steps": [
                {"strategy": s.strategy, "code": s.code, "asked": s.asked, "seen": s.seen, "limit": s.limit,
                 "met": s.met, "change": s.change} for s in steps
            ],
        },
    )  # fmt: skip


def _plain(value: float | str) -> str:
    return value if isinstance(value, str) else "unknown" if math.isnan(value) else f"{value:,.4g}"


def _rules(ctx: Context, inputs: decision.Inputs, symbol: str, day: date) -> list[Step]:
    params = {name: STRATEGIES[name].params(values) for name, values in inputs.params.items()}
    past, seen = views.session_view(ctx, day, params, inputs.market_symbol)
    place = position(seen).get(symbol)
    if place is None:
        last = past.calendar.sessions[int(past[symbol].session[-1])]
        return [Step(strategy="all", code=funnel.NO_BAR, asked="a bar in the session", seen=f"last one {last}",
                     limit=str(day), met=False, change="a bar would have to be there")]  # fmt: skip
    return [_step(name, rule, place) for name, told in seen.strategies.items() for rule in told.conditions]


def _step(name: str, rule: Condition, k: int) -> Step:
    seen, limit = float(rule.observed[k]), float(rule.limit[k])
    return Step(
        strategy=name, code=rule.code, asked=rule.label, seen=seen, limit=f"{rule.sense} {limit:,.6g}",
        met=bool(rule.met[k]), change=_change(rule, seen, limit, float(rule.close_for[k])),
    )  # fmt: skip


def _change(rule: Condition, seen: float, limit: float, close: float) -> str:
    if math.isnan(seen) or math.isnan(limit):
        return "it would have to be known: there is too little history for it"
    way = "lower" if rule.sense == "<=" else "higher"
    more = "more than " if rule.sense == ">" else ""
    told = f"{more}{abs(seen - limit):,.4g} {way} would do"
    return told if math.isnan(close) else f"{told}: a close {'at or below' if way == 'lower' else 'above'} {close:,.2f}"


def _ranking(found: Scan, symbol: str) -> list[Step]:
    steps = []
    for c in (c for c in found.candidates if c.signal.symbol == symbol):
        steps.append(
            Step(strategy=c.signal.strategy, code=c.rejection or "admitted", asked="admitted to the ranking",
                 seen=c.rejection or "yes", limit="no reason against it", met=c.rejection is None,
                 change=_admission(c))
        )  # fmt: skip
        if c.rejection is None:
            steps += _against_others(found, c)
    return steps


def _admission(candidate: Candidate) -> str:
    code = candidate.rejection
    if code == "unaffordable_at_order_cap":
        return f"one share costs {candidate.raw_close:,.2f}: risk.order_max_usd would have to allow it"
    return "" if code is None else f"{funnel.FATES[code]}: that would have to end"


def _against_others(found: Scan, candidate: Candidate) -> list[Step]:
    mine = next((c for c in found.ranked if c.signal.signal_id == candidate.signal.signal_id), None)
    name, p = candidate.signal.strategy, candidate.probability
    gate = Step(
        strategy=name, code="gate", asked="probability of a net win", seen=math.nan if p is None else p,
        limit=f">= {candidate.gate:.4f}", met=p is not None and p >= candidate.gate,
        change="a model would have to speak" if p is None else f"{candidate.gate - p:.4f} higher would do",
    )  # fmt: skip
    if mine is None:
        return [gate]
    picked = any(c.signal.signal_id == mine.signal.signal_id for c in found.picks)
    last = found.picks[-1].rank if found.picks else 0
    fate = found.fates[candidate.signal.symbol]
    place = f"rank {last} or better, or a free place of its strategy's quota, would do"
    if not last:
        place = "scan.top and scan.ensure_top would have to leave its strategy a place"
    change = funnel.FATES[fate] if fate in ("correlated", "correlation_unknown", "sector_full") else place
    return [gate, Step(strategy=name, code=fate, asked="a place among the picks", seen=f"rank {mine.rank}",
                       limit=f"{len(found.picks)} picks", met=picked, change=change)]  # fmt: skip
