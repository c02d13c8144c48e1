"""W3 and the rest of the pick, as whole processes: scan, explain, replay against the naive loop.

python scripts/bench/pick.py [FILE_OF_BARS]      without a file: the made-up market of the other benches, 900 x 2,358
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path

import polars as pl

ROOT = Path(__file__).resolve().parents[2]
ROUNDS = 5


def run(command: list[str]) -> tuple[float, str, float]:
    """Run a process; return seconds, what it printed and its peak memory in MB."""
    with tempfile.TemporaryFile() as out:
        started = time.perf_counter()
        child = subprocess.Popen(command, cwd=ROOT, stdout=out, env=_environment())
        _, status, usage = os.wait4(child.pid, 0)
        took = time.perf_counter() - started
        if os.waitstatus_to_exitcode(status) not in (0, 7):
            raise SystemExit(f"{' '.join(command)} failed")
        out.seek(0)
        return took, out.read().decode(), usage.ru_maxrss / 1024


def _environment() -> dict[str, str]:
    """Return this process's variables, but let Python keep what it compiled, as it does for everybody who asks not."""
    inherited = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return {**inherited, "PYTHONPATH": str(ROOT)}


def main() -> None:
    """Make a home with a champion, then let the sides take turns."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(sys.argv[1]) if len(sys.argv) > 1 else _made_up(Path(folder) / "bars.parquet")
        home = Path(folder) / "home"
        last, before = _home(home, file)
        _measure(home, file, last, before)


def _made_up(path: Path) -> Path:
    peers = {name: import_module(f"scripts.bench.peers.{name}") for name in ("environment", "market", "processes")}
    peers["market"].write(peers["environment"].MARKET)
    peers["processes"].user_file(path)
    return path


def _home(home: Path, file: Path) -> tuple[str, str]:
    for words in (["data", "import", str(file)], ["walk-forward", "--grid", "one"], ["train-meta"], ["promote"]):
        run(_kobe(home, *words))
    days = pl.read_parquet(file, columns=["date"])["date"].cast(pl.Date).unique().sort()
    return str(days[-1]), str(days[-40])


def _kobe(home: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "kobe", "--home", str(home), *words]


def _measure(home: Path, file: Path, last: str, before: str) -> None:
    run(_kobe(home, "scan", "--session", before))
    scan = _kobe(home, "scan", "--session", last, "--json")
    naive = [sys.executable, "scripts/bench/naive_scan.py", str(file)]
    took: dict[str, list[float]] = {}
    memory, told, theirs = 0.0, "", ""
    for k in range(ROUNDS):
        shutil.rmtree(home / "cache" / "views", ignore_errors=True)
        for name, command in (("first", scan), ("kept", scan), ("replay", _kobe(home, "replay", last)),
                              ("replay, past", _kobe(home, "replay", before))):  # fmt: skip
            seconds, text, peak = run(command)
            took.setdefault(name, []).append(seconds)
            memory, told = max(memory, peak), text if name == "kept" else told
        if json.loads(told)["picks"]:
            took.setdefault("explain", []).append(run(_kobe(home, "explain", "1", "--session", last))[0])
        if k < 2:
            seconds, theirs, _ = run(naive)
            took.setdefault("naive", []).append(seconds)
    _compare(json.loads(told), json.loads(theirs))
    took["explain, its own work"] = _explained(home, last)
    for name, readings in took.items():
        print(f"{name:22} {statistics.median(readings):7.3f} s   best {min(readings):7.3f} s")
    mine, theirs_s = {n: statistics.median(s) for n, s in took.items()}, statistics.median(took["naive"])
    print(f"naive loop / first scan after new bars: {theirs_s / mine['first']:.1f}x (bar 20x)")
    print(f"naive loop / scan of a prepared session: {theirs_s / mine['kept']:.1f}x; {mine['kept']:.2f} s (bar 1.0 s)")
    print(f"memory of scan and replay at most {memory:.0f} MB (bar 600 MB)")


def _compare(ours: dict[str, object], theirs: dict[str, list[str]]) -> None:
    """Both sides must find the same signals, or the ratio means nothing."""
    fates = ours["fates"]
    assert isinstance(fates, dict)
    gone = {"no_bar", "not_tradable", "too_young", "price_too_low", "too_illiquid", "no_movement", "below_trend",
            "no_setup"}  # fmt: skip
    fired = {s for s, fate in fates.items() if fate not in gone}
    naive = {s for names in theirs.values() for s in names if fates.get(s) != "not_tradable"}
    if fired != naive:
        raise SystemExit(f"the two sides found different signals: {sorted(fired ^ naive)}")
    print(f"both sides found the same {len(fired)} symbols")


def _explained(home: Path, last: str) -> list[float]:
    """Time explaining a pick inside a process that has started."""
    script = (
        "import sys, time, json\nfrom datetime import date\nfrom pathlib import Path\n"
        "from kobe.app import wiring\nfrom kobe.app.explain import ExplainRequest, run_explain\n"
        "ctx = wiring.build(Path(sys.argv[1])); told = []\n"
        "for _ in range(3):\n"
        "    t = time.perf_counter()\n"
        "    run_explain(ctx, ExplainRequest(pick='1', session=date.fromisoformat(sys.argv[2])))\n"
        "    told.append(time.perf_counter() - t)\n"
        "print(json.dumps(told))\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(home), last], cwd=ROOT, capture_output=True, text=True,
                          check=False)  # fmt: skip
    return [json.loads(done.stdout)[0]] if done.returncode == 0 else [float("nan")]


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
