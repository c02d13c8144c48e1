"""Circuit breakers: what trips each at its bound, how one latches and comes back, and that evidence trips once."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from kobe.app.settings import BreakerSettings
from kobe.core.clock import to_ns
from kobe.core.ports import Event
from kobe.risk.breakers import BREAKERS, BreakerFacts, BreakerLimits, Status, factor, fold, refusals, step

D = Decimal
NOW = datetime(2024, 6, 3, 15, 0, tzinfo=UTC)
DAY, NEXT = date(2024, 6, 3), date(2024, 6, 4)
LIMITS = BreakerLimits()
CALM = BreakerFacts(now=NOW, session=DAY, equity_usd=D(10_000), last_equity_usd=D(10_000), sessions_behind=0,
                    differences=())  # fmt: skip


def ago(*seconds):
    return tuple(NOW - timedelta(seconds=x) for x in seconds)


def trades(*net):
    return tuple((f"t{k}", D(x)) for k, x in enumerate(net))


def orders(text):
    return tuple((f"o{k}", c == "r") for k, c in enumerate(text))


BOUNDARIES = [
    ("daily_loss", {"equity_usd": D("9600.01")}, {"equity_usd": D("9600.00")}),
    ("losing_streak", {"trades": trades(-1, -1, -1)}, {"trades": trades(5, -1, -1, -1, -1)}),
    ("losing_streak", {"trades": trades(-1, -1, -1, 0)}, {"trades": trades(-1, -1, -1, -1)}),
    ("losing_streak", {"trades": trades(-1, -1, 1, -1, -1)}, {"trades": trades(1, -1, -1, -1, "-0.01")}),
    ("error_rate", {"errors": ago(601, 500, 300, 200, 0)}, {"errors": ago(600, 500, 300, 200, 0)}),
    ("reject_rate", {"orders": orders("rrraaa")}, {"orders": orders("rrrraa")}),
    ("reject_rate", {"orders": orders("rrraaar")}, {"orders": orders("rrrr")}),
    ("stale_data", {"sessions_behind": 0}, {"sessions_behind": 1}),
    ("mismatch", {"differences": ()}, {"differences": ("ABC: 3 here, 5 there",)}),
]


@pytest.mark.parametrize(("name", "inside", "outside"), BOUNDARIES)
def test_a_breaker_holds_at_its_bound_and_trips_beyond(name, inside, outside):
    assert BREAKERS[name](replace(CALM, **inside), LIMITS, "") is None
    assert BREAKERS[name](replace(CALM, **outside), LIMITS, "") is not None


def test_every_breaker_has_a_boundary_above_and_every_setting_reaches_one():
    assert {name for name, *_ in BOUNDARIES} == set(BREAKERS)
    assert BreakerLimits(**BreakerSettings().model_dump()) == LIMITS


WIDER = {
    "daily_loss": ("daily_loss", D("0.05")), "losing_streak": ("losing_streak", 9), "errors": ("error_rate", 9),
    "errors_window_s": ("error_rate", 599.0), "rejects_of_last": ("reject_rate", 20),
    "reject_rate": ("reject_rate", 0.9), "stale_sessions": ("stale_data", 1),
}  # fmt: skip


@pytest.mark.parametrize("setting", list(WIDER))
def test_a_wider_setting_lets_the_same_facts_pass(setting):
    name, value = WIDER[setting]
    facts = replace(CALM, **next(outside for n, _, outside in BOUNDARIES if n == name))
    assert BREAKERS[name](facts, replace(LIMITS, **{setting: value}), "") is None


def test_what_is_not_known_trips_nothing():
    unknown = BreakerFacts(now=NOW, session=DAY)
    assert all(rule(unknown, LIMITS, "") is None for rule in BREAKERS.values())
    odd = replace(CALM, equity_usd=D("NaN"), last_equity_usd=D(0))
    assert BREAKERS["daily_loss"](odd, LIMITS, "") is None


class Record:
    """The events of one breaker as a ledger would keep them."""

    def __init__(self, name):
        self.name, self.events = name, []

    @property
    def state(self):
        return fold(self.events)[self.name]

    def add(self, kind, **payload):
        said = {"session": DAY.isoformat(), "reason": "test", "by": "operator"} | payload
        n = len(self.events) + 1
        self.events.append(
            Event(sequence=n, stream="breakers", entity=self.name, kind=kind, at_ns=to_ns(NOW) + n, payload=said)
        )

    def watch(self, facts):
        kinds = []
        while (following := step(self.state, facts, LIMITS)) is not None:
            self.add(following.kind, **following.payload)
            kinds.append(following.kind)
        return kinds


def test_a_tripped_breaker_stays_open_until_the_next_session_and_then_lets_one_probe_through():
    record, bad = Record("losing_streak"), replace(CALM, trades=trades(-1, -1, -1, -1))
    assert record.watch(bad) == ["tripped"]
    assert record.watch(bad) == record.watch(CALM) == []
    assert refusals(fold(record.events)) == {"losing_streak": "the last 4 trades lost"}
    tomorrow = replace(bad, session=NEXT)
    assert record.watch(tomorrow) == ["half_open"]
    assert refusals(fold(record.events)) == {}
    record.add("probe", client_order_id="p1")
    assert refusals(fold(record.events)) == {"losing_streak": "its probe p1 is on its way"}
    assert record.watch(tomorrow) == []
    assert record.watch(replace(tomorrow, probes={"p1": True})) == ["closed"]
    assert record.state.status is Status.CLOSED
    assert record.watch(tomorrow) == [], "the same four trades trip once"
    assert record.watch(replace(tomorrow, trades=(*trades(-1, -1, -1, -1), ("t9", D(-1))))) == ["tripped"]


def test_a_probe_that_fills_nothing_may_be_repeated_and_another_trip_opens_again():
    record, bad = Record("reject_rate"), replace(CALM, orders=orders("rrrr"))
    record.watch(bad)
    tomorrow = replace(bad, session=NEXT)
    assert record.watch(tomorrow) == ["half_open"]
    record.add("probe", client_order_id="p1")
    assert record.watch(replace(tomorrow, probes={"p1": False})) == ["unfilled"]
    assert (record.state.status, record.state.probe) == (Status.HALF_OPEN, None)
    record.add("probe", client_order_id="p2")
    again = replace(tomorrow, orders=(*orders("rrrr"), ("p2", True)), probes={"p2": False})
    assert record.watch(again) == ["tripped"]
    assert (record.state.status, record.state.probe) == (Status.OPEN, None)


def test_an_operator_s_reset_half_opens_at_once_and_a_fault_that_is_still_there_trips_again():
    record, stale = Record("stale_data"), replace(CALM, sessions_behind=2)
    assert record.watch(stale) == ["tripped"]
    record.add("reset")
    assert record.state.status is Status.HALF_OPEN
    assert record.watch(stale) == ["tripped"]
    streak = Record("losing_streak")
    streak.watch(replace(CALM, trades=trades(-1, -1, -1, -1)))
    streak.add("reset")
    assert streak.watch(replace(CALM, trades=trades(-1, -1, -1, -1))) == []


def test_a_day_s_loss_trips_again_at_each_further_multiple_and_anew_the_next_day():
    record = Record("daily_loss")
    assert record.watch(replace(CALM, equity_usd=D(9500))) == ["tripped"]
    record.add("reset")
    assert record.watch(replace(CALM, equity_usd=D("9200.01"))) == []
    assert record.watch(replace(CALM, equity_usd=D(9200))) == ["tripped"]
    record.add("reset")
    assert record.watch(replace(CALM, equity_usd=D(9500))) == []
    assert record.watch(replace(CALM, session=NEXT, last_equity_usd=D(9500), equity_usd=D(9120))) == ["tripped"]


def test_a_stale_feed_over_night_is_half_open_for_no_moment():
    record = Record("stale_data")
    record.watch(replace(CALM, sessions_behind=1))
    assert record.watch(replace(CALM, session=NEXT, sessions_behind=2)) == ["half_open", "tripped"]


def test_a_record_that_cannot_be_read_is_open_and_only_a_reset_changes_that():
    for payload in ({"session": "x"}, {"session": None}, {"reason": "y", "session": "2024-06-03"}):
        record = Record("error_rate")
        record.events.append(Event(sequence=1, stream="breakers", entity="error_rate", kind="tripped", at_ns=1,
                                   payload=payload))  # fmt: skip
        assert record.state.status is Status.OPEN
        assert record.watch(replace(CALM, session=NEXT)) == []
        record.add("reset")
        assert record.state.status is Status.HALF_OPEN
    odd = Record("error_rate")
    odd.add("nonsense")
    assert odd.state.status is Status.OPEN


def test_a_breaker_the_table_does_not_know_keeps_its_state_and_refuses():
    record = Record("of_another_version")
    record.add("tripped", evidence="")
    assert refusals(fold(record.events)) == {"of_another_version": "test"}
    assert record.watch(CALM) == []


def test_sizes_are_halved_until_all_are_closed():
    record = Record("error_rate")
    assert factor(fold(record.events)) == 1
    record.add("half_open")
    assert factor(fold(record.events)) == D("0.5")
    record.add("closed")
    assert factor(fold(record.events)) == 1
