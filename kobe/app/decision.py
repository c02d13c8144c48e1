"""One decision and everything it was made from: gathered, made, written, and made again from what was written.

`Inputs` holds all that is not bars, model card or code; those three are named by their digests. The scan, the order
and the replay all decide through `decide`.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from kobe.app import standing, tables, views
from kobe.app.context import Context
from kobe.app.entry_filter import entry_filter
from kobe.app.settings import EarningsSettings, MarketSettings, ScanSettings
from kobe.app.tone import tone_at
from kobe.core.errors import IntegrityError, MissingDataError, SchemaError
from kobe.core.ports import Artifacts
from kobe.decisions import picks, scan
from kobe.decisions.scan import Choice, Scan
from kobe.learning.drift_states import Level
from kobe.learning.model import MetaModel
from kobe.reports.document import jsonable
from kobe.risk.facts import Limits
from kobe.strategies import STRATEGIES
from kobe.strategies.spec import BaseParams

PICKS, TRADE, RECORD = "daily_picks", "trade_of_day", "decision.json"
RECORD_VERSION = 3


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What a decision rests on besides bars, model and code; JSON-ready, and the same values give the same decision.

    Attributes:
        session: the signal date.
        model_id: the champion as of the session, or None.
        shadow_id: the model heard beside it, or None.
        params: strategy -> every parameter.
        limits: the bounds of an order, money as text.
        scan: the section `scan` of the settings, `top` as asked.
        earnings: the section `earnings` of the settings.
        market_symbol: whose bars describe the market.
        drift: strategy -> level on record for the session.
        tones: symbol -> mean tone of its headlines, where they have a weight.
        sectors: symbol -> sector, where picks are limited by it.
    """

    session: str
    model_id: str | None
    shadow_id: str | None
    params: dict[str, dict[str, Any]]
    limits: dict[str, Any]
    scan: dict[str, Any]
    earnings: dict[str, Any]
    market_symbol: str
    drift: dict[str, str]
    tones: dict[str, float]
    sectors: dict[str, str]


def gather(ctx: Context, session: date, top: int | None = None) -> Inputs:
    """Collect what a decision about a session rests on, as of now."""
    model_id = ctx.models.champion(session)
    model = None if model_id is None else ctx.models.load(model_id)[0]
    chosen = ctx.settings.scan.model_copy(update={"top": top or ctx.settings.scan.top})
    weighted = chosen.sentiment_weight > 0
    tones = tone_at(ctx, ctx.panel().symbols, session) if weighted else {}
    return Inputs(
        session=session.isoformat(), model_id=model_id, shadow_id=ctx.models.shadow_at(session),
        params={name: jsonable(asdict(p)) for name, p in scan_params(ctx, model).items()},
        limits={k: str(v) if isinstance(v, Decimal) else v for k, v in asdict(ctx.limits).items()},
        scan=chosen.model_dump(mode="json"), earnings=ctx.settings.earnings.model_dump(mode="json"),
        market_symbol=ctx.settings.market.symbol, drift=standing.states_at(ctx, session),
        tones={symbol: tone for symbol, (tone, _) in tones.items()}, sectors=_sectors(ctx, chosen),
    )  # fmt: skip


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


def _sectors(ctx: Context, chosen: ScanSettings) -> dict[str, str]:
    """Read the sectors where they matter.

    Raises:
        MissingDataError: the file of the settings is not there, or has no such columns.
    """
    return sectors_of(ctx) if chosen.max_per_sector else {}


def sectors_of(ctx: Context) -> dict[str, str]:
    """Read symbol -> sector from the file of the settings; without one there are none.

    Raises:
        MissingDataError: the file of the settings is not there, or has no such columns.
    """
    chosen = ctx.settings.scan
    if not chosen.sectors_file and not chosen.max_per_sector:
        return {}
    import csv

    path = ctx.paths.home / chosen.sectors_file
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            found = {row["symbol"].strip().upper(): row["sector"].strip() for row in csv.DictReader(file, strict=True)}
    except (OSError, KeyError, AttributeError, ValueError, csv.Error) as error:
        raise MissingDataError(
            "scan.max_per_sector needs the sectors", seen=f"{path}: {error}", expected="a CSV with symbol,sector",
            next_command="kobe config show",
        ) from error  # fmt: skip
    if not found:
        raise MissingDataError("the sectors file holds no row", seen=path, expected="a CSV with symbol,sector",
                               next_command="kobe config show")  # fmt: skip
    return found


def decide(ctx: Context, inputs: Inputs, *, fresh: bool = False) -> Scan:
    """Scan the session of some inputs; bars after it are cut off first.

    Args:
        ctx: context.
        inputs: what the decision rests on.
        fresh: look at the bars themselves, not at a kept view of the session.
    """
    model = None if inputs.model_id is None else (inputs.model_id, ctx.models.load(inputs.model_id)[0])
    chosen = ScanSettings.model_validate(inputs.scan)
    settings = ctx.settings.model_copy(
        update={
            "scan": chosen,
            "earnings": EarningsSettings.model_validate(inputs.earnings),
            "market": MarketSettings(symbol=inputs.market_symbol),
        }
    )
    held_back = entry_filter(settings, ctx.reference)
    choice = Choice(
        count=chosen.top, ensure_top=chosen.ensure_top, held_back=held_back.codes if held_back else None,
        stood_down=_at(inputs, Level.STAND_DOWN), half_size=_at(inputs, Level.HALF_SIZE),
        max_correlation=chosen.max_correlation, sectors=inputs.sectors, max_per_sector=chosen.max_per_sector,
        tones=inputs.tones, sentiment_weight=chosen.sentiment_weight,
    )  # fmt: skip
    params = {name: STRATEGIES[name].params(values) for name, values in inputs.params.items()}
    session = date.fromisoformat(inputs.session)
    past, seen = views.session_view(ctx, session, params, inputs.market_symbol, fresh=fresh)
    return scan.choose(seen, past, model=model, limits=_limits(inputs.limits), choice=choice)


def _at(inputs: Inputs, level: Level) -> frozenset[str]:
    return frozenset(name for name, told in inputs.drift.items() if told == level.name)


def _limits(told: dict[str, Any]) -> Limits:
    money = {"order_usd", "day_usd", "min_price_usd", "max_spread"}
    values: dict[str, Any] = {name: Decimal(value) if name in money else value for name, value in told.items()}
    return Limits(**values)


def outputs(found: Scan, rows: list[dict[str, Any]], artifacts: Artifacts, folder: Path) -> dict[str, str]:
    """Write picks (`rows`) and trade of the day as JSONL and CSV; return file name -> SHA-256."""
    trade = picks.trade_of_day_row(found)
    files = tables.write_rows(artifacts, folder / PICKS, jsonable(rows), picks.COLUMNS)
    return files | tables.write_rows(artifacts, folder / TRADE, [jsonable(trade)], list(trade))


def tones_of(ctx: Context, found: Scan) -> dict[str, tuple[float, int]]:
    """Return the tone of the picks' headlines and how many there were, as known right before the close."""
    return tone_at(ctx, [c.signal.symbol for c in found.picks], found.session) if found.picks else {}


def with_tone(found: Scan, tones: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Return the picks with the tone of their headlines beside them; whether it pulls is the setting's (D20)."""
    return [row | dict(zip(("sentiment", "headlines"), tones.get(row["symbol"], (None, 0)), strict=True))
            for row in picks.pick_rows(found)]  # fmt: skip


def read_record(ctx: Context, session: date) -> dict[str, Any]:
    """Return the record of a decision after comparing it with the audit chain's word for it.

    Raises:
        MissingDataError: the session was never scanned, or before decisions had records.
        IntegrityError: the record is not the one that was written, or cannot be read.
        SchemaError: it is of another version.
    """
    from kobe.core.ids import digest

    path = ctx.paths.of_session(session) / RECORD
    if not path.is_file():
        raise MissingDataError(
            "no decision is on record for the session", seen=session, next_command=f"kobe scan --session {session}"
        )
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise IntegrityError(
            "a decision record cannot be read", seen=path, next_command=f"kobe scan --session {session}"
        ) from error
    if not isinstance(record, dict) or record.get("version") != RECORD_VERSION:
        raise SchemaError(
            "a decision record is of another version", seen=path, expected=f"version {RECORD_VERSION}",
            next_command=f"kobe scan --session {session}",
        )  # fmt: skip
    if _word_of_the_chain(ctx, session) != digest(record):
        raise IntegrityError(
            "a decision record differs from what the audit chain says of it", seen=path,
            expected="the record of the last scan of that session", next_command=f"kobe scan --session {session}",
        )  # fmt: skip
    return record


def _word_of_the_chain(ctx: Context, session: date) -> str | None:
    """Return the digest the audit chain names last for a session's decision."""
    from kobe.infra.records import audit_newest

    told = (r.payload for r in audit_newest.newest(ctx.paths.audit, "decision") if r.payload["session"] == str(session))
    return next((p.get("record") for p in told), None)


def read_rows(ctx: Context, session: date, record: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """Return the rows of a decision's JSONL after comparing the file with its record.

    Raises:
        IntegrityError: it is gone or was touched.
    """
    touched = touched_files(ctx, session, record)
    file = f"{name}.jsonl"
    if file in touched:
        raise IntegrityError(
            f"{file} of {session} is not the file that was recorded", seen=ctx.paths.of_session(session) / file,
            expected=record["files"][file][:16], next_command=f"kobe scan --session {session}",
        )  # fmt: skip
    content = (ctx.paths.of_session(session) / file).read_text(encoding="utf-8")
    return [json.loads(line) for line in content.splitlines()]


def touched_files(ctx: Context, session: date, record: dict[str, Any]) -> list[str]:
    """Return the files of a decision that are not on the disk as they were recorded."""
    folder, found = ctx.paths.of_session(session), []
    for name, sha in sorted(record["files"].items()):
        path = folder / name
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != sha:
            found.append(name)
    return found
