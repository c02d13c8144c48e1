"""Where every symbol of the universe went: one fate each, so that the counts sum to the universe."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kobe.core.types import Candidate
from kobe.decisions.view import SessionView, position
from kobe.strategies.conditions import first_broken

NO_BAR, NO_SETUP, OUTRANKED, PICK, TRADE = "no_bar", "no_setup", "outranked", "pick", "trade_of_day"

FATES: dict[str, str] = {
    NO_BAR: "no bar in the session",
    "not_tradable": "on hold, or not in the universe",
    "too_young": "too little history",
    "price_too_low": "raw price below the least",
    "too_illiquid": "dollar volume below the least, or unknown",
    "no_movement": "no true range",
    "below_trend": "not above its trend",
    NO_SETUP: "in the trend, no strategy's setup",
    "unaffordable_at_order_cap": "one share costs more than an order may",
    "against_regime": "the market is below its trend",
    "regime_unknown": "the market symbol has no bar to tell its trend by",
    "earnings_near": "an announcement is near",
    "earnings_unknown": "no earnings calendar speaks for it",
    "stand_down": "its strategy has drifted and stands down",
    "correlated": "one bet with a better pick",
    "correlation_unknown": "too few common returns with a better pick",
    "sector_full": "its sector is full",
    OUTRANKED: "a signal, others were better",
    PICK: "a pick",
    TRADE: "the trade of the day",
}
"""Code -> words, in the order a symbol meets them. A code that is not here is a fault."""


def fates(view: SessionView, candidates: Sequence[Candidate], told: Mapping[str, str]) -> dict[str, str]:
    """Return the fate of every symbol.

    Args:
        view: the session.
        candidates: every signal of it, rejected ones with their code.
        told: symbol -> fate of those that came as far as the ranking.
    """
    found = dict.fromkeys(view.symbols, NO_BAR)
    order = list(FATES)
    furthest = np.full(len(view.here), order.index("not_tradable"), dtype=np.int64)
    for seen in view.strategies.values():
        rules = [rule for rule in seen.conditions if rule.code in FATES]  # what every strategy asks
        codes = [order.index(rule.code) for rule in rules] + [order.index(NO_SETUP)]
        furthest = np.maximum(furthest, np.array(codes)[first_broken(rules)] if rules else order.index(NO_SETUP))
    for symbol, code in zip(view.here, furthest.tolist(), strict=True):
        found[symbol] = order[code]
    for c in candidates:
        if c.rejection is not None:
            found[c.signal.symbol] = max(found[c.signal.symbol], c.rejection, key=order.index)
    return found | dict(told)


def counts(fate: Mapping[str, str]) -> dict[str, int]:
    """Return how many symbols met each fate, in the order of FATES."""
    found = Counter(fate.values())
    return {code: found[code] for code in FATES if found[code]}


def seen(view: SessionView, picks: Sequence[Candidate]) -> dict[str, list[dict[str, Any]]]:
    """Return, per pick, what its strategy looked at: every rule with its value and bound."""
    of = position(view)
    return {
        c.signal.signal_id: [
            {"code": r.code, "label": r.label, "observed": float(r.observed[k]), "sense": r.sense,
             "limit": float(r.limit[k])}
            for k in (of[c.signal.symbol],)
            for r in view.strategies[c.signal.strategy].conditions
        ]
        for c in picks
    }  # fmt: skip


def near_misses(view: SessionView, count: int) -> list[dict[str, Any]]:
    """Return the symbols that break exactly one rule of a setup by little: what to watch tomorrow.

    Sorted by how near they are, then by symbol; each says what it lacked, and the close that would have been enough
    where a close alone would.
    """
    found: list[dict[str, Any]] = []
    for name, told in view.strategies.items():
        broken = np.sum([~rule.met for rule in told.conditions], axis=0)
        for rule in told.conditions:
            miss = rule.miss()
            found += [
                {
                    "symbol": view.here[k], "strategy": name, "code": rule.code, "lacks": rule.label,
                    "observed": float(rule.observed[k]), "sense": rule.sense, "limit": float(rule.limit[k]),
                    "miss": float(miss[k]),
                    "close_for": None if np.isnan(rule.close_for[k]) else float(rule.close_for[k]),
                }
                for k in np.flatnonzero((broken == 1) & ~rule.met & np.isfinite(miss)).tolist()
            ]  # fmt: skip
    return sorted(found, key=lambda f: (f["miss"], f["symbol"], f["strategy"]))[:count]
