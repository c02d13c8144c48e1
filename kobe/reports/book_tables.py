"""What the reports of a day and a week tell alike: holdings, round trips, refusals, profit, as values and tables."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from kobe.core.types import Order
from kobe.reports.document import Cell, Section, Table
from kobe.reports.render.svg_base import responsive
from kobe.reports.render.svg_money import equity_curve, equity_words, spark

NOTHING = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """A price with where it comes from, such as `close of 2024-12-30` or `quote of 08:15 ET`; raw dollars."""

    usd: Decimal
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """An open position with all that a person wants to know of it.

    Attributes:
        symbol, strategy, side, quantity: which.
        entry_usd: average price; last: the newest price known; before_usd: the close that price is compared with.
        stop_usd: of the order that guards it; None where none is known.
        atr_usd: at the last close, 14 sessions; None where there are too few bars.
        opened, exit_session: New York date of the entry, and the session that ends it at the latest.
        sessions_left: to that session; negative once it has passed.
    """

    symbol: str
    strategy: str
    side: str
    quantity: int
    entry_usd: Decimal
    last: Price | None
    before_usd: Decimal | None
    stop_usd: Decimal | None
    atr_usd: float | None
    opened: date
    exit_session: date | None
    sessions_left: int | None

    @property
    def sign(self) -> int:
        """+1 for a long, -1 for a short position."""
        return 1 if self.side == "long" else -1

    @property
    def open_usd(self) -> Decimal | None:
        """Gain so far, fees left out; None without a price."""
        return None if self.last is None else self.sign * (self.last.usd - self.entry_usd) * self.quantity

    @property
    def distance_usd(self) -> Decimal | None:
        """Dollars of a share between the last price and the stop; negative beyond it."""
        if self.last is None or self.stop_usd is None:
            return None
        return self.sign * (self.last.usd - self.stop_usd)

    @property
    def distance_share(self) -> float | None:
        """The same as a fraction of the last price."""
        away = self.distance_usd
        return None if away is None or self.last is None or not self.last.usd else float(away / self.last.usd)

    @property
    def distance_atr(self) -> float | None:
        """The same in ATR."""
        away = self.distance_usd
        return None if away is None or not self.atr_usd else float(away) / self.atr_usd

    @property
    def gap(self) -> float | None:
        """How far the last price is from the close before, as a fraction."""
        if self.last is None or not self.before_usd:
            return None
        return float(self.last.usd / self.before_usd - 1)

    def row(self) -> dict[str, Any]:
        """Return it as JSON-ready values."""
        return {
            "symbol": self.symbol, "strategy": self.strategy, "side": self.side, "quantity": self.quantity,
            "entry_usd": str(round(self.entry_usd, 4)), "last_usd": _text(None if self.last is None else self.last.usd),
            "last_from": None if self.last is None else self.last.source, "gap": self.gap,
            "stop_usd": _text(self.stop_usd), "stop_distance_usd": _text(self.distance_usd),
            "stop_distance": self.distance_share, "stop_distance_atr": self.distance_atr, "atr_usd": self.atr_usd,
            "open_usd": _text(self.open_usd), "opened": str(self.opened),
            "exit_session": _text(self.exit_session), "sessions_left": self.sessions_left,
        }  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """A round trip; `r` is None where no plan tells the risk taken."""

    symbol: str
    strategy: str
    side: str
    quantity: int
    entry_usd: Decimal
    exit_usd: Decimal
    fees_usd: Decimal
    net_usd: Decimal
    r: float | None
    opened: date
    closed: date
    reason: str

    def row(self) -> dict[str, Any]:
        """Return it as JSON-ready values."""
        return {
            "symbol": self.symbol, "strategy": self.strategy, "side": self.side, "quantity": self.quantity,
            "entry_usd": str(round(self.entry_usd, 4)), "exit_usd": str(round(self.exit_usd, 4)),
            "fees_usd": str(round(self.fees_usd, 2)), "net_usd": str(round(self.net_usd, 2)), "r": self.r,
            "opened": str(self.opened), "closed": str(self.closed), "reason": self.reason,
        }  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """One gate's refusal of one order."""

    session: date
    symbol: str
    order: str
    gate: str
    code: str
    observed: str
    limit: str
    meaning: str

    def row(self) -> dict[str, Any]:
        """Return it as JSON-ready values."""
        return {
            "session": str(self.session), "symbol": self.symbol, "order": self.order, "gate": self.gate,
            "code": self.code, "observed": self.observed, "limit": self.limit, "meaning": self.meaning,
        }  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Profit:
    """Dollars of a span: what closed trades brought after fees, and what the equity moved; None where unknown."""

    realised_usd: Decimal
    equity_usd: Decimal | None

    def row(self) -> dict[str, str | None]:
        """Return it as JSON-ready values."""
        return {"realised_usd": str(round(self.realised_usd, 2)), "equity_usd": _text(self.equity_usd)}


def _text(value: Decimal | date | None) -> str | None:
    if isinstance(value, Decimal):
        return str(round(value, 4))
    return None if value is None else str(value)


def money(value: Decimal | float | None) -> str:
    """Write dollars with cents; a dash for what is unknown."""
    return "-" if value is None else f"{value:,.2f}"


def signed(value: Decimal | float | None) -> str:
    """Write a gain or a loss with its sign; a dash for what is unknown."""
    return "-" if value is None else f"{value:+,.2f}"


def percent(value: float | None) -> str:
    """Write a fraction as a percentage with its sign; a dash for what is unknown."""
    return "-" if value is None or not math.isfinite(value) else f"{value:+.2%}"


def open_total(holdings: Sequence[Holding]) -> Decimal:
    """Return the open gain of all that has a price."""
    return sum((h.open_usd for h in holdings if h.open_usd is not None), NOTHING)


def position_words(holdings: Sequence[Holding]) -> str:
    """Say in one line how many are held, what they stand at, and which stop is nearest."""
    if not holdings:
        return "No position is open"
    noun = "position" if len(holdings) == 1 else "positions"
    told = f"{len(holdings)} {noun}, open {signed(open_total(holdings))} $"
    near = min((h for h in holdings if h.distance_share is not None), key=_distance, default=None)
    bare = [h.symbol for h in holdings if h.stop_usd is None]
    told += "" if near is None else f"; nearest stop {near.symbol}, {near.distance_share:.1%} away"
    return told + (f"; NO STOP KNOWN: {', '.join(bare)}" if bare else "")


def _distance(holding: Holding) -> float:
    return holding.distance_share or 0.0


def positions(holdings: Sequence[Holding], title: str = "Open positions") -> Section:
    """Return what is held with its stop and its time; the prices' sources stand below the table's heading."""
    if not holdings:
        return Section(title=title, lines=("None.",))
    rows = tuple(
        (f"{h.sign * h.quantity} {h.symbol}", money(h.entry_usd), _last(h), signed(h.open_usd),
         money(h.stop_usd) if h.stop_usd is not None else "none", money(h.distance_usd),
         "-" if h.distance_share is None else f"{h.distance_share:.1%}",
         "-" if h.distance_atr is None else f"{h.distance_atr:.1f}", _until(h))
        for h in holdings
    )  # fmt: skip
    columns = ("position", "entry", "last", "open $", "stop", "away $", "%", "ATR", "time exit")
    sources = sorted({h.last.source for h in holdings if h.last is not None})
    told = (
        [f"Last: {', '.join(sources)}; away: from the last price to the stop, in dollars, percent and ATR."]
        if sources
        else ["No price of them is known."]
    )
    told += [f"{h.symbol}: no order is known to guard it; next: kobe manage-exits" for h in holdings
             if h.stop_usd is None]  # fmt: skip
    words = frozenset({"position", "time exit"})
    return Section(title=title, lines=tuple(told), table=Table(columns=columns, rows=rows, words=words))


def _last(h: Holding) -> str:
    return money(None if h.last is None else h.last.usd)


def _until(h: Holding) -> str:
    if h.exit_session is None or h.sessions_left is None:
        return "-"
    left = "overdue" if h.sessions_left < 0 else "today" if h.sessions_left == 0 else f"in {h.sessions_left}"
    return f"{h.exit_session:%m-%d} {left}"


def trades(closed: Sequence[Closed], title: str) -> Section:
    """Return round trips with what ended them."""
    if not closed:
        return Section(title=title, lines=("None.",))
    rows = tuple(
        (t.symbol, t.strategy, t.quantity, money(t.entry_usd), money(t.exit_usd), signed(t.net_usd),
         "-" if t.r is None else f"{t.r:+.2f}", t.reason)
        for t in closed
    )  # fmt: skip
    columns = ("symbol", "strategy", "shares", "entry", "exit", "net $", "R", "why")
    words = frozenset({"symbol", "strategy", "why"})
    return Section(title=title, table=Table(columns=columns, rows=rows, words=words))


def orders(sent: Sequence[Order], title: str) -> Section:
    """Return orders with where they stand and why they were sent."""
    if not sent:
        return Section(title=title, lines=("None.",))
    rows = tuple(
        (o.request.symbol, f"{o.request.effect.value} {o.request.order_type.value}",
         f"{o.filled} of {o.request.quantity}", money(o.fills[0].price if o.fills else None), o.status.word,
         o.request.reason + (f"; {o.detail}" if o.detail and not o.filled and o.status.is_final else ""))
        for o in sent
    )  # fmt: skip
    columns = ("symbol", "order", "filled", "price", "status", "why")
    words = frozenset({"symbol", "order", "status", "why"})
    return Section(title=title, table=Table(columns=columns, rows=rows, words=words))


def refusals(refused: Sequence[Refused], title: str, silent: str = "") -> Section:
    """Return what the gates refused; `silent` says why nobody knows."""
    if silent:
        return Section(title=title, lines=(f"Not known: {silent}",))
    if not refused:
        return Section(title=title, lines=("None.",))
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (r.symbol, r.gate, r.code, r.observed, r.limit, r.meaning) for r in refused
    )
    columns = ("symbol", "gate", "code", "seen", "allowed", "it means")
    return Section(title=title, table=Table(columns=columns, rows=rows, words=frozenset(columns)))


def tally(refused: Sequence[Refused]) -> tuple[tuple[Cell, ...], ...]:
    """Return (code, how often, what it means), the most frequent first."""
    meanings = {r.code: r.meaning for r in refused}
    counts = sorted(Counter(r.code for r in refused).items(), key=lambda c: (-c[1], c[0]))
    return tuple((code, n, meanings[code]) for code, n in counts)


def curve(points: Sequence[tuple[date, Decimal]]) -> Section | None:
    """Return the account's equity over time; None before there are two closes."""
    days, values = [day for day, _ in points], [float(usd) for _, usd in points]
    picture = responsive(lambda width: equity_curve(days, values, width))
    if not picture:
        return None
    return Section(
        title="Equity", lines=(f"{equity_words(days, values)}. Money moved in or out is taken out.",),
        picture=picture, letters=(spark(values),),
    )  # fmt: skip


def profit_table(spans: dict[str, Profit]) -> Table:
    """Return realised and equity gains side by side, a column per span."""
    rows = (
        ("realised", *(signed(p.realised_usd) for p in spans.values())),
        ("equity", *(signed(p.equity_usd) for p in spans.values())),
    )
    return Table(columns=("$", *spans), rows=rows, words=frozenset({"$"}))
