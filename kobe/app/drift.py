"""`kobe drift`: every strategy's recent signals against the evidence of the champion, and how far to trust it still."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl

from kobe.app import drift_report, signals_file, standing
from kobe.app.context import Context
from kobe.app.drift_report import NO_RECORD, TOO_FEW, Judged
from kobe.backtest import engine
from kobe.core.errors import IntegrityError, ModelError, StaleDataError
from kobe.core.panel import Floats, Ints, Panel
from kobe.features.table import FeatureTable
from kobe.learning import drift
from kobe.learning.dataset import FEATURE_COLUMNS, STRATEGY_COLUMN, feature_matrix
from kobe.learning.drift import Reading, Reference, Trades, Window
from kobe.learning.drift_states import ENTER, Level, Standing, step
from kobe.learning.drift_statistics import Past
from kobe.learning.model import MetaModel
from kobe.reports.document import Document
from kobe.strategies import STRATEGIES

_Families = tuple[tuple[Reading, ...], tuple[Reading, ...]]
"""The readings about money, and those of the signs."""
NEEDED = ("strategy", "session", "exit_session", "r_net", *FEATURE_COLUMNS)


@dataclass(frozen=True, kw_only=True)
class DriftRequest:
    """Which session is judged (default: the last complete one), and whether the outcome is recorded.

    `intervals` are for a person who reads the report; nothing is decided by them.
    """

    session: date | None = None
    dry_run: bool = False
    intervals: bool = True


def run_drift(ctx: Context, request: DriftRequest) -> Document:
    """Judge every strategy at a session and record where it stands; a session is recorded once.

    Raises:
        StaleDataError: the store has no bars of the session.
        ModelError: no model may speak about the session, or the data set is not of this version.
        MissingDataError: no data set of a walk-forward.
    """
    session = request.session or ctx.calendar.last_complete(ctx.clock.now())
    past = _bars_until(ctx, session)
    model_id = ctx.models.champion(session)
    if model_id is None:
        raise ModelError(
            "no model was promoted on evidence up to the session", seen=session, next_command="kobe promote"
        )
    features = FeatureTable.of(past, ctx.settings.market.symbol)
    against = {name: _reference(ctx, session, name) for name in ctx.settings.strategies}
    through = min(day for _, day in against.values())
    evidence = {day: _evidence(ctx, day) for day in {day for _, day in against.values()}}
    found = [
        _judge(ctx, past, features, model, evidence[day], name, session, day, intervals=request.intervals)
        for name, (model, day) in against.items()
    ]
    recorded = [] if request.dry_run else [j.strategy for j in found if _record(ctx, session, model_id, j)]
    judgement = drift_report.Judgement(
        session=session, model_id=model_id, through=through, found=tuple(found), recorded=tuple(recorded),
        standing=standing.states_at(ctx, session), banners=past.banners, dry_run=request.dry_run,
    )  # fmt: skip
    return drift_report.build(judgement)


def _reference(ctx: Context, session: date, name: str) -> tuple[MetaModel, date]:
    """Return the oldest champion since which a strategy has its parameters, and the end of its evidence.

    A champion renewed every week on a week more of evidence would leave no signals to judge by.
    """
    found: tuple[MetaModel, date] | None = None
    for model_id in reversed(ctx.models.champions(session)):
        try:
            model, facts = ctx.models.load(model_id)
        except (IntegrityError, ModelError):
            if found is None:
                raise
            break  # an older card that cannot be read ends the search, and stops nobody
        if found is not None and (
            name not in found[0].records or model.strategy_params.get(name) != found[0].strategy_params.get(name)
        ):
            break
        found = model, date.fromisoformat(facts["knowable_from"])
    assert found is not None
    return found


def _bars_until(ctx: Context, session: date) -> Panel:
    number = ctx.calendar.number(session)
    past = ctx.panel().until(number)
    if past.last_session < number:
        newest = ctx.calendar.sessions[past.last_session] if len(past) else "no bar"
        raise StaleDataError(
            "no bars for the session", seen=f"newest bar {newest}", expected=session,
            next_command="kobe data import FILE",
        )  # fmt: skip
    return past


@dataclass(frozen=True, slots=True)
class _Evidence:
    """What a strategy's signals of now are compared with: its trades of before, and the past of every feature."""

    trades: Trades
    features: dict[str, Past]


def _evidence(ctx: Context, through: date) -> dict[str, _Evidence]:
    """Read the data set of the walk-forward up to the end of the model's evidence, by strategy in the order of time.

    It is read again when the file or the end is another one, and kept for the next session.
    """
    key = signals_file.stamp(ctx.paths.walk_forward), through
    kept: dict[tuple[object, date], dict[str, _Evidence]] = ctx.__dict__.setdefault("_evidence", {})
    if key[0] is None or key not in kept:
        frame = signals_file.read_signals(ctx.paths.walk_forward, NEEDED)
        frame = frame.filter(pl.col("exit_session") <= ctx.calendar.number(through))
        frame = frame.sort("session", maintain_order=True)
        for old in [other for other in kept if other[0] != key[0]]:
            del kept[old]
        kept[key] = {str(name): _of_strategy(rows) for (name,), rows in frame.group_by("strategy", maintain_order=True)}
    return kept[key]


def _of_strategy(rows: pl.DataFrame) -> _Evidence:
    names = [c for c in FEATURE_COLUMNS if c != STRATEGY_COLUMN]
    return _Evidence(_trades(rows), {c: Past.of(rows.get_column(c).to_numpy()) for c in names})


def _judge(
    ctx: Context, past: Panel, features: FeatureTable, model: MetaModel, evidence: dict[str, _Evidence], name: str,
    session: date, through: date, *, intervals: bool,
) -> Judged:  # fmt: skip
    before = standing.standings(ctx, ctx.calendar.previous(session)).get(name, Standing())
    record, known = model.records.get(name), evidence.get(name)
    if record is None or not record.trades or known is None:
        return _unchanged(ctx, name, before, (NO_RECORD,), 0)
    recent, signal_rows = _recent(ctx, past, features, model, name, through)
    reference = drift.reference_of(record, known.trades)
    window = drift.window_of(recent, reference)
    if not window.enough:
        return _unchanged(ctx, name, before, (TOO_FEW,), len(recent), window, reference)
    judged = signal_rows[len(recent) - len(window.trades) :]
    seed, newest = ctx.settings.run.seed, _inputs(ctx, features, judged, name)
    columns = {c: (past_of, newest[:, FEATURE_COLUMNS.index(c)]) for c, past_of in known.features.items()}
    told = model.probability(newest, [name] * len(newest))

    def look() -> _Families:
        money = drift.money(recent, window, reference, seed=seed, intervals=intervals)
        return tuple(money), tuple(drift.signs(window, reference, told, columns, seed=seed))

    facts = (recent.session, recent.exit_session, recent.net_r, newest, told)
    money, signs = _kept(ctx, (name, intervals), known, (record, seed, *(a.tobytes() for a in facts)), look)
    number = ctx.calendar.number(session)
    seen = drift.evidence_of(number, window, (r.adjusted for r in money), (r.adjusted for r in signs))
    after = step(before, seen)
    reasons = tuple(r.name.replace(" ", "_") for r in (*money, *signs) if r.adjusted <= ENTER[Level.WATCH])
    return Judged(
        strategy=name, level=after.level, since=_day(ctx, after), before=before.level, reasons=reasons,
        signals=len(recent), window=window, reference=reference, money=money, signs=signs,
    )  # fmt: skip


def _kept(
    ctx: Context, which: tuple[str, bool], known: _Evidence, facts: tuple[object, ...], look: Callable[[], _Families]
) -> _Families:
    """Return the readings of the last time where nothing they come from is another: no signal has ripened since."""
    kept: dict[tuple[str, bool], tuple[_Evidence, tuple[object, ...], _Families]]
    kept = ctx.__dict__.setdefault("_readings", {})
    before = kept.get(which)
    if before is None or before[0] is not known or before[1] != facts:
        before = kept[which] = known, facts, look()
    return before[2]


def _inputs(ctx: Context, features: FeatureTable, rows: Ints, name: str) -> Floats:
    """Return the model's inputs at some rows; what was worked out for a signal on the same bars is not again."""
    panel, bars = features.panel, ctx.panel.key
    kept: tuple[object, dict[tuple[str, str, int], Floats]] = ctx.__dict__.get("_inputs", ((), {}))
    known = kept[1] if kept[0] == bars else {}
    symbols = [panel.symbols[k] for k in panel.symbol_of_row[rows]]
    keys = [(name, symbol, int(number)) for symbol, number in zip(symbols, panel.session[rows], strict=True)]
    new = np.array([k not in known for k in keys], dtype=np.bool_)
    found = feature_matrix(features, rows[new], [name] * int(new.sum()))
    known |= zip((k for k, is_new in zip(keys, new, strict=True) if is_new), found, strict=True)
    wanted = set(keys)
    ctx.__dict__["_inputs"] = bars, {k: v for k, v in known.items() if k[0] != name or k in wanted}
    return np.array([known[k] for k in keys])


def _unchanged(
    ctx: Context, name: str, before: Standing, reasons: tuple[str, ...], signals: int, window: Window | None = None,
    reference: Reference | None = None,
) -> Judged:  # fmt: skip
    return Judged(
        strategy=name, level=before.level, since=_day(ctx, before), before=before.level, reasons=reasons,
        signals=signals, window=window, reference=reference,
    )  # fmt: skip


def _day(ctx: Context, at: Standing) -> date | None:
    return ctx.calendar.sessions[at.since] if at.since else None


def _trades(rows: pl.DataFrame) -> Trades:
    session, exits, net_r = (rows.get_column(c).to_numpy() for c in ("session", "exit_session", "r_net"))
    return Trades(session=session, exit_session=exits, net_r=net_r)


def _recent(
    ctx: Context, past: Panel, features: FeatureTable, model: MetaModel, name: str, through: date
) -> tuple[Trades, Ints]:
    """Return the signals after the evidence, taken or not, in the order of time, and their rows.

    Only sessions whose trades have had the time to end: of younger ones just the quick exits are known, and those are
    not like the rest.
    """
    strategy = STRATEGIES[name]
    params = strategy.params(model.strategy_params.get(name, ctx.settings.strategies[name]))
    table = strategy.signals(past, features, params)
    o = engine.evaluate(past, features, table, ctx.assumptions())
    ripe = (o.session > ctx.calendar.number(through)) & (o.session + table.hold_bars <= past.last_session)
    o = o.take(ripe & o.closed & (o.exit_session <= past.last_session))
    o = o.take(np.lexsort((o.row, o.session)))
    trades = Trades(session=o.session, exit_session=o.exit_session, net_r=o.net_r)
    return trades, o.row


def _record(ctx: Context, session: date, model_id: str, judged: Judged) -> bool:
    """Append a strategy's standing unless the session has one; True when it was appended."""
    key = f"{judged.strategy}:{session}"
    if standing.is_recorded(ctx, judged.strategy, session):
        return False
    payload = {
        "session": str(session), "state": judged.level.name, "since": judged.since and str(judged.since),
        "reasons": list(judged.reasons), "model_id": model_id, "statistics": judged.statistics,
    }  # fmt: skip
    added = ctx.ledger.append(standing.STREAM, judged.strategy, standing.KIND, payload, key=key)
    if added:
        ctx.audit.append(
            standing.STREAM, {"strategy": judged.strategy, **{k: payload[k] for k in payload if k != "statistics"}}
        )
    return added
