"""The simulated broker: what it fills, refuses, delays, halts and splits."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from kit.bars import CALENDAR, FIRST, panel_of

from kobe.backtest.costs import CostRates, cost_schedule
from kobe.core.clock import SteppingClock, midnight
from kobe.core.types import Effect, OrderRequest, OrderStatus, OrderType, Side
from kobe.execution.brokers import sim, sim_rules
from kobe.execution.brokers.sim import SimBroker
from kobe.execution.brokers.sim_market import SimMarket
from kobe.execution.brokers.terms import SimTerms, luck
from kobe.infra.records.ledger import SqlLedger

DAYS = CALENDAR.sessions[FIRST : FIRST + 8]
COSTS = cost_schedule([CostRates(effective=date(1990, 1, 2), slippage_bps=0, half_spread_bps=((0, 10),),
                                 sec_fee_per_million_usd=20.6)])  # fmt: skip
SURE = SimTerms(no_fill_share=0, partial_share=0, cash_usd=Decimal(1_000_000))
SLOW, HALTED = replace(SURE, delay_s=10.0), replace(SURE, halt_share=1.0)
#         open 100, falls to 98 on day 3 (low 95), gaps down to 90 on day 4, recovers
PRICES = {
    "open": [100, 100, 100, 100, 90, 92, 94, 96],
    "high": [101, 101, 101, 101, 93, 95, 97, 99],
    "low": [99, 99, 99, 95, 89, 91, 93, 95],
    "close": [100, 100, 100, 98, 92, 94, 96, 98],
}  # fmt: skip


def flat(price, days=8):
    return {"open": [price] * days, "high": [price + 1] * days, "low": [price - 1] * days, "close": [price] * days}


def market(splits=None, volume=1e6):
    """Panel of AAA (falls), BBB (flat at 50) and CCC (trades three days only); `splits` maps symbol to (day, ratio)."""
    panel = panel_of({"AAA": PRICES, "BBB": flat(50.0), "CCC": flat(20.0, 3)}, volume=volume)
    factor = panel.raw_factor.copy()
    for symbol, (day, ratio) in (splits or {}).items():
        first = panel[symbol].first_row
        factor[first : first + day] = ratio
    return replace(panel, raw_factor=factor)


@pytest.fixture
def clock():
    return SteppingClock(at(1))


@pytest.fixture
def make(tmp_path, clock):
    """Make a broker over the same books again and again."""

    def made(terms=SURE, panel=None):
        bars = panel or market()
        market_ = SimMarket(bars=lambda: bars, calendar=CALENDAR, clock=clock, costs=COSTS)
        return SimBroker(ledger=SqlLedger(tmp_path / "books.db", clock), market=market_, clock=clock, terms=terms)

    return made


def at(day, minutes=6.0):
    """Minutes after the open of a day of the panel."""
    return CALENDAR.opens_at(DAYS[day]) + timedelta(minutes=minutes)


NUMBERS = iter(range(10**6))


def request(symbol="AAA", quantity=10, kind="ioc", *, sell=False, limit=None, stop=None, name=None):
    kinds = {"ioc": OrderType.IOC_LIMIT, "market": OrderType.MARKET, "stop": OrderType.GTC_STOP,
             "oco": OrderType.GTC_OCO}  # fmt: skip
    if kind == "ioc" and limit is None:
        limit = "1.00" if sell else "999.00"
    return OrderRequest(
        client_order_id=name or f"t-{next(NUMBERS)}", signal_id="s", strategy="x", symbol=symbol, side=Side.LONG,
        effect=Effect.CLOSE if sell else Effect.OPEN, order_type=kinds[kind], quantity=quantity,
        limit_price=None if limit is None else Decimal(limit), stop_price=None if stop is None else Decimal(stop),
        session=DAYS[1], reason="test",
    )  # fmt: skip


def bought(broker, symbol="AAA", quantity=10):
    answer = broker.submit(request(symbol, quantity, "market"))
    assert answer.status is OrderStatus.FILLED
    return answer


def rejected(answer, words):
    assert answer.status is OrderStatus.REJECTED, answer
    assert words in answer.detail
    assert answer.filled == 0
    return True


# -- fills


def test_an_order_within_the_displayed_size_fills_at_the_touch_and_never_better(make):
    broker = make()
    quote = broker.quotes(["AAA"])["AAA"]
    answer = broker.submit(request(quantity=quote.ask_size))
    assert (answer.status, answer.average_price) == (OrderStatus.FILLED, quote.ask)
    assert answer.is_buy
    assert [e.fee_usd for e in answer.executions] == [0]


def test_a_larger_order_walks_one_level_and_the_rest_is_canceled(make):
    broker = make()
    quote = broker.quotes(["AAA"])["AAA"]
    answer = broker.submit(request(quantity=3 * quote.ask_size))
    assert (answer.status, answer.filled) == (OrderStatus.CANCELED, 2 * quote.ask_size)
    first, second = answer.executions
    assert first.price == quote.ask
    assert second.price == quote.ask + (quote.ask - quote.bid) / 2
    assert first.execution_id != second.execution_id


def test_a_limit_at_the_touch_does_not_reach_the_next_level(make):
    broker = make()
    quote = broker.quotes(["AAA"])["AAA"]
    answer = broker.submit(request(quantity=3 * quote.ask_size, limit=str(quote.ask)))
    assert (answer.filled, answer.average_price) == (quote.ask_size, quote.ask)


def test_a_limit_short_of_the_touch_gets_nothing(make):
    answer = make().submit(request(limit="99.00"))
    assert (answer.status, answer.filled, answer.detail) == (OrderStatus.CANCELED, 0, "limit not reached")


def test_a_market_order_fills_whole_and_pays_more_beyond_the_displayed_size(make):
    broker = make()
    quote = broker.quotes(["AAA"])["AAA"]
    answer = broker.submit(request(quantity=quote.ask_size + 50, kind="market"))
    assert answer.status is OrderStatus.FILLED
    assert [e.quantity for e in answer.executions] == [quote.ask_size, 50]
    assert answer.executions[1].price > quote.ask


def test_the_luck_of_a_name_decides_nothing_half_or_all(make):
    terms = SimTerms(no_fill_share=0.3, partial_share=0.3)
    broker = make(terms)
    for n in range(25):
        answer = broker.submit(request("BBB", 6, name=f"n-{n}"))
        chance = luck(f"n-{n}")
        assert answer.filled == (0 if chance < 0.3 else 3 if chance < 0.6 else 6)


def test_a_sale_pays_the_sec_fee_rounded_up_to_the_cent(make):
    broker = make()
    bought(broker)
    (sale,) = broker.submit(request(kind="market", sell=True)).executions
    assert sale.fee_usd == Decimal("0.03")


def test_the_same_name_again_returns_the_order_that_has_it(make):
    broker = make()
    first = broker.submit(request(quantity=3, name="one"))
    assert broker.submit(request(quantity=9, name="one")) == first
    assert len(list(broker.orders())) == 1


# -- refusals


def test_an_unknown_symbol_and_one_that_stopped_trading_are_rejected(make, clock):
    broker = make()
    rejected(broker.submit(request("NOPE")), "40410000")
    clock.set(at(5))
    assert not broker.asset("CCC").tradable
    assert broker.asset("AAA").tradable
    assert broker.asset("NOPE") is None
    rejected(broker.submit(request("CCC")), "42210000: asset CCC is not active")


def test_a_closed_market_takes_no_immediate_order_but_a_stop(make, clock):
    broker = make()
    bought(broker)
    clock.set(CALENDAR.closes_at(DAYS[1]) + timedelta(hours=1))
    rejected(broker.submit(request()), "no market")
    assert broker.submit(request(kind="stop", sell=True, stop="94.00")).status is OrderStatus.ACCEPTED


def test_a_price_between_two_ticks_is_rejected(make):
    broker = make()
    rejected(broker.submit(request(limit="100.105")), "42210000: invalid limit_price 100.105. sub-penny")
    bought(broker)
    rejected(broker.submit(request(kind="stop", sell=True, stop="94.005")), "invalid stop_price")


def test_more_than_the_cash_can_buy_is_rejected(make):
    broker = make(replace(SURE, cash_usd=Decimal(1000)))
    rejected(broker.submit(request(quantity=10, limit="100.11")), "40310000: insufficient buying power")
    assert broker.submit(request(quantity=9, limit="100.11")).status is OrderStatus.FILLED


def test_nothing_is_sold_that_is_not_held(make):
    broker = make()
    bought(broker, quantity=5)
    rejected(broker.submit(request(quantity=6, kind="market", sell=True)), "40310000: insufficient qty")
    rejected(broker.submit(request("BBB", 1, sell=True)), "available: 0")


def test_shares_that_a_resting_stop_holds_cannot_be_sold_before_it_is_canceled(make):
    broker = make()
    bought(broker)
    broker.submit(request(quantity=8, kind="stop", sell=True, stop="94.00", name="guard"))
    rejected(broker.submit(request(quantity=3, sell=True)), "available: 2), held_for_orders: 8")
    broker.cancel("guard")
    assert broker.submit(request(quantity=10, sell=True)).status is OrderStatus.FILLED


def test_buying_against_ones_own_resting_stop_is_a_wash_trade_and_against_an_oco_is_not(make):
    broker = make()
    bought(broker)
    broker.submit(request(quantity=5, kind="stop", sell=True, stop="94.00", name="guard"))
    rejected(broker.submit(request()), "potential wash trade")
    assert broker.submit(request("BBB")).status is OrderStatus.FILLED
    broker.cancel("guard")
    broker.submit(request(quantity=5, kind="oco", sell=True, stop="94.00", limit="120.00"))
    assert broker.submit(request()).status is OrderStatus.FILLED


def test_a_stop_on_the_wrong_side_of_the_market_is_rejected(make):
    broker = make()
    bought(broker)
    last = broker.quotes(["AAA"])["AAA"].last
    rejected(broker.submit(request(kind="stop", sell=True, stop=str(last))), "42210000: stop price must be less")
    assert broker.submit(request(kind="stop", sell=True, stop=str(last - 1))).status is OrderStatus.ACCEPTED


def test_an_oco_whose_target_is_not_beyond_its_stop_is_rejected(make):
    broker = make()
    bought(broker)
    rejected(broker.submit(request(kind="oco", sell=True, stop="94.00", limit="94.00")), "take_profit.limit_price")


def test_a_share_of_orders_is_rejected_by_chance_and_the_names_are_burnt(make):
    broker = make(replace(SURE, reject_share=0.5))
    answers = {f"r-{n}": broker.submit(request("BBB", 1, name=f"r-{n}")) for n in range(40)}
    refused = {n for n, a in answers.items() if a.status is OrderStatus.REJECTED}
    assert refused == {n for n in answers if luck(f"reject:{n}") < 0.5}
    assert {answers[n].detail[:8] for n in refused} == {"40310000"}
    assert {answers[n].detail for n in refused} == {sim_rules.NO_MONEY, sim_rules.CROSSED}
    assert broker.submit(request("BBB", 1, name=min(refused))) == answers[min(refused)]


# -- resting orders


def test_a_stop_fills_at_its_price_inside_the_bar_and_at_the_open_when_the_bar_gaps_through(make, clock):
    broker = make()
    bought(broker, quantity=20)
    broker.submit(request(kind="stop", sell=True, stop="96.00", name="inside"))
    broker.submit(request(kind="stop", sell=True, stop="94.50", name="gap"))
    clock.set(at(3))
    assert broker.lookup("inside").status is OrderStatus.ACCEPTED
    clock.set(CALENDAR.closes_at(DAYS[3]))
    assert (broker.lookup("inside").average_price, broker.lookup("inside").detail) == (96, "stop")
    assert broker.lookup("gap").status is OrderStatus.ACCEPTED
    clock.set(at(4, 0))
    told = broker.lookup("gap")
    assert (told.average_price, told.at) == (90, at(4, 0))
    assert broker.account().positions == {}


def test_an_oco_fills_at_its_target_when_the_market_trades_through_it(make, clock):
    broker = make()
    bought(broker, "BBB")
    broker.submit(request("BBB", kind="oco", sell=True, stop="40.00", limit="51.00", name="touched"))
    clock.set(at(3))
    assert broker.lookup("touched").status is OrderStatus.ACCEPTED
    broker.replace("touched", request("BBB", kind="oco", sell=True, stop="40.00", limit="50.99", name="through"))
    clock.set(at(4))
    assert (broker.lookup("through").average_price, broker.lookup("through").detail) == (Decimal("50.99"), "target")


def test_an_order_placed_minutes_before_the_close_knows_nothing_of_the_day_before_it(make, clock):
    broker = make()
    clock.set(CALENDAR.closes_at(DAYS[3]) - timedelta(minutes=2))
    bought(broker)
    broker.submit(request(kind="stop", sell=True, stop="95.50", name="late"))
    clock.set(CALENDAR.closes_at(DAYS[3]))
    assert broker.lookup("late").status is OrderStatus.ACCEPTED
    clock.set(at(4))
    assert broker.lookup("late").average_price == 90


def test_a_stop_placed_at_noon_does_not_see_the_morning(make, clock):
    for terms in (SURE, HALTED):
        broker = make(terms)
        resumed = halt_of(broker, 4)[1] if terms is HALTED else at(4, 170)
        clock.set(max(clock.now(), resumed + timedelta(minutes=10)))
        bought(broker)
        last = broker.quotes(["AAA"])["AAA"].last
        name = f"noon-{terms.halt_share}"
        broker.submit(request(kind="stop", sell=True, stop=str(last - Decimal("0.01")), name=name))
        clock.advance(seconds=1)
        assert broker.lookup(name).status is OrderStatus.ACCEPTED
        broker.cancel(name)


def test_a_bar_that_comes_late_still_works_on_the_stop_it_hit(make, clock):
    whole = market()
    bars = [whole]
    broker = make()
    broker.market = replace(broker.market, bars=lambda: bars[0])
    bought(broker)
    broker.submit(request(kind="stop", sell=True, stop="96.00", name="guard"))
    bars[0] = whole.until(FIRST + 2)
    for day in (3, 4, 5):
        clock.set(at(day, 390))
        assert broker.lookup("guard").status is OrderStatus.ACCEPTED
    bars[0] = whole
    assert (broker.lookup("guard").average_price, broker.lookup("guard").at.date()) == (96, DAYS[3])


def test_a_cancel_ends_a_resting_order_and_leaves_a_finished_one_alone(make):
    broker = make()
    done = bought(broker)
    broker.submit(request(kind="stop", sell=True, stop="94.00", name="guard"))
    assert broker.cancel("guard").status is OrderStatus.CANCELED
    assert broker.cancel("guard").status is OrderStatus.CANCELED
    assert broker.cancel(done.client_order_id) == done
    assert broker.cancel("never seen") is None
    assert broker.lookup("never seen") is None


def test_a_replacement_takes_the_place_and_the_shares_of_the_old_order(make):
    broker = make()
    bought(broker)
    broker.submit(request(kind="stop", sell=True, stop="94.00", name="old"))
    new = broker.replace("old", request(kind="stop", sell=True, stop="95.00", name="new"))
    assert (new.client_order_id, new.status) == ("new", OrderStatus.ACCEPTED)
    assert broker.lookup("old").status is OrderStatus.REPLACED
    assert broker.replace("old", request(kind="stop", sell=True, stop="95.00", name="new")) == new


def test_a_replacement_that_cannot_be_leaves_the_old_order_in_place(make):
    broker = make()
    bought(broker)
    broker.submit(request(kind="stop", sell=True, stop="94.00", name="old"))
    too_many = request(kind="stop", sell=True, stop="95.00", quantity=11)
    rejected(broker.replace("old", too_many), "insufficient qty")
    rejected(broker.replace("old", request(sell=True)), "42210000")
    rejected(broker.replace("nobody", request(kind="stop", sell=True, stop="95.00")), "40410000")
    assert broker.lookup("old").status is OrderStatus.ACCEPTED
    broker.cancel("old")
    rejected(broker.replace("old", request(kind="stop", sell=True, stop="95.00")), "not open")


# -- delays


def test_what_was_decided_is_told_only_after_its_delay_and_the_account_shows_it_then(make, clock):
    broker = make(SLOW)
    answer = broker.submit(request(name="slow"))
    assert (answer.status, answer.filled) == (OrderStatus.ACCEPTED, 0)
    clock.advance(seconds=4.9)
    assert broker.lookup("slow").status is OrderStatus.ACCEPTED
    assert broker.account().positions == {}
    assert broker.account().buying_power_usd < broker.account().cash_usd, "what is open is reserved"
    clock.advance(seconds=10.1)
    assert broker.lookup("slow").status is OrderStatus.FILLED
    assert broker.account().positions == {"AAA": 10}
    assert broker.account().buying_power_usd == broker.account().cash_usd


def test_two_orders_may_be_told_of_in_the_other_order(make, clock):
    names = sorted((f"d-{n}" for n in range(20)), key=lambda n: luck(f"delay:{n}:1"))
    broker = make(SLOW)
    broker.submit(request("BBB", 1, name=names[-1]))
    broker.submit(request("BBB", 1, name=names[0]))
    clock.advance(seconds=10)
    assert broker.lookup(names[-1]).status is OrderStatus.ACCEPTED
    assert broker.lookup(names[0]).status is OrderStatus.FILLED


def test_the_first_of_two_executions_is_told_as_a_part(make, clock):
    broker = make(SLOW)
    name = next(f"p-{n}" for n in range(50) if luck(f"delay:p-{n}:1") + 0.3 < luck(f"delay:p-{n}:2"))
    size = broker.quotes(["AAA"])["AAA"].ask_size
    broker.submit(request(quantity=size + 5, name=name))
    clock.advance(seconds=10 * (0.5 + luck(f"delay:{name}:1")))
    assert (broker.lookup(name).status, broker.lookup(name).filled) == (OrderStatus.PARTIAL, size)
    clock.advance(seconds=15)
    assert (broker.lookup(name).status, broker.lookup(name).filled) == (OrderStatus.FILLED, size + 5)


def test_an_order_is_never_told_as_filled_before_all_its_executions_are(make, clock):
    broker = make(SLOW)
    name = next(f"p-{n}" for n in range(50) if luck(f"delay:p-{n}:2") + 0.3 < luck(f"delay:p-{n}:1"))
    size = broker.quotes(["AAA"])["AAA"].ask_size
    broker.submit(request(quantity=size + 5, name=name))
    clock.advance(seconds=10 * (0.6 + luck(f"delay:{name}:2")))
    assert (broker.lookup(name).status, broker.lookup(name).filled) == (OrderStatus.ACCEPTED, 0)
    clock.advance(seconds=15)
    assert (broker.lookup(name).status, broker.lookup(name).filled) == (OrderStatus.FILLED, size + 5)


def test_while_a_buy_is_not_told_as_ended_a_stop_is_a_wash_trade_and_an_oco_is_not(make, clock):
    broker = make(SLOW)
    broker.submit(request())
    clock.advance(seconds=15)
    broker.submit(request())
    rejected(broker.submit(request(quantity=4, kind="stop", sell=True, stop="94.00")), "wash trade")
    guard = request(quantity=4, kind="oco", sell=True, stop="94.00", limit="120.00")
    assert broker.submit(guard).status is OrderStatus.ACCEPTED


def test_a_cancel_loses_against_a_fill_that_was_decided_before_it(make, clock):
    broker = make(SLOW)
    broker.submit(request(name="race"))
    assert broker.cancel("race").status is OrderStatus.ACCEPTED
    clock.advance(seconds=15)
    assert broker.lookup("race").status is OrderStatus.FILLED


def test_a_canceled_stop_is_told_as_canceled_later_and_never_fills(make, clock):
    broker = make(SLOW)
    broker.submit(request(kind="market"))
    clock.set(at(3, 60))
    broker.submit(request(kind="stop", sell=True, stop="96.00", name="guard"))
    assert broker.cancel("guard").status is OrderStatus.ACCEPTED
    rejected(broker.submit(request(kind="market", sell=True)), "insufficient qty")
    clock.set(at(4))
    assert broker.lookup("guard").status is OrderStatus.CANCELED
    assert broker.submit(request(kind="market", sell=True)).status is OrderStatus.ACCEPTED


def test_a_restart_between_the_decision_and_the_telling_changes_nothing(make, clock):
    make(SLOW).submit(request(name="slow"))
    again = make(replace(SLOW, no_fill_share=1.0))
    assert again.lookup("slow").status is OrderStatus.ACCEPTED
    clock.advance(seconds=15)
    assert again.lookup("slow").status is OrderStatus.FILLED
    assert list(again.orders()) == list(make(SLOW).orders())


def test_a_refusal_is_the_answer_itself_and_never_delayed(make):
    rejected(make(SLOW).submit(request(quantity=10**6)), "insufficient buying power")


# -- halts


def halt_of(broker, day, symbol="AAA"):
    start, end = broker.market.halt(symbol, DAYS[day])
    assert CALENDAR.opens_at(DAYS[day]) <= start < end < CALENDAR.closes_at(DAYS[day])
    return start, end


def test_during_a_halt_the_quote_stands_still_and_nothing_fills(make, clock):
    broker = make(HALTED)
    start, end = halt_of(broker, 3)
    clock.set(start)
    frozen = broker.quotes(["AAA"])["AAA"]
    clock.set(start + (end - start) / 2)
    quote = broker.quotes(["AAA"])["AAA"]
    assert quote.halted
    assert (quote.bid, quote.ask) == (frozen.bid, frozen.ask)
    assert broker.submit(request()).status is OrderStatus.CANCELED
    rejected(broker.submit(request(kind="market")), "halted")
    clock.set(end)
    assert not broker.quotes(["AAA"])["AAA"].halted
    assert broker.submit(request()).status is OrderStatus.FILLED


def test_a_stop_run_over_in_a_halt_fills_at_the_first_price_after_it(make, clock):
    broker = make(HALTED)
    start, end = halt_of(broker, 3)
    clock.set(at(2, 386))
    bought(broker)
    seen = broker.market.bar("AAA", DAYS[3])
    before, after = broker.market.price(seen, start), broker.market.price(seen, end)
    assert after < before, "the line falls through the halt"
    stop = Decimal(str(round((before + after) / 2, 2)))
    broker.submit(request(kind="stop", sell=True, stop=str(stop), name="guard"))
    clock.set(end - timedelta(seconds=1))
    assert broker.lookup("guard").status is OrderStatus.ACCEPTED
    clock.set(end)
    told = broker.lookup("guard")
    assert (told.status, told.at) == (OrderStatus.FILLED, end)
    assert float(told.average_price) == pytest.approx(after, abs=0.01)
    assert told.average_price <= Decimal(str(after))
    assert told.average_price < stop


def test_a_stop_in_a_symbol_that_opens_halted_waits_for_its_first_price(make, clock):
    name = next(f"A{n}" for n in range(99) if luck(f"halt:A{n}:{DAYS[4].isoformat()}:start") < 0.2)
    broker = make(HALTED, panel_of({name: PRICES}))
    clock.set(at(3, 386))
    bought(broker, name)
    broker.submit(request(name, kind="stop", sell=True, stop="94.50", name="guard"))
    start, end = halt_of(broker, 4, name)
    assert start == CALENDAR.opens_at(DAYS[4])
    clock.set(end - timedelta(seconds=1))
    assert broker.lookup("guard").status is OrderStatus.ACCEPTED
    clock.set(end)
    told = broker.lookup("guard")
    assert (told.at, told.status) == (end, OrderStatus.FILLED)
    assert 90 <= told.average_price < 92


def test_a_share_of_symbols_and_sessions_is_halted_always_the_same_ones(make):
    market_ = replace(make().market, halt_share=0.25)
    halts = [market_.halt(f"S{n}", DAYS[1]) for n in range(400)]
    assert halts == [market_.halt(f"S{n}", DAYS[1]) for n in range(400)]
    assert 60 < sum(h is not None for h in halts) < 140
    assert make().market.halt("AAA", DAYS[1]) is None


# -- splits

TWO_FOR_ONE = market({"BBB": (3, 2.0)})


def test_a_split_multiplies_the_shares_in_the_night_and_the_account_goes_on(make, clock):
    broker = make(panel=TWO_FOR_ONE)
    answer = bought(broker, "BBB", 7)
    clock.set(midnight(DAYS[3]) - timedelta(seconds=1))
    before = broker.account()
    assert before.positions == {"BBB": 7}
    clock.set(midnight(DAYS[3]))
    after = broker.account()
    assert after.positions == {"BBB": 14}
    assert after.equity_usd == before.equity_usd == after.last_equity_usd
    clock.set(at(3))
    assert broker.account().positions == {"BBB": 14}
    assert broker.account().equity_usd == pytest.approx(before.equity_usd, abs=Decimal(5))
    assert broker.lookup(answer.client_order_id) == answer, "what was told of an order stays as it was"
    assert broker.cash_moves(DAYS[0]) == ()
    assert broker.submit(request("BBB", 14, "market", sell=True)).status is OrderStatus.FILLED


def test_a_fraction_of_a_share_is_paid_in_cash_at_the_close_before(make, clock):
    panel = market({"BBB": (3, float(Fraction(1, 3)))})
    broker = make(panel=panel)
    bought(broker, "BBB", 11)
    clock.set(at(3))
    account = broker.account()
    (move,) = broker.cash_moves(DAYS[3])
    assert account.positions == {"BBB": 3}
    assert (move.kind, move.day, move.usd) == ("other", DAYS[3], Decimal("33.33"))
    assert broker.cash_moves(DAYS[4]) == ()
    assert make(panel=panel).account() == account


def test_whole_shares_of_a_reverse_split_are_not_lost_to_rounding(make, clock):
    broker = make(panel=market({"BBB": (3, float(Fraction(1, 3)))}))
    bought(broker, "BBB", 99)
    clock.set(at(3))
    assert broker.account().positions == {"BBB": 33}
    assert broker.cash_moves(DAYS[0]) == ()


def test_a_split_cancels_what_rests_from_before_and_not_what_was_placed_since(make, clock):
    broker = make(panel=TWO_FOR_ONE)
    bought(broker, "BBB", 5)
    broker.submit(request("BBB", 5, "stop", sell=True, stop="80.00", name="old"))
    clock.set(midnight(DAYS[3]) + timedelta(hours=8))
    assert (broker.lookup("old").status, broker.lookup("old").detail) == (OrderStatus.CANCELED, "canceled: split")
    broker.submit(request("BBB", 10, "stop", sell=True, stop="40.00", name="new"))
    clock.set(at(6))
    assert broker.lookup("new").status is OrderStatus.ACCEPTED


def test_a_split_is_told_for_its_session_and_symbol_only(make):
    broker = make(panel=TWO_FOR_ONE)
    (change,) = broker.corporate_changes(["AAA", "BBB", "NOPE"], DAYS[3])
    assert (change.symbol, change.kind, change.effective, change.ratio) == ("BBB", "split", DAYS[3], 2)
    assert broker.corporate_changes(["AAA", "BBB"], DAYS[2]) == ()


def test_a_split_of_what_was_sold_before_it_changes_nothing(make, clock):
    broker = make(panel=TWO_FOR_ONE)
    bought(broker, "BBB", 5)
    broker.submit(request("BBB", 5, "market", sell=True))
    clock.set(at(4))
    bought(broker, "BBB", 3)
    assert broker.account().positions == {"BBB": 3}
    assert broker.books.splits == {}


def test_a_stop_that_sold_the_day_before_a_split_is_settled_before_it_even_when_nobody_looked(make, clock):
    bars = market({"AAA": (4, float(Fraction(1, 3)))})
    broker = make(panel=bars)
    bought(broker, quantity=11)
    assert broker.submit(request(quantity=11, kind="stop", sell=True, stop="32.00")).status is OrderStatus.ACCEPTED
    clock.set(at(6))
    assert broker.account().positions == {}
    assert broker.cash_moves(DAYS[0]) == ()


def test_the_dividends_in_total_return_factors_are_no_splits(make):
    panel = market({"BBB": (3, 1.02), "AAA": (3, 2.0)})
    broker = make(panel=replace(panel, adjustment="total-return"))
    assert [c.symbol for c in broker.corporate_changes(["AAA", "BBB"], DAYS[3])] == ["AAA"]
    assert len(make(panel=panel).corporate_changes(["AAA", "BBB"], DAYS[3])) == 2


# -- account, calendar, books


def test_the_account_tells_last_closes_equity_maintenance_and_no_shorts(make, clock):
    broker = make()
    bought(broker)
    spent = SURE.cash_usd - broker.account().cash_usd
    clock.set(at(4))
    account = broker.account()
    assert account.last_equity_usd == SURE.cash_usd - spent + 98 * 10
    quote = broker.quotes(["AAA"])["AAA"]
    worth = (quote.bid + quote.ask) / 2 * 10
    assert account.equity_usd == account.cash_usd + worth
    assert account.maintenance_usd == (worth * Decimal("0.30")).quantize(Decimal("0.01"))
    assert (account.account_id, account.may_short, account.buying_power_usd) == ("sim", False, account.cash_usd)


def test_the_calendar_and_clock_of_the_broker_are_ours(make, clock):
    broker = make()
    assert broker.now() == clock.now()
    assert broker.sessions(DAYS[0], DAYS[1]) == {
        d: (CALENDAR.opens_at(d), CALENDAR.closes_at(d)) for d in DAYS[:2]
    }  # fmt: skip


def test_orders_since_a_day_are_those_placed_from_it_on_and_those_still_open(make, clock):
    broker = make()
    bought(broker, quantity=20)
    broker.submit(request(kind="stop", sell=True, stop="80.00", name="rests"))
    clock.set(at(3))
    broker.submit(request("BBB", name="today"))
    assert [o.client_order_id for o in broker.orders(DAYS[2])] == ["rests", "today"]
    assert len(list(broker.orders())) == 3


def test_opening_orders_are_told_by_their_names(make):
    broker = make()
    broker.submit(request(name="kobe-x-AAA-2015-01-05-long-open-1"))
    broker.submit(request(name="kobe-x-AAA-2015-01-05-long-close-1", sell=True, kind="market"))
    assert [o.filled for o in sim.opening_orders(broker)] == [10]


def test_a_decision_that_could_not_be_written_leaves_no_trace(make):
    broker = make()
    broker.submit(request("BBB", 1, name="before"))
    cash = broker.account().cash_usd

    class Full(SqlLedger):
        def append(self, stream, entity, kind, payload, *, key):
            if kind == "status":
                raise OSError("disk full")
            return super().append(stream, entity, kind, payload, key=key)

    broker.books.ledger.__class__ = Full
    with pytest.raises(OSError, match="disk full"):
        broker.submit(request(name="lost"))
    broker.books.ledger.__class__ = SqlLedger
    assert broker.lookup("lost") is None
    assert broker.lookup("before").filled == 1
    assert broker.account().cash_usd == cash
    assert broker.submit(request(name="lost")).status is OrderStatus.FILLED


def test_two_processes_over_the_same_books_see_the_same_orders(make, clock):
    one, two = make(), make()
    bought(one)
    assert two.account() == one.account()
    two.submit(request(kind="stop", sell=True, stop="96.00", name="guard"))
    rejected(one.submit(request(kind="market", sell=True)), "insufficient qty")
    clock.set(at(4))
    assert one.lookup("guard") == two.lookup("guard")
    assert one.lookup("guard").filled == 10


def test_what_was_read_of_the_books_is_not_read_again(make):
    broker = make()
    for n in range(5):
        broker.submit(request("BBB", 1, name=f"o-{n}"))
    asked = []
    plain = broker.books.ledger.events
    broker.books.ledger.events = lambda stream, **kw: asked.append(kw["after"]) or plain(stream, **kw)
    for n in range(5):
        broker.lookup(f"o-{n}")
    list(broker.orders())
    assert len(set(asked)) == 1
    assert asked[0] > 0


def test_books_from_before_there_were_delays_are_still_read(make, clock):
    broker = make()
    ledger = broker.ledger
    from kobe.execution import order

    old = request(quantity=2, name="old")
    fill = {"fill_id": "old:1", "client_order_id": "old", "symbol": "AAA", "side": "long", "effect": "open",
            "quantity": 2, "price": "100.1", "fee_usd": "0", "at": at(1).isoformat()}  # fmt: skip
    ledger.append("broker", "old", "accepted", order.request_json(old), key="old:accepted")
    ledger.append("broker", "old", "fill", fill, key="old:fill:old:1")
    ledger.append("broker", "old", "status", {"status": "filled", "detail": ""}, key="old:status:filled")
    guard = request(quantity=2, kind="stop", sell=True, stop="80.00", name="guard")
    ledger.append("broker", "guard", "accepted", order.request_json(guard), key="guard:accepted")
    ledger.append("broker", "guard", "status", {"status": "accepted", "detail": ""}, key="guard:status:accepted")
    assert broker.lookup("old").average_price == Decimal("100.1")
    assert broker.lookup("guard").status is OrderStatus.ACCEPTED
    assert broker.account().positions == {"AAA": 2}


def test_instants_are_aware_and_in_utc(make):
    answer = make().submit(request())
    assert answer.at.tzinfo is UTC
    assert isinstance(answer.executions[0].at, datetime)
    assert np.isfinite(float(answer.average_price))
