"""Every gate of the table: both sides of its bounds, unknown facts refuse, exits are not held back by budgets."""

from dataclasses import fields, replace
from datetime import timedelta
from math import inf, nan

import pytest
from kit.orders import ASSET, CLOSE, FACTS, LIMITS, NOW, OPEN, SHORT, SHORTS, STOP, D, leaving, order, quote

from kobe.app.settings import Settings
from kobe.core.types import ClearedOrder, Effect, Mode, OrderType, Outcome
from kobe.risk.facts import GateFacts, Limits
from kobe.risk.gates import GATES
from kobe.risk.gates.codes import CODES, HOLDS_EXITS, SETTINGS
from kobe.risk.review import clear, refusals, review
from kobe.risk.sizing import SizeInputs, size

SEEN: set[str] = set()


def code(gate, request=None, limits=LIMITS, **changed) -> str:
    verdict = GATES[gate](request or order(), replace(FACTS, **changed), limits)
    assert verdict.gate == gate
    assert (verdict.code == "ok") == (verdict.outcome is Outcome.PASS)
    assert verdict.observed != ""
    return verdict.code


def changed_limits(**changed) -> Limits:
    return replace(LIMITS, **changed)


def s(seconds):
    return timedelta(seconds=seconds)


BIG = order(quantity=20, limit="50.00")  # 1,000 dollars
LAST = {"quote": quote(last="10")}
BOUNDARIES = [
    ("kill_switch", {"kill_reason": None}, {"kill_reason": "operator"}, "kill_switch"),
    ("kill_switch", {"kill_reason": None}, {"kill_reason": ""}, "kill_switch"),
    ("mode", {"mode": Mode.REDUCED}, {"mode": Mode.REDUCE_ONLY}, "mode"),
    ("keys", {"environment": "sim"}, {"environment": "demo"}, "environment_unknown"),
    ("keys", {"keys_fault": ""}, {"keys_fault": "paper keys at the live address"}, "keys_mismatch"),
    ("keys", {"environment": "live", "armed": True}, {"environment": "live"}, "live_not_armed"),
    ("clock", {"clock_skew_s": 2.0}, {"clock_skew_s": 2.001}, "clock_skew"),
    ("clock", {"clock_skew_s": -2.0}, {"clock_skew_s": -2.001}, "clock_skew"),
    ("hours", {"now": OPEN + s(300)}, {"now": OPEN + s(299)}, "outside_hours"),
    ("hours", {"now": CLOSE - s(120)}, {"now": CLOSE - s(119)}, "outside_hours"),
    ("halted", {"quote": quote()}, {"quote": quote(halted=True)}, "halted"),
    ("asset", {}, {"asset": replace(ASSET, active=False)}, "asset_inactive"),
    ("asset", {}, {"asset": replace(ASSET, tradable=False)}, "not_tradable_at_broker"),
    ("tradable", {"tradable": True}, {"tradable": False}, "not_tradable"),
    ("prohibited", {"prohibited": ()}, {"prohibited": ("news: trial",)}, "prohibited"),
    ("earnings", {"clear_of_earnings": True}, {"clear_of_earnings": False}, "earnings_near"),
    ("price", {"raw_close": D("5.00")}, {"raw_close": D("4.99")}, "price_too_low"),
    ("adv", {"adv_usd": 5e6}, {"adv_usd": 4_999_999.99}, "adv_too_low"),
    ("adv", {"adv_feed": "yahoo"}, {"adv_feed": "iex"}, "adv_feed_untrusted"),
    ("quote", {"quote": quote(age=15.0)}, {"quote": quote(age=15.1)}, "bad_quote"),
    ("quote", {"quote": quote(age=-1.0)}, {"quote": quote(age=-1.1)}, "bad_quote"),
    ("spread", {"quote": quote("9.90", "10.10")}, {"quote": quote("9.90", "10.1001")}, "spread_too_wide"),
    ("limit_band", {"quote": quote(last="10.50")}, {"quote": quote(last="10.51")}, "luld_band"),
    ("limit_band", {"raw_close": D("9.43"), **LAST}, {"raw_close": D("9.42"), **LAST}, "limit_too_far"),
    ("limit_band", {"atr_usd": D("0.015")}, {"atr_usd": D("0.0149")}, "limit_too_far"),
    ("size", {"size_cap": 7}, {"size_cap": 6}, "size_cap"),
    ("day_budget", {"day_used_usd": D("929.79")}, {"day_used_usd": D("929.80")}, "day_cap"),
    ("max_positions", {"open_positions": 4}, {"open_positions": 5}, "max_positions"),
    ("symbol_held", {"symbol_positions": 0}, {"symbol_positions": 1}, "symbol_held"),
    ("exposure_gross", {"gross_usd": D("1929.79")}, {"gross_usd": D("1929.80")}, "exposure_gross"),
    ("exposure_name", {"name_usd": D("429.79")}, {"name_usd": D("429.80")}, "exposure_name"),
    ("exposure_sector", {"sector_usd": D("929.79")}, {"sector_usd": D("929.80")}, "exposure_sector"),
    ("correlation", {"correlations": {"A": 0.6999}}, {"correlations": {"A": 0.2, "B": 0.70}}, "correlated"),
    ("drawdown", {"equity_usd": D("9200.01")}, {"equity_usd": D("9200.00")}, "safe_mode_day"),
    ("drawdown", {"month_peak_usd": D("12499.99")}, {"month_peak_usd": D("12500.00")}, "safe_mode_month"),
    ("breakers", {"breakers": {}}, {"breakers": {"losing_streak": "the last 4 trades lost"}}, "breaker_open"),
    ("account", {"account_blocked": False}, {"account_blocked": True}, "account_blocked"),
    ("account", {"cash_usd": D("70.21")}, {"cash_usd": D("70.20")}, "no_cash"),
    ("account", {"buying_power_usd": D("70.21")}, {"buying_power_usd": D("70.20")}, "buying_power"),
    ("margin", {"maintenance_usd": D("9978.937")}, {"maintenance_usd": D("9978.938")}, "margin_short"),
    ("duplicate", {"already_ordered": False}, {"already_ordered": True}, "duplicate_intent"),
]


@pytest.mark.parametrize(("gate", "inside", "outside", "refusal"), BOUNDARIES)
def test_a_gate_passes_at_its_bound_and_refuses_just_beyond(gate, inside, outside, refusal):
    assert code(gate, **inside) == "ok"
    assert code(gate, **outside) == refusal


def test_the_order_cap_is_inclusive_at_seventy_five_dollars():
    assert code("order_budget", order(quantity=3, limit="25.00")) == "ok"
    assert code("order_budget", order(quantity=3, limit="25.01")) == "order_cap"


@pytest.mark.parametrize("limit", ["0", "-1", "NaN", "Infinity", None])
def test_an_opening_whose_cost_nothing_bounds_is_refused_by_every_gate_of_money(limit):
    unbounded = order(limit=limit) if limit is None else order(limit_price=D(limit))
    asked = ("order_budget", "day_budget", "exposure_gross", "exposure_name", "exposure_sector", "account", "margin")
    codes = [code(gate, unbounded) for gate in asked]
    assert codes == ["no_limit_price", "day_cap_unknown", "gross_unknown", "name_unknown", "sector_unknown",
                     "cash_unknown", "margin_unknown"]  # fmt: skip


def test_two_positions_in_a_symbol_pass_where_two_are_allowed():
    assert code("symbol_held", limits=changed_limits(max_per_symbol=2), symbol_positions=1) == "ok"
    assert code("symbol_held", limits=changed_limits(max_per_symbol=2), symbol_positions=2) == "symbol_held"


def test_leverage_is_a_bound_of_its_own_and_never_beyond_twice_the_equity():
    wide = changed_limits(max_gross=D(3))
    assert code("exposure_gross", limits=wide, gross_usd=D("9929.79")) == "ok"
    assert code("exposure_gross", limits=wide, gross_usd=D("9929.80")) == "leverage"
    wider = changed_limits(max_gross=D(9), leverage=D(9))
    assert code("exposure_gross", limits=wider, gross_usd=D("19929.79")) == "ok"
    assert code("exposure_gross", limits=wider, gross_usd=D("19929.80")) == "leverage"


def test_with_leverage_an_order_may_cost_what_can_be_borrowed_on_the_equity():
    borrowed = changed_limits(leverage=D("1.5"))
    assert code("account", BIG, cash_usd=D(-4000), limits=borrowed) == "ok"
    assert code("account", BIG, cash_usd=D("-4000.01"), limits=borrowed) == "no_cash"
    assert code("account", BIG, cash_usd=D(0), equity_usd=None, limits=borrowed) == "cash_unknown"


def test_a_doubtful_volume_passes_only_where_it_is_trusted():
    assert code("adv", limits=changed_limits(trust_iex_volume=True), adv_feed="iex") == "ok"
    assert code("adv", limits=changed_limits(trust_iex_volume=True), adv_feed="") == "adv_feed_unknown"


@pytest.mark.parametrize(
    "bad",
    [
        None, quote("0", "10"), quote("-1", "10"), quote("10", "10"), quote("10.02", "10.00"), quote(size=0),
        quote("NaN", "10"), quote("10", "Infinity"), quote(age=-5.0), quote(bid_size=0), quote(ask_size=0),
    ],
)  # fmt: skip
def test_a_quote_that_is_zero_crossed_locked_one_sided_undefined_or_from_the_future_is_refused(bad):
    assert code("quote", quote=bad) == "bad_quote"
    assert code("quote", leaving(), quote=bad) == "bad_quote"
    assert code("spread", quote=bad) == "spread_unknown"


def test_the_spread_is_measured_against_the_middle_and_without_rounding():
    assert code("spread", quote=quote("10.00", "10.20")) == "ok"  # 1.980% by the middle, 2% by the bid
    assert code("spread", quote=quote("99", "101")) == "ok"
    assert code("spread", quote=quote("99", "101.0000000000000000000001")) == "spread_too_wide"


def test_the_day_is_left_by_the_last_close_and_the_month_by_its_peak_both_exactly_at_the_bound():
    assert code("drawdown", equity_usd=D(9200), last_equity_usd=D(10_000)) == "safe_mode_day"
    assert code("drawdown", equity_usd=D(8000), last_equity_usd=D(8100), month_peak_usd=D(10_000)) == "safe_mode_month"
    assert code("drawdown", equity_usd=D("8000.01"), last_equity_usd=D(8100), month_peak_usd=D(10_000)) == "ok"
    assert code("drawdown", equity_usd=D(7000)) == "safe_mode_month"  # both: the one only an operator lifts
    assert code("drawdown", last_equity_usd=D(0)) == "equity_unknown"


def test_a_likeness_that_cannot_be_told_refuses_unless_another_refuses_for_certain():
    assert code("correlation", correlations={"A": None}) == "correlation_unknown"
    assert code("correlation", correlations={"A": nan, "B": 0.1}) == "correlation_unknown"
    assert code("correlation", correlations={"A": None, "B": 0.9}) == "correlated"
    assert code("correlation", correlations={"A": -0.9}) == "ok"


def test_a_simulated_broker_need_not_tell_buying_power_and_margin():
    sim = {"environment": "sim", "buying_power_usd": None, "maintenance_usd": None}
    assert code("account", **sim) == code("margin", **sim) == "ok"
    assert code("margin", BIG, **sim, equity_usd=D(300)) == "ok"
    assert code("margin", BIG, **sim, equity_usd=D("299.99")) == "margin_short"


def test_below_two_dollars_fifty_the_whole_price_is_margin():
    facts = {"equity_usd": D(1000), "maintenance_usd": D("752")}
    assert code("margin", order(quantity=100, limit="2.50"), **facts) == "ok"
    assert code("margin", order(quantity=100, limit="2.49"), **facts) == "margin_short"
    assert code("margin", order(quantity=100, limit="2.49"), **facts | {"maintenance_usd": D(751)}) == "ok"


def test_the_old_rule_counts_day_trades_below_twenty_five_thousand():
    legacy = changed_limits(day_trade_policy="legacy_pdt")
    assert code("margin", limits=legacy, equity_usd=D("24999.99"), day_trades=2) == "ok"
    assert code("margin", limits=legacy, equity_usd=D("24999.99"), day_trades=3) == "pdt"
    assert code("margin", limits=legacy, equity_usd=D(25_000), day_trades=9) == "ok"
    assert code("margin", limits=legacy, day_trades=None) == "pdt_unknown"
    assert code("margin", limits=legacy, equity_usd=None) == "pdt_unknown"
    off = changed_limits(day_trade_policy="off")
    assert code("margin", limits=off, equity_usd=None, maintenance_usd=None, day_trades=None) == "ok"


def test_a_short_needs_permission_a_lender_no_rule_201_and_two_thousand_dollars():
    assert code("short", SHORT) == "shorts_off"
    assert code("short", SHORT, SHORTS) == "ok"
    assert code("short", SHORT, SHORTS, asset=replace(ASSET, shortable=False)) == "not_shortable"
    assert code("short", SHORT, SHORTS, asset=replace(ASSET, easy_to_borrow=False)) == "hard_to_borrow"
    assert code("short", SHORT, SHORTS, short_restricted=True) == "short_restricted"
    assert code("short", SHORT, SHORTS, may_short=False) == "account_may_not_short"
    assert code("short", SHORT, SHORTS, equity_usd=D("1999.99")) == "short_equity"
    assert code("short", SHORT, SHORTS, equity_usd=D(2000)) == "ok"
    for name in ("asset", "short_restricted", "may_short", "equity_usd"):
        assert code("short", SHORT, SHORTS, **{name: None}) == "short_unknown"
    assert code("short", order(), short_restricted=None, asset=None) == "ok"


def test_a_short_reserves_a_hundred_and_three_percent_of_the_ask():
    assert code("account", SHORT, buying_power_usd=D("72.2442")) == "ok"
    assert code("account", SHORT, buying_power_usd=D("72.2441")) == "buying_power"


NULLABLE = {
    "opens_at": "hours", "closes_at": "hours", "environment": "keys", "keys_fault": "keys", "clock_skew_s": "clock",
    "quote": "quote", "asset": "asset", "tradable": "tradable", "prohibited": "prohibited",
    "clear_of_earnings": "earnings", "raw_close": "price", "atr_usd": "limit_band", "adv_usd": "adv",
    "adv_feed": "adv", "size_cap": "size", "day_used_usd": "day_budget", "open_positions": "max_positions",
    "symbol_positions": "symbol_held", "gross_usd": "exposure_gross", "name_usd": "exposure_name",
    "sector_usd": "exposure_sector", "equity_usd": "drawdown", "last_equity_usd": "drawdown",
    "month_peak_usd": "drawdown", "correlations": "correlation", "breakers": "breakers",
    "account_blocked": "account", "cash_usd": "account", "buying_power_usd": "account", "maintenance_usd": "margin",
    "already_ordered": "duplicate",
}  # fmt: skip
ELSEWHERE = {"kill_reason", "day_trades", "short_restricted", "may_short", "luld_tier"}
"""None means off, asked under another policy, asked of shorts, or the narrower band; each has a test of its own."""


@pytest.mark.parametrize("name", list(NULLABLE))
def test_what_is_unknown_refuses(name):
    facts = replace(FACTS, **{name: None})
    assert NULLABLE[name] in {v.gate for v in refusals(review(order(), facts, LIMITS))}


def test_every_fact_that_may_be_unknown_is_covered_above():
    optional = {f.name for f in fields(GateFacts) if "None" in str(f.type)}
    assert optional == set(NULLABLE) | ELSEWHERE


@pytest.mark.parametrize("bad", [nan, inf])
def test_a_number_that_is_no_number_refuses_and_never_raises(bad):
    for name in (f.name for f in fields(GateFacts) if "Decimal" in str(f.type) or "float" in str(f.type)):
        value = D(str(bad)) if "Decimal" in str(next(f.type for f in fields(GateFacts) if f.name == name)) else bad
        value = {"A": bad} if name == "correlations" else value
        assert NULLABLE[name] in {v.gate for v in refusals(review(order(), replace(FACTS, **{name: value}), LIMITS))}


def test_all_gates_answer_even_after_the_first_refusal_and_only_a_full_clean_review_clears():
    bad = replace(FACTS, kill_reason="x", mode=Mode.HALT, raw_close=D(4), quote=quote("3.99", "4.00"))
    verdicts = review(order(limit="4.00"), bad, LIMITS)
    assert [v.gate for v in verdicts] == list(GATES)
    assert {v.gate for v in refusals(verdicts)} == {"kill_switch", "mode", "price"}
    assert clear(order(), verdicts) is None
    good = review(order(), FACTS, LIMITS)
    assert clear(order(), good) is not None
    assert clear(order(), good[1:]) is None
    with pytest.raises(ValueError, match=r"only risk\.review"):
        ClearedOrder(request=order(), verdicts=good)


UNKNOWN = {
    name: None for name in NULLABLE
    if name not in {"opens_at", "closes_at", "environment", "keys_fault", "quote", "account_blocked", "already_ordered"}
}  # fmt: skip


@pytest.mark.parametrize("request_", [leaving(quantity=5000), STOP, order(effect=Effect.CLOSE, limit=None)])
def test_an_exit_passes_whatever_else_is_unknown_or_used_up(request_):
    facts = replace(FACTS, **UNKNOWN, mode=Mode.CLOSE_ONLY, quote=quote("9.00", "11.00", halted=True),
                    size_bound_by="", day_trades=None, short_restricted=None, may_short=None)  # fmt: skip
    assert refusals(review(request_, facts, LIMITS)) == ()
    used_up = replace(
        FACTS, day_used_usd=D(10**6), open_positions=99, symbol_positions=9, gross_usd=D(10**7), name_usd=D(10**7),
        sector_usd=D(10**7), correlations={"A": 1.0}, equity_usd=D(1), cash_usd=D(0), buying_power_usd=D(0),
        maintenance_usd=D(10**6), breakers={"error_rate": "x"}, prohibited=("news: x",), clear_of_earnings=False,
        tradable=False, asset=replace(ASSET, active=False), size_cap=0, adv_usd=1.0,
    )  # fmt: skip
    assert refusals(review(request_, used_up, LIMITS)) == ()


HOLDING = [
    ("kill_switch", {"kill_reason": "x"}), ("mode", {"mode": Mode.HALT}), ("keys", {"keys_fault": "x"}),
    ("keys", {"environment": "live"}), ("hours", {"closes_at": None}), ("hours", {"opens_at": NOW + s(1)}),
    ("quote", {"quote": None}), ("account", {"account_blocked": True}), ("account", {"account_blocked": None}),
    ("duplicate", {"already_ordered": True}), ("limit_band", {"quote": quote(last="12")}),
]  # fmt: skip


@pytest.mark.parametrize(("gate", "change"), HOLDING)
def test_an_exit_is_held_back_by_switch_halt_keys_hours_bad_quote_band_blocked_account_and_its_own_double(gate, change):
    assert gate in HOLDS_EXITS
    assert [v.gate for v in refusals(review(leaving(), replace(FACTS, **change), LIMITS))] == [gate]


def test_the_gates_that_hold_exits_are_the_ones_the_pages_name():
    assert {gate for gate, _ in HOLDING} == set(HOLDS_EXITS)


def test_an_exit_may_go_from_the_open_itself_and_until_two_minutes_before_the_close():
    assert code("hours", leaving(), now=OPEN) == "ok"
    assert code("hours", leaving(), now=CLOSE - s(120)) == "ok"
    assert code("hours", leaving(), now=CLOSE - s(119)) == "outside_hours"
    assert code("hours", leaving(), opens_at=None) == "market_closed"


def test_resting_stops_and_market_exits_need_no_quote_and_openings_of_any_type_do():
    oco = replace(STOP, order_type=OrderType.GTC_OCO, limit_price=D(15))
    for request in (STOP, oco, order(effect=Effect.CLOSE, limit=None)):
        assert refusals(review(request, replace(FACTS, quote=None), LIMITS)) == ()
    for opening in (order(limit=None), replace(STOP, effect=Effect.OPEN), replace(oco, effect=Effect.OPEN)):
        assert code("quote", opening, quote=None) == "bad_quote"


CODED = [
    ("keys", {"keys_fault": None}), ("keys", {"environment": None}), ("clock", {"clock_skew_s": None}),
    ("hours", {"opens_at": None}), ("halted", {"quote": None}), ("asset", {"asset": None}),
    ("tradable", {"tradable": None}), ("prohibited", {"prohibited": None}), ("earnings", {"clear_of_earnings": None}),
    ("price", {"raw_close": None}), ("adv", {"adv_usd": None}), ("adv", {"adv_feed": None}),
    ("spread", {"quote": None}), ("limit_band", {"quote": None}), ("limit_band", {"atr_usd": None}),
    ("size", {"size_cap": None}), ("day_budget", {"day_used_usd": None}), ("max_positions", {"open_positions": None}),
    ("symbol_held", {"symbol_positions": None}), ("exposure_gross", {"gross_usd": None}),
    ("exposure_name", {"name_usd": None}), ("exposure_sector", {"sector_usd": None}),
    ("correlation", {"correlations": None}), ("drawdown", {"equity_usd": None}), ("breakers", {"breakers": None}),
    ("account", {"account_blocked": None}), ("account", {"cash_usd": None}), ("account", {"buying_power_usd": None}),
    ("margin", {"maintenance_usd": None}), ("duplicate", {"already_ordered": None}),
]  # fmt: skip


def driven() -> dict[str, str]:
    """Return code -> gate of every refusal the gates gave when driven through all of the above."""
    found = {}
    legacy = changed_limits(day_trade_policy="legacy_pdt")
    requests = (order(), order(quantity=8), order(limit=None), SHORT, leaving())
    changes = [c for _, inside, outside, _ in BOUNDARIES for c in (inside, outside)] + [c for _, c in CODED]
    changes += [{"asset": replace(ASSET, shortable=False)}, {"asset": replace(ASSET, easy_to_borrow=False)},
                {"short_restricted": True}, {"may_short": False}, {"equity_usd": D(1)}, {"short_restricted": None},
                {"day_trades": 3},
                {"day_trades": None}, {"gross_usd": D(10**6)}]  # fmt: skip
    for limits in (LIMITS, SHORTS, legacy):
        for request in requests:
            for change in changes:
                for v in refusals(review(request, replace(FACTS, **change), limits)):
                    found.setdefault(v.code, v.gate)
    return found


def test_every_code_a_gate_gives_is_in_the_table_and_every_entry_is_reached():
    assert driven() == {name: c.gate for name, c in CODES.items()}


def test_every_entry_of_the_table_has_a_gate_a_sentence_and_a_remedy():
    assert {c.gate for c in CODES.values()} == set(GATES)
    assert set(SETTINGS) <= set(GATES)
    assert all(c.meaning and c.remedy for c in CODES.values())
    defaults = Settings().model_dump()
    for keys in SETTINGS.values():
        for key in keys:
            section, name = key.split(".")
            assert name in defaults[section], key


SIZED = SizeInputs(
    entry=D(50), stop=D("48.20"), probability=0.65, gate=0.6, environment="paper", equity_usd=D(10_000),
    cash_usd=D(10_000), buying_power_usd=D(10_000), day_used_usd=D(0), gross_usd=D(0), name_usd=D(0), sector_usd=D(0),
    adv_usd=1e9,
)  # fmt: skip
WIDE = replace(LIMITS, order_usd=D(10**6), day_usd=D(10**6), max_gross=D(2), max_name=D(2), max_sector=D(2))
MUTANTS = {
    "order_usd": D(70), "day_usd": D(70), "max_positions": 0, "max_per_symbol": 0, "min_price_usd": D("10.01"),
    "min_adv_usd": 5_000_001.0, "max_spread": D("0.001"), "quote_max_age_s": -0.5, "open_delay_s": 5401.0,
    "close_margin_s": 18_001.0, "max_clock_skew_s": 0.05, "luld_margin": D("0.048"), "limit_max_atr": D("0.05"),
    "max_gross": D("0.001"), "max_name": D("0.001"), "max_sector": D("0.001"), "max_correlation": -1.0,
    "day_drawdown": D(0), "month_drawdown": D(0), "leverage": D("0.001"),
}  # fmt: skip


@pytest.mark.parametrize("name", list(MUTANTS))
def test_a_bound_that_is_moved_below_what_is_seen_changes_a_verdict(name):
    facts = replace(FACTS, correlations={"A": 0.0})
    assert refusals(review(order(), facts, LIMITS)) == ()
    assert refusals(review(order(), facts, changed_limits(**{name: MUTANTS[name]})))


def test_every_limit_is_asked_by_a_gate_or_by_the_sizing():
    asked = set(MUTANTS)
    assert refusals(review(SHORT, FACTS, SHORTS)) == ()
    assert refusals(review(SHORT, FACTS, LIMITS))
    on_iex = replace(FACTS, adv_feed="iex")
    assert refusals(review(order(), on_iex, LIMITS))
    assert not refusals(review(order(), on_iex, changed_limits(trust_iex_volume=True)))
    traded = replace(FACTS, day_trades=3)
    assert not refusals(review(order(), traded, LIMITS))
    assert refusals(review(order(), traded, changed_limits(day_trade_policy="legacy_pdt")))
    asked |= {"allow_shorts", "trust_iex_volume", "day_trade_policy"}
    for name, value in {"min_size": D("0.001"), "max_size": D("0.01"), "max_adv_share": D("1e-9")}.items():
        assert size(SIZED, replace(WIDE, **{name: value})).quantity < size(SIZED, WIDE).quantity
        asked.add(name)
    assert asked == {f.name for f in fields(Limits)}


def test_a_verdict_names_what_was_seen_what_is_allowed_and_the_cap_that_bound():
    verdicts = {v.gate: v for v in review(order(quantity=8), replace(FACTS, now=NOW), LIMITS)}
    assert verdicts["size"].limit == "<= 7 shares, bound by order_cap"
    assert (verdicts["order_budget"].observed, verdicts["order_budget"].limit) == ("80.24", "<= 75")
    assert verdicts["hours"].limit == "13:35:00 to 19:58:00 UTC"
