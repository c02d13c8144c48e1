"""Order, quota and fill of the picks, and what makes two of them one bet."""

from datetime import date

import numpy as np
import pytest
from kit import panels

from kobe.core.types import Candidate, Side, Signal
from kobe.decisions import scan
from kobe.decisions.rank import ranked, top
from kobe.decisions.spread import CORRELATED, CORRELATION_UNKNOWN, SECTOR_FULL, Spread

DAY, NEXT = date(2024, 12, 12), date(2024, 12, 13)
SHORT = {"i": "ibs_rsi", "t": "turtle_soup"}


def candidate(symbol: str, strategy: str = "i", p: float | None = 0.6, **more) -> Candidate:
    facts = {"score": 0.5, "adv_usd": 1e7, "rejection": None} | more
    signal = Signal(
        signal_id=f"{symbol}-{strategy}", strategy=SHORT[strategy], symbol=symbol, side=Side.LONG, signal_date=DAY,
        valid_session=NEXT, reference_close=50.0, stop=45.0, stop_distance=5.0, target=None, target_r=None, atr=2.5,
        score=facts["score"], params_hash="x",
    )  # fmt: skip
    return Candidate(
        signal=signal, probability=p, gate=0.6, expected_r=None, model_id=None, adv_usd=facts["adv_usd"],
        raw_close=50.0, rank=0, features={}, rejection=facts["rejection"],
    )  # fmt: skip


def names(candidates) -> list[str]:
    return [c.signal.symbol for c in candidates]


def of(*told: str) -> list[Candidate]:
    """Candidates from words like `Ai`: symbol A of ibs_rsi; earlier ones have the better probability."""
    return ranked([candidate(w[:-1], w[-1], 0.9 - 0.01 * k) for k, w in enumerate(told)])


def test_probability_comes_first_then_score_then_liquidity_then_symbol_then_strategy():
    given = [
        candidate("E", adv_usd=1e6), candidate("D", "t"), candidate("C", score=0.6), candidate("B", p=0.7),
        candidate("A", p=None), candidate("F", "i"), candidate("G", p=0.9, rejection="stand_down"),
    ]  # fmt: skip
    for order in (given, given[::-1]):
        found = ranked(order)
        assert names(found) == ["B", "C", "D", "F", "E", "A"]
        assert [c.rank for c in found] == [1, 2, 3, 4, 5, 6]


def test_a_symbol_wished_for_twice_keeps_its_best_wish():
    (kept,) = ranked([candidate("A", "i", 0.61), candidate("A", "t", 0.62)])
    assert kept.signal.strategy == "turtle_soup"
    (tied,) = ranked([candidate("A", "t"), candidate("A", "i")])
    assert tied.signal.strategy == "ibs_rsi"
    (left,) = ranked([candidate("A", "i", 0.9, rejection="earnings_near"), candidate("A", "t", 0.6)])
    assert left.signal.strategy == "turtle_soup"


@pytest.mark.parametrize(
    ("told", "count", "fill", "picked"),
    [
        ("Ai Bi Ci Dt Et Ft", 3, True, "A D E"),  # two of turtle soup and one of ibs_rsi, though B and C rank higher
        ("Ai Bi Ci Dt Et Ft", 3, False, "A D E"),
        ("Ai Bi Ci Dt", 3, True, "A B D"),  # one turtle is missing: the best of the rest
        ("Ai Bi Ci Dt", 3, False, "A D"),
        ("At Bt Ct Dt", 3, True, "A B C"),
        ("At Bt Ct Dt", 3, False, "A B"),
        ("Ai Bi Ct Dt Et Ft Gt Hi", 6, True, "A B C D E F"),
        ("Ai Bi Ct Dt Et", 2, True, "A C"),  # 4/3 and 2/3 rounded down: one turtle; then the best
        ("Ai Bi Ct Dt Et", 2, False, "C"),
        ("Ai Bt", 1, True, "A"),  # a single pick has no quota
        ("Ai Bt", 1, False, ""),
        ("", 3, True, ""),
    ],
)
def test_quota_then_fill(told, count, fill, picked):
    found = top(of(*told.split()), count, fill=fill)
    assert names(found) == picked.split()
    assert [c.rank for c in found] == sorted(c.rank for c in found)


def test_one_that_clashes_is_passed_over_and_the_next_has_its_chance():
    asked = []

    def clash(c, picked):
        asked.append((c.signal.symbol, names(picked)))
        return ("correlated", "") if c.signal.symbol == "E" and "D" in names(picked) else None

    assert names(top(of("Ai", "Bi", "Dt", "Et", "Ft"), 3, fill=True, clash=clash)) == ["A", "D", "F"]
    assert ("E", ["A", "D"]) in asked
    never = top(of("Ai", "Bt"), 3, fill=True, clash=lambda c, picked: ("sector_full", "") if picked else None)
    assert names(never) == ["A"]


def market() -> Spread:
    """A and B move together, C alone, N has existed for forty bars, F never moves."""
    rng = np.random.default_rng(1)
    moves = rng.normal(0, 0.02, (3, 120))
    moves[1] = moves[0] + rng.normal(0, 0.002, 120)
    walks = {s: panels.of_closes(50 * np.exp(np.cumsum(m))) for s, m in zip("ABC", moves, strict=True)}
    walks |= {"N": walks["A"].take(slice(80, None)), "M": walks["A"].take(slice(79, None)), "F": panels.flat(50.0, 120)}
    return Spread(panels.panel(walks), 0.7, {"A": "tech", "B": "tech", "C": "tech"}, 0)


def test_correlation_is_that_of_the_last_sixty_common_returns_and_forty_are_needed():
    spread = market()
    a, b = (np.diff(np.log(spread.panel[s].close[-61:])) for s in "AB")
    assert spread.correlation("A", "B") == pytest.approx(np.corrcoef(a, b)[0, 1], abs=1e-12)
    assert spread.correlation("A", "B") == spread.correlation("B", "A")
    assert spread.correlation("A", "F") == 0.0
    assert np.isnan(spread.correlation("A", "N"))
    assert spread.correlation("A", "M") == pytest.approx(1.0)
    code, detail = spread.clash(candidate("B"), [candidate("C"), candidate("A")])
    assert (code, detail.split()[-4]) == (CORRELATED, "A,")
    assert spread.clash(candidate("N"), [candidate("A")])[0] == CORRELATION_UNKNOWN
    assert spread.clash(candidate("C"), [candidate("A"), candidate("B")]) is None
    assert spread.clash(candidate("B"), []) is None


def test_the_bound_itself_is_one_bet_and_one_turns_it_off():
    spread = market()
    rho = spread.correlation("A", "B")
    for bound, clashes in ((rho, True), (np.nextafter(rho, 2.0), False)):
        judge = Spread(spread.panel, float(bound))
        assert (judge.clash(candidate("B"), [candidate("A")]) is not None) == clashes
    assert Spread(spread.panel, 1.0).clash(candidate("N"), [candidate("A")]) is None


def test_a_sector_holds_so_many_picks_and_a_symbol_without_one_is_in_none():
    panel = market().panel
    judge = Spread(panel, 1.0, {"A": "tech", "B": "tech", "C": "tech"}, 2)
    assert judge.clash(candidate("C"), [candidate("A")]) is None
    assert judge.clash(candidate("C"), [candidate("A"), candidate("B")])[0] == SECTOR_FULL
    assert judge.clash(candidate("F"), [candidate("M"), candidate("N")]) is None
    assert Spread(panel, 1.0, judge.sectors, 0).clash(candidate("C"), [candidate("A"), candidate("B")]) is None


def test_signals_without_a_place_are_not_called_refused():
    ordered = ranked([candidate("A", "i", 0.9)])
    picks = top(ordered, 1, fill=False)
    assert picks == []
    assert scan.trade_of_day(picks, ordered, has_model=True)[1].startswith("no_place")


def test_of_two_that_clash_the_better_one_stays_whatever_the_quota():
    best, worse = candidate("BEST", "i", 0.9), candidate("WORSE", "t", 0.7)

    def clash(one, picked):
        return (CORRELATED, "") if picked else None

    for count in (1, 2, 3, 5):
        assert names(top(ranked([worse, best]), count, fill=True, clash=clash)) == ["BEST"]
