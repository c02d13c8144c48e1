"""Headlines beside the model: a bounded pull on the log-odds, never a share of the probability (DOMAIN D20)."""

import math

MOST_WEIGHT, REPORTED_WEIGHT = 0.4, 0.3


def blended(probability: float, tone: float, weight: float) -> float:
    """Return logit^-1(logit(p) + weight * tone); a stock without news keeps its probability exactly.

    Args:
        probability: of a net win, in [0, 1].
        tone: mean compound of the headlines, in [-1, 1]; 0 without any.
        weight: in [0, 0.4]; 0 in live until a holdout shows that it lowers the Brier score.

    Raises:
        ValueError: a weight or a tone outside its bounds.
    """
    if not 0.0 <= weight <= MOST_WEIGHT or not -1.0 <= tone <= 1.0:
        msg = f"a weight lies in [0, {MOST_WEIGHT}] and a tone in [-1, 1], got {weight} and {tone}"
        raise ValueError(msg)
    if weight == 0.0 or tone == 0.0 or probability in (0.0, 1.0):
        return probability
    odds = math.log(probability) - math.log1p(-probability) + weight * tone
    return 1.0 / (1.0 + math.exp(-odds)) if odds > 0 else math.exp(odds) / (1.0 + math.exp(odds))
