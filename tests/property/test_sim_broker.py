"""Whatever is asked of the simulated broker, in whatever order: its money, its shares and its word stay true."""

import itertools
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from kit.bars import CALENDAR, FIRST, panel_of, random_walk

from kobe.backtest.costs import CostRates, cost_schedule
from kobe.core.clock import SteppingClock, to_ns
from kobe.core.ports import Event
from kobe.core.types import Effect, OrderRequest, OrderStatus, OrderType, Side
from kobe.execution.brokers.sim import SimBroker
from kobe.execution.brokers.sim_market import SimMarket
from kobe.execution.brokers.terms import SimTerms
from kobe.execution.rounding import ceil_tick, floor_tick

COSTS = cost_schedule([CostRates(effective=date(1990, 1, 2), slippage_bps=0, half_spread_bps=((0, 10),),
                                 sec_fee_per_million_usd=20.6)])  # fmt: skip
DAYS = 30
SYMBOLS = ("AAA", "BBB")


def panel():
    rng = np.random.default_rng(5)
    made = panel_of({s: random_walk(rng, DAYS, start=40, vol=0.03) for s in SYMBOLS}, volume=2e5)
    factor = made.raw_factor.copy()
    factor[:12], factor[DAYS : DAYS + 20] = 2.0, 1 / 3
    return replace(made, raw_factor=factor)


PANEL = panel()


class Pages:
    """A ledger in memory that undoes what a failed transaction wrote."""

    def __init__(self, clock):
        self.clock, self.rows, self.keys = clock, [], set()

    def append(self, stream, entity, kind, payload, *, key):
        assert key not in self.keys, f"written twice: {key}"
        self.keys.add(key)
        at = to_ns(self.clock.now())
        self.rows.append(Event(sequence=len(self.rows) + 1, stream=stream, entity=entity, kind=kind, at_ns=at,
                               payload=payload))  # fmt: skip
        return True

    def events(self, stream, *, entity=None, after=0):
        return self.rows[after:]

    @contextmanager
    def exclusive(self):
        yield


TERMS = st.builds(
    SimTerms,
    cash_usd=st.sampled_from([Decimal(500), Decimal(20_000)]),
    no_fill_share=st.sampled_from([0.0, 0.2]),
    partial_share=st.sampled_from([0.0, 0.3]),
    reject_share=st.sampled_from([0.0, 0.2]),
    delay_s=st.sampled_from([0.0, 8.0, 300.0]),
    halt_share=st.sampled_from([0.0, 0.5]),
)
ACTS = st.lists(
    st.tuples(
        st.sampled_from(["buy", "market", "sell", "dump", "stop", "oco", "cancel", "replace", "again"]),
        st.sampled_from(SYMBOLS),
        st.integers(1, 150),
        st.sampled_from([0, 3, 40, 3_600, 20_000, 90_000, 300_000]),  # seconds that pass
    ),
    min_size=1,
    max_size=25,
)


class World:
    """A broker, its clock and everything that was ever asked of it."""

    def __init__(self, terms):
        self.clock = SteppingClock(CALENDAR.opens_at(CALENDAR.sessions[FIRST + 3]) + timedelta(minutes=6))
        self.pages, self.terms, self.asked, self.numbers = Pages(self.clock), terms, {}, itertools.count()
        self.broker = self.fresh()

    def fresh(self):
        market = SimMarket(bars=lambda: PANEL, calendar=CALENDAR, clock=self.clock, costs=COSTS)
        return SimBroker(ledger=self.pages, market=market, clock=self.clock, terms=self.terms)

    def request(self, act, symbol, quantity):
        sell = act not in ("buy", "market")
        mark = self.broker._mark(symbol)
        kind = {"buy": OrderType.IOC_LIMIT, "sell": OrderType.IOC_LIMIT, "stop": OrderType.GTC_STOP,
                "replace": OrderType.GTC_STOP, "oco": OrderType.GTC_OCO}.get(act, OrderType.MARKET)  # fmt: skip
        limit = {"buy": ceil_tick(mark * Decimal("1.005")), "sell": floor_tick(mark * Decimal("0.995")),
                 "oco": ceil_tick(mark * Decimal("1.04"))}.get(act)  # fmt: skip
        stops = kind in (OrderType.GTC_STOP, OrderType.GTC_OCO)
        made = OrderRequest(
            client_order_id=f"w-{next(self.numbers)}", signal_id="s", strategy="x", symbol=symbol, side=Side.LONG,
            effect=Effect.CLOSE if sell else Effect.OPEN, order_type=kind, quantity=quantity, limit_price=limit,
            stop_price=floor_tick(mark * Decimal("0.97")) if stops else None, session=date(2015, 1, 5), reason="",
        )  # fmt: skip
        self.asked[made.client_order_id] = made
        return made

    def act(self, act, symbol, quantity, seconds):
        """Do one thing and let time pass; sales are for what is held at most as often as for more."""
        held = self.broker.account().positions.get(symbol, 0)
        if act in ("sell", "dump", "stop", "oco", "replace") and held and quantity % 3:
            quantity = min(quantity, held)
        mine = [n for n, r in self.asked.items() if r.symbol == symbol]
        if act == "cancel":
            if mine:
                self.broker.cancel(mine[quantity % len(mine)])
        elif act == "again":
            if mine:
                self.broker.submit(self.asked[mine[quantity % len(mine)]])
        elif act == "replace" and mine:
            self.broker.replace(mine[quantity % len(mine)], self.request(act, symbol, quantity))
        else:
            self.broker.submit(self.request(act, symbol, quantity))
        self.clock.advance(seconds=seconds)


def cash_by_hand(world):
    """Return cash and shares from nothing but executions, cash moves and the splits of the panel."""
    cash, moves = world.terms.cash_usd, []
    for order in world.broker.orders():
        sign = 1 if order.is_buy else -1
        for e in order.executions:
            cash -= sign * e.price * e.quantity + e.fee_usd
            moves.append((e.at, order.symbol, sign * e.quantity))
    shares = dict.fromkeys(SYMBOLS, 0)
    for day in CALENDAR.sessions[FIRST : FIRST + DAYS]:
        if CALENDAR.opens_at(day) - timedelta(hours=9, minutes=30) > world.clock.now():
            break
        for change in world.broker.corporate_changes(SYMBOLS, day):
            exact = Decimal(shares[change.symbol]) * change.ratio
            shares[change.symbol] = int(exact + Decimal("0.000001"))
        for at, symbol, n in moves:
            if CALENDAR.opens_at(day) <= at <= CALENDAR.closes_at(day):
                shares[symbol] += n
    cash += sum((m.usd for m in world.broker.cash_moves(CALENDAR.sessions[FIRST])), Decimal(0))
    return cash, {s: n for s, n in shares.items() if n}


@settings(max_examples=120, deadline=None)
@given(terms=TERMS, acts=ACTS)
def test_cash_and_shares_are_those_of_the_executions_told_and_no_share_is_ever_owed(terms, acts):
    world = World(terms)
    for act in acts:
        world.act(*act)
        account = world.broker.account()
        assert (account.cash_usd, account.positions) == cash_by_hand(world)
        assert all(n > 0 for n in account.positions.values())
        assert account.buying_power_usd <= account.cash_usd


@settings(max_examples=120, deadline=None)
@given(terms=TERMS, acts=ACTS)
def test_what_was_told_of_an_order_is_never_taken_back(terms, acts):
    world, before = World(terms), {}
    for act in acts:
        world.act(*act)
        told = {o.client_order_id: o for o in world.broker.orders()}
        assert before.keys() <= told.keys()
        for name, now in told.items():
            asked = world.asked[name]
            assert (now.symbol, now.quantity, now.is_buy) == (asked.symbol, asked.quantity, asked.is_buy)
            assert 0 <= now.filled == sum(e.quantity for e in now.executions) <= now.quantity
            assert (now.status is OrderStatus.FILLED) == (now.filled == now.quantity)
            assert len({e.execution_id for e in now.executions}) == len(now.executions)
            was = before.get(name)
            if was is not None:
                assert now.executions[: len(was.executions)] == was.executions
                assert now == was or not was.status.is_final
        before = told


@settings(max_examples=100, deadline=None)
@given(terms=TERMS, acts=ACTS)
def test_a_restart_at_any_moment_tells_the_same(terms, acts):
    lasting, restarted = World(terms), World(terms)
    for act in acts:
        lasting.act(*act)
        restarted.act(*act)
        restarted.broker = restarted.fresh()
        assert list(restarted.broker.orders()) == list(lasting.broker.orders())
        assert restarted.broker.account() == lasting.broker.account()
        assert restarted.broker.cash_moves(date(2015, 1, 1)) == lasting.broker.cash_moves(date(2015, 1, 1))
    assert [(r.kind, r.payload) for r in restarted.pages.rows] == [(r.kind, r.payload) for r in lasting.pages.rows]


@settings(max_examples=60, deadline=None)
@given(terms=TERMS, acts=ACTS)
def test_looking_seldom_or_often_does_not_change_what_happened(terms, acts):
    """Only the instants at which kobe asks differ: here nobody looks before the last day."""
    orders = [a for a in acts if a[0] in ("market", "stop", "oco")]
    often, seldom = World(terms), World(terms)
    for world in (often, seldom):
        for number, (act, symbol, quantity, _) in enumerate(orders):
            if world.broker.account().positions.get(symbol, 0) or act == "market":
                world.broker.submit(world.request(act, symbol, 1 + quantity % 9))
            world.clock.advance(seconds=61 + number)
    for _ in range(24 * 25):
        often.clock.advance(seconds=3600)
        list(often.broker.orders())
    seldom.clock.set(often.clock.now())
    assert list(seldom.broker.orders()) == list(often.broker.orders())
    assert seldom.broker.account() == often.broker.account()


@settings(max_examples=60, deadline=None)
@given(terms=TERMS, acts=ACTS)
def test_a_delay_moves_when_a_fill_is_told_and_neither_loses_nor_doubles_one(terms, acts):
    """Buys of a share or two in one minute: the same executions come in the end, told at once or late."""
    ends = []
    for delay in (0.0, 60.0):
        world = World(replace(terms, delay_s=delay, cash_usd=Decimal(100_000)))
        for _, symbol, quantity, _ in acts:
            world.broker.submit(world.request("buy", symbol, 1 + quantity % 2))
        world.clock.advance(seconds=90)
        ends.append([(o.client_order_id, o.status, o.executions, o.detail) for o in world.broker.orders()])
    assert ends[0] == ends[1]
