"""The trading journal: finished trades with tags, notes by hand, and what each tag was worth."""

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from kobe.core.clock import new_york_date
from kobe.core.intervals import wilson_interval
from kobe.core.types import Side, Trade, TradePlan
from kobe.core.units import to_cents, to_decimal

TAGS = ("session", "weekday", "month", "strategy", "symbol", "exit_reason", "regime")
ABOVE, BELOW, UNKNOWN = "above_sma200", "below_sma200", "unknown"
FORMULA = ("=", "+", "-", "@")
_NOTHING = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A finished trade with what it is tagged by.

    Attributes:
        trade: the round trip.
        tags: name -> value, for every name of `TAGS`.
        net_usd: after all fees, those booked later included.
        r: net result in units of the risk taken at the entry; None where no plan tells the stop.
        entry_slippage_bps: against the middle of the quote; None without one.
    """

    trade: Trade
    tags: Mapping[str, str]
    net_usd: Decimal
    r: Decimal | None
    entry_slippage_bps: float | None

    @property
    def session(self) -> date:
        """New York date of the entry."""
        return new_york_date(self.trade.opened)

    def row(self) -> dict[str, Any]:
        """Return it as JSON-ready values."""
        t = self.trade
        bps = self.entry_slippage_bps
        return {
            **self.tags, "side": t.side.value, "quantity": t.quantity, "opened": t.opened.isoformat(),
            "closed": t.closed.isoformat(), "entry_price": str(round(t.entry_price, 4)),
            "exit_price": str(round(t.exit_price, 4)), "net_usd": str(to_cents(self.net_usd)),
            "r": None if self.r is None else round(float(self.r), 4),
            "entry_slippage_bps": None if bps is None else round(bps, 2), "signal_id": t.signal_id,
        }  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What a person wrote; the session it is about, and the symbol where it is about one."""

    session: date
    symbol: str
    text: str
    at: str


def entry(trade: Trade, plan: TradePlan | None, factor: float, regime: str, fees_usd: Decimal = _NOTHING,
          slippage_bps: float | None = None) -> Entry:  # fmt: skip
    """Tag a finished trade.

    Args:
        trade: the round trip.
        plan: how it was to be closed, in adjusted dollars of the signal day.
        factor: raw over adjusted price of that day.
        regime: of the market at the signal.
        fees_usd: booked besides those of the fills.
        slippage_bps: of the entry.
    """
    day, net = new_york_date(trade.opened), trade.net_usd - fees_usd
    risk = None if plan is None else risk_of_share(trade, plan, factor)
    tags = {
        "session": day.isoformat(), "weekday": day.strftime("%A").lower(), "month": day.strftime("%B").lower(),
        "strategy": trade.strategy, "symbol": trade.symbol, "exit_reason": trade.exit_reason, "regime": regime,
    }  # fmt: skip
    r = net / (risk * trade.quantity) if risk else None
    return Entry(trade=trade, tags=tags, net_usd=net, r=r, entry_slippage_bps=slippage_bps)


def risk_of_share(trade: Trade, plan: TradePlan, factor: float) -> Decimal | None:
    """Return the distance from entry to stop in raw dollars; None where there is none on the losing side."""
    if plan.stop_distance is not None:
        risk = to_decimal(round(plan.stop_distance * factor, 9))
    else:
        level = to_decimal(round((plan.stop_level or 0.0) * factor, 9))
        risk = (trade.entry_price - level) * (1 if trade.side is Side.LONG else -1)
    return risk if risk > 0 else None


def wanted(entries: Iterable[Entry], tags: Mapping[str, str], since: date | None) -> list[Entry]:
    """Return the entries with these tags from a session on."""
    return [
        e
        for e in entries
        if all(e.tags.get(name) == value for name, value in tags.items()) and (since is None or e.session >= since)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Worth:
    """What the trades with one value of a tag came to; NaN where nothing is known."""

    tag: str
    value: str
    trades: int
    wins: int
    low: float
    high: float
    net_usd: Decimal
    mean_r: float

    @property
    def win_rate(self) -> float:
        """Share of trades with a gain after all costs; a result of nothing is no win."""
        return self.wins / self.trades


def by_tag(entries: Sequence[Entry], tag: str) -> list[Worth]:
    """Return the worth of each value of a tag, in the order of its first trade."""
    groups: dict[str, list[Entry]] = {}
    for e in entries:
        groups.setdefault(e.tags[tag], []).append(e)
    return [_worth(tag, value, mine) for value, mine in groups.items()]


def _worth(tag: str, value: str, mine: Sequence[Entry]) -> Worth:
    wins = sum(e.net_usd > 0 for e in mine)
    low, high = wilson_interval(wins, len(mine))
    told = [float(e.r) for e in mine if e.r is not None]
    return Worth(
        tag=tag, value=value, trades=len(mine), wins=wins, low=low, high=high,
        net_usd=sum((e.net_usd for e in mine), _NOTHING), mean_r=sum(told) / len(told) if told else math.nan,
    )  # fmt: skip


COLUMNS = (
    "kind", *TAGS, "side", "quantity", "opened", "closed", "entry_price", "exit_price", "net_usd", "r",
    "entry_slippage_bps", "signal_id", "text",
)  # fmt: skip


def as_csv(entries: Iterable[Entry], notes: Iterable[Note]) -> str:
    """Return trades and notes as CSV, oldest first; no cell of text can start a formula in a spreadsheet."""
    rows: list[dict[str, Any]] = [{"kind": "trade", **e.row()} for e in entries]
    rows += [
        {"kind": "note", "session": n.session.isoformat(), "symbol": n.symbol, "opened": n.at, "text": n.text}
        for n in notes
    ]  # fmt: skip
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for row in sorted(rows, key=lambda r: (str(r["session"]), str(r["opened"]))):
        writer.writerow({name: _cell(name, value) for name, value in row.items()})
    return out.getvalue()


_NUMBERS = frozenset({"quantity", "entry_price", "exit_price", "net_usd", "r", "entry_slippage_bps"})


def _cell(name: str, value: Any) -> Any:
    """Put text on one line and a quote before what a spreadsheet would run; our own numbers may be negative."""
    if value is None or name in _NUMBERS:
        return value
    text = " ".join(str(value).split())
    return f"'{text}" if text.startswith(FORMULA) else text
