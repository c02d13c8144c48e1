"""Whole processes: `kobe walk-forward` cold, `kobe --help`, and the benches that print a ratio of their own."""

import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from kobe.core.calendar import xnys

from . import environment, market
from .report import Bar, in_turns
from .worker import ROOT, Reading

LAST_DAY = "2024-12-31"


def run(command: list[str], *, check: bool = True) -> Reading:
    """Run a process to its end; wall and processor seconds, its own output kept only if it fails."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if check and done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}\n{done.stderr}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Reading(wall_s=wall, cpu_s=cpu, facts={"out": done.stdout})


def kobe(*arguments: str) -> list[str]:
    """Return the command line of kobe."""
    return [sys.executable, "-m", "kobe", *arguments]


def user_file(path: Path) -> None:
    """Write the shared bars as a user's file."""
    bars = market.read(environment.MARKET)
    symbols, length = bars["close"].shape
    calendar = xnys()
    last = int(np.searchsorted(calendar.days, np.datetime64(LAST_DAY, "D").astype(np.int32)))
    days = np.tile(calendar.days[last - length + 1 : last + 1], symbols)
    names = np.repeat([f"S{k:03d}" for k in range(symbols)], length)
    columns = {name: values.ravel() for name, values in bars.items()}
    pl.DataFrame({"date": pl.Series(days).cast(pl.Date), "symbol": names, **columns}).write_parquet(path)


def cold() -> list[Bar]:
    """`kobe walk-forward --strategy both` from nothing but a store, against vectorbt's import and first pass."""
    with tempfile.TemporaryDirectory() as folder:
        file, home = Path(folder) / "bars.parquet", str(Path(folder) / "home")
        user_file(file)
        run(kobe("--home", home, "data", "import", str(file)), check=False)  # warns about made-up moves
        ours = kobe("--home", home, "walk-forward", "--strategy", "both", "--fresh")
        module = "scripts.bench.peers.with_vectorbt"
        theirs = [str(environment.PYTHON), "-W", "ignore", "-m", module, str(environment.MARKET)]
        run(ours)  # compiled kernels are kept from the first use on, on both sides
        calls = {idiom: partial(run, [*theirs, idiom]) for idiom in ("rust", "numba", "order function")}
        took = in_turns({"ours": partial(run, ours), **calls}, 3)
    return [
        Bar(name=f"whole process: walk-forward both / vectorbt {idiom} W1", ours=f"{took['ours'].wall_s:.2f} s",
            theirs=f"{took[idiom].wall_s:.2f} s", ratio=took["ours"].wall_s / took[idiom].wall_s, required=1.0,
            at_least=False, cpu_ratio=took["ours"].cpu_s / took[idiom].cpu_s)
        for idiom in calls
    ]  # fmt: skip


def start_up() -> list[Bar]:
    """`kobe --help` against importing the two libraries it needs."""
    theirs = [sys.executable, "-c", "import typer, rich"]
    took = in_turns({"ours": partial(run, kobe("--help")), "theirs": partial(run, theirs)}, 11)
    a, b = took["ours"], took["theirs"]
    return [
        Bar(name="kobe --help / import typer, rich", ours=f"{a.wall_s:.3f} s", theirs=f"{b.wall_s:.3f} s",
            ratio=a.wall_s / b.wall_s, required=1.6, at_least=False, cpu_ratio=a.cpu_s / b.cpu_s)
    ]  # fmt: skip


def _figure(text: str, pattern: str) -> float:
    found = re.search(pattern, text)
    if found is None:
        raise SystemExit(f"no figure {pattern!r} in:\n{text}")
    return float(found.group(1))


def montecarlo() -> list[Bar]:
    """W4, by its own bench."""
    text = run([sys.executable, "scripts/bench/montecarlo.py"]).facts["out"]
    print(text)
    one, cpu = _figure(text, r"ratio ([\d.]+)x"), _figure(text, r"processor time ([\d.]+)x")
    seconds = [_figure(text, rf"{name}: ([\d.]+) s wall") for name in ("ours, one thread", "numpy")]
    return [
        Bar(name="W4 on one thread / plain numpy", ours=f"{seconds[0]:.3f} s", theirs=f"{seconds[1]:.3f} s", ratio=one,
            required=3.0, cpu_ratio=cpu)
    ]  # fmt: skip


def scan() -> list[Bar]:
    """W3, by its own bench: the evening scan of 900 symbols against the naive loop."""
    text = run([sys.executable, "scripts/bench/pick.py"]).facts["out"]
    print(text)
    names = {"first": "first scan after new bars", "kept": "scan of a prepared session"}
    took = {name: _figure(text, rf"(?m)^{name} +([\d.]+) s") for name in (*names, "naive", "replay")}
    found = [
        Bar(name=f"W3 naive loop / {words}", ours=f"{took[name]:.2f} s", theirs=f"{took['naive']:.2f} s",
            ratio=took["naive"] / took[name], required=20.0)
        for name, words in names.items()
    ]  # fmt: skip
    inside = _figure(text, r"(?m)^explain, its own work +([\d.]+) s")
    whole = (("W3 whole process, prepared", took["kept"], 1.0), ("explain, its own work", inside, 0.5),
             ("replay of one session, whole process", took["replay"], 2.0))  # fmt: skip
    return found + [
        Bar(name=name, ours=f"{s:.2f} s", theirs=f"{most:.1f} s", ratio=s, required=most, at_least=False)
        for name, s, most in whole
    ]


def dask() -> list[Bar]:
    """The dask backend on two workers, by its own bench."""
    text = run([sys.executable, "scripts/bench/compute.py", "--workers", "2"]).facts["out"]
    print(text)
    seconds = [_figure(text, rf"{name} +2 +([\d.]+)") for name in ("dask", "processes")]
    return [
        Bar(name="dask / local processes, two workers", ours=f"{seconds[0]:.2f} s", theirs=f"{seconds[1]:.2f} s",
            ratio=_figure(text, r"workers: wall ([\d.]+)"), required=1.15, at_least=False,
            cpu_ratio=_figure(text, r"processor time ([\d.]+)"))
    ]  # fmt: skip
