"""The scan of one session: the strategies' last row, scored, ranked, and the trade of the day or why there is none."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt

from kobe.core.errors import StaleDataError
from kobe.core.panel import Panel
from kobe.core.types import Candidate, Signal
from kobe.core.units import to_decimal
from kobe.decisions import funnel, rank
from kobe.decisions.spread import Spread
from kobe.decisions.view import SessionView, StrategyView, observe, position
from kobe.execution.rounding import buy_limit
from kobe.learning.blend import blended
from kobe.learning.dataset import FEATURE_COLUMNS
from kobe.learning.model import MetaModel
from kobe.risk.facts import Limits
from kobe.risk.sizing import halved, size_at
from kobe.strategies.spec import BaseParams

UNAFFORDABLE, NO_PROBABILITY, STAND_DOWN = "unaffordable_at_order_cap", "no_model", "stand_down"
HeldBack = Callable[[Panel, npt.NDArray[np.int64]], list[str | None]]
WATCHED = 10


@dataclass(frozen=True, kw_only=True)
class Choice:
    """How picks are chosen from candidates, and what is known besides bars.

    Attributes:
        count: how many picks.
        ensure_top: fill the picks from the other strategy when one is short; never lowers the gate.
        held_back: gives, for signal rows, why an entry is refused although the signal stands, or None; asked of the
            cut panel.
        stood_down: strategies that may not open anything.
        half_size: strategies whose orders may cost half as much; what half a cap does not buy is no pick.
        max_correlation, sectors, max_per_sector: see `Spread`.
        tones: symbol -> mean tone of the headlines known right before the close; missing: none.
        sentiment_weight: their pull on the log-odds (D20).
    """

    count: int = 3
    ensure_top: bool = True
    held_back: HeldBack | None = None
    stood_down: frozenset[str] = frozenset()
    half_size: frozenset[str] = frozenset()
    max_correlation: float = 1.0
    sectors: Mapping[str, str] = field(default_factory=dict)
    max_per_sector: int = 0
    tones: Mapping[str, float] = field(default_factory=dict)
    sentiment_weight: float = 0.0


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
        fates: what became of each symbol, by code of `funnel.FATES`.
        saw: signal id -> the rules of its strategy as they stood, for every pick.
        watch: near misses, nearest first.
        model_id: the champion as of the session, or None.
        data_digest: digest of the bars up to the session and nothing later.
        bars: symbol -> digest of its own bars.
    """

    session: date
    valid_session: date
    candidates: tuple[Candidate, ...]
    ranked: tuple[Candidate, ...]
    picks: tuple[Candidate, ...]
    trade_of_day: Candidate | None
    reason: str
    fates: dict[str, str]
    saw: dict[str, list[dict[str, Any]]]
    watch: tuple[dict[str, Any], ...]
    model_id: str | None
    data_digest: str
    bars: dict[str, str]
    banners: tuple[str, ...]

    @property
    def funnel(self) -> dict[str, int]:
        """How many symbols met each fate; they sum to the universe."""
        return funnel.counts(self.fates)


def cut(panel: Panel, session: date) -> tuple[Panel, int]:
    """Return the panel without anything later than a session, and the session's number.

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
    return past, number


def run(
    panel: Panel, session: date, *, model: tuple[str, MetaModel] | None, params: Mapping[str, BaseParams],
    limits: Limits, choice: Choice = Choice(), market_symbol: str = "SPY",
) -> Scan:  # fmt: skip
    """Scan a session; bars after it are cut off before anything is computed.

    Args:
        panel: any history that reaches the session.
        session: the signal date.
        model: id and champion as of the session; None leaves every probability unknown, and nothing is traded.
        params: strategy id -> parameters.
        limits: for affordability at the order cap.
        choice: how picks are chosen.
        market_symbol: whose bars describe the market.

    Raises:
        StaleDataError: the store's last bar is older than the session.
    """
    past, number = cut(panel, session)
    return choose(observe(past, number, params, market_symbol), past, model=model, limits=limits, choice=choice)


def choose(
    view: SessionView, past: Panel, *, model: tuple[str, MetaModel] | None, limits: Limits, choice: Choice
) -> Scan:
    """Make candidates of what a session showed, rank them, pick, and name the trade of the day.

    Args:
        view: the session.
        past: the bars it was made from.
        model: see `run`.
        limits: see `run`.
        choice: see `run`.
    """
    caps = {name: halved(limits) if name in choice.half_size else limits for name in view.strategies}
    candidates = [c for name, seen in view.strategies.items() for c in _candidates(view, name, seen, model, caps[name])]
    candidates = _with_tone(_without(past, view, candidates, choice), choice, model)
    order = rank.ranked(candidates)
    spread = Spread(past, choice.max_correlation, choice.sectors, choice.max_per_sector)
    picks = rank.top(order, choice.count, fill=choice.ensure_top, clash=spread.clash)
    chosen, reason = trade_of_day(picks, candidates, has_model=model is not None)
    return Scan(
        session=view.session, valid_session=view.valid_session, candidates=tuple(candidates), ranked=tuple(order),
        picks=tuple(picks), trade_of_day=chosen, reason=reason,
        fates=funnel.fates(view, candidates, _told(order, picks, chosen, spread)), saw=funnel.seen(view, picks),
        watch=tuple(funnel.near_misses(view, WATCHED)), model_id=model[0] if model else None,
        data_digest=view.data_digest, bars=view.bars, banners=view.banners,
    )  # fmt: skip


def _told(
    order: Sequence[Candidate], picks: Sequence[Candidate], chosen: Candidate | None, spread: Spread
) -> dict[str, str]:
    """Return the fate of every symbol that came as far as the ranking."""
    names = {c.signal.symbol for c in picks}
    told = {}
    for c in order:
        symbol = c.signal.symbol
        if chosen is not None and symbol == chosen.signal.symbol:
            told[symbol] = funnel.TRADE
        elif symbol in names:
            told[symbol] = funnel.PICK
        else:
            clash = spread.clash(c, [p for p in picks if p.rank < c.rank])
            told[symbol] = clash[0] if clash else funnel.OUTRANKED
    return told


def _without(past: Panel, view: SessionView, candidates: list[Candidate], choice: Choice) -> list[Candidate]:
    """Mark the candidates whose entry is refused; a code given earlier stays."""
    marked = [
        replace(c, rejection=c.rejection or (STAND_DOWN if c.signal.strategy in choice.stood_down else None))
        for c in candidates
    ]
    if choice.held_back is None:
        return marked
    rows = dict(zip(view.here, past.rows_at(past.calendar.number(view.session)).tolist(), strict=True))
    why = choice.held_back(past, np.array([rows[c.signal.symbol] for c in marked], dtype=np.int64))
    return [replace(c, rejection=c.rejection or code) for c, code in zip(marked, why, strict=True)]


def _with_tone(candidates: list[Candidate], choice: Choice, model: tuple[str, MetaModel] | None) -> list[Candidate]:
    """Let the headlines pull on the probabilities, as far as their weight goes."""
    if choice.sentiment_weight == 0.0 or model is None:
        return candidates

    def pulled(c: Candidate) -> Candidate:
        if c.probability is None:
            return c
        p = blended(c.probability, choice.tones.get(c.signal.symbol, 0.0), choice.sentiment_weight)
        return replace(c, probability=p, expected_r=model[1].expected_r(c.signal.strategy, p))

    return [pulled(c) for c in candidates]


def _candidates(
    view: SessionView, name: str, seen: StrategyView, model: tuple[str, MetaModel] | None, limits: Limits
) -> list[Candidate]:
    of, count = position(view), len(seen.signals)
    odds = np.full(count, np.nan) if model is None else model[1].probability(seen.matrix, [name] * count)
    return [
        _candidate(signal, float(view.raw_close[k]), float(view.adv_usd[k]), float(p), values, model, limits)
        for signal, p, values in zip(seen.signals, odds, seen.matrix, strict=True)
        for k in (of[signal.symbol],)
    ]


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
        if any(c.rejection is None for c in candidates):
            return None, "no_place: signals stand, and none has a place among the picks (quota, correlation or sector)"
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
