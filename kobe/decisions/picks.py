"""Picks as rows: what `daily_picks` and `trade_of_day` hold, the same in JSONL and CSV."""

from typing import Any

from kobe.core.types import Candidate
from kobe.decisions.scan import Scan
from kobe.learning.dataset import FEATURE_COLUMNS

COLUMNS = (
    "signal_date", "valid_session", "rank", "symbol", "strategy", "side", "probability", "gate", "passes_gate",
    "expected_r", "reference_close", "raw_close", "stop", "target", "atr", "score", "adv_usd", "signal_id",
    "params_hash", "model_id", "data_digest", "banners", *(f"feature_{name}" for name in FEATURE_COLUMNS),
    "sentiment", "headlines",
)  # fmt: skip
"""What `daily_picks` holds of each; sentiment and headlines are put beside a pick where it is written."""


def pick_row(scan: Scan, candidate: Candidate) -> dict[str, Any]:
    """Return one pick as flat JSON-ready values; prices are split-adjusted dollars unless named raw."""
    s = candidate.signal
    row: dict[str, Any] = {
        "signal_date": s.signal_date.isoformat(),
        "valid_session": s.valid_session.isoformat(),
        "rank": candidate.rank,
        "symbol": s.symbol,
        "strategy": s.strategy,
        "side": s.side.value,
        "probability": candidate.probability,
        "gate": candidate.gate,
        "passes_gate": candidate.probability is not None and candidate.probability >= candidate.gate,
        "expected_r": candidate.expected_r,
        "reference_close": s.reference_close,
        "raw_close": candidate.raw_close,
        "stop": s.stop,
        "target": s.target,
        "atr": s.atr,
        "score": s.score,
        "adv_usd": candidate.adv_usd,
        "signal_id": s.signal_id,
        "params_hash": s.params_hash,
        "model_id": candidate.model_id,
        "data_digest": scan.data_digest,
        "banners": " | ".join(scan.banners),
    }
    return row | {f"feature_{name}": value for name, value in candidate.features.items()}


def pick_rows(scan: Scan) -> list[dict[str, Any]]:
    """Return the picks in rank order."""
    return [pick_row(scan, c) for c in scan.picks]


def trade_of_day_row(scan: Scan) -> dict[str, Any]:
    """Return the decision of the day: the chosen pick, or an empty one with the reason."""
    decision = {"action": "trade" if scan.trade_of_day else "no_trade", "reason": scan.reason}
    if scan.trade_of_day is None:
        return {
            "signal_date": scan.session.isoformat(), "valid_session": scan.valid_session.isoformat(),
            **decision, "symbol": None, "signal_id": None, "model_id": scan.model_id, "data_digest": scan.data_digest,
        }  # fmt: skip
    return pick_row(scan, scan.trade_of_day) | decision
