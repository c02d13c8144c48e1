"""W1, W2, the limit of the machine and the growth of cost: warm work, trades compared before anything is timed."""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from . import environment, market, rules, trades
from .machine import BARS
from .report import Bar, Median, in_turns
from .worker import Side

FOLDER = str(environment.MARKET)
SLOW_SYMBOLS = 20  # of the slow peers; their time is proportional to the symbols and scaled to all
IDIOMS = ("order function", "numba", "rust")
COMBINATION_BARS = 36 * rules.TRAIN * market.SYMBOLS * len(rules.IBS_GRID) * len(rules.RSI_GRID)


def ours() -> Side:
    """Return a worker of kobe."""
    return Side(sys.executable, "ours")


def peer(module: str) -> Side:
    """Return a worker of a peer."""
    return Side(environment.PYTHON, module)


@contextmanager
def _files() -> Iterator[tuple[str, str]]:
    with tempfile.TemporaryDirectory() as folder:
        yield str(Path(folder) / "ours.npy"), str(Path(folder) / "theirs.npy")


def _rate(bars: float, took: Median) -> str:
    return f"{bars / took.wall_s / 1e6:.3g} M/s"


def w1() -> list[Bar]:
    """One pass against vectorbt (whole rules, and reduced ones by its fastest entrance), PyBroker, backtesting.py."""
    print(f"\nW1 whole rules: {rules.WHOLE}\nW1 reduced:     {rules.REDUCED}")
    print(
        "from_signals of vectorbt, PyBroker and backtesting.py cannot leave on the bar of the entry by a stop from the"
    )
    print("fill, nor at a close after so many bars: both sides trade the reduced rules there")
    with ours() as mine:
        return [*_against_vectorbt(mine), *_against_slow(mine)]


def _against_vectorbt(mine: Side) -> list[Bar]:
    found = []
    with peer("with_vectorbt") as theirs, _files() as (a, b):
        for idiom in IDIOMS:
            reduced = idiom != "order function"
            mine.run("w1", folder=FOLDER, threads=2, reduced=reduced, keep=a)
            theirs.run("w1", folder=FOLDER, idiom=idiom, keep=b)
            count = trades.compare(Path(a), Path(b), f"W1 {idiom}")
            print(f"W1 vectorbt, {idiom}: {count:,} trades, the same on both sides")
            took = in_turns(
                {
                    "theirs": partial(theirs.run, "w1", folder=FOLDER, idiom=idiom),
                    "one": partial(mine.run, "w1", folder=FOLDER, threads=1, reduced=reduced),
                    "two": partial(mine.run, "w1", folder=FOLDER, threads=2, reduced=reduced),
                },
                9,
            )
            found += [_bar(f"W1, vectorbt {idiom}, kobe on {n}", took["theirs"], took[n], BARS, 8.0)
                      for n in ("one", "two")]  # fmt: skip
    return found


def _bar(name: str, theirs: Median, mine: Median, bars: float, required: float, scale: float = 1.0) -> Bar:
    scaled = Median(wall_s=theirs.wall_s * scale, cpu_s=theirs.cpu_s * scale)
    return Bar(
        name=name, ours=_rate(bars, mine), theirs=_rate(bars, scaled), ratio=scaled.wall_s / mine.wall_s,
        required=required, cpu_ratio=scaled.cpu_s / mine.cpu_s,
    )  # fmt: skip


def _against_slow(mine: Side) -> list[Bar]:
    found = []
    for module, name, required in (("with_pybroker", "PyBroker", 200.0), ("with_backtesting", "backtesting.py", 300.0)):
        with peer(module) as theirs, _files() as (a, b):
            mine.run("w1", folder=FOLDER, threads=2, reduced=True, keep=a)
            theirs.run("w1", folder=FOLDER, symbols=SLOW_SYMBOLS, keep=b)
            count = trades.compare(Path(a), Path(b), f"W1 {name}", SLOW_SYMBOLS)
            print(f"W1 {name}: {count:,} trades of {SLOW_SYMBOLS} symbols, the same on both sides; its time x "
                  f"{market.SYMBOLS / SLOW_SYMBOLS:g}")  # fmt: skip
            took = in_turns(
                {
                    "theirs": partial(theirs.run, "w1", folder=FOLDER, symbols=SLOW_SYMBOLS),
                    "ours": partial(mine.run, "w1", folder=FOLDER, threads=2, reduced=True),
                },
                3,
            )
            scale = market.SYMBOLS / SLOW_SYMBOLS
            found.append(_bar(f"W1, {name}, kobe on two", took["theirs"], took["ours"], BARS, required, scale))
    return found


def w2() -> list[Bar]:
    """Walk-forward: 36 splits, 12 combinations; kobe's whole `walk_forward.run` with choices and account."""
    print(
        "\nW2: a peer's window starts flat and its trades end inside it; for the comparison kobe's are cut the same way"
    )
    with ours() as mine, peer("with_vectorbt") as theirs, _files() as (a, b):
        first = theirs.run("w2", folder=FOLDER, keep=b)
        mine.run("w2_trades", folder=FOLDER, keep=a, tested=first.facts["picked"])
        count = trades.compare(Path(a), Path(b), "W2")
        print(f"W2: {count:,} trades of all windows and combinations, the same on both sides")
        took = in_turns(
            {
                "one": partial(mine.run, "w2", folder=FOLDER, threads=1),
                "two": partial(mine.run, "w2", folder=FOLDER, threads=2),
            },
            7,
        )
    # The peer was warmed up by one whole run; it takes a minute, so one reading of it has to do.
    slow = Median(wall_s=first.wall_s, cpu_s=first.cpu_s)
    return [_bar(f"W2, vectorbt order function, kobe on {n}", slow, took[n], COMBINATION_BARS, 100.0) for n in took]


def limit() -> list[Bar]:
    """W1 against what the machine allows."""
    found = []
    with ours() as mine:
        for threads in (1, 2):
            took = in_turns(
                {
                    "read": partial(mine.run, "read", threads=threads),
                    "recursions": partial(mine.run, "recursions", threads=threads),
                    "w1": partial(mine.run, "w1", folder=FOLDER, threads=threads),
                },
                9,
            )
            least = Median(
                wall_s=took["read"].wall_s + took["recursions"].wall_s,
                cpu_s=took["read"].cpu_s + took["recursions"].cpu_s,
            )
            print(f"machine, {threads} threads: {32e-9 * BARS / took['read'].wall_s:.1f} GB/s, "
                  f"{took['recursions'].wall_s / BARS / 4 * 1e9:.2f} ns a recursion step")  # fmt: skip
            found.append(_bar(f"W1, limit of the machine, {threads} threads", least, took["w1"], BARS, 0.4))
    return found


def growth() -> list[Bar]:
    """Cost of ten times the symbols, three times the years, ten times the combinations."""
    found = []
    print(f"\n{'growth':24}{'cost x':>9}{'wall s':>18}")
    for name, task, more, factor in (
        ("symbols x10", "w1", {"copies": 10}, 10.0), ("years x3", "w1", {"spans": 3}, 3.0),
        ("combinations x10", "w2", {"times": 10}, 10.0),
    ):  # fmt: skip
        with ours() as mine:
            took = in_turns(
                {
                    "base": partial(mine.run, task, folder=FOLDER, threads=1),
                    "more": partial(mine.run, task, folder=FOLDER, threads=1, **more),
                },
                5,
            )
        cost = took["more"].cpu_s / took["base"].cpu_s
        print(f"{name:24}{cost:9.2f}{took['base'].wall_s:9.3f}{took['more'].wall_s:9.3f}")
        found.append(
            Bar(name=f"growth of processor time a unit, {name}", ours=f"{took['more'].cpu_s:.3g} s",
                theirs=f"{took['base'].cpu_s:.3g} s", ratio=cost / factor, required=1.1, at_least=False)
        )  # fmt: skip
    return found
