"""`kobe explain PICK`: why this one, from what was written down when it was picked."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

import numpy as np
import polars as pl

from kobe.app import decision
from kobe.app.context import Context
from kobe.app.decision import PICKS, TRADE
from kobe.app.signals_file import read_signals
from kobe.core.errors import MissingDataError, ModelError, UsageError
from kobe.core.panel import Floats
from kobe.decisions import narrative
from kobe.learning import analogues, contributions
from kobe.learning.dataset import FEATURE_COLUMNS
from kobe.learning.model import MetaModel
from kobe.reports import pick as pick_report
from kobe.reports.document import Document
from kobe.reports.render.svg_bars import Ohlc

BARS = 60


@dataclass(frozen=True, kw_only=True)
class ExplainRequest:
    """Which pick (symbol, rank or signal id), of which session (default: the last complete one), written or not."""

    pick: str
    session: date | None = None
    write: bool = False


def run_explain(ctx: Context, request: ExplainRequest) -> Document:
    """Explain a recorded pick; with `write`, also as Markdown, HTML and JSON beside the picks.

    Raises:
        MissingDataError: the session has no decision on record.
        UsageError: it has no such pick.
    """
    session = request.session or ctx.calendar.last_complete(ctx.clock.now())
    record = decision.read_record(ctx, session)
    pick = _chosen(decision.read_rows(ctx, session, record, PICKS), request.pick, session)
    model = None if pick["model_id"] is None else ctx.models.load(pick["model_id"])[0]
    inputs = np.array([_nan(pick[f"feature_{name}"]) for name in FEATURE_COLUMNS])
    explanation, base = _shares(model, pick, inputs)
    like = analogues.nearest(_past(ctx), pick["strategy"], inputs, session)
    saw = record["saw"].get(pick["signal_id"], [])
    chosen = decision.read_rows(ctx, session, record, TRADE)[0]
    stories = {
        "executive": narrative.executive(pick, chosen),
        "casual": narrative.casual(pick, like.won, len(like.nearest)),
        "technical": narrative.technical(pick, saw),
    }
    bars, levels = chart(ctx, pick, session, saw)
    document = pick_report.build(
        pick_report.Case(
            pick=pick, decision=chosen, saw=saw, bars=bars, levels=levels,
            model=None if explanation is None else asdict(explanation), base=base, likeness=asdict(like),
            verdicts=_verdicts(ctx, pick),
            stories={name: [asdict(s) for s in told] for name, told in stories.items()},
            banners=tuple(b for b in pick["banners"].split(" | ") if b),
        )
    )  # fmt: skip
    if request.write:
        _write(ctx, session, pick["symbol"], document)
    return document


def _past(ctx: Context) -> pl.DataFrame:
    """Return the signals there are to compare with; none where no walk-forward can be read: the rest stands anyway."""
    try:
        return read_signals(ctx.paths.walk_forward, FEATURE_COLUMNS)
    except (MissingDataError, ModelError):
        columns = {"strategy": pl.String, "symbol": pl.String, "signal_date": pl.Date, "exit_date": pl.Date}
        return pl.DataFrame(schema=columns)


def _chosen(rows: list[dict[str, Any]], given: str, session: date) -> dict[str, Any]:
    for row in rows:
        if given.upper() == row["symbol"] or given.lower() in (str(row["rank"]), row["signal_id"]):
            return row
    raise UsageError(
        "no such pick", seen=given, expected=", ".join(f"{r['symbol']} ({r['rank']})" for r in rows) or "none that day",
        next_command=f"kobe scan --session {session}" + ("" if given.isdigit() else f" --why-not {given.upper()}"),
    )  # fmt: skip


def _nan(value: float | None) -> float:
    return math.nan if value is None else value


def _shares(
    model: MetaModel | None, pick: dict[str, Any], inputs: Floats
) -> tuple[contributions.Explanation | None, str]:
    """Take the probability apart, or say how a model without inputs came to it."""
    if model is None:
        return None, "No model was promoted on evidence up to this session: there is no probability."
    if model.logistic is not None:
        return contributions.explain(model.logistic, inputs), ""
    record = model.records[pick["strategy"]]
    return None, (
        f"The base rate of {pick['strategy']}: ({record.wins:,} wins + 10) / ({record.trades:,} trades + 20) = "
        f"{record.base_rate:.4f}, the same for each of its signals. It knows nothing of this one."
    )


def chart(
    ctx: Context, pick: dict[str, Any], session: date, saw: Sequence[dict[str, Any]]
) -> tuple[list[Ohlc], dict[str, float]]:
    """Return the last bars in dollars of the signal's day, and the levels of the trade in the same."""
    panel = ctx.panel()
    mine = panel[pick["symbol"]]
    end = int(np.searchsorted(mine.session, ctx.calendar.number(session), side="right"))
    factor = pick["raw_close"] / pick["reference_close"]
    days = ctx.calendar.sessions
    bars = [
        (days[int(mine.session[k])], *(float(column[k]) * factor for column in (mine.open, mine.high, mine.low,
                                                                               mine.close)))
        for k in range(max(0, end - BARS), end)
    ]  # fmt: skip
    told = {rule["code"]: rule["limit"] for rule in saw}
    levels = {"stop": pick["stop"], "target": pick["target"], "swept low": told.get("no_recovery"),
              "trend": told.get("below_trend")}  # fmt: skip
    return bars, {name: _nan(price) * factor for name, price in levels.items() if price is not None}


def _verdicts(ctx: Context, pick: dict[str, Any]) -> list[list[Any]]:
    """Return the verdicts of the gates when an order for the pick was last judged."""
    from kobe.infra.records import audit

    mark = f"-{pick['strategy']}-{pick['symbol']}-{pick['signal_date']}-{pick['side']}-open-"
    judged = [
        r.payload["verdicts"]
        for r in audit.read(ctx.paths.audit, kind="order_decision")
        if mark in r.payload["order"]["client_order_id"]
    ]
    return judged[-1] if judged else []


def _write(ctx: Context, session: date, symbol: str, document: Document) -> None:
    from kobe.reports.render import html, markdown, terminal

    stem = ctx.paths.of_session(session) / f"explain-{symbol}"
    ctx.artifacts.write(stem.with_suffix(".md"), markdown.render(document).encode())
    ctx.artifacts.write(stem.with_suffix(".html"), html.render(document).encode())
    ctx.artifacts.write(stem.with_suffix(".json"), (terminal.as_json(document) + "\n").encode())
