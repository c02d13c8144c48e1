"""The scan of one session: the strategies' last row, scored, ranked, and the trade of the day or why there is none."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt

from kobe.core.errors import StaleDataError
from kobe.core.panel import Panel
from kobe.core.types import Candidate, Signal
from kobe.core.units import to_decimal
from kobe.decisions import rank
from kobe.execution.rounding import buy_limit
from kobe.features.table import FeatureTable
from kobe.learning.dataset import FEATURE_COLUMNS, feature_matrix
from kobe.learning.model import MetaModel
from kobe.risk.facts import Limits
from kobe.risk.sizing import size_at
from kobe.strategies import STRATEGIES
from kobe.strategies.spec import BaseParams

UNAFFORDABLE, NO_PROBABILITY = "unaffordable_at_order_cap", "no_model"
HeldBack = Callable[[Panel, npt.NDArray[np.int64]], list[str | None]]


@dataclass(frozen=True, kw_only=True)
class Scan:
    """What the market said at the close of a session.

    Attributes:
        session: the signal date; everything here is known at its close.
        valid_session: when an order for it may be sent.
        candidates: every signal, rejected ones with their code.
        ranked: those that may be traded, best first.
        picks: the Top-N.
        trade_of_day: the pick to act on, or None.
        reason: why it was chosen, or why there is none.
        funnel: symbol counts by what became of them; they sum to the universe.
        model_id: the champion as of the session, or None.
        data_digest: digest of the bars up to the session and nothing later.
    """

    session: date
    valid_session: date
    candidates: tuple[Candidate, ...]
    ranked: tuple[Candidate, ...]
    picks: tuple[Candidate, ...]
    trade_of_day: Candidate | None
    reason: str
    funnel: dict[str, int]
    model_id: str | None
    data_digest: str
    banners: tuple[str, ...]


def run(
    panel: Panel,
    session: date,
    *,
    model: tuple[str, MetaModel] | None,
    params: Mapping[str, BaseParams],
    limits: Limits,
    count: int = 3,
    ensure_top: bool = True,
    market_symbol: str = "SPY",
    held_back: HeldBack | None = None,
) -> Scan:
    """Scan a session; bars after it are cut off before anything is computed.

    Args:
        panel: any history that reaches the session.
        session: the signal date.
        model: id and champion as of the session; None leaves every probability unknown, and nothing is traded.
        params: strategy id -> parameters.
        limits: for affordability at the order cap.
        count: how many picks.
        ensure_top: fill the picks from the other strategy when one is short; never lowers the gate.
        market_symbol: whose bars describe the market.
        held_back: gives, for signal rows, why an entry is refused although the signal stands, or None; asked of the
            cut panel.

    Raises:
        StaleDataError: the store's last bar is older than the session.
    """
    number = panel.calendar.number(session)
    past = panel.until(number)
    if past.last_session < number:
        newest = panel.calendar.sessions[past.last_session] if len(past) else "no bar"
        raise StaleDataError(
            "no bars for the session",
            seen=f"newest bar {newest}",
            expected=session,
            next_command="kobe data import FILE",
        )
    features = FeatureTable(past, market_symbol)
    candidates = [c for name in params for c in _candidates(past, features, number, name, params[name], model, limits)]
    if held_back is not None:
        candidates = _without(past, number, candidates, held_back)
    order = rank.ranked(candidates)
    picks = rank.top(order, count, fill=ensure_top)
    chosen, reason = trade_of_day(picks, candidates, has_model=model is not None)
    return Scan(
        session=session, valid_session=panel.calendar.next(session), candidates=tuple(candidates), ranked=tuple(order),
        picks=tuple(picks), trade_of_day=chosen, reason=reason, funnel=_funnel(past, number, candidates),
        model_id=model[0] if model else None, data_digest=past.digest, banners=past.banners,
    )  # fmt: skip


def _without(past: Panel, number: int, candidates: list[Candidate], held_back: HeldBack) -> list[Candidate]:
    """Mark the candidates whose entry is refused; a code given earlier stays."""
    rows = {past.symbols[past.symbol_of_row[row]]: row for row in past.rows_at(number)}
    why = held_back(past, np.array([rows[c.signal.symbol] for c in candidates], dtype=np.int64))
    return [replace(c, rejection=c.rejection or code) for c, code in zip(candidates, why, strict=True)]


def _candidates(
    panel: Panel,
    features: FeatureTable,
    number: int,
    name: str,
    params: BaseParams,
    model: tuple[str, MetaModel] | None,
    limits: Limits,
) -> list[Candidate]:
    table = STRATEGIES[name].signals(panel, features, params)
    here = np.flatnonzero(panel.session[table.row] == number)
    rows = table.row[here]
    matrix = feature_matrix(features, rows, [name] * len(rows))
    odds = np.full(len(rows), np.nan) if model is None else model[1].probability(matrix, [name] * len(rows))
    adv = features.column("adv_usd", 20)[rows]
    found = []
    for k, signal in enumerate(table.signals(panel, here)):
        raw = float(panel.close[rows[k]] * panel.raw_factor[rows[k]])
        found.append(_candidate(signal, raw, float(adv[k]), float(odds[k]), matrix[k], model, limits))
    return found


def _candidate(
    signal: Signal,
    raw_close: float,
    adv_usd: float,
    odds: float,
    values: Any,
    model: tuple[str, MetaModel] | None,
    limits: Limits,
) -> Candidate:
    known = None if model is None or np.isnan(odds) else odds
    price = to_decimal(round(raw_close, 6))
    affordable = size_at(buy_limit(price), limits, Decimal(10**9)).quantity > 0
    inputs = zip(FEATURE_COLUMNS, values, strict=True)
    return Candidate(
        signal=signal,
        probability=known,
        gate=model[1].gate(signal.strategy) if model else 1.01,
        expected_r=None if known is None or model is None else model[1].expected_r(signal.strategy, known),
        model_id=model[0] if model else None,
        adv_usd=adv_usd,
        raw_close=raw_close,
        rank=0,
        features={name: None if np.isnan(v) else float(v) for name, v in inputs},
        rejection=None if affordable else UNAFFORDABLE,
    )


def trade_of_day(
    picks: list[Candidate], candidates: Sequence[Candidate], *, has_model: bool
) -> tuple[Candidate | None, str]:
    """Return the pick with the highest probability at or above its gate, and why; or None and why not."""
    if not candidates:
        return None, "no_signal: no strategy fired"
    if not picks:
        counts = Counter(str(c.rejection) for c in candidates)
        told = ", ".join(f"{n} {code}" for code, n in sorted(counts.items()))
        return None, f"{counts.most_common(1)[0][0]}: every signal is refused ({told})"
    if not has_model:
        return None, f"{NO_PROBABILITY}: no model was promoted on evidence up to this session"
    passing = [c for c in picks if c.probability is not None and c.probability >= c.gate]
    if not passing:
        best = picks[0]
        return None, f"below_gate: best probability {best.probability or 0:.3f}, gate {best.gate:.3f}"
    best = min(passing, key=rank.order_key)
    return best, f"probability {best.probability:.3f} at or above the gate {best.gate:.3f}"


def _funnel(panel: Panel, number: int, candidates: list[Candidate]) -> dict[str, int]:
    by_symbol: dict[str, list[Candidate]] = {}
    for c in candidates:
        by_symbol.setdefault(c.signal.symbol, []).append(c)
    fates = [
        "candidate" if any(c.rejection is None for c in mine) else str(mine[0].rejection) for mine in by_symbol.values()
    ]
    here = panel.session == number
    traded, barred = int(here.sum()), int((here & ~panel.tradable).sum())
    counts = Counter(fates)
    counts["no_bar"] = len(panel.symbols) - traded
    counts["no_signal"] = traded - barred - len(by_symbol)
    if barred:
        counts["not_tradable"] = barred
    return dict(sorted(counts.items()))
