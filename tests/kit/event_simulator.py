"""A slow market and cash account, one event at a time, written from DOMAIN 2.1 to 2.6 and from no code of kobe.

Money and shares are raw: what was on the tape that day. Signals come in adjusted dollars, as strategies give them.
A split while a position is held multiplies its shares. A symbol that has not traded for five sessions and never does
again is written off: at what an event tells, else to the position's harm.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

NOISE = 1e-9


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One session of one symbol in adjusted dollars; raw = adjusted * factor. The dividend is raw, per raw share."""

    open: float
    high: float
    low: float
    close: float
    factor: float = 1.0
    dividend: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Wish:
    """A signal known at the close of `session`."""

    number: int
    symbol: str
    session: int
    side: int
    stop_distance: float | None
    stop_level: float | None
    target_r: float | None
    atr: float
    score: float
    adv_usd: float


@dataclass(frozen=True, kw_only=True)
class Rules:
    """The account and what trading costs; `half_spread_bps` is one tier for all.

    `borrow` holds (first date, rate a year), oldest first; `haircut` is lost where no event tells how a symbol ended.
    """

    cash: float
    risk_fraction: float
    name_cap: float
    slots: int
    adv_share: float
    slippage_bps: float = 0.0
    half_spread_bps: float = 0.0
    half_tick: float = 0.0
    sell_fee: float = 0.0
    max_gap_atr: float = 2.0
    hold: int = 5
    borrow: tuple[tuple[date, float], ...] = ()
    haircut: float = 0.30


@dataclass(kw_only=True)
class Position:
    """Shares held, with the raw dollars paid and the factor at which the shares count."""

    wish: Wish
    shares: float
    factor: float
    paid: float
    entered: int
    stop: float
    target: float | None
    mark: float
    leave: bool = False
    carried: float = 0.0


@dataclass(kw_only=True)
class Story:
    """What happened: equity per session, shares, net dollars and skip reasons per wish."""

    equity: list[float] = field(default_factory=list)
    cash: list[float] = field(default_factory=list)
    held: list[list[str]] = field(default_factory=list)
    shares: dict[int, float] = field(default_factory=dict)
    net: dict[int, float] = field(default_factory=dict)
    dividends: dict[int, float] = field(default_factory=dict)
    loans: dict[int, float] = field(default_factory=dict)
    written_off: list[int] = field(default_factory=list)
    skipped: dict[int, str] = field(default_factory=dict)


def after_costs(rules: Rules, raw: float, direction: int) -> float:
    """Return what is paid (direction +1) or received (-1) for a fill that takes liquidity, raw dollars."""
    spread = max(rules.half_spread_bps / 10_000, rules.half_tick / raw)
    return raw * (1 + direction * (spread + rules.slippage_bps / 10_000))


def leaves(position: Position, bar: Bar, today: int, rules: Rules) -> tuple[float, bool] | None:
    """Return the adjusted price at which a position is closed in a bar and whether that takes liquidity."""
    long = position.wish.side > 0
    stop, target = position.stop, position.target
    if position.leave:
        return bar.open, True
    if (bar.open <= stop) if long else (bar.open >= stop):
        return bar.open, True
    if target is not None and ((bar.open >= target) if long else (bar.open <= target)):
        return bar.open, False
    if (bar.low <= stop) if long else (bar.high >= stop):
        return stop, True
    if target is not None:
        through = bar.high - target if long else target - bar.low
        if through >= 0.01 / bar.factor - NOISE:
            return target, False
    return (bar.close, True) if today >= position.entered + rules.hold - 1 else None


def wanted(wish: Wish, bar: Bar, before: Bar, risk: float, equity: float, rules: Rules) -> tuple[int, float]:
    """Return whole raw shares for the equity of yesterday's close, and the raw price paid for one."""
    price = after_costs(rules, bar.open * bar.factor, wish.side)
    raw_volume = wish.adv_usd / (before.close * bar.factor)
    most = min(
        equity * rules.risk_fraction / (risk * bar.factor),
        equity * rules.name_cap / price,
        rules.adv_share * raw_volume,
    )
    return math.floor(most), price


def fill_of(wish: Wish, bar: Bar, before: Bar, rules: Rules) -> float | None:
    """Return the stop of an entry at the open, or None where the entry is no longer valid (D10)."""
    if abs(bar.open - before.close) > rules.max_gap_atr * wish.atr:
        return None
    if wish.stop_level is None:
        return bar.open - wish.side * (wish.stop_distance or 0.0)
    beyond = bar.open <= wish.stop_level if wish.side > 0 else bar.open >= wish.stop_level
    return None if beyond else wish.stop_level


@dataclass(kw_only=True)
class Account:
    """Cash, positions and what was written down about them."""

    rules: Rules
    cash: float
    equity: float
    book: list[Position] = field(default_factory=list)
    story: Story = field(default_factory=Story)

    def enter(self, offered: list[Wish], bars: dict[str, dict[int, Bar]], today: int) -> None:
        """Fill the wishes of yesterday at the open, best first, from yesterday's cash, slots and equity."""
        rules, story = self.rules, self.story
        pledged = sum(2 * p.mark for p in self.book if p.wish.side < 0)  # proceeds, and as much again
        spendable, free = self.cash - pledged, rules.slots - len(self.book)
        for wish in sorted(offered, key=lambda w: (-w.score, -w.adv_usd, w.symbol)):
            bar, before = bars[wish.symbol][today], bars[wish.symbol][today - 1]
            stop = fill_of(wish, bar, before, rules)
            if stop is None:
                continue
            story.shares[wish.number] = story.net[wish.number] = 0.0
            risk = abs(bar.open - stop)
            most, price = wanted(wish, bar, before, risk, self.equity, rules)
            count = min(most, math.floor(spendable / price))
            if free == 0:
                story.skipped[wish.number] = "no_slot"
            elif any(p.wish.symbol == wish.symbol for p in self.book):
                story.skipped[wish.number] = "symbol_held"
            elif count < 1:
                story.skipped[wish.number] = "below_one_share" if most < 1 else "no_cash"
            else:
                spendable -= count * price
                self.cash -= wish.side * count * price
                free -= 1
                target = None if wish.target_r is None else bar.open + wish.side * wish.target_r * risk
                story.shares[wish.number], story.net[wish.number] = count, math.nan
                held = {"shares": count, "factor": bar.factor, "paid": count * price, "mark": count * price}
                self.book.append(Position(wish=wish, entered=today, stop=stop, target=target, **held))

    def pay_loans(self, book: list[Position], yesterday: date, today: date) -> None:
        """Charge what was sold short before today on its value at the last close, for every calendar day since."""
        rates = [rate for since, rate in self.rules.borrow if since <= today]
        for p in book:
            if p.wish.side < 0 and rates:
                cost = p.mark * rates[-1] / 360 * (today - yesterday).days
                self.cash -= cost
                p.carried -= cost
                self.story.loans[p.wish.number] = self.story.loans.get(p.wish.number, 0.0) + cost

    def pay_dividend(self, p: Position, bar: Bar, today: int) -> None:
        """Give a long, or take from a short, what the shares it held before the open are paid."""
        if p.entered < today and bar.dividend:
            amount = p.wish.side * p.shares * bar.dividend
            self.cash += amount
            p.carried += amount
            self.story.dividends[p.wish.number] = self.story.dividends.get(p.wish.number, 0.0) + amount

    def write_off(self, p: Position, loss: float | None) -> None:
        """End a position in a symbol that is gone, at what is left of its last close."""
        lost = p.wish.side * self.rules.haircut if loss is None else loss
        self.story.written_off.append(p.wish.number)
        self.end(p, p.mark / p.shares * (1 - lost), takes=True)

    def end(self, p: Position, raw: float, *, takes: bool) -> None:
        """Close a position at a raw price."""
        side = p.wish.side
        amount = p.shares * (after_costs(self.rules, raw, -side) if takes else raw)
        fee = math.ceil((amount if side > 0 else p.paid) * self.rules.sell_fee * 100 - NOISE) / 100
        self.cash += side * amount - fee
        self.story.net[p.wish.number] = side * (amount - p.paid) - fee + p.carried
        self.book.remove(p)

    def close_or_mark(self, bars: dict[str, dict[int, Bar]], exits: set[tuple[str, int, int]], today: int) -> None:
        """Let every position that trades today meet its bar; the others keep their last mark."""
        for p in list(self.book):
            bar, side = bars[p.wish.symbol].get(today), p.wish.side
            if bar is None:
                continue
            p.shares *= p.factor / bar.factor  # a split since its last bar
            p.factor = bar.factor
            self.pay_dividend(p, bar, today)
            found = leaves(p, bar, today, self.rules)
            if found is None:
                p.mark = p.shares * bar.close * bar.factor
                p.leave = (p.wish.symbol, today, side) in exits
                continue
            self.end(p, found[0] * bar.factor, takes=found[1])


def simulate(
    bars: dict[str, dict[int, Bar]],
    wishes: list[Wish],
    exits: set[tuple[str, int, int]],
    rules: Rules,
    span: range,
    *,
    dates: Sequence[date] = (),
    losses: Mapping[str, float] | None = None,
) -> Story:
    """Run the account over some sessions.

    `exits` holds (symbol, session, side) where the rule says to leave; `dates` are those of the sessions by number;
    `losses` tells which fraction of its last price a symbol lost at its end, where that is known.
    """
    account = Account(rules=rules, cash=rules.cash, equity=rules.cash)
    last = {symbol: max(known) for symbol, known in bars.items()}
    told = losses or {}
    for today in span:
        older = list(account.book)
        account.enter([w for w in wishes if w.session == today - 1 and today in bars[w.symbol]], bars, today)
        if dates:  # after the entries, whose cash is that of the last close
            account.pay_loans(older, dates[today - 1], dates[today])
        account.close_or_mark(bars, exits, today)
        for p in list(account.book):
            known = bars[p.wish.symbol]
            if not any(s in known for s in range(today - 4, today + 1)):
                account.write_off(p, told.get(p.wish.symbol) if today > last[p.wish.symbol] else None)
        account.equity = account.cash + sum(p.wish.side * p.mark for p in account.book)
        account.story.equity.append(account.equity)
        account.story.cash.append(account.cash)
        account.story.held.append([p.wish.symbol for p in account.book])
    return account.story
