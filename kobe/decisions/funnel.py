"""Where every symbol of the universe went: one fate each, so that the counts sum to the universe."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kobe.core.panel import Panel
from kobe.core.types import Candidate
from kobe.features.table import FeatureTable
from kobe.strategies import STRATEGIES
from kobe.strategies.conditions import first_broken, shared_conditions
from kobe.strategies.spec import BaseParams

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


def fates(
    panel: Panel, features: FeatureTable, number: int, params: Mapping[str, BaseParams],
    candidates: Sequence[Candidate], told: Mapping[str, str],
) -> dict[str, str]:  # fmt: skip
    """Return the fate of every symbol.

    Args:
        panel: bars up to the session and none later.
        features: its feature table.
        number: the session.
        params: strategy id -> parameters.
        candidates: every signal of the session, rejected ones with their code.
        told: symbol -> fate of those that came as far as the ranking.
    """
    found = dict.fromkeys(panel.symbols, NO_BAR)
    rows = panel.rows_at(number)
    order = list(FATES)
    furthest = np.zeros(len(rows), dtype=np.int64)
    for base in params.values():
        rules = shared_conditions(panel, features, base, rows)
        codes = [order.index(rule.code) for rule in rules] + [order.index(NO_SETUP)]
        furthest = np.maximum(furthest, np.array(codes)[first_broken(rules)])
    for row, code in zip(rows, furthest, strict=True):
        found[panel.symbols[panel.symbol_of_row[row]]] = order[code]
    for c in candidates:
        if c.rejection is not None:
            here = found[c.signal.symbol]
            found[c.signal.symbol] = max(here, c.rejection, key=order.index)
    return found | dict(told)


def counts(fate: Mapping[str, str]) -> dict[str, int]:
    """Return how many symbols met each fate, in the order of FATES."""
    found = Counter(fate.values())
    return {code: found[code] for code in FATES if found[code]}


def seen(
    panel: Panel, features: FeatureTable, number: int, params: Mapping[str, BaseParams], picks: Sequence[Candidate]
) -> dict[str, list[dict[str, Any]]]:
    """Return, per pick, what its strategy looked at: every rule with its value and bound."""
    rows = panel.rows_at(number)
    of = {panel.symbols[panel.symbol_of_row[row]]: row for row in rows}
    found = {}
    for c in picks:
        rules = STRATEGIES[c.signal.strategy].conditions
        if rules is not None:
            row = np.array([of[c.signal.symbol]], dtype=np.int64)
            told = rules(panel, features, params[c.signal.strategy], row)
            found[c.signal.signal_id] = [
                {"code": r.code, "label": r.label, "observed": float(r.observed[0]), "sense": r.sense,
                 "limit": float(r.limit[0])} for r in told
            ]  # fmt: skip
    return found


def near_misses(
    panel: Panel, features: FeatureTable, number: int, params: Mapping[str, BaseParams], count: int
) -> list[dict[str, Any]]:
    """Return the symbols that break exactly one rule of a setup by little: what to watch tomorrow.

    Sorted by how near they are, then by symbol; each says what it lacked, and the close that would have been enough
    where a close alone would.
    """
    rows = panel.rows_at(number)
    found: list[dict[str, Any]] = []
    for name, base in params.items():
        rules = STRATEGIES[name].conditions
        if rules is None or not len(rows):
            continue
        told = rules(panel, features, base, rows)
        broken = np.sum([~rule.met for rule in told], axis=0)
        for rule in told:
            miss = rule.miss()
            near = np.flatnonzero((broken == 1) & ~rule.met & np.isfinite(miss)).tolist()
            found += [
                {
                    "symbol": panel.symbols[panel.symbol_of_row[rows[k]]], "strategy": name, "code": rule.code,
                    "lacks": rule.label, "observed": float(rule.observed[k]), "sense": rule.sense,
                    "limit": float(rule.limit[k]), "miss": float(miss[k]),
                    "close_for": None if np.isnan(rule.close_for[k]) else float(rule.close_for[k]),
                }
                for k in near
            ]  # fmt: skip
    return sorted(found, key=lambda f: (f["miss"], f["symbol"], f["strategy"]))[:count]
