"""The only place where ports meet their makers."""

import os
import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from kobe.app.audit import audit_chain
from kobe.app.context import Context, PanelCache, Paths
from kobe.app.notify import notifier
from kobe.app.settings import ComputeSettings, Settings, load
from kobe.core.calendar import xnys
from kobe.core.clock import Clock, SteppingClock
from kobe.core.errors import ConfigError, UsageError
from kobe.core.ports import Compute, Progress
from kobe.data.store import BarStore
from kobe.execution.order import OrderFold
from kobe.infra.blobs import FolderBlobs, ObjectBlobs
from kobe.infra.clock import SystemClock
from kobe.infra.compute import BACKENDS
from kobe.infra.compute.kit import ComputeKit
from kobe.infra.compute.shared import SharedArrays
from kobe.infra.kill_switch import FileKillSwitch
from kobe.infra.records.artifacts import FileArtifacts
from kobe.infra.records.ledger import SqlLedger
from kobe.infra.records.signing import FileSigner
from kobe.learning.experiments import Experiments
from kobe.learning.registry import ModelRegistry

if TYPE_CHECKING:
    from kobe.execution.brokers.kit import TradingDoor


def default_home() -> Path:
    """Return kobe's home: KOBE_HOME, else the checkout one stands in, else the user's data folder."""
    given = os.environ.get("KOBE_HOME")
    if given:
        return Path(given).expanduser().resolve()
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "kobe" / "core" / "types.py").is_file() and (folder / "pyproject.toml").is_file():
            return folder
    import platformdirs

    return Path(platformdirs.user_data_dir("kobe", appauthor=False))


def build(
    home: Path | None = None,
    *,
    config: Path | None = None,
    clock: Clock | None = None,
    progress: Progress | None = None,
) -> Context:
    """Build the context of one home.

    The audit chain keeps the host's time even when `clock` steps through the past, so that its order is true.

    Raises:
        ConfigError: the settings cannot be used.
    """
    paths = Paths(home or default_home())
    settings, origins = load(paths.home, config)
    now, host = clock or SystemClock(), SystemClock()
    calendar = xnys(settings.calendar.extra_closures)
    artifacts = FileArtifacts()
    url = settings.data.store_url
    store = BarStore(ObjectBlobs(url) if url else FolderBlobs(paths.bars), paths.bars / "cache", calendar)
    panel = PanelCache(store, paths.universe, settings.data.universe)
    records = settings.records
    ledger = SqlLedger(records.ledger_url or paths.state / "kobe.db", now)
    anchor = Path(records.anchor) if records.anchor else None
    run_id = secrets.token_hex(6)
    switch = FileKillSwitch(paths.state / "KILL_SWITCH")
    wait = _waiting(now)
    broker = cast("TradingDoor", OnFirstUse(lambda: _broker(paths, settings, switch, now, wait, panel, calendar)))
    return Context(
        paths=paths, settings=settings, origins=origins, clock=now, calendar=calendar, store=store, panel=panel,
        artifacts=artifacts, ledger=ledger, audit=audit_chain(paths, host, run_id, anchor=anchor),
        models=ModelRegistry(paths.state / "models", ledger, artifacts, FileSigner(paths.state / "keys")),
        experiments=Experiments(paths.state / "experiments", ledger, artifacts),
        kill_switch=switch, broker=broker, quotes=broker, compute=compute_of(settings, paths), fold=OrderFold(ledger),
        wait=wait, notifier=notifier(paths, settings, now), run_id=run_id, progress=progress,
    )  # fmt: skip


class OnFirstUse:
    """Stands for something until it is used: a command that never asks the broker needs neither its client nor keys."""

    def __init__(self, make: Callable[[], object]) -> None:
        self._make = make
        self._made: object | None = None

    def __getattr__(self, name: str) -> Any:
        if self._made is None:
            self._made = self._make()
        return getattr(self._made, name)


def _broker(*parts: Any) -> "TradingDoor":
    from kobe.app import broker_wiring

    return broker_wiring.make(*parts)


def _waiting(clock: Clock) -> Callable[[float], None]:
    """Return how some seconds are let pass: a stepping clock is moved, the host's is waited for."""
    if not isinstance(clock, SteppingClock):
        return time.sleep

    def step(seconds: float) -> None:
        clock.advance(seconds=seconds)

    return step


def compute_of(settings: Settings, paths: Paths) -> Compute:
    """Make the compute backend of the settings; its workers start with the first work.

    Raises:
        ConfigError: the scheduler's address cannot be one.
    """
    c = settings.compute
    arrays = SharedArrays(paths.arrays, c.arrays_url)
    return BACKENDS[c.backend](ComputeKit(arrays=arrays, workers=c.workers, scheduler=c.scheduler))


def with_compute(
    ctx: Context, *, backend: str | None = None, workers: int | None = None, scheduler: str | None = None
) -> Context:
    """Return the same context with the backend of the command line; what is not given stays as it is set.

    A scheduler's address alone means dask.

    Raises:
        UsageError: there is no such backend, or a scheduler is given to one that has none.
        ConfigError: the scheduler's address cannot be one.
    """
    if scheduler and backend is None:
        backend = "dask"
    given = {"backend": backend, "workers": workers, "scheduler": scheduler}
    changes = {key: value for key, value in given.items() if value is not None}
    if not changes:
        return ctx
    if backend is not None and backend not in BACKENDS:
        raise UsageError("no such compute backend", seen=f"--backend {backend}", expected=", ".join(BACKENDS))
    if scheduler and backend != "dask":
        raise UsageError("only dask has a scheduler", seen=f"--backend {backend} --scheduler {scheduler}")
    section = ComputeSettings.model_validate({**ctx.settings.compute.model_dump(), **changes})
    settings = ctx.settings.model_copy(update={"compute": section})
    origins = {**ctx.origins, **{f"compute.{key}": "command line" for key in changes}}
    ctx.compute.close()
    return replace(ctx, settings=settings, origins=origins, compute=compute_of(settings, ctx.paths))


def arm(ctx: Context, *, live: bool) -> Context:
    """Return a context whose orders may go to a live account: both keys must be turned, settings and `--live`.

    Raises:
        ConfigError: `--live` was given to a home that does not trade live.
    """
    mode = ctx.settings.run.mode
    if live and mode != "live":
        raise ConfigError(
            "--live needs a home configured for live trading", seen=f"run.mode = {mode}", expected="run.mode = live",
            next_command="kobe config show",
        )  # fmt: skip
    return replace(ctx, armed=live)
