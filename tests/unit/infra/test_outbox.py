"""The outbox: nothing is lost, nothing is sent twice in silence, and no channel troubles another or the teller."""

import random
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kit.notify_server import NotifyServer
from kit.outboxes import line, outbox, told

from kobe.core.clock import NEW_YORK, SteppingClock
from kobe.core.errors import IntegrityError, UsageError
from kobe.core.messages import Severity
from kobe.infra.locks import Lease
from kobe.infra.outbox_rules import FIRST_PAUSE_S, LONGEST_PAUSE_S, Quiet, Rules, pause_s, rest_s
from kobe.infra.outbox_store import State

INFO, WARNING, URGENT = Severity.INFO, Severity.WARNING, Severity.URGENT


@pytest.fixture
def server():
    with NotifyServer() as one:
        yield one
        one.released.set()


@pytest.fixture
def clock():
    return SteppingClock(datetime(2026, 3, 5, 15, 0, tzinfo=UTC))


def states(box) -> list[str]:
    with box.store.work() as out:
        return [d.state.value for d in out.of_state(*State)]


def test_a_key_is_told_once_and_each_channel_takes_from_its_own_severity_on(tmp_path, server, clock):
    box = outbox(tmp_path, clock, server.url, ("telegram", "slack"))
    box = replace(box, lines={**box.lines, "slack": line(tmp_path, clock, server.url, "slack", Rules(least=URGENT))})
    assert box.deliver() == 0
    assert not box.store.exists
    assert box.tell(told("one"))
    assert not box.tell(told("one", title="other words"))
    assert box.tell(told("two", URGENT))
    assert box.deliver() == 0
    assert sorted(server.texts("telegram")) == ["*URGENT: two*", "*WARNING: one*"]
    assert server.texts("slack") == ["URGENT: two"]
    assert box.deliver() == 0
    assert server.requests == 3


def test_a_refusal_is_a_dead_letter_until_a_person_sends_it_again_or_drops_it(tmp_path, server, clock):
    box = outbox(tmp_path, clock, server.url)
    server.faults += ["400", "400"]
    for key in ("one", "two"):
        box.tell(told(key))
        assert box.deliver() == 0
    assert [d.why[:18] for d in box.dead()] == ["never: status 400:"] * 2
    first, second = (d.id for d in box.dead())
    assert [d.id for d in box.settle_dead([first], retry=True)] == [first]
    assert [d.id for d in box.settle_dead([first, second], retry=False)] == [second]
    assert box.deliver() == 0
    assert server.texts("telegram") == ["*WARNING: one*"]


@pytest.mark.parametrize("fault", ["drop", "hang", "bad gateway"])
def test_what_may_have_arrived_is_repeated_only_where_that_is_marked_or_harmless(fault, tmp_path, server, clock):
    box = outbox(tmp_path, clock, server.url, ("telegram", "webhook"))
    for severity in (URGENT, WARNING, INFO):
        server.faults += [fault, fault]
        box.tell(told(severity.word, severity))
        box.deliver()
        clock.advance(seconds=3700)
        while box.deliver():
            clock.advance(seconds=3700)
    assert sorted(server.texts("telegram")) == sorted(
        ["*URGENT: urgent*", "*\\(maybe again\\) URGENT: urgent*", "*WARNING: warning*", "*info*"]
    )
    hooked = [t.headers["Idempotency-Key"] for t in server.taken if t.service == "hook"]
    assert sorted(hooked) == ["info", "info", "urgent", "urgent", "warning", "warning"]
    assert [(d.channel, d.message.key, d.why.split(":")[0]) for d in box.dead()] == [
        ("telegram", "warning", "unknown"), ("telegram", "info", "unknown"),
    ]  # fmt: skip
    box.settle_dead([d.id for d in box.dead()], retry=True)
    assert box.deliver() == 0
    assert "*\\(maybe again\\) WARNING: warning*" in server.texts("telegram")


def test_a_failure_between_two_parts_sends_none_of_them_twice(tmp_path, server, clock):
    box = outbox(tmp_path, clock, server.url)
    words = tuple(f"word{k}" for k in range(1500))
    box.tell(told("long", lines=words))
    server.faults += ["", "503"]
    assert box.deliver() == 1
    clock.advance(seconds=60)
    assert box.deliver() == 0
    assert " ".join(server.texts("telegram")).split() == ["*WARNING:", "long*", *words]


def test_a_service_that_asks_for_time_gets_it_and_growing_pauses_follow_failures(tmp_path, server, clock):
    box = outbox(tmp_path, clock, server.url)
    server.faults += ["429 120"]
    box.tell(told("one"))
    assert box.deliver() == 1
    box.tell(told("two", URGENT))
    for seconds, waiting in ((0, 2), (118, 2), (2, 0)):
        clock.advance(seconds=seconds)
        assert box.deliver() == waiting
    assert server.requests == 3


def test_the_breaker_opens_after_three_failures_and_lets_one_probe_through(tmp_path, server, clock):
    box = outbox(tmp_path, clock, server.url, rules=Rules(error_budget=100))
    server.faults += ["503"] * 4
    for k in range(6):
        box.tell(told(f"m{k}"))
    for _ in range(4):
        box.deliver()
    assert server.requests == 3
    assert box.standings()["telegram"].health.failures == 3
    clock.advance(seconds=61)
    box.deliver()
    assert server.requests == 4
    clock.advance(seconds=61)
    box.deliver()
    assert server.requests == 4
    clock.advance(seconds=61)
    assert box.deliver() == 0
    assert server.requests == 10
    assert box.standings()["telegram"].health.failures == 0


def test_a_spent_error_budget_keeps_the_channel_for_what_matters(tmp_path, server, clock):
    box = outbox(tmp_path, clock, server.url, rules=Rules(error_budget=2))
    server.faults += ["503", "503"]
    box.tell(told("small", INFO))
    box.deliver()
    clock.advance(seconds=30)
    box.deliver()
    assert box.standings()["telegram"].budget_left == 0
    clock.advance(seconds=30)
    box.tell(told("matters"))
    assert box.deliver() == 1
    assert server.texts("telegram") == ["*WARNING: matters*"]
    clock.advance(seconds=3600)
    assert box.deliver() == 0


def test_the_rate_limit_holds_over_restarts(tmp_path, server, clock):
    for k in range(5):
        outbox(tmp_path, clock, server.url, rules=Rules(per_minute=3)).tell(told(f"m{k}"))
    assert outbox(tmp_path, clock, server.url, rules=Rules(per_minute=3)).deliver() == 2
    assert outbox(tmp_path, clock, server.url, rules=Rules(per_minute=3)).deliver() == 2
    clock.advance(seconds=41)
    assert outbox(tmp_path, clock, server.url, rules=Rules(per_minute=3)).deliver() == 0


def test_a_message_nobody_takes_is_given_up_after_its_time(tmp_path, server, clock):
    box = outbox(tmp_path, clock, server.url, patience=timedelta(hours=2), rules=Rules(error_budget=1000))
    server.faults += ["503"] * 1000
    box.tell(told("one"))
    for _ in range(40):
        clock.advance(seconds=600)
        box.deliver()
    (letter,) = box.dead()
    assert letter.why.startswith("given up: status 503")
    assert letter.changed - letter.since < timedelta(hours=4)


def test_in_quiet_hours_only_urgent_messages_leave(tmp_path, server, clock):
    box = outbox(tmp_path, clock, server.url, quiet=Quiet(begins=time(22), ends=time(7)))
    clock.set(datetime(2026, 3, 6, 23, 30, tzinfo=NEW_YORK))
    box.tell(told("wait"))
    box.tell(told("fire", URGENT))
    assert box.deliver() == 1
    clock.set(datetime(2026, 3, 7, 6, 59, tzinfo=NEW_YORK))
    assert box.deliver() == 1
    clock.set(datetime(2026, 3, 7, 7, 0, tzinfo=NEW_YORK))
    assert box.deliver() == 0
    assert server.texts("telegram") == ["*URGENT: fire*", "*WARNING: wait*"]


def test_small_messages_are_collected_into_one_and_pictures_are_not(tmp_path, server, clock):
    box = outbox(tmp_path, clock, server.url, rules=Rules(digest_s=1800))
    for k in range(3):
        box.tell(told(f"small{k}", INFO, lines=(f"about {k}",)))
        clock.advance(seconds=60)
    box.tell(told("seen", INFO, picture=b"png"))
    box.tell(told("matters"))
    assert box.deliver() == 3
    clock.advance(seconds=1800)
    assert box.deliver() == 0
    *first, digest = server.texts("telegram")
    assert sorted(first) == ["*WARNING: matters*", "*seen*"]
    assert digest.replace("\\", "").splitlines() == [
        "*3 messages*", "- small0", "  about 0", "- small1", "  about 1", "- small2", "  about 2",
    ]  # fmt: skip
    assert sorted(states(box)) == ["folded"] * 3 + ["sent"] * 3


def test_a_slow_channel_delays_no_other_and_a_broken_one_reaches_nobody(tmp_path, server, clock):
    class Broken:
        idempotent, lacks = False, ""

        def parts(self, message):
            return line(tmp_path, clock, server.url, "slack").channel.parts(message)

        def send(self, part, instant):
            raise RuntimeError("a defect")

    class Waiting(Broken):
        def send(self, part, instant):
            assert other_arrived.wait(10)
            raise TimeoutError

    import threading

    other_arrived = threading.Event()

    class Watched(Broken):
        def send(self, part, instant):
            reply = line(tmp_path, clock, server.url, "slack").channel.send(part, instant)
            other_arrived.set()
            return reply

    box = outbox(tmp_path, clock, server.url, ())
    lines = {kind.__name__: replace(line(tmp_path, clock, server.url, "slack"), channel=kind())
             for kind in (Waiting, Broken, Watched)}  # fmt: skip
    box = replace(box, lines=lines)
    assert box.tell(told("one"))
    assert box.deliver() == 0
    assert server.texts("slack") == ["WARNING: one"]
    assert {d.channel: d.why for d in box.dead()} == {
        "Waiting": "unknown: a fault in kobe (TimeoutError)", "Broken": "unknown: a fault in kobe (RuntimeError)",
    }  # fmt: skip


def test_a_channel_without_its_secret_keeps_its_messages_until_it_has_one(tmp_path, server, clock):
    mute = replace(line(tmp_path, clock, server.url, "telegram"))
    mute = replace(mute, channel=type(mute.channel)(replace(mute.channel._kit, secret="")))
    box = replace(outbox(tmp_path, clock, server.url), lines={"telegram": mute})
    box.tell(told("one"))
    assert box.deliver() == 1
    assert box.standings()["telegram"].lacks == "SECRET is not set"
    assert outbox(tmp_path, clock, server.url).deliver() == 0
    assert server.texts("telegram") == ["*WARNING: one*"]


def test_what_waits_for_a_channel_that_is_gone_becomes_a_dead_letter(tmp_path, server, clock):
    outbox(tmp_path, clock, server.url).tell(told("one"))
    clock.advance(seconds=25 * 3600)
    assert outbox(tmp_path, clock, server.url, ("slack",)).deliver() == 0
    (letter,) = outbox(tmp_path, clock, server.url, ("slack",)).dead()
    assert letter.why == "given up: no such channel in the settings any more"


def test_only_one_process_delivers_and_the_other_only_counts(tmp_path, server, clock):
    box = outbox(tmp_path, clock, server.url)
    box.tell(told("one"))
    with Lease(tmp_path / "locks", "notify", clock):
        assert box.deliver() == 1
        assert server.requests == 0
    assert box.deliver() == 0


def test_settled_messages_go_after_their_time_dead_letters_stay_and_keys_are_remembered(tmp_path, server, clock):
    box = outbox(tmp_path, clock, server.url)
    server.faults += ["400"]
    for key in ("dead", "sent"):
        box.tell(told(key, picture=b"png"))
        box.deliver()
    clock.advance(seconds=31 * 86_400)
    box.tell(told("later"))
    box.deliver()
    with box.store.work() as out:
        kept = {d.message.key: d.message.picture for d in out.of_state(*State)}
    assert kept == {"dead": b"png", "later": None}
    assert not box.tell(told("sent"))
    clock.advance(seconds=400 * 86_400)
    box.tell(told("much later"))
    box.deliver()
    assert box.tell(told("sent"))


def test_a_message_for_no_channel_is_kept_and_any_text_can_be_told(tmp_path, server, clock):
    box = outbox(tmp_path, clock, server.url, ())
    assert box.tell(told("odd \ud800 key", title="\x00 \ud800", lines=("'); DROP TABLE messages; --",)))
    assert box.deliver() == 0
    with box.store.work() as out:
        ((_, kept),) = out.latest(5)
    assert kept.lines == ("'); DROP TABLE messages; --",)
    with pytest.raises(UsageError, match="no such channel"):
        box.tell_now(told("two"), ["fax"])


def test_a_damaged_file_is_named_as_such(tmp_path, clock):
    (tmp_path / "outbox.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(IntegrityError, match="outbox"):
        outbox(tmp_path, clock, "").tell(told("one"))


@given(st.integers(1, 60), st.none() | st.floats(0, 7200), st.randoms(use_true_random=False))
def test_pauses_grow_stay_bounded_and_never_undercut_what_was_asked(tries, asked, rng):
    paused = pause_s(tries, asked, random.Random(rng.random()))
    assert max(FIRST_PAUSE_S / 2, asked or 0) <= paused <= max(LONGEST_PAUSE_S, asked or 0)
    assert rest_s(tries, asked) <= rest_s(tries + 1, asked)
    assert rest_s(tries, asked) >= (asked or 0)


@given(st.times(), st.times(), st.integers(0, 2 * 365 * 86_400))
def test_quiet_hours_are_new_york_s_through_both_changes_of_the_clock(begins, ends, seconds):
    instant = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    at = instant.astimezone(NEW_YORK).time()
    inside = begins <= at < ends if begins <= ends else not ends <= at < begins
    assert Quiet(begins=begins, ends=ends).holds(instant) == inside
