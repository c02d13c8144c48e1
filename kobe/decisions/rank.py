"""Order candidates and fill the Top-3 by the soft quota (DOMAIN D1, D21)."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from kobe.core.types import Candidate

QUOTA: dict[str, int] = {"turtle_soup": 2, "ibs_rsi": 1}
Clash = Callable[[Candidate, Sequence[Candidate]], tuple[str, str] | None]


def order_key(candidate: Candidate) -> tuple[float, float, float, str, str]:
    """Sort key: probability, then score, then liquidity, all falling; then symbol and strategy, so ties are settled."""
    p = -1.0 if candidate.probability is None else candidate.probability
    return -p, -candidate.signal.score, -candidate.adv_usd, candidate.signal.symbol, candidate.signal.strategy


def ranked(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return the candidates that may be traded in order, ranks from 1; a symbol wished for twice keeps its best."""
    best: dict[str, Candidate] = {}
    for c in sorted((c for c in candidates if c.rejection is None), key=order_key):
        best.setdefault(c.signal.symbol, c)
    return [replace(c, rank=k + 1) for k, c in enumerate(best.values())]


def top(candidates: Sequence[Candidate], count: int, *, fill: bool, clash: Clash | None = None) -> list[Candidate]:
    """Return the picks: each strategy's quota in order, then, with `fill`, the best of the rest.

    With a count other than three the quota is scaled and rounded down; the rest is filled. A pick that clashes with
    better ones is passed over, and the places are given anew without it.
    """
    left = list(candidates)
    while True:
        picks = _places(left, count, fill=fill)
        worse = next((c for k, c in enumerate(picks) if clash is not None and clash(c, picks[:k])), None)
        if worse is None:
            return picks
        left.remove(worse)


def _places(candidates: Sequence[Candidate], count: int, *, fill: bool) -> list[Candidate]:
    room = {name: share * count // sum(QUOTA.values()) for name, share in QUOTA.items()}
    picked: list[Candidate] = []
    for c in candidates:
        if room.get(c.signal.strategy, 0) > 0:
            room[c.signal.strategy] -= 1
            picked.append(c)
    for c in candidates if fill else ():
        if len(picked) < count and c not in picked:
            picked.append(c)
    return sorted(picked, key=lambda c: c.rank)
