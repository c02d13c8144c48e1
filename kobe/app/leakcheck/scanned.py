"""What the scan and the gates were told at a session, as cells."""

from decimal import Decimal

import numpy as np

from kobe.app.leakcheck.cells import Cells, of_rows
from kobe.app.leakcheck.stages import Stages
from kobe.decisions.scan import Scan
from kobe.learning.dataset import FEATURE_COLUMNS
from kobe.learning.model import LOGISTIC, Logistic, MetaModel, StrategyRecord
from kobe.risk.facts import Limits

SCAN_SESSIONS = 4
WIDE = Limits(order_usd=Decimal(100_000))  # so that nothing drops out for its price
FACTS = ("rank", "picked", "chosen", "probability", "expected_r", "adv_usd", "raw_close", "score", "stop_share")
SCAN_COLUMNS = (*FACTS, *FEATURE_COLUMNS)
GATE_COLUMNS = ("tradable", "raw_close", "adv_usd")


def fixed_model(strategies: list[str]) -> MetaModel:
    """Return a model that is the same in every world and listens to every feature, so that each can move a rank."""
    count = len(FEATURE_COLUMNS)
    rng = np.random.default_rng(count)
    none, one = (0.0,) * count, (1.0,) * count
    weights = tuple(float(w) for w in rng.normal(0.0, 0.05, count))
    card = Logistic(
        medians=none, indicators=(), means=none, scales=one, coefficients=weights, intercept=0.0, sigmoid=None
    )
    record = StrategyRecord(trades=100, wins=60, average_win_r=1.0, average_loss_r=0.8)
    return MetaModel(kind=LOGISTIC, records=dict.fromkeys(strategies, record), strategy_params={}, logistic=card)


def scan(stages: Stages, session: int) -> Cells:
    """Return every candidate of a session and of some before it, as the scan would have ranked them that evening."""
    model = ("fixed", fixed_model(list(stages.pipeline.strategies)))
    params = {name: stages.terms.params[name] for name in stages.pipeline.strategies}
    rows: list[tuple[str, int, tuple[float, ...]]] = []
    calendar = stages.world.calendar
    for number in range(max(stages.panel.first_session, session - SCAN_SESSIONS + 1), session + 1):
        found = stages.pipeline.scan(
            stages.panel, calendar.sessions[number], model=model, params=params, limits=WIDE,
            market_symbol=stages.world.market,
        )  # fmt: skip
        rows += _facts(found, number)
    return of_rows(rows, SCAN_COLUMNS)


def _facts(found: Scan, number: int) -> list[tuple[str, int, tuple[float, ...]]]:
    ranks = {c.signal.signal_id: c.rank for c in found.ranked}
    picks = {c.signal.signal_id for c in found.picks}
    best = found.trade_of_day.signal.signal_id if found.trade_of_day else ""
    rows = []
    for c in found.candidates:
        name = c.signal.signal_id
        told = (
            ranks.get(name, 0), name in picks, name == best, c.probability, c.expected_r, c.adv_usd, c.raw_close,
            c.signal.score, c.signal.stop / c.signal.reference_close, *(c.features[f] for f in FEATURE_COLUMNS),
        )  # fmt: skip
        figures = tuple(np.nan if v is None else float(v) for v in told)
        rows.append((f"{c.signal.symbol}/{c.signal.strategy}", number, figures))
    return rows


def gate_inputs(stages: Stages, session: int) -> Cells:
    """Return what the gates would be told about every symbol at a session's close."""
    rows: list[tuple[str, int, tuple[float, ...]]] = []
    past = stages.panel.until(session)
    for symbol in past.symbols:
        told = stages.pipeline.standing(stages.panel, session, symbol)
        rows.append((symbol, session, tuple(np.nan if v is None else float(v) for v in told)))
    return of_rows(rows, GATE_COLUMNS)
