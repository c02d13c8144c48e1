"""`kobe eod-report`: the day as Markdown, HTML and JSON, its picture for a chat, and one line in the journal."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from kobe.app import books, held, known, refused, report_files, scan, slippage, standing
from kobe.app.audit import run_audit_checkpoint
from kobe.app.context import Context
from kobe.app.day import runs
from kobe.app.start_up import order_desk
from kobe.app.status import audit_line
from kobe.core.clock import from_ns
from kobe.core.errors import ExitCode, ExternalError, KobeError, MissingDataError, UsageError
from kobe.core.ids import canonical_json
from kobe.execution import book
from kobe.learning.drift_states import MEANING
from kobe.reports import end_of_day
from kobe.reports.book_tables import Closed, Profit
from kobe.reports.document import Document, jsonable
from kobe.reports.end_of_day import DAY, MONTH, START, Agreement, Day, Slip, Standing

JOURNAL = "journal"
UNREACHABLE = "the broker did not answer, so this rests on our books alone"
Money = tuple[Decimal | None, Decimal | None]


def run_eod_report(ctx: Context, session: date | None = None) -> Document:
    """Write the report of a session (default: the last complete one) and a journal entry.

    Of a past session it tells what was known before the next one opened, and asks no broker. Where the broker cannot
    be reached the report is written from our own books, says so, and ends as partly done.

    Raises:
        UsageError: the session has not begun.
    """
    day = session or ctx.calendar.last_complete(ctx.clock.now())
    if ctx.clock.now() < ctx.calendar.opens_at(day):
        raise UsageError(
            "the session has not begun", seen=day, expected=f"{ctx.calendar.last_complete(ctx.clock.now())}",
            next_command="kobe morning-report",
        )  # fmt: skip
    asked, silence = _ask(ctx, day)
    run_audit_checkpoint(ctx)
    document = end_of_day.build(_gather(ctx, day, asked, silence))
    if silence:
        document = replace(document, banners=(*document.banners, silence), exit_code=ExitCode.PARTIAL)
    report_files.write(ctx, ctx.paths.of_session(day), "eod", document)
    length = "half_day" if ctx.calendar.is_early_close(day) else "full_day"
    tags = [day.strftime("%A").lower(), day.strftime("%B").lower(), length]
    told = {name: value for name, value in document.data.items() if name != "equity_curve"}  # the marks are on record
    entry = {"session": str(day), "tags": tags, "text": " ".join(document.summary), "data": jsonable(told)}
    _note(ctx, day, entry)
    return document


def _note(ctx: Context, day: date, entry: dict[str, Any]) -> None:
    """Write the day into the journal unless its last entry tells the same, the audit chain's head aside."""
    written = ctx.ledger.events(JOURNAL, entity=str(day))
    if not written or _but_for_the_head(written[-1].payload) != _but_for_the_head(entry):
        ctx.ledger.append(JOURNAL, str(day), "end_of_day", entry, key=f"eod:{day}:{len(written) + 1}")


def _but_for_the_head(entry: dict[str, Any]) -> str:
    head = str(entry["data"]["audit_head"])
    return canonical_json(
        {**entry, "data": {**entry["data"], "audit_head": ""}, "text": entry["text"].replace(head, "")}
    )


def picture(ctx: Context, session: date | None = None) -> tuple[bytes, str] | None:
    """Return the day as a PNG with its description; None where the extra `charts` is not installed.

    Nothing is written and no broker is asked: equity and cash are the marks of the records.
    """
    from kobe.reports.render import png

    day = session or ctx.calendar.last_complete(ctx.clock.now())
    return png.eod_picture(_gather(ctx, day, None, ""))


def known_banners(ctx: Context) -> tuple[str, ...]:
    """Return what every report on these bars must say; nothing when there are none yet."""
    try:
        return ctx.panel().banners
    except MissingDataError:
        return ()


def until(ctx: Context, day: date) -> datetime:
    """Return the instant up to which the report of a session tells things: before the next one opens."""
    return min(ctx.clock.now(), ctx.calendar.opens_at(ctx.calendar.next(day)))


def _ask(ctx: Context, day: date) -> tuple[Money | None, str]:
    """Compare the books and return (equity, cash) by the broker's word, and why there is none."""
    if until(ctx, day) < ctx.clock.now():
        return None, ""
    try:
        with order_desk(ctx):
            account = ctx.broker.account()
    except ExternalError as error:
        return None, f"{UNREACHABLE}: {error.message}"
    return (account.equity_usd, account.cash_usd), ""


def _gather(ctx: Context, day: date, asked: Money | None, silence: str) -> Day:
    end = until(ctx, day)
    records = known.read(ctx, end)
    closed = known.closed_trades(ctx, records)
    newest = min(day, ctx.calendar.last_complete(end))
    ask = end == ctx.clock.now() and not silence
    holdings, _ = held.holdings(ctx, records, newest, ask=ask, before_open=False)
    equity_usd, cash_usd = _marked(ctx, day) if asked is None else asked
    points = known.equity_points(ctx, day)
    if equity_usd is not None and asked is not None and day not in {at for at, _ in points}:
        points.append((day, equity_usd - _moved(ctx, points, day)))
    found, unknown = refused.refusals(ctx, day, day, end)
    mode = known.mode_at(ctx, end)
    return Day(
        session=day, decision=scan.shown_trade_of_day(ctx, ctx.calendar.previous(day)), orders=records.touched(day),
        closed=[t for t in closed if t.closed == day], holdings=holdings, cash_usd=cash_usd, equity_usd=equity_usd,
        profit=_spans(closed, points, day), curve=points[-known.SHOWN_CLOSES :],
        day_used_usd=book.day_used_usd(records.intents, min(end, ctx.calendar.closes_at(day))),
        day_limit_usd=ctx.limits.day_usd, slips=_slips(ctx, day), refused=found, silence=unknown,
        drift=standings(ctx, day), books=_agreement(ctx, day, end, silence), mode=mode.mode.name, mode_why=mode.why,
        audit_head=audit_line(ctx), banners=known_banners(ctx),
    )  # fmt: skip


def _marked(ctx: Context, day: date) -> Money:
    """Return equity and cash as they were kept at a close, None where they were not."""
    kept = known.marks(ctx).get(day)
    return (None, None) if kept is None else kept


def _moved(ctx: Context, points: Sequence[tuple[date, Decimal]], day: date) -> Decimal:
    """Return the money that came in since the first mark: what is between a mark and its point."""
    return known.moved(ctx, points[0][0], day) if points else Decimal(0)


def _spans(closed: Sequence[Closed], points: Sequence[tuple[date, Decimal]], day: date) -> dict[str, Profit]:
    firsts = {DAY: day, MONTH: day.replace(day=1), START: date.min}
    return {span: known.profit(closed, points, first, day) for span, first in firsts.items()}


def _slips(ctx: Context, day: date) -> list[Slip]:
    """Measure the fills of a session; without bars there is nothing to measure by."""
    try:
        found = slippage.samples(ctx, day)
    except KobeError:
        return []
    return [
        Slip(symbol=s.symbol, kind=s.kind, price_usd=s.price, mid_bps=s.mid_bps, reference_bps=s.reference_bps,
             excess_bps=s.excess_bps)
        for s in found
    ]  # fmt: skip


def standings(ctx: Context, day: date) -> list[Standing]:
    """Return how far each strategy was trusted at a session."""
    return [
        Standing(strategy=name, level=s.level.name, since=ctx.calendar.sessions[s.since] if s.since else None,
                 meaning=MEANING[s.level])
        for name, s in standing.standings(ctx, day).items()
    ]  # fmt: skip


def _agreement(ctx: Context, day: date, end: datetime, silence: str) -> Agreement:
    """Say how the comparison of the evening ended, and what was found since the close."""
    closes = ctx.calendar.closes_at(day)
    ran = [r for r in runs.of_session(ctx.ledger, day) if r.job == "reconcile" and r.finished <= end]
    said = "The job reconcile has not run for this session."
    if ran:
        said = f"reconcile {ran[-1].status}: {ran[-1].detail}"
    found = [
        (d["kind"], d["subject"], str(d["ours"]), str(d["broker"]), "done" if d["done"] else d["do"] or d["remedy"])
        for e in known.events(ctx, books.SOURCE, end, books.FOUND) if from_ns(e.at_ns) >= closes
        for d in e.payload["differences"]
    ]  # fmt: skip
    return Agreement(said=said, differences=list(dict.fromkeys(found)), silence=silence)
