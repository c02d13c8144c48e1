"""`kobe scan`: what the market said at the close of a session, written as picks and trade of the day."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

from kobe import __version__
from kobe.app import decision, experiments, tables
from kobe.app.context import Context
from kobe.app.decision import RECORD, RECORD_VERSION, TRADE, Inputs
from kobe.core.errors import IntegrityError, KobeError, ModelError
from kobe.core.ids import canonical_json, digest
from kobe.decisions import funnel, picks, scan
from kobe.infra.locks import Lease
from kobe.reports.document import Document, Section, Table, jsonable

LEASE_WAIT_S = 20.0
DAMAGED = "damaged"


@dataclass(frozen=True, kw_only=True)
class ScanRequest:
    """Which session (default: the last complete one), how many picks, whether to write them."""

    session: date | None = None
    top: int | None = None
    dry_run: bool = False


def compute(ctx: Context, session: date, top: int | None = None) -> scan.Scan:
    """Scan a session without writing anything."""
    return decision.decide(ctx, decision.gather(ctx, session, top))


def run_scan(ctx: Context, request: ScanRequest) -> Document:
    """Scan a session, write `daily_picks` and `trade_of_day`, and record the decision."""
    session = request.session or ctx.calendar.last_complete(ctx.clock.now())
    inputs = decision.gather(ctx, session, request.top)
    found = decision.decide(ctx, inputs)
    tones = decision.tones_of(ctx, found)
    rows = decision.with_tone(found, tones)
    if not request.dry_run:
        with Lease(ctx.paths.locks, "scan", ctx.clock).acquire(timeout_s=LEASE_WAIT_S):
            _record(ctx, inputs, found, rows, tones)
    return _document(ctx, found, rows)


def _record(
    ctx: Context, inputs: Inputs, found: scan.Scan, rows: list[dict[str, Any]], tones: Mapping[str, tuple[float, int]]
) -> None:
    """Write the picks, then the record of the decision, then the audit's word for both."""
    folder, shadow = ctx.paths.of_session(found.session), _of_shadow(ctx, inputs, found)
    files = decision.outputs(found, rows, ctx.artifacts, folder)
    chosen = picks.trade_of_day_row(found)
    record = {
        "version": RECORD_VERSION, "inputs": jsonable(asdict(inputs)), "files": files, "data": found.data_digest,
        "bars": found.bars, "calendar": ctx.calendar.digest,
        "code": experiments.code_digest(), "kobe": __version__, "fates": found.fates,
        "tones": {symbol: list(tone) for symbol, tone in tones.items()}, "universe": list(ctx.panel.key)[1],
        "saw": jsonable(found.saw), "action": chosen["action"],
        "reason": found.reason,
    }  # fmt: skip
    ctx.artifacts.write(folder / RECORD, canonical_json(record).encode())
    if inputs.shadow_id and shadow and "probabilities" in shadow:
        ctx.models.spoke(inputs.shadow_id, found.session)
    ctx.audit.append(
        "decision",
        {
            "decision_id": digest([found.session.isoformat(), files])[:16], "session": found.session.isoformat(),
            "action": chosen["action"], "subject": chosen["symbol"], "reason": found.reason,
            "signal_id": chosen["signal_id"], "model_id": found.model_id, "data": found.data_digest,
            "funnel": found.funnel, "files": files, "folder": folder.name, "record": digest(record),
            "shadow": shadow,
        },
    )  # fmt: skip


def _of_shadow(ctx: Context, inputs: Inputs, found: scan.Scan) -> dict[str, Any] | None:
    """Return what the model in shadow would have said of every signal: heard by the record alone, it stops nothing."""
    if inputs.shadow_id is None:
        return None
    import numpy as np

    from kobe.learning.dataset import FEATURE_COLUMNS

    try:
        model = ctx.models.load(inputs.shadow_id)[0]
    except (IntegrityError, ModelError) as error:
        return {"model_id": inputs.shadow_id, "silent": error.message}
    if not found.candidates:
        return {"model_id": inputs.shadow_id, "probabilities": {}}
    values = [[np.nan if c.features[n] is None else c.features[n] for n in FEATURE_COLUMNS] for c in found.candidates]
    odds = model.probability(np.array(values, dtype=np.float64), [c.signal.strategy for c in found.candidates])
    return {
        "model_id": inputs.shadow_id,
        "probabilities": {c.signal.signal_id: float(p) for c, p in zip(found.candidates, odds, strict=True)},
    }


def picks_as_csv(document: Document) -> str:
    """Return the picks of a scan's document as `daily_picks.csv` has them."""
    return tables.csv_of(jsonable(document.data["picks"]), picks.COLUMNS)


def read_trade_of_day(ctx: Context, session: date) -> dict[str, Any] | None:
    """Return what the scan of a session decided, or None when it was never scanned.

    Raises:
        IntegrityError: the record or the file is not the one that was written.
        MissingDataError: there is a file and no record.
    """
    folder = ctx.paths.of_session(session)
    if not (folder / RECORD).is_file() and not (folder / f"{TRADE}.jsonl").is_file():
        return None
    return decision.read_rows(ctx, session, decision.read_record(ctx, session), TRADE)[0]


def shown_trade_of_day(ctx: Context, session: date) -> dict[str, Any] | None:
    """Return the same for a page that people read: what cannot be believed is said there and stops no page."""
    try:
        return read_trade_of_day(ctx, session)
    except KobeError as error:
        return {
            "action": DAMAGED, "symbol": None, "valid_session": str(ctx.calendar.next(session)),
            "reason": error.message,
        }  # fmt: skip


def _document(ctx: Context, found: scan.Scan, rows: list[dict[str, Any]]) -> Document:
    chosen = picks.trade_of_day_row(found)
    headline = f"Trade of the day: {chosen['symbol']}" if found.trade_of_day else "No trade"
    hints = [f"Why: kobe explain {r['symbol']} --session {found.session}" for r in rows[:1]]
    hints.append(f"Why not: kobe scan --session {found.session} --why-not SYMBOL")
    sections = (
        Section(title=f"Top {len(rows)}", table=_picks(rows)),
        Section(title="Where the universe went", table=_funnel(found)),
        Section(title="Nearly", table=_watch(found)),
        Section(title="Next", lines=tuple(hints)),
    )
    return Document(
        schema="kobe.scan/2",
        title=f"Scan of {found.session}, for {found.valid_session}",
        summary=(f"{headline} ({found.reason})", f"Model: {found.model_id or 'none'}"),
        banners=found.banners,
        sections=tuple(s for s in sections if s.table is None or s.table.rows),
        data={
            "session": found.session.isoformat(), "valid_session": found.valid_session.isoformat(), "picks": rows,
            "trade_of_day": chosen, "funnel": found.funnel, "fates": found.fates, "watch": list(found.watch),
            "model_id": found.model_id, "data_digest": found.data_digest,
            "folder": str(ctx.paths.of_session(found.session)),
        },
    )  # fmt: skip


def _picks(rows: list[dict[str, Any]]) -> Table:
    columns = ("rank", "symbol", "strategy", "p", "gate", "E[R]", "close", "stop", "target", "ADV $M", "score")
    return Table(
        columns=columns,
        rows=tuple(
            (r["rank"], r["symbol"], r["strategy"], r["probability"], r["gate"], r["expected_r"], r["raw_close"],
             r["stop"], r["target"], r["adv_usd"] / 1e6, r["score"])
            for r in rows
        ),
    )  # fmt: skip


def _funnel(found: scan.Scan) -> Table:
    rows = tuple((code, n, funnel.FATES[code]) for code, n in found.funnel.items())
    return Table(columns=("fate", "symbols", "meaning"), rows=(*rows, ("all", len(found.fates), "the universe")))


def _watch(found: scan.Scan) -> Table:
    rows = tuple(
        (w["symbol"], w["strategy"], w["lacks"], w["observed"], f"{w['sense']} {w['limit']:.4g}", w["close_for"])
        for w in found.watch
    )
    return Table(columns=("symbol", "strategy", "lacks", "was", "asked", "close that would do"), rows=rows)
