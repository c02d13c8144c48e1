"""The end-of-day report: what was decided, sent, refused, filled, closed and earned, and whether the books agree."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from kobe.core.types import Order
from kobe.reports import book_tables
from kobe.reports.book_tables import NOTHING, Closed, Holding, Profit, Refused, money, signed
from kobe.reports.document import Document, Figure, Section, Table, jsonable

DAY, MONTH, START = "day", "month", "since start"


@dataclass(frozen=True, slots=True, kw_only=True)
class Slip:
    """What one order's fills cost, basis points, positive is a cost; None where nobody knows.

    `mid_bps` is against the middle of its quote, `reference_bps` against the backtest's price, `excess_bps` beyond what
    the cost model charges for the spread.
    """

    symbol: str
    kind: str
    price_usd: Decimal
    mid_bps: float | None
    reference_bps: float | None
    excess_bps: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How far a strategy is trusted: its level, since which session, and what that means."""

    strategy: str
    level: str
    since: date | None
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Whether our books and the broker's agree.

    `said` is how the job of the session ended; `differences` are those found since its close: kind, subject, ours,
    broker, and what was done.
    """

    said: str
    differences: Sequence[tuple[str, str, str, str, str]]
    silence: str = ""


@dataclass(frozen=True, kw_only=True)
class Day:
    """Everything the report is made from.

    `cash_usd` and `equity_usd` are None where neither the broker nor a mark tells them; `profit` is by span, with the
    keys day, month and since start.
    """

    session: date
    decision: dict[str, Any] | None
    orders: Sequence[Order]
    closed: Sequence[Closed]
    holdings: Sequence[Holding]
    cash_usd: Decimal | None
    equity_usd: Decimal | None
    profit: Mapping[str, Profit]
    curve: Sequence[tuple[date, Decimal]]
    day_used_usd: Decimal
    day_limit_usd: Decimal
    slips: Sequence[Slip]
    refused: Sequence[Refused]
    silence: str
    drift: Sequence[Standing]
    books: Agreement
    mode: str
    mode_why: str
    audit_head: str
    banners: tuple[str, ...]


def build(day: Day) -> Document:
    """Build the report."""
    sections = (
        Section(title="Profit and loss", lines=(_note(day),), table=book_tables.profit_table(dict(day.profit))),
        book_tables.curve(day.curve),
        book_tables.trades(day.closed, "Closed today"),
        book_tables.orders(day.orders, "Orders of the day"),
        book_tables.positions(day.holdings),
        _slippage(day.slips),
        book_tables.refusals(day.refused, "Refused by the gates", day.silence),
        drift(day.drift),
        _agreement(day.books),
        _records(day),
    )
    return Document(
        schema="kobe.eod_report/2",
        title=f"End of day, {day.session}",
        summary=_summary(day),
        figures=_figures(day),
        banners=day.banners,
        sections=tuple(s for s in sections if s is not None),
        data=_data(day),
    )


def _decided(day: Day) -> str:
    if day.decision is None:
        return "not scanned"
    what = " ".join(filter(None, (day.decision["action"].replace("_", " "), day.decision["symbol"])))
    return f"{what} ({day.decision['reason']})"


def _summary(day: Day) -> tuple[str, ...]:
    today, standing, closed = day.profit[DAY], signed(book_tables.open_total(day.holdings)), len(day.closed)
    budget = f"opening budget used {money(day.day_used_usd)} of {money(day.day_limit_usd)} $"
    worth = f"Equity {money(day.equity_usd)} $ ({signed(today.equity_usd)} on the day), cash {money(day.cash_usd)} $"
    refused = f"; refusals {len(day.refused)}" if day.refused else ""
    return (
        f"Decision for this session: {_decided(day)}",
        f"Closed today {closed}: {signed(today.realised_usd)} $; open {len(day.holdings)}: {standing} $ so far",
        f"{worth}; {budget}; mode {day.mode}{refused}",
        f"Audit: {day.audit_head}",
    )


def _figures(day: Day) -> tuple[Figure, ...]:
    tiles = [
        Figure(label=f"{span.capitalize()}, $", value=signed(p.equity_usd), note=f"realised {signed(p.realised_usd)}")
        for span, p in day.profit.items()
    ]
    standing = signed(book_tables.open_total(day.holdings))
    return (
        *tiles,
        Figure(label="Open, $", value=standing, note=f"{len(day.holdings)} held"),
        Figure(label="Equity, $", value=money(day.equity_usd), note=f"cash {money(day.cash_usd)}"),
        Figure(label="Mode", value=day.mode, note=day.mode_why),
    )


def _note(day: Day) -> str:
    return (
        f"Open positions stand at {signed(book_tables.open_total(day.holdings))} $. Realised counts a trade when its "
        "last share is sold; the equity counts everything, each close against the one before the span."
    )


def _slippage(slips: Sequence[Slip]) -> Section:
    if not slips:
        return Section(title="Slippage", lines=("Nothing was filled.",))
    rows = tuple(
        (s.symbol, s.kind, money(s.price_usd), _bps(s.mid_bps), _bps(s.reference_bps), _bps(s.excess_bps))
        for s in slips
    )  # fmt: skip
    columns = ("symbol", "was", "price", "to the middle", "to the backtest", "beyond the model")
    told = "Basis points a side, positive is a cost. A few fills say nothing by themselves; kobe slippage show tells."
    return Section(title="Slippage", lines=(told,),
                   table=Table(columns=columns, rows=rows, words=frozenset({"symbol", "was"})))  # fmt: skip


def _bps(value: float | None) -> str:
    return "-" if value is None or value != value else f"{value:+.1f}"  # noqa: PLR0124 - NaN is not itself


def drift(found: Sequence[Standing]) -> Section:
    """Return how far each strategy is trusted."""
    if not found:
        return Section(title="Drift", lines=("No strategy was judged yet.",))
    rows = tuple((s.strategy, s.level, "-" if s.since is None else str(s.since), s.meaning) for s in found)
    columns = ("strategy", "level", "since", "meaning")
    return Section(title="Drift", table=Table(columns=columns, rows=rows, words=frozenset(columns)))


def _agreement(books: Agreement) -> Section:
    columns = ("kind", "subject", "ours", "broker", "answer")
    told = [books.said, *([books.silence] if books.silence else [])]
    table = Table(columns=columns, rows=tuple(books.differences), words=frozenset(columns))
    return Section(title="Books against the broker's", lines=tuple(told), table=table if books.differences else None)


def _records(day: Day) -> Section:
    told = f"Audit: {day.audit_head}"
    keep = "Keep the head elsewhere: kobe audit verify --head HEAD shows whether the chain was cut since."
    return Section(title="Records", lines=(told, keep))


def _data(day: Day) -> dict[str, Any]:
    return {
        "session": str(day.session), "decision": day.decision,
        "realised_usd": str(sum((t.net_usd for t in day.closed), NOTHING)),
        "open_pnl_usd": str(book_tables.open_total(day.holdings)), "equity_usd": _text(day.equity_usd),
        "cash_usd": _text(day.cash_usd), "realised_total_usd": str(day.profit[START].realised_usd),
        "day_used_usd": str(day.day_used_usd), "day_limit_usd": str(day.day_limit_usd),
        "mode": day.mode, "mode_why": day.mode_why, "audit_head": day.audit_head, "orders": len(day.orders),
        "positions": [h.symbol for h in day.holdings], "holdings": [h.row() for h in day.holdings],
        "trades": [t.row() for t in day.closed], "profit": {span: p.row() for span, p in day.profit.items()},
        "equity_curve": [[str(at), str(usd)] for at, usd in day.curve],
        "slippage": [
            jsonable({"symbol": s.symbol, "kind": s.kind, "price_usd": str(s.price_usd), "mid_bps": s.mid_bps,
                      "reference_bps": s.reference_bps, "excess_bps": s.excess_bps})
            for s in day.slips
        ],
        "refused": [r.row() for r in day.refused], "refusals_unknown": day.silence,
        "drift": {s.strategy: {"level": s.level, "since": _text(s.since)} for s in day.drift},
        "reconcile": {
            "said": day.books.said, "silence": day.books.silence,
            "differences": [list(d) for d in day.books.differences],
        },
    }  # fmt: skip


def _text(value: Decimal | date | None) -> str | None:
    return None if value is None else str(value)
