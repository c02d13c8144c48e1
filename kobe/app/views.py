"""Session views kept on disk: the first scan of a session works its view out, every later look reads it back.

A view is named by everything it depends on (bars, calendar, universe, parameters, code), and carries its own digest:
one that is torn or was touched is worked out anew.
"""

import hashlib
from contextlib import suppress
from dataclasses import asdict
from datetime import date
from pathlib import Path

from kobe.app import experiments
from kobe.app.context import Context
from kobe.core.errors import KobeError
from kobe.core.ids import digest
from kobe.core.panel import Panel
from kobe.decisions import view
from kobe.decisions.scan import cut
from kobe.decisions.view import SessionView
from kobe.reports.document import jsonable
from kobe.strategies.spec import BaseParams

KEPT, KEPT_IN_PROCESS = 30, 2
_SEAL_BYTES = 32
_in_process: dict[bytes, SessionView] = {}
"""Seal -> the view behind it: a process looks at that of one session again and again."""


def session_view(
    ctx: Context, session: date, params: dict[str, BaseParams], market_symbol: str, *, fresh: bool = False
) -> tuple[Panel, SessionView]:
    """Return the bars up to a session and nothing later, and the session as the strategies saw it.

    Args:
        ctx: context.
        session: which.
        params: strategy id -> parameters.
        market_symbol: whose bars describe the market.
        fresh: work it out from the bars even where it is kept; for proofs.

    Raises:
        StaleDataError: the store has no bars of the session.
    """
    past, number = cut(ctx.panel(), session)
    told = [ctx.panel.key, ctx.calendar.digest, session.isoformat(), market_symbol, experiments.code_digest()]
    key = digest([told, {name: jsonable(asdict(p)) for name, p in params.items()}])[:24]
    path = ctx.paths.views / f"{session}-{key}.npz"
    kept = None if fresh else _opened(path)
    if kept is not None:
        return past, kept
    seen = view.observe(past, number, params, market_symbol)
    if not fresh:
        content = view.to_bytes(seen)
        seal = _seal(content)
        _keep(seal, seen)
        with suppress(KobeError, OSError):  # keeping it is a convenience
            ctx.artifacts.write(path, seal + content, wait=False)
            _forget(ctx)
    return past, seen


def _opened(path: Path) -> SessionView | None:
    try:
        sealed = path.read_bytes()
    except OSError:
        return None
    seal, content = sealed[:_SEAL_BYTES], sealed[_SEAL_BYTES:]
    if _seal(content) != seal:
        return None
    return _in_process.get(seal) or _keep(seal, view.from_bytes(content))


def _seal(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=_SEAL_BYTES).digest()


def _keep(seal: bytes, seen: SessionView) -> SessionView:
    while len(_in_process) >= KEPT_IN_PROCESS:
        del _in_process[next(iter(_in_process))]
    _in_process[seal] = seen
    return seen


def _forget(ctx: Context) -> None:
    """Keep the newest views only."""
    held = sorted(ctx.paths.views.glob("*.npz"), key=lambda p: p.stat().st_mtime)
    for old in held[:-KEPT]:
        old.unlink(missing_ok=True)
