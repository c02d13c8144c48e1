"""The simulated broker: the embedded default. It keeps its own ledger, as a real broker keeps its own books.

An immediate-or-cancel order fills whole, in part or not at all, decided by a hash of its name, so that a rerun
meets the same luck. Not simulated: dividends (no money comes, as in the paper accounts of brokers), the fees TAF
and CAT (their rates are not verified; the SEC fee on sales is charged), short sales, interest and settlement days.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

from kobe.core.clock import Clock, midnight, new_york_date
from kobe.core.panel import Panel
from kobe.core.ports import Account, Asset, BrokerOrder, CashMove, CorporateChange, Execution, Ledger, Quote
from kobe.core.types import OrderRequest, OrderStatus
from kobe.core.units import fee_cents, to_cents, to_decimal
from kobe.execution.brokers import sim_rules
from kobe.execution.brokers.kit import BrokerKit
from kobe.execution.brokers.sim_books import Deal, End, Known, SimBooks, Split
from kobe.execution.brokers.sim_market import SimMarket
from kobe.execution.brokers.sim_rules import Outcome, Trigger
from kobe.execution.brokers.terms import SimTerms, luck

MAINTENANCE = Decimal("0.30")  # of the market value of longs: the house margin of the live broker (DOMAIN 4.6)
OLDEST_MARK = 10  # sessions without a bar after which a holding counts nothing


def make(kit: BrokerKit) -> "SimBroker":
    """Make the simulated broker over its own books."""
    return SimBroker(ledger=kit.books, market=kit.market, clock=kit.clock, terms=kit.terms)


@dataclass(frozen=True, slots=True, kw_only=True)
class _State:
    """An instant, the last event of the books, and the bars, which an account without orders and shares needs not."""

    at: datetime
    sequence: int
    bars: Panel | None

    def is_same(self, other: "_State") -> bool:
        return self.at == other.at and self.sequence == other.sequence and self.bars is other.bars


@dataclass(kw_only=True)
class SimBroker:
    """A broker in this process with durable books. The name of an order is its identity."""

    ledger: Ledger
    market: SimMarket
    clock: Clock
    terms: SimTerms = field(default_factory=SimTerms)
    name: str = "sim"
    environment: str = "sim"
    _quiet_until: dict[str, date] = field(default_factory=dict)
    _settled: _State | None = None
    _account: tuple[_State, Account] | None = None

    def __post_init__(self) -> None:
        self.books = SimBooks(ledger=self.ledger, cash_usd=self.terms.cash_usd)
        self.market = replace(self.market, halt_share=self.terms.halt_share)

    def keys_fault(self) -> str:
        """Return nothing: this broker has no keys."""
        return ""

    # -- orders ------------------------------------------------------------------------------------------------

    def submit(self, request: OrderRequest) -> BrokerOrder:
        """Take an order; the same name again returns the order that has it."""
        self._settle()
        if request.client_order_id not in self.books.orders:
            with self._writing():
                if request.client_order_id not in self.books.orders:
                    self._place(request, self._judge(request))
        return self._tell(request.client_order_id)

    def replace(self, client_order_id: str, request: OrderRequest) -> BrokerOrder:
        """Put a resting order in the place of another, which ends as replaced.

        Where that cannot be done the new order is rejected and the old one stays as it is.
        """
        self._settle()
        if request.client_order_id not in self.books.orders:
            with self._writing():
                if request.client_order_id not in self.books.orders:
                    self._put_in_place(client_order_id, request)
        return self._tell(request.client_order_id)

    def lookup(self, client_order_id: str) -> BrokerOrder | None:
        """Return an order by name."""
        self._settle()
        return self._tell(client_order_id) if client_order_id in self.books.orders else None

    def cancel(self, client_order_id: str) -> BrokerOrder | None:
        """Cancel what is open of an order; one whose end is decided but not told yet ends as decided."""
        self._settle()
        if client_order_id not in self.books.orders:
            return None
        if client_order_id in self.books.undecided:
            with self._writing():
                if client_order_id in self.books.undecided:
                    self._end(client_order_id, OrderStatus.CANCELED, "canceled by request")
        return self._tell(client_order_id)

    def orders(self, since: date | None = None) -> Iterable[BrokerOrder]:
        """Return every order, or those placed from a New York date on and those still open."""
        self._settle()
        now = self.clock.now()
        wanted = list(self.books.orders) if since is None else self.books.placed_since(since, now)
        return [self.books.told(name, now) for name in wanted]

    def _tell(self, name: str) -> BrokerOrder:
        return self.books.told(name, self.clock.now())

    # -- account and market ------------------------------------------------------------------------------------

    def quotes(self, symbols: Sequence[str]) -> dict[str, Quote]:
        """Return current quotes."""
        return self.market.quotes(symbols)

    def account(self) -> Account:
        """Return cash, equity at the last known prices, and positions."""
        state = self._settle()
        if state.bars is None or self._account is None or not self._account[0].is_same(state):
            self._account = state, self._valued()
        known = self._account[1]
        return replace(known, positions=dict(known.positions))

    def _valued(self) -> Account:
        now = self.clock.now()
        cash, held = self.books.holdings(now)
        worth = sum((self._mark(s) * n for s, n in held.items()), Decimal(0))
        return Account(
            cash_usd=cash, equity_usd=cash + worth, blocked=False, positions=held, account_id="sim",
            last_equity_usd=self._last_equity(now), buying_power_usd=self.books.buying_power(now),
            maintenance_usd=to_cents(worth * MAINTENANCE),
        )  # fmt: skip

    def now(self) -> datetime:
        """Return the clock's instant."""
        return self.clock.now()

    def asset(self, symbol: str) -> Asset | None:
        """Return a symbol of the store; it is tradable while its bars go on."""
        panel = self.market.bars()
        if symbol not in panel.symbols:
            return None
        calendar = self.market.calendar
        complete = calendar.number(calendar.last_complete(self.clock.now()))
        trades = int(panel[symbol].session[-1]) >= min(complete, panel.last_session)
        return Asset(symbol=symbol, active=trades, tradable=trades)

    def sessions(self, first: date, last: date) -> dict[date, tuple[datetime, datetime]]:
        """Return open and close of each session of a span."""
        calendar = self.market.calendar
        return {day: (calendar.opens_at(day), calendar.closes_at(day)) for day in calendar.between(first, last)}

    def cash_moves(self, since: date) -> tuple[CashMove, ...]:
        """Return the cash that came in lieu of fractions of shares; nothing else ever comes or goes."""
        self._settle()
        paid = [s for s in self.books.splits.values() if s.cash_usd and s.session >= since]
        return tuple(
            CashMove(
                move_id=f"split-{s.symbol}-{s.session.isoformat()}", kind="other", day=s.session, usd=s.cash_usd,
                detail=s.detail,
            )
            for s in sorted(paid, key=lambda s: (s.session, s.symbol))
        )  # fmt: skip

    def corporate_changes(self, symbols: Sequence[str], session: date) -> tuple[CorporateChange, ...]:
        """Return the splits that are in force from a session on, by the factors of the store's bars."""
        found = {s: self.market.splits(s, session, session).get(session) for s in symbols}
        return tuple(
            CorporateChange(symbol=s, kind="split", effective=session, ratio=_decimal(r)) for s, r in found.items() if r
        )

    def _mark(self, symbol: str) -> Decimal:
        """Last price of a symbol: the quote's middle, or the close of the last complete session with a bar."""
        quote = self.market.quotes([symbol]).get(symbol)
        if quote is not None:
            return (quote.bid + quote.ask) / 2
        now = self.clock.now()
        today = new_york_date(now)
        return self._close(symbol, self.market.calendar.last_complete(now), self.books.splits.get((symbol, today)))

    def _close(self, symbol: str, day: date, split: Split | None = None) -> Decimal:
        """Close of a session, or of the last one before it with a bar, in shares after a split since."""
        for back in range(OLDEST_MARK):
            session = self.market.calendar.offset(day, -back)
            seen = self.market.bar(symbol, session)
            if seen is not None:
                since = split is not None and split.session > session
                return _money(seen.bar[3] / float(split.ratio) if split and since else seen.bar[3])
        return Decimal(0)

    def _last_equity(self, now: datetime) -> Decimal:
        """Equity at the close of the session before today's: cash and shares then, at that close's prices."""
        calendar = self.market.calendar
        day = calendar.previous(new_york_date(now))
        cash, held = self.books.holdings(calendar.closes_at(day))
        return cash + sum((self._close(s, day) * n for s, n in held.items()), Decimal(0))

    # -- deciding ----------------------------------------------------------------------------------------------

    def _judge(self, request: OrderRequest, *, without: str = "") -> Outcome:
        """Decide what comes of an order now, leaving one out that it would replace."""
        now, quote = self.clock.now(), self.market.quotes([request.symbol]).get(request.symbol)
        standing = self.books.standing(request, now, without=without)
        why = sim_rules.refusal(request, self.asset(request.symbol), quote, standing, self.terms)
        if why is not None:
            return Outcome(status=OrderStatus.REJECTED, detail=why)
        if quote is None or request.order_type in sim_rules.RESTING:
            return Outcome()
        return sim_rules.execute(request, quote, self.terms)

    def _put_in_place(self, old: str, request: OrderRequest) -> None:
        known = self.books.orders.get(old)
        if known is None or old not in self.books.undecided:
            why = "40410000: order not found" if known is None else "42210000: order is not open"
            outcome = Outcome(status=OrderStatus.REJECTED, detail=why)
        elif request.order_type not in sim_rules.RESTING or request.symbol != known.request.symbol:
            outcome = Outcome(status=OrderStatus.REJECTED, detail="42210000: not an order that can take its place")
        else:
            outcome = self._judge(request, without=old)
        if outcome.status is None:
            self._end(old, OrderStatus.REPLACED, f"replaced by {request.client_order_id}")
        self._place(request, outcome)

    def _place(self, request: OrderRequest, outcome: Outcome) -> None:
        """Write down an order and what was decided about it; a refusal is the answer and told at once."""
        name, now, told = request.client_order_id, self.clock.now(), self.clock.now()
        self.books.write_order(request)
        deals = []
        for number, (quantity, price) in enumerate(outcome.parts, start=1):
            told = max(told, now + self._delay(f"{name}:{number}"))
            deals.append(self._deal(request, number, quantity, price, now, told))
        self.books.write_deals(name, deals)
        if outcome.status is None:
            return
        if not deals and outcome.status is not OrderStatus.REJECTED:
            told = now + self._delay(name)
        self.books.write_end(name, End(status=outcome.status, detail=outcome.detail, told_at=told))

    def _end(self, name: str, status: OrderStatus, detail: str) -> None:
        end = End(status=status, detail=detail, told_at=self.clock.now() + self._delay(name))
        self.books.write_end(name, end)

    def _delay(self, name: str) -> timedelta:
        """How long until something is told: by chance, so that two orders may be told of in another order."""
        return timedelta(seconds=self.terms.delay_s * (0.5 + luck(f"delay:{name}")))

    def _deal(
        self, request: OrderRequest, number: int, quantity: int, price: Decimal, at: datetime, told: datetime
    ) -> Deal:
        rate = to_decimal(self.market.costs.at(new_york_date(at)).sec_fee_per_million_usd) / 1_000_000
        fee = Decimal(0) if request.is_buy else fee_cents(price * quantity * rate)
        execution = Execution(
            execution_id=f"{request.client_order_id}:{number}", quantity=quantity, price=price, at=at, fee_usd=fee
        )
        return Deal(execution=execution, told_at=told)

    # -- what the market did since -----------------------------------------------------------------------------

    def _settle(self) -> _State:
        """Let the sessions since each resting order and each holding work on them, one step after the other.

        Returns:
            What it was done with: while that is the same nothing is left to do.
        """
        self.books.refresh()
        state = self._state()
        if self._settled is None or not self._settled.is_same(state):
            while self._next_step() is not None:
                with self._writing():
                    step = self._next_step()
                    if isinstance(step, Split):
                        self.books.write_split(step)
                    elif step is not None:
                        self._act(*step)
            self._settled = state = self._state()
        return state

    def _state(self) -> _State:
        now = self.clock.now()
        works = bool(self.books.undecided or self.books.holdings(now)[1])
        return _State(at=now, sequence=self.books.seen, bars=self.market.bars() if works else None)

    def _next_step(self) -> Split | tuple[Known, Trigger] | None:
        """Return what happened first of all that is not written down yet."""
        now = self.clock.now()
        steps: list[tuple[datetime, int, Split | tuple[Known, Trigger]]] = []
        for symbol in self.books.holdings(now)[1]:
            steps.extend((s.at, 0, s) for s in self._splits(symbol, now))
        for known in self.books.undecided.values():
            found = self._trigger(known, now)
            if found is not None:
                steps.append((found.at, 1, (known, found)))
        return min(steps, key=lambda step: step[:2])[2] if steps else None

    def _splits(self, symbol: str, now: datetime) -> Iterator[Split]:
        """Yield the splits of a holding that are not written down; fractions are paid at the close before."""
        first, today = self.books.first_traded[symbol], new_york_date(now)
        for session, ratio in self.market.splits(symbol, first, today).items():
            night = midnight(session)  # when a broker's books carry a split out
            shares = self.books.holdings(night - timedelta(microseconds=1))[1].get(symbol, 0)
            if (symbol, session) in self.books.splits or not shares:
                continue
            exact = shares * ratio
            rest = _decimal(exact - exact // 1)
            price = self._close(symbol, self.market.calendar.previous(session)) / _decimal(ratio)
            yield Split(
                symbol=symbol, session=session, at=night, ratio=ratio, cash_usd=to_cents(rest * price),
                detail=f"{shares} {symbol} became {exact // 1}, cash for {rest:.6f} at {price:.4f}",
            )  # fmt: skip

    def _trigger(self, known: Known, now: datetime) -> Trigger | None:
        """Return the first thing that happened to a resting order; quiet sessions are looked at once."""
        name, symbol = known.request.client_order_id, known.request.symbol
        start = self._quiet_until.get(name, new_york_date(known.placed))
        whole = True
        for session in self.market.calendar.between(start, new_york_date(now)):
            found = sim_rules.triggered(self.market, known.request, known.placed, session, now)
            if found is not None:
                return found
            if whole:
                self._quiet_until[name] = session
            whole = whole and self.market.bar(symbol, session) is not None  # a bar that is missing may come later
        return None

    def _act(self, known: Known, trigger: Trigger) -> None:
        name, request = known.request.client_order_id, known.request
        told = trigger.at + self._delay(name)
        if trigger.price is not None:
            self.books.write_deals(name, [self._deal(request, 1, request.quantity, trigger.price, trigger.at, told)])
        status = OrderStatus.CANCELED if trigger.price is None else OrderStatus.FILLED
        self.books.write_end(name, End(status=status, detail=trigger.detail, told_at=told))

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Decide and write in one transaction over the newest books; what is undone is forgotten."""
        try:
            with self.ledger.exclusive():
                self.books.refresh()
                yield
        except BaseException:
            self.books.forget()
            raise
        self.books.refresh()


def _money(value: float) -> Decimal:
    return to_decimal(round(value, 6))


def _decimal(value: Fraction) -> Decimal:
    return Decimal(value.numerator) / Decimal(value.denominator)


def opening_orders(broker: SimBroker) -> list[BrokerOrder]:
    """Return the orders at the broker that open a position, by their names; tests count them."""
    return [o for o in broker.orders() if "-open-" in o.client_order_id]
