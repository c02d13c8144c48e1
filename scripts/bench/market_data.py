"""Every figure of docs/data.md, measured anew: times and memory against pandas, defects found, rebuilt prices, bias.

python scripts/bench/market_data.py FOLDER_WITH_THE_TEST_DATA [speed|defects|rebuild|bias ...]
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from kobe.app import wiring
from kobe.app.claims.defects import MAIN, Count, bars_of, listed_defects, planted_defects
from kobe.app.claims.prices import rebuilt_prices
from kobe.core.calendar import xnys
from kobe.core.types import SYMBOL_PATTERN
from kobe.data import actions, inspection, quality
from kobe.data.quality import Scope

if TYPE_CHECKING:
    import pandas as pd

CALENDAR = xnys()


def kobe(home: Path, *arguments: str) -> tuple[float, float]:
    """Run a command as a whole process; return seconds and its peak memory in MB."""
    started = time.perf_counter()
    child = subprocess.Popen([sys.executable, "-m", "kobe", "--home", str(home), *arguments], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    if os.waitstatus_to_exitcode(status) not in (0, 7):
        raise SystemExit(f"kobe {' '.join(arguments)} failed")
    return time.perf_counter() - started, usage.ru_maxrss / 1024


def timed(work: Callable[[], Any], runs: int = 3) -> float:
    """Return the best of some runs, in seconds."""
    best = float("inf")
    for _ in range(runs):
        started = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - started)
    return best


def pandas_import_and_check(file: Path, target: Path) -> dict[str, int]:
    """The same work in pandas as a careful user writes it: vectorised, no loop over rows; returns findings per rule.

    The same rules with the same bounds as kobe's row and series rules, the same files by year, on the disk before it
    returns, and their digests.
    """
    import hashlib

    import pandas as pd

    bars = pd.read_parquet(file)
    bars["symbol"] = bars["symbol"].astype("category")
    bars = bars.sort_values(["symbol", "date"], kind="stable").reset_index(drop=True)
    sessions = pd.DatetimeIndex(pd.to_datetime(list(CALENDAR.sessions)))
    found, bad = _pandas_row_rules(bars, sessions)
    good = bars[~bad]
    target.mkdir(parents=True, exist_ok=True)
    for year, part in good.groupby(good["date"].dt.year):
        path = target / f"{year}.parquet"
        content = part.to_parquet(compression="lz4")
        hashlib.blake2b(content, digest_size=32).hexdigest()
        with path.open("wb") as stored:
            stored.write(content)
            stored.flush()
            os.fsync(stored.fileno())
    return found | _pandas_series_rules(good, sessions)


def _pandas_row_rules(
    bars: "pd.DataFrame", sessions: "pd.DatetimeIndex"
) -> "tuple[dict[str, int], np.ndarray[Any, Any]]":
    prices = bars[["open", "high", "low", "close"]].to_numpy()
    volume = bars["volume"].to_numpy()
    names = bars["symbol"].cat.categories
    odd = names[~names.astype(str).str.match(SYMBOL_PATTERN)]
    opened, high, low, close = prices.T
    rules = {
        "missing_date": bars["date"].isna().to_numpy(),
        "bad_symbol": bars["symbol"].isna().to_numpy() | bars["symbol"].isin(odd).to_numpy(),
        "non_finite": ~np.isfinite(prices).all(axis=1) | ~np.isfinite(volume),
        "non_positive": (prices <= 0).any(axis=1),
        "absurd_price": ((prices > 1e7) | (prices < 1e-4)).any(axis=1),
        "negative_volume": volume < 0,
        "absurd_volume": volume > 1e12,
        "ohlc_order": (high < np.maximum(np.maximum(opened, close), low) * (1 - 1e-9))
        | (low > np.minimum(np.minimum(opened, close), high) * (1 + 1e-9)),
        "not_a_session": ~bars["date"].isin(sessions).to_numpy(),
        "future_bar": (bars["date"] > sessions[-1]).to_numpy(),
        "duplicate": bars.duplicated(["symbol", "date"], keep=False).to_numpy(),
    }
    return {code: int(hit.sum()) for code, hit in rules.items()}, np.logical_or.reduce(list(rules.values()))


def _pandas_series_rules(good: "pd.DataFrame", sessions: "pd.DatetimeIndex") -> dict[str, int]:
    import pandas as pd

    by = good.groupby("symbol", observed=True)
    previous = by["close"].shift(1)
    number = pd.Series(sessions.searchsorted(good["date"]), index=good.index)
    skipped = number.groupby(good["symbol"], observed=True).diff() - 1
    mean = by["volume"].rolling(60).mean().reset_index(level=0, drop=True)
    mean = mean.groupby(good["symbol"], observed=True).shift(10)
    drop = by["volume"].rolling(10).max().reset_index(level=0, drop=True) / mean.where(mean >= 1)
    below = (drop < quality.FEED_SHARE) & (by.cumcount() >= 70)
    onset = below & ~below.groupby(good["symbol"], observed=True).shift(1, fill_value=False)
    same = good["close"].eq(previous)
    flat = good["high"].eq(good["low"])
    frozen = same & flat & flat.groupby(good["symbol"], observed=True).shift(1, fill_value=False)
    equal = same.groupby([good["symbol"], (~same).cumsum()], observed=True).cumsum() + 1
    still = (frozen.groupby([good["symbol"], (~frozen).cumsum()], observed=True).cumsum() + 1).where(flat, 0)
    move, gap = good["close"] / previous, good["open"] / previous
    near = np.zeros(len(good), dtype=bool)
    for ratio in quality.SPLIT_RATIOS:
        near |= ((gap / ratio - 1).abs() < 0.02).to_numpy() & ((move / ratio - 1).abs() < 0.05).to_numpy()
    top, bottom = good[["open", "close"]].max(axis=1), good[["open", "close"]].min(axis=1)
    rules = {
        "jump_without_event": (move - 1).abs() > quality.JUMP,
        "split_like_gap": near & (good["high"] / good["low"] < 1.08),
        "spike": (good["high"] > 3 * top) | (good["low"] * 3 < bottom),
        "stale_run": (still >= 5) & (still % 5 == 0),
        "long_gap": skipped > 20,
        "feed_volume": onset,
        "missing_sessions": skipped > 0,
        "long_wick": (good["high"] > 1.5 * top) | (good["low"] * 1.5 < bottom),
        "zero_volume": good["volume"] == 0,
        "flat_bar": flat,
        "equal_closes": equal == 5,
    }
    sizes = by.size()
    life = number.groupby(good["symbol"], observed=True).agg(["first", "last"])
    last_day = by["date"].last()
    present = good.groupby("date").size()
    alive = pd.Series(0, index=range(len(sessions) + 1)).add(life["first"].value_counts(), fill_value=0)
    alive = alive.sub((life["last"] + 1).value_counts(), fill_value=0).cumsum().iloc[:-1].set_axis(sessions)
    thin = (alive >= 10) & (present.reindex(sessions, fill_value=0) < 0.8 * alive)
    whole = {
        "coverage": int((sizes / (life["last"] - life["first"] + 1) < 0.9).sum()),
        "stale_end": int((last_day < last_day.max()).sum()),
        "thin_session": int(thin.sum()),
    }
    return {code: int(hit.sum()) for code, hit in rules.items()} | whole


def speed(data: Path, work: Path) -> None:
    """Import, panel, check; and import plus check against pandas in processes of their own."""
    file, home = data / f"{MAIN}.parquet", work / "speed"
    seconds, memory = kobe(home, "data", "import", str(file))
    print(f"import of {file.name}, whole process          {seconds:6.2f} s   {memory:5.0f} MB   (bar 5 s, 600 MB)")
    seconds, memory = kobe(home, "data", "check")
    print(f"check of all rules, whole process with report {seconds:6.2f} s   {memory:5.0f} MB")
    ctx = wiring.build(home)
    bars, events = ctx.store.frame(), ctx.store.actions()
    scope = Scope(calendar=CALENDAR)
    took = timed(lambda: (inspection.screen(bars, scope), inspection.findings(bars, events, scope)))
    print(f"check of all {len(quality.RULES)} rules, in process              {took:6.2f} s              (bar 3 s)")
    held = ctx.store.manifest()

    def cold() -> None:
        from kobe.data import assemble

        parts = [ctx.store.part(p) for p in held.years.values()]
        assemble.assemble(parts, CALENDAR, held.provenance, events, ctx.store.holds())

    print(f"panel from Parquet                            {timed(cold):6.3f} s              (bar 0.5 s)")
    ctx.store.panel()
    print(
        f"panel from the memory map                     {timed(ctx.store.panel) * 1e3:6.2f} ms             (bar 50 ms)"
    )
    against_pandas(file, work)
    print(f"this process at its peak: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


def against_pandas(file: Path, work: Path) -> None:
    """Time import plus check of both sides in turn, in processes of their own, and see that both found the same."""
    sides: dict[str, list[float]] = {"ours": [], "pandas_import_and_check": []}
    said: dict[str, dict[str, int]] = {}
    for k in range(5):
        for name, seconds in sides.items():
            took, said[name] = _process(name, file, work / f"{name}{k}")
            seconds.append(took)
    told, others = ({c: n for c, n in found.items() if n} for found in said.values())
    if told != others:
        raise SystemExit(f"the two sides found different things: {told} and {others}")
    both = list(zip(*sides.values(), strict=True))
    ratio = sorted(theirs / ours_ for ours_, theirs in both)[len(both) // 2]
    print(f"findings of both sides: {told}")
    best = [min(seconds) for seconds in sides.values()]
    print(f"import plus check: kobe {best[0]:.2f} s, pandas {best[1]:.2f} s, median ratio {ratio:.1f}x (bar 5x)")


def ours(file: Path, target: Path) -> dict[str, int]:
    """Import and check without the command around it: what the pandas function does, holds included."""
    from kobe.data.ingest import Shipment, ingest
    from kobe.data.manifest import Provenance
    from kobe.data.providers.files import read_bars
    from kobe.data.store import BarStore
    from kobe.infra.blobs import FolderBlobs
    from kobe.infra.records.artifacts import FileArtifacts

    store = BarStore(FolderBlobs(target), target / "cache", CALENDAR)
    shipment = Shipment(bars=read_bars(file, {}), events=actions.none(), provenance=Provenance(source="b"),
                        fetched_at="2020-12-31T22:00:00+00:00")  # fmt: skip
    done = ingest(shipment, store, FileArtifacts(), target / "aside", Scope(calendar=CALENDAR), replace=True)
    return done.reasons | {code: n for code, _, _, n, _ in inspection.tally(done.found)}


def _process(name: str, file: Path, target: Path) -> tuple[float, dict[str, int]]:
    """Time a piece of work inside a process of its own, after a run on a small part; return what it found, too.

    The run before leaves imports, thread pools and the loading of compiled code out, on both sides alike.
    """
    small = target.parent / "small.parquet"
    if not small.exists():
        pl.read_parquet(file).head(5_000).write_parquet(small)
    script = (
        "import numpy, polars, pandas, pyarrow, kobe.data.ingest, kobe.data.providers.files, json, sys, time\n"
        "from pathlib import Path\n"
        "from scripts.bench import market_data\n"
        "work = getattr(market_data, sys.argv[1])\n"
        "work(Path(sys.argv[4]), Path(sys.argv[3] + '-small'))\n"
        "t = time.perf_counter(); found = work(Path(sys.argv[2]), Path(sys.argv[3])); t = time.perf_counter() - t\n"
        "print(json.dumps([t, found]))"
    )
    command = [sys.executable, "-c", script, name, str(file), str(target), str(small)]
    done = subprocess.run(command, cwd=Path(__file__).resolve().parents[2], capture_output=True, text=True, check=True)
    took, found = json.loads(done.stdout.splitlines()[-1])
    return took, found


def row(count: Count, where: str) -> None:
    """Print one kind of defect."""
    recall = count.found / count.listed
    print(f"{where:26}{count.kind:20}{count.listed:7}{count.found:7}{recall:8.3f}{count.precision:10.3f}")


def defects(data: Path, work: Path) -> None:
    """Precision and recall per kind of listed defect, and of planted ones where the files have none."""
    del work
    counts, false = listed_defects(data, CALENDAR)
    print(f"{'file':26}{'kind':20}{'listed':>7}{'found':>7}{'recall':>8}{'precision':>10}")
    for held in false:
        for count in (c for c in counts if c.file == held.file):
            row(count, held.file)
        rate = len(held.found) / held.bars * 1e5
        told = ", ".join(f"{s} {d} {c}" for s, d, c in held.found)
        print(f"{held.file:26}false quarantines {len(held.found)} = {rate:.2f} per 100,000 bars (bar 1): {told}")
    for count in planted_defects(data, CALENDAR):
        row(count, f"planted in {MAIN}")
    survivorship_free(data)


def survivorship_free(data: Path) -> None:
    """What the rules say about the bars that include companies that failed."""
    free = bars_of(data, "equities_daily_survivorship_free_2013_2018").with_columns(
        pl.col("symbol").str.replace("_", ".")
    )
    told = Scope(calendar=CALENDAR, adjustment="total-return")
    screened = inspection.screen(free, told)
    gaps = inspection.findings(screened.good, actions.none(), told).filter(pl.col("code") == "missing_sessions")
    missing = gaps.get_column("detail").str.extract(r"^(\d+)").cast(pl.Int64).sum()
    names, silent = gaps.get_column("symbol").n_unique(), (free["volume"] == 0).sum()
    print(f"survivorship_free: set aside {inspection.counts(screened.aside)}, {missing:,} sessions missing in "
          f"{names} symbols, {silent} zero-volume bars")  # fmt: skip


def rebuild(data: Path, work: Path) -> None:
    """Rebuild split-adjusted prices from tape prices and events, and list where they differ from the file's."""
    told = rebuilt_prices(wiring.build(work / "rebuild"), data)
    print(f"{told['bars']:,} bars of {told['names']} names: {told['equal_bars']:,} equal within rounding (2e-6)")
    for d in told["differing"]:
        print(f"  differs: {d['symbol']}, {d['bars']:,} bars, ours is {d['ratio']:.4g} times the file's: "
              "a split after the events end")  # fmt: skip


def bias(data: Path, work: Path) -> None:
    """Measure the bias of a static list from the membership records."""
    home = work / "bias"
    file = data / "equities_daily_survivorship_free_2013_2018.parquet"
    kobe(home, "data", "import", str(file), "--adjustment", "total-return", "--universe", "point-in-time")
    kobe(home, "universe", "import", "sp500", str(data / "sp500_membership_monthly.parquet"))
    subprocess.run([sys.executable, "-m", "kobe", "--home", str(home), "universe", "bias", "sp500"], check=True)


PARTS = {"speed": speed, "defects": defects, "rebuild": rebuild, "bias": bias}


def main() -> None:
    """Print every part asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("parts", nargs="*", default=[], choices=[*PARTS, []])
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name in given.parts or PARTS:
            print(f"== {name}")
            PARTS[name](given.data, Path(folder))


if __name__ == "__main__":
    main()
