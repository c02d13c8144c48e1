"""A slow cash account over trades, one event at a time with plain numbers: the oracle of `backtest.account`."""

import math


def run(trades: list[dict], terms, closes: dict, first: int, last: int):
    """Return equity per session and shares per trade.

    A trade is a dict of symbol, entry, exit (None while open), entry_price, exit_price, risk, adv_shares, fee_rate;
    `closes[symbol][session]` is the close.
    """
    cash, equity_before = terms.cash_usd, terms.cash_usd
    held, shares, curve = [], {}, []
    for today in range(first, last + 1):
        spendable, open_slots = cash, terms.max_positions - len(held)
        for number, trade in enumerate(trades):
            if trade["entry"] != today:
                continue
            shares[number] = 0
            taken = any(trades[h]["symbol"] == trade["symbol"] for h in held)
            if open_slots == 0 or taken:
                continue
            price = trade["entry_price"]
            wish = min(
                equity_before * terms.risk_fraction / trade["risk"],
                equity_before * terms.name_cap / price,
                terms.max_adv_share * trade["adv_shares"],
            )
            count = min(math.floor(wish), math.floor(spendable / price))
            if count < 1:
                continue
            shares[number] = count
            spendable -= count * price
            cash -= count * price
            held.append(number)
            open_slots -= 1
        for number in list(held):
            trade = trades[number]
            if trade["exit"] is not None and trade["exit"] <= today:
                proceeds = shares[number] * trade["exit_price"]
                cash += proceeds - math.ceil(proceeds * trade["fee_rate"] * 100 - 1e-9) / 100
                held.remove(number)
        worth = 0.0
        for number in held:
            known = closes[trades[number]["symbol"]]
            worth += shares[number] * known[max(s for s in known if s <= today)]
        equity_before = cash + worth
        curve.append(equity_before)
    return curve, [shares.get(n, 0) for n in range(len(trades))]
