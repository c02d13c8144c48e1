"""What a session looked like to the strategies: all that a scan takes from bars, small enough to keep.

A view is a function of the bars up to its session and of parameters alone; a model, limits and choices come after it.
Working one out needs every indicator over the whole history; reading one back needs none (`to_bytes`, `from_bytes`).
"""

import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt

from kobe.core.panel import Floats, Panel
from kobe.core.types import Side, Signal
from kobe.features.table import FeatureTable
from kobe.learning.dataset import feature_matrix
from kobe.strategies import STRATEGIES
from kobe.strategies.conditions import Condition
from kobe.strategies.spec import BaseParams

_ARRAYS = ("observed", "limit", "met", "close_for")


@dataclass(frozen=True, kw_only=True)
class StrategyView:
    """One strategy at the session's close.

    Attributes:
        signals: what fired, in symbol order.
        matrix: float64[signals, FEATURE_COLUMNS], the model's inputs; NaN where unknown.
        conditions: the rules one by one over `SessionView.here`, shared ones first; empty where it cannot tell.
    """

    signals: tuple[Signal, ...]
    matrix: Floats
    conditions: tuple[Condition, ...]


@dataclass(frozen=True, kw_only=True)
class SessionView:
    """A session as the strategies saw it.

    Attributes:
        symbols: every symbol with a bar up to the session.
        here: those with a bar in it.
        raw_close, adv_usd: float64[here].
        strategies: by name.
        data_digest: of the bars up to the session.
        bars: symbol -> digest of its own bars up to the session, to say later whose past is told otherwise.
    """

    session: date
    valid_session: date
    symbols: tuple[str, ...]
    here: tuple[str, ...]
    raw_close: Floats
    adv_usd: Floats
    strategies: dict[str, StrategyView]
    data_digest: str
    bars: dict[str, str]
    banners: tuple[str, ...]


def observe(past: Panel, number: int, params: Mapping[str, BaseParams], market_symbol: str) -> SessionView:
    """Work a view out.

    Args:
        past: bars up to the session and none later.
        number: the session.
        params: strategy id -> parameters.
        market_symbol: whose bars describe the market.
    """
    features = FeatureTable.of(past, market_symbol)
    rows = past.rows_at(number)
    session = past.calendar.sessions[number]
    strategies = {name: _strategy(past, features, number, rows, name, params[name]) for name in params}
    return SessionView(
        session=session, valid_session=past.calendar.next(session), symbols=past.symbols,
        here=tuple(past.symbols[k] for k in past.symbol_of_row[rows]),
        raw_close=past.close[rows] * past.raw_factor[rows], adv_usd=features.column("adv_usd", 20)[rows],
        strategies=strategies,
        data_digest=past.digest, bars=past.digests_by_symbol(), banners=past.banners,
    )  # fmt: skip


def _strategy(
    past: Panel, features: FeatureTable, number: int, rows: npt.NDArray[np.int64], name: str, params: BaseParams
) -> StrategyView:
    strategy = STRATEGIES[name]
    table = strategy.signals(past, features, params)
    fired = np.flatnonzero(past.session[table.row] == number)
    matrix = feature_matrix(features, table.row[fired], [name] * len(fired))
    told = () if strategy.conditions is None else tuple(strategy.conditions(past, features, params, rows))
    return StrategyView(signals=tuple(table.signals(past, fired)), matrix=matrix, conditions=told)


def to_bytes(view: SessionView) -> bytes:
    """Return a view as an npz archive of plain arrays and one JSON text."""
    arrays: dict[str, Any] = {"raw_close": view.raw_close, "adv_usd": view.adv_usd}
    meta: dict[str, Any] = {
        "session": str(view.session), "valid_session": str(view.valid_session), "symbols": view.symbols,
        "here": view.here, "data_digest": view.data_digest, "bars": view.bars, "banners": view.banners,
        "strategies": {},
    }  # fmt: skip
    for name, seen in view.strategies.items():
        arrays[f"{name}/matrix"] = seen.matrix
        rules = [
            {"code": rule.code, "label": rule.label, "sense": rule.sense, "scale": str(rule.scale)}
            for rule in seen.conditions
        ]
        if rules:
            arrays |= {f"{name}/{c}": np.stack([getattr(rule, c) for rule in seen.conditions]) for c in _ARRAYS}
        signals = [asdict(s) for s in seen.signals]
        meta["strategies"][name] = {"signals": signals, "rules": rules}
    arrays["meta"] = np.frombuffer(json.dumps(meta, default=str).encode(), dtype=np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def from_bytes(content: bytes) -> SessionView:
    """Return what `to_bytes` wrote, equal in every digit.

    Raises:
        ValueError, KeyError: the content is not a view.
    """
    with np.load(io.BytesIO(content), allow_pickle=False) as held:
        arrays = {name: held[name] for name in held.files}
    meta = json.loads(arrays["meta"].tobytes())
    return SessionView(
        session=date.fromisoformat(meta["session"]), valid_session=date.fromisoformat(meta["valid_session"]),
        symbols=tuple(meta["symbols"]), here=tuple(meta["here"]), raw_close=arrays["raw_close"],
        adv_usd=arrays["adv_usd"], data_digest=meta["data_digest"], bars=meta["bars"], banners=tuple(meta["banners"]),
        strategies={name: _read(name, told, arrays) for name, told in meta["strategies"].items()},
    )  # fmt: skip


def _read(name: str, told: dict[str, Any], arrays: Mapping[str, Any]) -> StrategyView:
    rules = tuple(
        Condition(
            code=r["code"], label=r["label"], sense=r["sense"], scale=float(r["scale"]),
            **{column: arrays[f"{name}/{column}"][k] for column in _ARRAYS},
        )
        for k, r in enumerate(told["rules"])
    )  # fmt: skip
    return StrategyView(
        signals=tuple(_signal(s) for s in told["signals"]), matrix=arrays[f"{name}/matrix"], conditions=rules
    )


def _signal(told: dict[str, Any]) -> Signal:
    days = {name: date.fromisoformat(told[name]) for name in ("signal_date", "valid_session")}
    return Signal(**{**told, **days, "side": Side(told["side"])})


def position(view: SessionView) -> dict[str, int]:
    """Return symbol -> its place in `here`."""
    return {symbol: k for k, symbol in enumerate(view.here)}
