"""Gates, limits, prohibited list, mode and breakers from the command line's side: said, recorded, taken back."""

import json
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import pytest
from kit.command import kobe, one_line
from kit.home import at

from kobe.app import breakers, desk, equity, known, mode, prohibit, wiring
from kobe.app.gates import run_gates_explain, run_gates_last, run_gates_list
from kobe.app.limits import run_limits_reset, run_limits_show
from kobe.core.errors import ExitCode, RefusedError, UsageError
from kobe.core.types import Fill, Mode, Order, OrderStatus, Side, Trade
from kobe.infra.records import audit
from kobe.risk.breakers import Status
from kobe.risk.gates import GATES
from kobe.risk.gates.codes import CODES

D = Decimal
MONDAY, TUESDAY = date(2024, 6, 3), date(2024, 6, 4)


@pytest.fixture
def ctx(tmp_path):
    """An empty home at 11:00 of a session in New York."""
    return wiring.build(tmp_path, clock=at(MONDAY, 11, 0))


def recorded(ctx, kind):
    return [r.payload for r in audit.read(ctx.paths.audit) if r.kind == kind]


def later(ctx, day, hour=11, minute=0):
    ctx.clock.set(at(day, hour, minute).now())


def facts(ctx, **changed):
    known = {"equity_usd": D(10_000), "last_equity_usd": D(10_000), "trades": (), "orders": (), "newest": None,
             "differences": ()}  # fmt: skip
    known |= changed
    return breakers.collect(ctx, **known | {"orders": {o.request.client_order_id: o for o in known["orders"]}})


def lost_trades(ctx, count):
    return [
        Trade(signal_id=f"s{k}", strategy="ibs_rsi", symbol="ABC", side=Side.LONG, quantity=1, entry_price=D(10),
              exit_price=D(9), fees_usd=D(0), net_usd=D(-1), opened=ctx.clock.now(),
              closed=ctx.clock.now() + timedelta(seconds=k), exit_reason="stop")
        for k in range(count)
    ]  # fmt: skip


def sent(name, status, filled=0):
    from kit.orders import NOW, order

    request = order(client_order_id=name)
    fills = [Fill(fill_id=f"{name}-f", client_order_id=name, symbol="ABC", side=Side.LONG, effect=request.effect,
                  quantity=filled, price=D(10), fee_usd=D(0), at=NOW)] if filled else []  # fmt: skip
    return Order(request=request, status=status, fills=tuple(fills))


def test_the_newest_trades_are_looked_at_in_whatever_order_they_come(ctx):
    lost = lost_trades(ctx, 9)
    wanted = breakers.limits(ctx).losing_streak
    newest = tuple((f"s{k}", D(-1)) for k in range(9))[-wanted:]
    assert wanted < len(lost)
    for given in (lost, lost[::-1], lost[4:] + lost[:4]):
        assert facts(ctx, trades=given).trades == newest


def test_a_close_of_the_past_that_is_marked_later_stands_where_it_belongs(ctx):
    account = ctx.broker.account()
    days = [ctx.calendar.offset(MONDAY, -k) for k in (5, 1, 3, 2)]
    for number, day in enumerate(days):
        equity.mark(ctx, replace(account, equity_usd=D(10_000 + number)), day)
    assert list(equity.marks(ctx).items()) == sorted(zip(days, map(D, range(10_000, 10_004)), strict=True))
    assert list(equity.marks(ctx, days[2])) == sorted(days)[1:]
    assert known.equity_points(ctx, days[3])[-1] == (days[3], D(10_003))


def test_the_list_names_every_gate_in_order_with_its_settings_as_they_are(ctx):
    told = run_gates_list(ctx).data["gates"]
    assert [g["gate"] for g in told] == list(GATES)
    assert next(g for g in told if g["gate"] == "spread")["settings"] == {"risk.max_spread": "0.02"}


def test_a_gate_and_each_of_its_codes_explain_the_same_gate(ctx):
    for name, code in CODES.items():
        told = run_gates_explain(ctx, name)
        assert told.data["gate"] == code.gate
        assert name in told.data["codes"]
    assert "wait" in " ".join(run_gates_explain(ctx, "spread_too_wide").summary)
    with pytest.raises(UsageError, match="kobe gates list"):
        run_gates_explain(ctx, "nonsense")


def test_the_last_order_s_verdicts_are_read_from_the_audit_chain_with_a_remedy_for_each_refusal(ctx):
    assert "no order" in run_gates_last(ctx).summary[0]
    for symbol, code in (("ABC", "spread_too_wide"), ("XYZ", "ok")):
        order = {"client_order_id": f"kobe-{symbol}", "symbol": symbol, "quantity": 7, "limit": "10.03", "stop": "None"}
        verdicts = [["mode", "PASS", "ok", "NORMAL", "at most REDUCED"],
                    ["spread", "PASS" if code == "ok" else "REJECT", code, "0.03", "<= 0.02"]]  # fmt: skip
        ctx.audit.append("order_decision", {"as_of": "2024-06-03T09:36:00-04:00", "action": "refuse", "order": order,
                                            "reason": "test", "verdicts": verdicts})  # fmt: skip
        ctx.audit.append("something_else", {})
    assert run_gates_last(ctx).data["order"]["symbol"] == "XYZ"
    told = run_gates_last(ctx, "ABC")
    assert any("spread_too_wide" in line and CODES["spread_too_wide"].remedy in line for line in told.summary)
    assert "no order in DEF" in run_gates_last(ctx, "DEF").summary[0]


def test_every_bound_is_shown_with_its_key_its_origin_and_the_gate_that_asks(ctx):
    told = {line["setting"]: line for line in run_limits_show(ctx).data["limits"]}
    assert told["risk.order_max_usd"] == {"setting": "risk.order_max_usd", "value": "75", "used": None,
                                          "gates": "order_budget", "origin": "default"}  # fmt: skip
    assert (told["risk.day_max_usd"]["used"], told["risk.max_positions"]["used"]) == ("0.00", "0")
    assert all(line["gates"] for line in told.values())


def test_a_symbol_is_prohibited_until_its_end_listed_removed_and_all_of_it_is_audited(ctx):
    assert prohibit.active(ctx, "ABC") == ()
    prohibit.run_prohibit_add(ctx, "abc", "news", "trial opens", "2024-06-05", dry_run=True)
    assert prohibit.active(ctx, "ABC") == ()
    prohibit.run_prohibit_add(ctx, "abc", "news", "trial opens", "2024-06-05")
    again = prohibit.run_prohibit_add(ctx, "ABC", "news", "trial opens", "2024-06-05")
    assert "already" in again.summary[0]
    assert prohibit.active(ctx, "ABC") == ("news: trial opens (until 2024-06-05 00:00 ET, operator)",)
    assert [e["symbol"] for e in prohibit.run_prohibit_list(ctx).data["in_force"]] == ["ABC"]
    later(ctx, date(2024, 6, 5), 0)
    assert prohibit.active(ctx, "ABC") == ()
    prohibit.run_prohibit_add(ctx, "ABC", "manual", "no reason to hurry", source="robot")
    assert len(prohibit.active(ctx, "ABC")) == 1
    assert "Took" in prohibit.run_prohibit_remove(ctx, "ABC", "over").summary[0]
    assert "nothing to do" in prohibit.run_prohibit_remove(ctx, "ABC", "over").summary[0]
    assert prohibit.run_prohibit_list(ctx).data["in_force"] == []
    whole = prohibit.run_prohibit_list(ctx, all_entries=True).sections[0].table.rows
    assert [row[1] for row in whole] == ["news", "manual", "removed"]
    assert [p["what"] for p in recorded(ctx, "prohibited")] == ["add", "add", "remove"]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"symbol": "../x"}, "symbol"), ({"kind": "mood"}, "kind"), ({"reason": "  "}, "reason"),
        ({"until": "soon"}, "until"), ({"until": "2024-06-03"}, "over"),
    ],
)  # fmt: skip
def test_an_entry_that_makes_no_sense_is_a_usage_error_and_changes_nothing(ctx, change, word):
    given = {"symbol": "ABC", "kind": "news", "reason": "x", "until": None} | change
    with pytest.raises(UsageError, match=word):
        prohibit.run_prohibit_add(ctx, **given)
    assert ctx.ledger.events("prohibited") == []


def test_an_entry_nobody_can_read_makes_the_symbol_unknown_and_a_removal_helps(ctx):
    ctx.ledger.append("prohibited", "ABC", "add", {"symbol": "ABC"}, key="damaged")
    assert prohibit.active(ctx, "ABC") is None
    told = prohibit.run_prohibit_list(ctx, all_entries=True)
    assert (told.exit_code, told.data["unreadable"]) == (ExitCode.INTEGRITY, ["ABC"])
    prohibit.run_prohibit_remove(ctx, "ABC", "was damaged")
    assert prohibit.active(ctx, "ABC") == ()


def test_the_operator_s_word_is_recorded_needs_a_reason_and_takes_a_factor_with_reduced_only(ctx):
    mode.run_mode_set(ctx, "halt", "broker odd", dry_run=True)
    assert desk.current_mode(ctx).mode is Mode.NORMAL
    told = mode.run_mode_set(ctx, "reduced", "new model", D("0.25"))
    assert (told.data["mode"], told.data["factor"]) == ("REDUCED", "0.25")
    assert mode.run_mode_set(ctx, "NORMAL", "settled").exit_code is ExitCode.OK
    assert desk.current_mode(ctx).mode is Mode.NORMAL
    assert [p["mode"] for p in recorded(ctx, "mode")] == ["REDUCED", "NORMAL"]
    for wanted, reason, factor in (("LOUD", "x", None), ("HALT", " ", None), ("HALT", "x", D("0.5")),
                                   ("REDUCED", "x", D(1)), ("REDUCED", "x", D("NaN"))):  # fmt: skip
        with pytest.raises(UsageError):
            mode.run_mode_set(ctx, wanted, reason, factor)


def test_the_operator_cannot_loosen_another_source_and_is_told_which_holds_and_what_lifts_it(ctx):
    desk.set_mode(ctx, "reconcile", Mode.REDUCE_ONLY, "2 differences")
    told = mode.run_mode_set(ctx, "NORMAL", "I want to trade")
    assert (told.exit_code, told.data["mode"]) == (ExitCode.PARTIAL, "REDUCE_ONLY")
    assert any("reconcile still holds REDUCE_ONLY" in line and "kobe reconcile" in line for line in told.summary)
    shown = mode.run_mode_show(ctx).data
    assert [r["source"] for r in shown["reasons"]] == ["reconcile"]


def watch_equity(ctx, equity, last=10_000, peak=10_000):
    mode.watch_drawdown(ctx, D(equity), D(last), D(peak))
    return desk.current_mode(ctx).mode


def test_a_day_s_loss_holds_over_restarts_until_it_is_acknowledged_after_its_session_then_half_size(ctx, tmp_path):
    assert watch_equity(ctx, 9201) is Mode.NORMAL
    assert watch_equity(ctx, 9200) is Mode.REDUCE_ONLY
    assert watch_equity(ctx, 9900) is Mode.REDUCE_ONLY
    with pytest.raises(RefusedError, match="not over"):
        run_limits_reset(ctx, "drawdown_day", "all is well")
    restarted = wiring.build(tmp_path, clock=at(TUESDAY, 9, 0))
    assert watch_equity(restarted, 9900, last=9900) is Mode.REDUCE_ONLY
    run_limits_reset(restarted, "drawdown_day", "looked at it", dry_run=True)
    assert desk.current_mode(restarted).mode is Mode.REDUCE_ONLY
    run_limits_reset(restarted, "drawdown_day", "looked at it")
    assert (desk.current_mode(restarted).mode, desk.current_mode(restarted).factor) == (Mode.REDUCED, D("0.5"))
    assert watch_equity(restarted, 9900, last=9900) is Mode.REDUCED
    later(restarted, date(2024, 6, 5), 9)
    assert watch_equity(restarted, 9900, last=9900) is Mode.NORMAL


def test_a_loss_acknowledged_on_its_evening_gives_the_next_session_half_size(ctx):
    watch_equity(ctx, 9000)
    later(ctx, MONDAY, 18)
    run_limits_reset(ctx, "drawdown_day", "looked at it")
    later(ctx, TUESDAY, 10)
    assert watch_equity(ctx, 9000, last=9000) is Mode.REDUCED
    later(ctx, date(2024, 6, 5), 9)
    assert watch_equity(ctx, 9000, last=9000) is Mode.NORMAL


def test_a_month_s_loss_outlives_the_month_and_only_an_operator_lifts_it(ctx):
    assert equity.month_from(ctx) is None
    assert watch_equity(ctx, 8000, last=8100) is Mode.REDUCE_ONLY
    later(ctx, date(2024, 7, 8))
    assert watch_equity(ctx, 8000, last=8000, peak=8000) is Mode.REDUCE_ONLY
    assert "nothing to lift" in run_limits_reset(ctx, "drawdown_day", "x").summary[0]
    with pytest.raises(UsageError):
        run_limits_reset(ctx, "drawdown_month", " ")
    run_limits_reset(ctx, "drawdown_month", "smaller from now on")
    assert watch_equity(ctx, 8000, last=8000, peak=8000) is Mode.REDUCED
    assert equity.month_from(ctx) == date(2024, 7, 8)


def test_an_equity_nobody_knows_neither_trips_nor_lifts(ctx):
    watch_equity(ctx, 9000)
    later(ctx, TUESDAY)
    mode.watch_drawdown(ctx, None, None, None)
    assert desk.current_mode(ctx).mode is Mode.REDUCE_ONLY


def test_breakers_trip_once_latch_half_open_and_close_by_a_filled_probe(ctx):
    bad = facts(ctx, trades=lost_trades(ctx, 4))
    assert breakers.factor(ctx) == 1
    for _ in range(2):
        state = next(s for s in breakers.watch(ctx, bad) if s.name == "losing_streak")
        assert state.status is Status.OPEN
    assert list(breakers.open_breakers(ctx)) == ["losing_streak"]
    assert len(ctx.ledger.events("breakers")) == 1
    breakers.note_probe(ctx, "p0")
    assert len(ctx.ledger.events("breakers")) == 1, "an open breaker has no probe"
    later(ctx, TUESDAY)
    lost = lost_trades(ctx, 4)
    breakers.watch(ctx, facts(ctx, trades=lost))
    assert (breakers.open_breakers(ctx), breakers.factor(ctx)) == ({}, D("0.5"))
    breakers.note_probe(ctx, "p1")
    assert "p1" in breakers.open_breakers(ctx)["losing_streak"]
    breakers.note_probe(ctx, "p2")
    breakers.watch(ctx, facts(ctx, trades=lost, orders=[sent("p1", OrderStatus.SENT)]))
    assert breakers.open_breakers(ctx)
    breakers.watch(ctx, facts(ctx, trades=lost, orders=[sent("p1", OrderStatus.CANCELED, filled=3)]))
    assert (breakers.open_breakers(ctx), breakers.factor(ctx)) == ({}, 1)
    assert [p["what"] for p in recorded(ctx, "breaker")] == ["tripped", "half_open", "closed"]


def test_a_probe_that_was_never_sent_or_filled_nothing_makes_room_for_another(ctx):
    breakers.watch(ctx, facts(ctx, orders=[sent(f"o{k}", OrderStatus.REJECTED) for k in range(4)]))
    assert "reject_rate" in breakers.open_breakers(ctx)
    later(ctx, TUESDAY)
    rejected = [sent(f"o{k}", OrderStatus.REJECTED) for k in range(4)]
    breakers.watch(ctx, facts(ctx, orders=rejected))
    for others in ([], [sent("p1", OrderStatus.CANCELED)]):
        breakers.note_probe(ctx, "p1")
        assert breakers.open_breakers(ctx)
        breakers.watch(ctx, facts(ctx, orders=[*rejected, *others]))
        assert breakers.open_breakers(ctx) == {}


def test_five_errors_in_ten_minutes_trip_the_error_rate_and_each_counts(ctx):
    for _ in range(4):
        breakers.note_error(ctx, "no answer\nfrom the broker " + "x" * 400)
    breakers.watch(ctx, facts(ctx))
    assert breakers.open_breakers(ctx) == {}
    breakers.note_error(ctx, "no answer")
    breakers.watch(ctx, facts(ctx))
    assert "5 errors" in breakers.open_breakers(ctx)["error_rate"]
    assert len(ctx.ledger.events("incidents")[0].payload["what"]) == 300


def test_stale_bars_and_books_that_differ_trip_their_breakers(ctx):
    newest = ctx.calendar.offset(MONDAY, -2)
    breakers.watch(ctx, facts(ctx, newest=newest, differences=("ABC: 3 here, 5 there", "XYZ")))
    assert breakers.open_breakers(ctx) == {
        "stale_data": "sessions the newest bar is behind: 1",
        "mismatch": "the books differ from the broker's: ABC: 3 here, 5 there, and 1 more",
    }
    assert facts(ctx, newest=ctx.calendar.previous(MONDAY)).sessions_behind == 0
    assert facts(ctx, newest=MONDAY).sessions_behind == 0


def test_an_operator_resets_a_breaker_with_a_reason_on_record(ctx):
    breakers.watch(ctx, facts(ctx, trades=lost_trades(ctx, 4)))
    with pytest.raises(UsageError, match="kobe limits breakers"):
        run_limits_reset(ctx, "nonsense", "x")
    with pytest.raises(UsageError, match="reason"):
        run_limits_reset(ctx, "losing_streak", " ")
    run_limits_reset(ctx, "losing_streak", "looked at all", dry_run=True)
    assert breakers.open_breakers(ctx)
    run_limits_reset(ctx, "losing_streak", "looked at all")
    assert breakers.open_breakers(ctx) == {}
    assert "nothing to reset" in run_limits_reset(ctx, "losing_streak", "x").summary[0]
    assert recorded(ctx, "breaker")[-1] | {"by": "operator", "reason": "looked at all"} == recorded(ctx, "breaker")[-1]
    shown = {b["name"]: b["state"] for b in breakers.run_breakers_show(ctx).data["breakers"]}
    assert shown["losing_streak"] == "HALF_OPEN"


def test_the_commands_speak_from_a_process_of_their_own(tmp_path):
    for words in (("gates", "explain", "pdt"), ("limits", "show"), ("prohibit", "list"), ("mode", "show")):
        done = kobe(tmp_path, *words, "--json")
        assert done.returncode == 0, (words, done.stderr)
        assert json.loads(done.stdout)["schema"].startswith("kobe.")
    assert kobe(tmp_path, "prohibit", "add", "ABC", "--reason", "x", "--until", "2999-01-04").returncode == 0
    assert kobe(tmp_path, "prohibit", "remove", "ABC", "--reason", "x").returncode == 0
    one_line(kobe(tmp_path, "mode", "set", "REDUCED", "--factor", "half", "--reason", "x"), 2, "half")
    one_line(kobe(tmp_path, "limits", "reset", "nonsense", "--reason", "x"), 2, "kobe limits breakers")
    assert kobe(tmp_path, "mode", "set", "HALT").returncode == 2
