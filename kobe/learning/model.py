"""The meta-model as kobe runs it: plain numbers in a JSON card, no code to load and nothing to unpickle.

The scikit-learn pipeline it came from is kept beside it (skops) for audit; `train` proves both give the same
probabilities before a card is written.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from kobe.core.errors import ModelError
from kobe.core.panel import Floats
from kobe.learning.dataset import FEATURE_COLUMNS, SCHEMA_HASH

BASE_RATE, LOGISTIC = "base_rate", "logistic"
LEAST_GATE, GATE_MARGIN = 0.60, 0.02  # DOMAIN D19


@dataclass(frozen=True, kw_only=True)
class Logistic:
    """Imputer, scaler, logistic regression and calibrator as arrays over the feature columns.

    `indicators` are the columns whose being unknown is an input of its own, after the features.
    """

    medians: tuple[float, ...]
    indicators: tuple[int, ...]
    means: tuple[float, ...]
    scales: tuple[float, ...]
    coefficients: tuple[float, ...]
    intercept: float
    sigmoid: tuple[float, float] | None

    def probability(self, matrix: Floats) -> Floats:
        """Return P(net win) per row of the feature matrix."""
        unknown = np.isnan(matrix)
        filled = np.where(unknown, np.array(self.medians), matrix)
        inputs = np.column_stack([filled, unknown[:, list(self.indicators)].astype(np.float64)])
        scaled = (inputs - np.array(self.means)) / np.array(self.scales)
        score = scaled @ np.array(self.coefficients) + self.intercept
        if self.sigmoid is not None:
            a, b = self.sigmoid
            score = -(a * score + b)
        result: Floats = 1.0 / (1.0 + np.exp(-score))
        return result


@dataclass(frozen=True, kw_only=True)
class StrategyRecord:
    """Out-of-sample record of one strategy up to the model's evidence: for gates and the base rate."""

    trades: int
    wins: int
    average_win_r: float
    average_loss_r: float

    @property
    def base_rate(self) -> float:
        """Win rate shrunk toward one half by ten trades on each side."""
        return (self.wins + 10.0) / (self.trades + 20.0)

    @property
    def gate(self) -> float:
        """Least probability worth acting on: max(0.60, break-even + 0.02) (D19)."""
        edge = self.average_win_r + self.average_loss_r
        break_even = self.average_loss_r / edge if edge > 0 else 1.0
        return max(LEAST_GATE, break_even + GATE_MARGIN)


@dataclass(frozen=True, kw_only=True)
class MetaModel:
    """What the scan asks for probabilities.

    Attributes:
        kind: `base_rate` or `logistic`.
        records: by strategy.
        strategy_params: parameters chosen for the sessions after the evidence, by strategy.
        logistic: None for the base rate.
        schema_hash: digest of the feature columns it was made for.
    """

    kind: str
    records: dict[str, StrategyRecord]
    strategy_params: dict[str, dict[str, Any]]
    logistic: Logistic | None
    schema_hash: str = SCHEMA_HASH

    def probability(self, matrix: Floats, strategies: list[str]) -> Floats:
        """Return P(net win) per row; NaN for a strategy without a record."""
        if self.logistic is not None:
            return self.logistic.probability(matrix)
        rates = {name: r.base_rate for name, r in self.records.items()}
        return np.array([rates.get(s, np.nan) for s in strategies], dtype=np.float64)

    def gate(self, strategy: str) -> float:
        """Return the least probability to act on; above 1 for a strategy without a record."""
        record = self.records.get(strategy)
        return record.gate if record else 1.01

    def expected_r(self, strategy: str, probability: float) -> float | None:
        """Return the expected net R of a trade with this probability, from the strategy's average win and loss."""
        record = self.records.get(strategy)
        if record is None:
            return None
        return probability * record.average_win_r - (1.0 - probability) * record.average_loss_r


def to_json(model: MetaModel) -> dict[str, Any]:
    """Return a model as JSON-ready values."""
    return asdict(model)


def from_json(document: dict[str, Any]) -> MetaModel:
    """Rebuild a model.

    Raises:
        ModelError: the card is malformed, or made for other feature columns than this version computes.
    """
    try:
        given = document["logistic"]
        logistic = None
        if given is not None:
            sigmoid = tuple(given["sigmoid"]) if given["sigmoid"] else None
            arrays = {k: tuple(v) for k, v in given.items() if isinstance(v, list) and k != "sigmoid"}
            logistic = Logistic(**arrays, intercept=float(given["intercept"]), sigmoid=sigmoid)
        model = MetaModel(
            kind=document["kind"],
            records={name: StrategyRecord(**r) for name, r in document["records"].items()},
            strategy_params=document["strategy_params"],
            logistic=logistic,
            schema_hash=document["schema_hash"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError("the model card is malformed", seen=error, next_command="kobe train-meta") from error
    if model.schema_hash != SCHEMA_HASH:
        raise ModelError(
            "the model was made for other features",
            seen=model.schema_hash,
            expected=f"{SCHEMA_HASH} ({len(FEATURE_COLUMNS)} columns)",
            next_command="kobe train-meta",
        )
    return model
