"""Where the money between the backtest and the account went: one gap a signal, in parts that sum to the cent.

The way from the backtest's result to the realised one is walked in a fixed order, each step priced with what came
before it: a decision that differed, a trade that was not made at all, shares that were not filled (at the
backtest's result a share), then for the shares that were: where the market stood (price), what was paid beyond it
(slippage), where it stood at the exit (exit), fees, dividends.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from kobe.core.units import to_cents

NOTHING = Decimal(0)


class Part(StrEnum):
    """What a part of a gap comes from."""

    SIGNAL = "signal"
    UNIVERSE = "universe"
    MISSED_RUN = "missed_run"
    GATE = "gate"
    PRICE = "price"
    FILL = "fill"
    SLIPPAGE = "slippage"
    EXIT = "exit"
    FEE = "fee"
    DIVIDEND = "dividend"


MEANINGS: dict[Part, str] = {
    Part.SIGNAL: "the decision was another than the strategies make today over final bars",
    Part.UNIVERSE: "the symbol was not tradable, or held back",
    Part.MISSED_RUN: "no run came to send it",
    Part.GATE: "a gate, the kill switch or the broker refused it",
    Part.PRICE: "where the market stood at the order, against the backtest's open",
    Part.FILL: "shares that were not filled",
    Part.SLIPPAGE: "paid beyond the middle of the quote, against what the cost model charges",
    Part.EXIT: "where the market stood at the exit, and when and why that was",
    Part.FEE: "fees, against those of the cost model",
    Part.DIVIDEND: "dividends and the cost of the loan, against the backtest's",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ideal:
    """The backtest's trade of a signal, for the intended shares; raw dollars of the entry session.

    Attributes:
        side: +1 long, -1 short.
        quantity: intended shares.
        entry, exit: where the market stood.
        entry_paid, exit_got: after spread and slippage.
        fee_usd: of the whole trade.
        carried_usd: dividends less the cost of the loan, of the whole trade.
    """

    side: int
    quantity: int
    entry: Decimal
    exit: Decimal
    entry_paid: Decimal
    exit_got: Decimal
    fee_usd: Decimal = NOTHING
    carried_usd: Decimal = NOTHING

    @property
    def share_usd(self) -> Decimal:
        """Result of one share before fees and dividends."""
        return self.side * (self.exit_got - self.entry_paid)

    @property
    def net_usd(self) -> Decimal:
        """Result of the whole trade."""
        return self.quantity * self.share_usd + self.carried_usd - self.fee_usd


@dataclass(frozen=True, slots=True, kw_only=True)
class Real:
    """What became of a signal in the account; prices a share bought, whatever splits did to it since.

    Attributes:
        side: +1 long, -1 short.
        quantity: shares opened.
        entry, exit: average prices; what is still open counts at its last close.
        entry_reference, exit_reference: where the market stood then; None where nobody wrote it down, and then all
            of the distance counts as the market's.
        fee_usd: of all fills and booked later.
        carried_usd: dividends that came.
    """

    side: int
    quantity: int
    entry: Decimal
    exit: Decimal
    entry_reference: Decimal | None = None
    exit_reference: Decimal | None = None
    fee_usd: Decimal = NOTHING
    carried_usd: Decimal = NOTHING

    @property
    def net_usd(self) -> Decimal:
        """Result of the trade."""
        return self.side * self.quantity * (self.exit - self.entry) + self.carried_usd - self.fee_usd


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Realised less backtest, in whole cents, and the parts it is the sum of; parts of nothing are left out."""

    backtest_usd: Decimal
    realised_usd: Decimal
    parts: dict[Part, Decimal]

    @property
    def usd(self) -> Decimal:
        """Realised less backtest."""
        return self.realised_usd - self.backtest_usd


def split(ideal: Ideal | None, real: Real | None, *, cause: Part = Part.SIGNAL, counted: bool = True) -> Gap:
    """Take the gap of one signal apart.

    Args:
        ideal: the backtest's trade; None where it has none.
        real: the account's; None where nothing was filled.
        cause: why there is no trade on one of the two sides.
        counted: False where the strategies no longer make this decision: the backtest's result is nothing then, and
            what its trade would have brought is the signal's part.
    """
    exact: dict[Part, Decimal] = {}
    backtest = ideal.net_usd if ideal is not None and counted else NOTHING
    realised = real.net_usd if real is not None else NOTHING
    if ideal is None or real is None or not real.quantity:
        exact[cause] = realised - backtest
    else:
        exact = _walk(ideal, real)
        if not counted:
            exact[Part.SIGNAL] = ideal.net_usd
    return _in_cents(to_cents(backtest), to_cents(realised), exact)


def _walk(ideal: Ideal, real: Real) -> dict[Part, Decimal]:
    """Return the exact steps from the backtest's trade to the account's."""
    sign, n = ideal.side, real.quantity
    charged_in, charged_out = ideal.entry_paid - ideal.entry, ideal.exit_got - ideal.exit
    stood_in = real.entry - charged_in if real.entry_reference is None else real.entry_reference
    stood_out = real.exit - charged_out if real.exit_reference is None else real.exit_reference
    paid, got = real.entry - stood_in - charged_in, real.exit - stood_out - charged_out
    return {
        Part.FILL: (n - ideal.quantity) * ideal.share_usd,
        Part.PRICE: -sign * n * (stood_in - ideal.entry),
        Part.SLIPPAGE: sign * n * (got - paid),
        Part.EXIT: sign * n * (stood_out - ideal.exit),
        Part.FEE: ideal.fee_usd - real.fee_usd,
        Part.DIVIDEND: real.carried_usd - ideal.carried_usd,
    }


def _in_cents(backtest: Decimal, realised: Decimal, exact: Mapping[Part, Decimal]) -> Gap:
    """Round every part to the cent; what is left over from that goes to the largest one."""
    parts = {part: to_cents(usd) for part, usd in exact.items()}
    left = realised - backtest - sum(parts.values(), NOTHING)
    if left:
        parts[max(parts, key=lambda p: (abs(exact[p]), p))] += left
    return Gap(backtest_usd=backtest, realised_usd=realised, parts={p: parts[p] for p in Part if parts.get(p)})


def totals(gaps: Iterable[Gap]) -> dict[Part, Decimal]:
    """Return the sum of each part over many gaps."""
    found = dict.fromkeys(Part, NOTHING)
    for gap in gaps:
        for part, usd in gap.parts.items():
            found[part] += usd
    return found


def shares(parts: Mapping[Part, Decimal]) -> dict[Part, Decimal]:
    """Return the size of each part as a fraction of all their sizes; they sum to 1 where there is any gap."""
    whole = sum(map(abs, parts.values()), NOTHING)
    return {p: abs(usd) / whole if whole else NOTHING for p, usd in parts.items()}
