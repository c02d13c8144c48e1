"""`kobe scan`: what the market said at the close of a session, written as picks and trade of the day."""

import json
from dataclasses import dataclass
from datetime import date
from typing import Any

import polars as pl

from kobe.app import news, split_files
from kobe.app.context import Context
from kobe.core.ids import canonical_json, digest
from kobe.data.earnings import BLOCKED, UNKNOWN
from kobe.decisions import picks, scan
from kobe.learning.model import MetaModel
from kobe.reports.document import Document, Section, Table, jsonable
from kobe.strategies import STRATEGIES
from kobe.strategies.spec import BaseParams

PICKS, TRADE = "daily_picks", "trade_of_day"
EARNINGS_NEAR, EARNINGS_UNKNOWN = "earnings_near", "earnings_unknown"


@dataclass(frozen=True, kw_only=True)
class ScanRequest:
    """Which session (default: the last complete one), how many picks, whether to write them."""

    session: date | None = None
    top: int | None = None
    dry_run: bool = False


def champion(ctx: Context, session: date) -> tuple[str, MetaModel] | None:
    """Return the model that may speak about a session: promoted on evidence up to it and none later."""
    model_id = ctx.models.champion(session)
    return None if model_id is None else (model_id, ctx.models.load(model_id)[0])


def scan_params(ctx: Context, model: MetaModel | None) -> dict[str, BaseParams]:
    """Return the parameters of the champion's last walk-forward, or the configured ones without a model."""
    configured = ctx.strategy_params()
    if model is None:
        return configured
    chosen = model.strategy_params
    return {name: STRATEGIES[name].params(chosen.get(name, {})) if name in chosen else configured[name]
            for name in configured}  # fmt: skip


def compute(ctx: Context, session: date, top: int | None = None) -> scan.Scan:
    """Scan a session without writing anything."""
    model = champion(ctx, session)
    return scan.run(
        ctx.panel(),
        session,
        model=model,
        params=scan_params(ctx, model[1] if model else None),
        limits=ctx.limits,
        count=top or ctx.settings.scan.top,
        ensure_top=ctx.settings.scan.ensure_top,
        market_symbol=ctx.settings.market.symbol,
        held_back=_held_back(ctx),
    )


def _held_back(ctx: Context) -> scan.HeldBack | None:
    """Return what tells which entries are too near to earnings, or None where the filter is off."""
    chosen = ctx.entry_filter
    if chosen is None:
        return None
    codes = {BLOCKED: EARNINGS_NEAR, UNKNOWN: EARNINGS_UNKNOWN}
    return lambda past, rows: [None if chosen.passes(s) else codes[s] for s in chosen.states(past, rows)]


def run_scan(ctx: Context, request: ScanRequest) -> Document:
    """Scan a session, write `daily_picks` and `trade_of_day`, and record the decision."""
    session = request.session or ctx.calendar.last_complete(ctx.clock.now())
    found = compute(ctx, session, request.top)
    rows, chosen = _with_tone(ctx, found), picks.trade_of_day_row(found)
    if not request.dry_run:
        _record(ctx, found, rows, chosen)
    return _document(ctx, found, rows, chosen)


def _with_tone(ctx: Context, found: scan.Scan) -> list[dict[str, Any]]:
    """Return the picks with the tone of their headlines beside them; it is shown and moves nothing (DOMAIN D20)."""
    tones = news.tone_at(ctx, [c.signal.symbol for c in found.picks], found.session) if found.picks else {}
    return [row | dict(zip(("sentiment", "headlines"), tones.get(row["symbol"], (None, 0)), strict=True))
            for row in picks.pick_rows(found)]  # fmt: skip


def _record(ctx: Context, found: scan.Scan, rows: list[dict[str, Any]], chosen: dict[str, Any]) -> None:
    folder = ctx.paths.of_session(found.session)
    frame = pl.DataFrame(jsonable(rows), infer_schema_length=None) if rows else pl.DataFrame({"signal_date": []})
    files = _write(ctx, PICKS, found.session, rows, frame)
    files |= _write(ctx, TRADE, found.session, [chosen], pl.DataFrame([jsonable(chosen)]))
    ctx.audit.append(
        "decision",
        {
            "decision_id": digest([found.session.isoformat(), files])[:16], "session": found.session.isoformat(),
            "action": chosen["action"], "subject": chosen["symbol"], "reason": found.reason,
            "signal_id": chosen["signal_id"], "model_id": found.model_id, "data": found.data_digest,
            "funnel": found.funnel, "files": files, "folder": folder.name,
        },
    )  # fmt: skip


def _write(ctx: Context, name: str, session: date, rows: list[dict[str, Any]], frame: pl.DataFrame) -> dict[str, str]:
    folder = ctx.paths.of_session(session)
    text = "".join(canonical_json(jsonable(row)) + "\n" for row in rows)
    files = {f"{name}.jsonl": ctx.artifacts.write(folder / f"{name}.jsonl", text.encode())}
    return files | split_files.write_table(ctx.artifacts, folder / name, frame)


def read_trade_of_day(ctx: Context, session: date) -> dict[str, Any] | None:
    """Return what the scan of a session decided, or None when it was never scanned."""
    path = ctx.paths.of_session(session) / f"{TRADE}.jsonl"
    if not path.is_file():
        return None
    row: dict[str, Any] = json.loads(path.read_text(encoding="utf-8").splitlines()[0])
    return row


def _document(ctx: Context, found: scan.Scan, rows: list[dict[str, Any]], chosen: dict[str, Any]) -> Document:
    columns = ("rank", "symbol", "strategy", "p", "gate", "E[R]", "close", "stop", "target", "ADV $M", "score")
    table = Table(
        columns=columns,
        rows=tuple(
            (r["rank"], r["symbol"], r["strategy"], r["probability"], r["gate"], r["expected_r"], r["raw_close"],
             r["stop"], r["target"], r["adv_usd"] / 1e6, r["score"])
            for r in rows
        ),
    )  # fmt: skip
    funnel = Table(columns=("fate", "symbols"), rows=tuple(found.funnel.items()))
    headline = f"Trade of the day: {chosen['symbol']}" if found.trade_of_day else "No trade"
    return Document(
        schema="kobe.scan/1",
        title=f"Scan of {found.session}, for {found.valid_session}",
        summary=(f"{headline} ({found.reason})", f"Model: {found.model_id or 'none'}"),
        banners=found.banners,
        sections=(
            Section(title=f"Top {len(rows)}", table=table),
            Section(title="Where the universe went", table=funnel),
        ),
        data={
            "session": found.session.isoformat(), "valid_session": found.valid_session.isoformat(), "picks": rows,
            "trade_of_day": chosen, "funnel": found.funnel, "model_id": found.model_id,
            "data_digest": found.data_digest, "folder": str(ctx.paths.of_session(found.session)),
        },
    )  # fmt: skip
