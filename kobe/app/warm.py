"""Compile every kernel once, so that the first real command does not wait: `python -m kobe.app.warm`."""

import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kobe.infra.machine_code import MachineCode


def use_kernel_cache() -> None:
    """Keep compiled kernels in the user's cache; must happen before numba is imported.

    A user who may write none, such as a service's without a home folder, compiles anew for each process: kernels in a
    folder that others may write as well would be their code in our process.
    """
    from kobe.core import compiled

    if "NUMBA_CACHE_DIR" not in os.environ:
        os.environ["NUMBA_CACHE_DIR"] = _cache_folder()
    if sys.platform == "linux":  # nobody has tried it elsewhere; there numba is loaded, as for a kernel never kept
        compiled.use(_machine_code)
    told = os.environ.get("NUMBA_NUM_THREADS", "")
    if told.isdecimal():
        from kobe.core import threads

        threads.limit(int(told))


def _machine_code() -> "MachineCode":
    from kobe.infra.machine_code import MachineCode

    return MachineCode(Path(os.environ["NUMBA_CACHE_DIR"]) / "machine_code")


def _cache_folder() -> str:
    import platformdirs

    cache = Path(platformdirs.user_cache_dir("kobe", appauthor=False)) / "numba"
    try:
        cache.mkdir(parents=True, exist_ok=True)
        usable = os.access(cache, os.W_OK)
    except OSError:
        usable = False
    return str(cache) if usable else _folder_of_this_process()


def keep_what_dataclasses_write() -> None:
    """Let dataclasses find their methods' code; must happen before the modules that have them are imported."""
    from kobe.infra import generated

    generated.keep()


def _folder_of_this_process() -> str:
    import atexit
    import shutil
    import tempfile

    folder = tempfile.mkdtemp(prefix="kobe-kernels-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def main() -> None:
    """Run both strategies through the backtest on a tiny made-up market."""
    started = time.perf_counter()
    use_kernel_cache()
    import numpy as np

    from kobe.backtest import engine, together
    from kobe.backtest.costs import flat_costs
    from kobe.core.calendar import xnys
    from kobe.data import actions, inspection
    from kobe.data.assemble import panel_from
    from kobe.data.manifest import Provenance
    from kobe.data.providers.synthetic import SyntheticSpec, synthetic_market
    from kobe.data.quality import Scope
    from kobe.features.table import FeatureTable
    from kobe.strategies import STRATEGIES

    bars = synthetic_market(SyntheticSpec(symbols=3, years=2), xnys())
    scope = Scope(calendar=xnys())
    inspection.findings(inspection.screen(bars, scope).good, actions.none(), scope)
    panel = panel_from(bars, xnys(), Provenance(source="synthetic"))
    panel = replace(panel, dividend=np.full(len(panel), 0.01))
    features = FeatureTable(panel)
    assumptions = engine.Assumptions(costs=flat_costs(5.0))
    for strategy in STRATEGIES.values():
        table = strategy.signals(panel, features, strategy.defaults)
        together.follow(panel, features, [table], assumptions)
        for side in (table.side, -table.side):  # the loan of shares sold short has a kernel of its own
            outcomes = engine.evaluate(panel, features, replace(table, side=side), assumptions)
            engine.one_per_symbol(outcomes)
            engine.run_portfolio(panel, outcomes, assumptions, panel.first_session, panel.last_session)
    features.matrix(np.arange(len(panel) - 5, len(panel)))
    sys.stderr.write(f"kernels compiled in {time.perf_counter() - started:.1f} s\n")


if __name__ == "__main__":
    main()
