"""A reload tightens what bounds money and loosens nothing."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kobe.app.config import flatten
from kobe.app.day.reload import FIXED, TIGHTER, tightened
from kobe.app.settings import Settings


def changed(**sections):
    told = Settings().model_dump()
    for name, values in sections.items():
        told[name] |= values
    return Settings.model_validate(told)


def test_every_bound_of_money_is_in_one_of_the_two_tables():
    bounds = {k for k in flatten(Settings().model_dump()) if k.partition(".")[0] in ("risk", "breakers", "exits")}
    assert bounds <= set(TIGHTER)
    assert set(TIGHTER) <= set(flatten(Settings().model_dump()))
    assert set(FIXED) <= set(Settings.model_fields)


def test_a_tighter_limit_is_taken_a_looser_one_is_not_and_both_are_said():
    new = changed(risk={"day_max_usd": Decimal(500), "order_max_usd": Decimal(100)}, scan={"top": 5})
    taken, said, refused = tightened(Settings(), new)
    assert (taken.risk.day_max_usd, taken.risk.order_max_usd, taken.scan.top) == (Decimal(500), Decimal(75), 5)
    assert said == ["risk.day_max_usd = 500", "scan.top = 5"]
    assert refused == ["risk.order_max_usd = 100 is looser than 75"]


@pytest.mark.parametrize(
    "change", [{"run": {"mode": "live"}}, {"broker": {"account_id": "x"}}, {"sim": {"cash_usd": 1}}]
)
def test_another_account_is_another_run(change):
    taken, said, refused = tightened(Settings(), changed(**change))
    assert taken == Settings()
    assert said == []
    assert refused == [f"{next(iter(change))} waits for a restart"]


@given(st.data())
def test_whatever_is_told_nothing_becomes_looser_and_telling_it_twice_changes_nothing_more(data):
    def drawn():
        day, streak = data.draw(st.integers(1, 2000)), data.draw(st.integers(1, 9))
        price, shorts = data.draw(st.integers(0, 20)), data.draw(st.booleans())
        return changed(
            risk={"day_max_usd": Decimal(day), "min_price_usd": Decimal(price), "allow_shorts": shorts},
            breakers={"losing_streak": streak},
        )

    old, new = drawn(), drawn()
    taken, _, _ = tightened(old, new)
    before, after = flatten(old.model_dump()), flatten(taken.model_dump())
    assert all(rule(before[key], after[key]) for key, rule in TIGHTER.items())
    assert tightened(taken, new)[0] == taken
