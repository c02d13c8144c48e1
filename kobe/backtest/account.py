"""The compiled cash account: one continuous portfolio with cash, slots and whole raw shares (DOMAIN 2.4).

Within a session: entries at the open from the cash and slots of the previous close, sized on the equity of the
previous close; then what positions of earlier sessions brought and cost, dividends of the day and the loan of shares
since the last close; then exits; then the mark at the close. Money freed today is spent tomorrow at the earliest.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from kobe.backtest.carry import Carry
from kobe.core.compiled import njit
from kobe.core.panel import Floats, Ints

TAKEN, NO_CASH, NO_SLOT, SYMBOL_HELD, BELOW_ONE_SHARE = 0, 1, 2, 3, 4
SKIPS = ("taken", "no_cash", "no_slot", "symbol_held", "below_one_share")


class Trades(NamedTuple):
    """Trades in the order in which they are offered: by entry session, then rank. Prices include costs.

    `exit_session` is when the end is known, the largest int32 for a trade that has not ended; `exit_row` is then the
    last bar of the symbol. `factor` turns adjusted dollars into raw
    dollars at entry; `fee_rate` is charged on what is sold.
    """

    symbol: npt.NDArray[np.int32]
    side: npt.NDArray[np.int8]
    entry_row: Ints
    exit_row: Ints
    exit_session: npt.NDArray[np.int32]
    entry_price: Floats
    exit_price: Floats
    risk: Floats
    adv_shares: Floats
    factor: Floats
    fee_rate: Floats


class Terms(NamedTuple):
    """The account's rules; fractions of the equity at the previous close."""

    cash_usd: float
    risk_fraction: float
    name_cap: float
    max_positions: int
    max_adv_share: float


@njit(cache=True, nogil=True)
def best_first(session: npt.NDArray[np.int32], score: Floats, adv_usd: Floats, symbol: npt.NDArray[np.int32]) -> Ints:
    """Order in which signals are offered: by session, in each the best score, then the most liquid, then the symbol.

    What is unknown (NaN) comes last; what is equal in everything stays as it stands. A session has few signals, so
    each is moved past those that it precedes.
    """
    order = np.empty(len(session), np.int64)
    if len(session) == 0:
        return order
    least = session.min()
    begins = np.zeros(session.max() - least + 2, np.int64)
    for i in range(len(session)):
        begins[session[i] - least + 1] += 1
    begins = np.cumsum(begins)
    ends = begins.copy()
    for i in range(len(session)):
        begin, j = begins[session[i] - least], ends[session[i] - least]
        ends[session[i] - least] += 1
        while j > begin:
            other = order[j - 1]
            if not _precedes(score[i], score[other], adv_usd[i], adv_usd[other], symbol[i], symbol[other]):
                break
            order[j] = other
            j -= 1
        order[j] = i
    return order


@njit(cache=True, nogil=True, inline="always")
def _precedes(score: float, score_b: float, adv: float, adv_b: float, symbol: int, symbol_b: int) -> bool:
    if score != score_b and not (np.isnan(score) and np.isnan(score_b)):
        return score > score_b or np.isnan(score_b)
    if adv != adv_b and not (np.isnan(adv) and np.isnan(adv_b)):
        return adv > adv_b or np.isnan(adv_b)
    return symbol < symbol_b


@njit(cache=True, nogil=True)
def order_quantity(i: int, trades: Any, terms: Any, equity: float, cash: float) -> tuple[float, int]:
    """Whole raw shares for trade i and why there are none: the least of risk, name cap, liquidity and cash."""
    price = trades.entry_price[i] * trades.factor[i]
    by_risk = equity * terms.risk_fraction / (trades.risk[i] * trades.factor[i])
    by_name = equity * terms.name_cap / price
    by_volume = terms.max_adv_share * trades.adv_shares[i] / trades.factor[i]
    wanted = np.floor(min(by_risk, by_name, by_volume))
    if not wanted >= 1.0:
        return 0.0, BELOW_ONE_SHARE
    shares = min(wanted, np.floor(cash / price))
    return (shares, TAKEN) if shares >= 1.0 else (0.0, NO_CASH)


@njit(cache=True, nogil=True)
def _open(i: int, trades: Any, terms: Any, held: Ints, count: int, equity: float, cash: float) -> tuple[float, int]:
    for p in range(count):
        if trades.symbol[held[p]] == trades.symbol[i]:
            return 0.0, SYMBOL_HELD
    return order_quantity(i, trades, terms, equity, cash)


@njit(cache=True, nogil=True)
def _proceeds(i: int, trades: Any, shares: float) -> float:
    """Cash that closing trade i brings (negative for a short), after the fee on what was sold, rounded up."""
    amount = shares * trades.factor[i] * trades.exit_price[i]
    sold = amount if trades.side[i] > 0 else shares * trades.factor[i] * trades.entry_price[i]
    fee = np.ceil(sold * trades.fee_rate[i] * 100.0 - 1e-9) / 100.0
    return float(trades.side[i] * amount - fee)


@njit(cache=True, nogil=True)
def _to_today(
    i: int, trades: Any, carry: Any, session: npt.NDArray[np.int32], close: Floats, row: int, today: int
) -> tuple[int, float]:
    """Move a position's mark from `row` to its newest bar; the second value is the cash per unit it brings or costs.

    On the entry bar there is nothing to move and nothing is paid.
    """
    cash = 0.0
    if trades.side[i] < 0 and len(carry.borrow) > 0 and session[trades.entry_row[i]] < today:
        cash -= close[row] * carry.borrow[today]
    while row < trades.exit_row[i] and session[row + 1] <= today:
        row += 1
        if len(carry.dividend) > 0:
            cash += trades.side[i] * carry.dividend[row]
    return row, cash


@njit(cache=True, nogil=True)
def run_account(
    trades: Trades, terms: Terms, carry: Carry, session: npt.NDArray[np.int32], close: Floats, first: int, last: int
) -> tuple[Floats, Floats, Floats, npt.NDArray[np.int8]]:
    """Run the account from session `first` to `last`.

    Returns equity and gross exposure fraction per session, raw shares and skip reason per trade.
    """
    n = len(trades.entry_row)
    equity, exposure = np.empty(last - first + 1), np.zeros(last - first + 1)
    quantity, skipped = np.zeros(n), np.zeros(n, np.int8)
    held = np.empty(terms.max_positions, np.int64)
    mark_row = np.empty(terms.max_positions, np.int64)
    cash = before = terms.cash_usd
    shorted = 0.0
    count = nxt = 0
    for today in range(first, last + 1):
        settled = cash - 2.0 * shorted  # what a short sale brings is collateral, and so is as much again
        while nxt < n and session[trades.entry_row[nxt]] <= today:
            shares = 0.0
            if count >= terms.max_positions:  # asked here: a call that is handed the trades takes longer than that
                skipped[nxt] = NO_SLOT
            else:
                shares, skipped[nxt] = _open(nxt, trades, terms, held, count, before, settled)
            if shares > 0.0:
                cost = shares * trades.factor[nxt] * trades.entry_price[nxt]
                cash -= trades.side[nxt] * cost
                settled -= cost
                quantity[nxt] = shares
                held[count], mark_row[count] = nxt, trades.entry_row[nxt]
                count += 1
            nxt += 1
        value = gross = shorted = 0.0
        kept = 0
        for p in range(count):
            i = held[p]
            row, carried = _to_today(i, trades, carry, session, close, mark_row[p], today)
            cash += quantity[i] * trades.factor[i] * carried
            if trades.exit_session[i] <= today:
                cash += _proceeds(i, trades, quantity[i])
                continue
            worth = quantity[i] * trades.factor[i] * close[row]
            value += trades.side[i] * worth
            gross += worth
            shorted += worth if trades.side[i] < 0 else 0.0
            held[kept], mark_row[kept] = i, row
            kept += 1
        count = kept
        before = cash + value
        equity[today - first] = before
        exposure[today - first] = gross / before if before > 0.0 else np.nan
    return equity, exposure, quantity, skipped
