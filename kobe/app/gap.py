"""`kobe gap`: for every signal the distance between backtest, intention and account, in parts that sum to the cent."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any

from kobe.app import decision
from kobe.app.context import Context
from kobe.app.decision import Inputs
from kobe.app.gap_causes import Records, not_decided, not_filled, not_sent
from kobe.app.gap_sides import Account, Tested, backtested
from kobe.core.errors import KobeError, UsageError
from kobe.core.types import Order, Side, Signal, TradePlan
from kobe.execution import gap
from kobe.execution.gap import MEANINGS, Gap, Part
from kobe.execution.rounding import buy_limit
from kobe.reports.document import Document, Section, Table
from kobe.strategies import STRATEGIES
from kobe.strategies.spec import BaseParams, params_hash

NOTES_SHOWN = 10
SESSIONS = 63  # a quarter, where no span is given


@dataclass(frozen=True, kw_only=True)
class Wish:
    """A signal that was decided on, then or by today's strategies over final bars, or both."""

    signal: Signal
    params: BaseParams
    decided_then: bool
    decided_now: bool
    why_not: tuple[Part, str] = (Part.SIGNAL, "")


@dataclass(frozen=True, kw_only=True)
class Line:
    """One signal with its gap."""

    wish: Wish
    tested: Tested | None
    intended: dict[str, Any]
    status: str
    why: str
    gap: Gap


@dataclass(frozen=True, kw_only=True)
class _Walk:
    """What is read once for a whole span."""

    ctx: Context
    records: Records
    account: Account
    notes: list[str] = field(default_factory=list)

    def wishes(self, session: date) -> Iterator[Wish]:
        """Yield the decision for a session as it was recorded and as it is over the bars of now."""
        day = self.ctx.calendar.previous(session)
        told, record = self.records.decisions.get(day), self.records.record(self.ctx, day)
        if told is not None and record is None:
            self.notes.append(f"{day}: the record of the decision is gone or was touched; its signal is taken as new")
        try:
            inputs = decision.gather(self.ctx, day) if record is None else Inputs(**record["inputs"])
            now = decision.decide(self.ctx, inputs)
        except KobeError as error:
            self.notes.append(f"{day}: cannot be decided again: {error.message}")
            return
        params = {name: STRATEGIES[name].params(values) for name, values in inputs.params.items()}
        chosen = None if now.trade_of_day is None else now.trade_of_day.signal
        then = str(told["signal_id"]) if told is not None and told["action"] == "trade" else None
        if chosen is not None:
            same = chosen.signal_id == then
            why = (Part.SIGNAL, "") if same else not_decided(chosen, told, record)
            yield Wish(signal=chosen, params=params[chosen.strategy], decided_then=same, decided_now=True, why_not=why)
        others = [c.signal for c in now.candidates if c.signal.signal_id == then]
        for signal in others if chosen is None or chosen.signal_id != then else []:
            yield Wish(signal=signal, params=params[signal.strategy], decided_then=True, decided_now=False)

    def leftovers(self, first: date, last: date, known: set[str]) -> Iterator[Wish]:
        """Yield what was traded in a span though neither the record nor the bars of now decide it."""
        for signal_id, plan in self.account.plans.items():
            sent = [o.request.session for o in self.account.openings(signal_id)]
            if signal_id not in known and sent and first <= sent[0] <= last:
                params = STRATEGIES[plan.strategy].params(plan.params)
                yield Wish(signal=_planned(plan), params=params, decided_then=True, decided_now=False)

    def line(self, wish: Wish, tested: Tested | None) -> Line:
        """Take the gap of one signal apart."""
        orders, real = self.account.openings(wish.signal.signal_id), self.account.real(wish.signal.signal_id)
        intended = self._intended(wish.signal, orders, tested)
        ideal = None if tested is None else tested.ideal(intended["quantity"])
        if real is not None:
            invalid = tested is not None and tested.entry is None
            cause, why = (Part.PRICE if invalid else Part.SIGNAL), ""
        elif not wish.decided_then:
            cause, why = wish.why_not
        else:
            cause, why = not_filled(orders) if orders else not_sent(wish.signal, self.records)
        found = gap.split(ideal, real, cause=cause, counted=wish.decided_now)
        status = orders[-1].status.word if orders else "not sent" if wish.decided_then else "not decided"
        if real is not None and wish.signal.signal_id in self.account.positions:
            status = "open"
        return Line(wish=wish, tested=tested, intended=intended, status=status, why=why, gap=found)

    def _intended(self, signal: Signal, orders: list[Order], tested: Tested | None) -> dict[str, Any]:
        """Return size, limit and stop as they were meant: of the order, of its judgement, else what the cap buys."""
        if orders:
            first = orders[0].request
            return {"quantity": first.quantity, "limit": str(first.limit_price), "stop": self._stop(signal)}
        refused = self.records.refusal(signal)
        if refused is not None:
            told = refused["order"]
            return {"quantity": int(told["quantity"]), "limit": str(told["limit"]), "stop": None}
        if tested is None or tested.entry is None:
            return {"quantity": 0, "limit": None, "stop": None}
        limit = buy_limit(tested.entry)
        return {"quantity": int(self.ctx.limits.order_usd // limit), "limit": str(limit), "stop": None}

    def _stop(self, signal: Signal) -> str | None:
        stops = [o.request.stop_price for o in self.account.orders[signal.signal_id] if o.request.stop_price]
        return str(stops[0]) if stops else None


def run_gap(ctx: Context, since: date | None = None, until: date | None = None) -> Document:
    """Compare the signals for the sessions of a span (default: the last quarter) with what was made of them.

    Sessions before the first one this home ran in are left out: nobody could have traded them. So are those the bars
    do not reach yet.

    Raises:
        UsageError: the span ends before it begins.
    """
    if since is not None and until is not None and until < since:
        raise UsageError("the span ends before it begins", seen=f"{since} to {until}")
    held = min(ctx.calendar.last_complete(ctx.clock.now()), ctx.store.manifest().last)
    last = min(until or held, held)
    first = since or ctx.calendar.offset(ctx.calendar.previous_or_same(last), -SESSIONS + 1)
    lines, notes = measure(ctx, first, last)
    return _document(ctx, first, last, lines, notes)


def measure(ctx: Context, first: date, last: date) -> tuple[list[Line], list[str]]:
    """Return the gap of every signal for the sessions of a span, and what could not be compared."""
    records = Records.read(ctx)
    walk = _Walk(ctx=ctx, records=records, account=Account.read(ctx))
    begins = min([*records.jobs, *walk.account.entry_sessions], default=None)
    sessions = [s for s in ctx.calendar.between(first, last) if begins is not None and s >= begins]
    wishes = list[Wish]()
    for k, session in enumerate(sessions):
        wishes += list(walk.wishes(session))
        if ctx.progress:
            ctx.progress(k + 1, len(sessions), "sessions")
    wishes += list(walk.leftovers(first, last, {w.signal.signal_id for w in wishes}))
    tested = backtested(ctx, [(w.signal, w.params) for w in wishes])
    return [walk.line(w, tested.get(w.signal.signal_id)) for w in wishes], walk.notes


def _planned(plan: TradePlan) -> Signal:
    """Return a signal as its plan remembers it."""
    sign = 1 if plan.side is Side.LONG else -1
    level = plan.reference_close - sign * plan.stop_distance if plan.stop_distance is not None else plan.stop_level
    return Signal(
        signal_id=plan.signal_id, strategy=plan.strategy, symbol=plan.symbol, side=plan.side,
        signal_date=plan.signal_date, valid_session=plan.entry_session, reference_close=plan.reference_close,
        stop=level or 0.0, stop_distance=plan.stop_distance, target=None, target_r=plan.target_r, atr=plan.atr,
        score=0.0, params_hash=params_hash(plan.strategy, STRATEGIES[plan.strategy].params(plan.params)),
    )  # fmt: skip


def _row(line: Line) -> dict[str, Any]:
    s, t = line.wish.signal, line.tested
    return {
        "session": str(s.valid_session), "symbol": s.symbol, "strategy": s.strategy, "signal_id": s.signal_id,
        "decided_then": line.wish.decided_then, "decided_now": line.wish.decided_now, "status": line.status,
        "why": line.why, "intended": line.intended,
        "backtest": None if t is None else {"state": t.state, "reason": t.reason, "entry": _text(t.entry),
                                            "exit": _text(t.exit)},
        "backtest_usd": str(line.gap.backtest_usd), "realised_usd": str(line.gap.realised_usd),
        "gap_usd": str(line.gap.usd), "parts": {p.value: str(usd) for p, usd in line.gap.parts.items()},
    }  # fmt: skip


def _few(notes: list[str]) -> tuple[str, ...]:
    """Cut a long list where a person stops reading; the JSON holds all of it."""
    more = len(notes) - NOTES_SHOWN
    return (*notes[:NOTES_SHOWN], *((f"and {more} more",) if more > 0 else ()))


def _text(value: Decimal | None) -> str | None:
    return None if value is None else str(round(value, 4))


def _document(ctx: Context, first: date, last: date, lines: list[Line], notes: list[str]) -> Document:
    parts = gap.totals(line.gap for line in lines)
    weight = gap.shares(parts)
    backtest = sum((line.gap.backtest_usd for line in lines), Decimal(0))
    realised = sum((line.gap.realised_usd for line in lines), Decimal(0))
    counts = {p: sum(p in line.gap.parts for line in lines) for p in Part}
    trades = tuple(
        (str(line.wish.signal.valid_session), line.wish.signal.symbol, line.wish.signal.strategy, line.status,
         line.intended["quantity"], str(line.gap.backtest_usd), str(line.gap.realised_usd), str(line.gap.usd),
         ", ".join(f"{p.value} {usd:+}" for p, usd in line.gap.parts.items()) or "none", line.why)
        for line in lines
    )  # fmt: skip
    whole = tuple(
        (p.value, str(parts[p]), f"{float(weight[p]):.1%}", counts[p], MEANINGS[p]) for p in Part if counts[p]
    )
    columns = ("session", "symbol", "strategy", "became", "shares", "backtest $", "realised $", "gap $", "parts", "why")
    sections = (
        Section(title="Parts", table=Table(columns=("part", "$", "share", "signals", "what it is"), rows=whole)),
        Section(title="Signals", table=Table(columns=columns, rows=trades)),
        Section(title="Not compared", lines=_few(notes)),
    )  # fmt: skip
    taken = " ".join(f"{parts[p]:+,} {p.value}" for p in Part if parts[p]) or "nothing"
    told = f"{len(lines)} signals for {first} to {last}: backtest {backtest:+,}, realised {realised:+,} dollars"
    return Document(
        schema="kobe.gap/1",
        title=f"Gap between backtest and account, {first} to {last}",
        summary=(told, f"gap {realised - backtest:+,} = {taken}"),
        banners=ctx.panel().banners,
        sections=tuple(s for s in sections if s.lines or (s.table and s.table.rows)),
        data={
            "first": str(first), "last": str(last), "backtest_usd": str(backtest), "realised_usd": str(realised),
            "gap_usd": str(realised - backtest),
            "parts": {p.value: {"usd": str(parts[p]), "share": float(weight[p]), "signals": counts[p]} for p in Part},
            "signals": [_row(line) for line in lines], "notes": notes,
        },
    )  # fmt: skip
