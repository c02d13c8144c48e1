"""`kobe demo`: the whole day on a made-up market or on your bars: evidence, model, ten sessions, proof."""

import json
import shutil
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from kobe.app import desk, import_bars, wiring
from kobe.app.audit import run_audit_verify
from kobe.app.context import Context
from kobe.app.day import simulate
from kobe.app.promote import run_promote
from kobe.app.train_meta import run_train_meta
from kobe.app.walk_forward import WalkForwardRequest, run_walk_forward
from kobe.core.errors import ConfigError, ExitCode, MissingDataError
from kobe.core.ports import Progress
from kobe.data.manifest import Provenance
from kobe.data.providers.files import read_bars
from kobe.data.providers.synthetic import SyntheticSpec, synthetic_market
from kobe.reports import walk_forward as comparison
from kobe.reports.document import Document, Section, Table

MARKER = ".kobe-demo"
PICK_COLUMNS = ("signal_date", "rank", "symbol", "strategy", "probability", "gate", "raw_close")


@dataclass(frozen=True, kw_only=True)
class DemoRequest:
    """Real bars or none, how many sessions to play, how large a market to make up."""

    home: Path
    bars: Path | None = None
    sessions: int = 10
    symbols: int = 200
    years: int = 6
    seed: int = 81


def run_demo(request: DemoRequest, progress: Progress | None = None) -> Document:
    """Run the demo in its own home, which is made anew each time.

    Raises:
        ConfigError: the folder exists and is not an earlier demo's.
    """
    _fresh(request.home)
    ctx = wiring.build(request.home, progress=progress)
    imported = _import(ctx, request)
    first, last = _span(ctx, request.sessions)
    evidence = run_walk_forward(ctx, WalkForwardRequest(until=ctx.calendar.previous(first)))
    trained = run_train_meta(ctx)
    promoted = run_promote(ctx)
    live = wiring.build(request.home, clock=simulate.clock_before(first), progress=progress)
    played = simulate.run_simulation(live, first, last)
    audit = run_audit_verify(live)
    return _document(live, [imported, evidence, trained, promoted, played, audit], first, last)


def _fresh(home: Path) -> None:
    if home.exists() and any(home.iterdir()):
        if not (home / MARKER).is_file():
            raise ConfigError(
                "this folder is not a demo's, and the demo starts from an empty one", seen=home,
                expected="an empty or missing folder", next_command="kobe demo --into OTHER_FOLDER",
            )  # fmt: skip
        shutil.rmtree(home)
    home.mkdir(parents=True, exist_ok=True)
    (home / MARKER).write_text("made by kobe demo; deleted and made anew by the next one\n", encoding="utf-8")


def _import(ctx: Context, request: DemoRequest) -> Document:
    if request.bars is None:
        spec = SyntheticSpec(symbols=request.symbols, years=request.years, seed=request.seed)
        bars, name, source = synthetic_market(spec, ctx.calendar), "the synthetic market", "synthetic"
    else:
        bars, name, source = read_bars(request.bars, {}), request.bars.name, request.bars.stem
    return import_bars.keep(ctx, bars, Provenance(source=source), name, replace=True)


def _span(ctx: Context, sessions: int) -> tuple[date, date]:
    """Return the last sessions of the store that can be played: the very last bar is needed for none of them."""
    held = ctx.store.manifest()
    days = ctx.calendar.between(held.first, held.last)
    if len(days) <= sessions + 1:
        raise MissingDataError("too few sessions for a demo", seen=len(days), expected=f"more than {sessions + 1}")
    return days[-sessions], days[-1]


def _picks(ctx: Context, first: date, last: date) -> Table:
    rows = []
    for day in ctx.calendar.between(ctx.calendar.previous(first), ctx.calendar.previous(last)):
        path = ctx.paths.of_session(day) / "daily_picks.jsonl"
        told = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        rows += [tuple(json.loads(line)[name] for name in PICK_COLUMNS) for line in told]
    return Table(columns=PICK_COLUMNS, rows=tuple(rows))


def _trades(ctx: Context) -> Table:
    books = desk.manager(ctx).book()
    rows = [
        (t.symbol, t.strategy, t.quantity, f"{t.entry_price:.2f}", f"{t.exit_price:.2f}", f"{t.net_usd:+.2f}",
         t.exit_reason)
        for t in books.trades
    ]  # fmt: skip
    rows += [(p.symbol, p.strategy, p.quantity, f"{p.average_price:.2f}", "", "", "open") for p in books.positions]
    return Table(columns=("symbol", "strategy", "shares", "entry", "exit", "net $", "why"), rows=tuple(rows))


def _document(ctx: Context, parts: list[Document], first: date, last: date) -> Document:
    imported, evidence, trained, promoted, played, audit = parts
    summary = [*imported.summary[:1], *evidence.summary, *trained.summary[:1], *promoted.summary, *played.summary]
    reports = [str(ctx.paths.walk_forward / "walk_forward.html"), str(ctx.paths.of_session(last) / "eod.html"),
               str(ctx.paths.home / "STATUS.md")]  # fmt: skip
    figures = next(s for s in evidence.sections if s.title == comparison.HEADLINE)
    codes = [p.exit_code for p in (played, audit)]
    return Document(
        schema="kobe.demo/1",
        title=f"kobe demo: {first} to {last}",
        summary=(*summary, f"Audit: {audit.summary[0]}"),
        banners=evidence.banners,
        sections=(
            Section(title="Evidence", table=figures.table),
            Section(title="Picks", table=_picks(ctx, first, last)),
            Section(title="Sessions", table=played.sections[0].table),
            Section(title="Trades", table=_trades(ctx)),
            Section(title="Reports", lines=tuple(reports)),
        ),
        data={
            "home": str(ctx.paths.home), "walk_forward": evidence.data, "train": trained.data, "promote": promoted.data,
            "simulation": played.data, "audit": audit.data, "reports": reports,
            "trades": [list(r) for r in _trades(ctx).rows],
        },
        exit_code=max(codes, default=ExitCode.OK),
    )  # fmt: skip
