"""One world under test: itself, itself cut at a session, and itself with another future; and what a probe is."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from kobe.app.leakcheck.cells import Cells, Names
from kobe.app.leakcheck.stages import Pipeline, Stages, Terms
from kobe.app.leakcheck.world import World, other_future
from kobe.backtest import fills
from kobe.backtest.engine import Outcomes
from kobe.core.panel import Ints, Panel

KNOWN, OTHER = "cut", "other future"


@dataclass(frozen=True, kw_only=True)
class Lab:
    """One world and pipeline, and what is left of them at a session.

    Attributes:
        whole: all of history.
        seed: of the other futures.
        late: sessions late enough for the stages that need a long past; those stages cost most and are asked only then.
        worlds: cut and changed worlds already made, shared by all pipelines.
    """

    whole: Stages
    seed: int
    late: frozenset[int]
    worlds: dict[tuple[str, int], World] = field(default_factory=dict, repr=False)

    def through(self, pipeline: Pipeline) -> "Lab":
        """Return the same laboratory with another pipeline; results that do not depend on the change are shared."""
        whole = Stages(world=self.whole.world, pipeline=pipeline, terms=self.terms, memo=self.whole.memo)
        return Lab(whole=whole, seed=self.seed, late=self.late, worlds=self.worlds)

    @property
    def terms(self) -> Terms:
        """The settings."""
        return self.whole.terms

    def forget(self, session: int) -> None:
        """Drop what was computed for one cut."""
        gone = {self.worlds.pop(key) for key in list(self.worlds) if key[1] == session}
        for key in list(self.whole.memo):
            if key[1] in gone or key[2] == session:
                del self.whole.memo[key]

    def worlds_at(self, session: int) -> Iterator[tuple[str, Stages]]:
        """Return the cut world and the one with another future."""
        makers: dict[str, Callable[[], World]] = {
            KNOWN: lambda: self.whole.world.until(session),
            OTHER: lambda: other_future(self.whole.world, session, self.seed),
        }
        for name, make in makers.items():
            world = self.worlds.get((name, session)) or make()
            self.worlds[name, session] = world
            yield name, Stages(world=world, pipeline=self.whole.pipeline, terms=self.terms, memo=self.whole.memo)


Pairs = Iterator[tuple[str, Cells, Cells]]
Observe = Callable[[Stages, int], Cells]


@dataclass(frozen=True, kw_only=True)
class Probe:
    """One stage under test.

    Attributes:
        meaning: what must not change, for people.
        rests_on: parts of the pipeline it runs; a mutant of another part cannot be seen by it.
        pairs: what to compare at a session: name of the test, the whole world's figures, the other's.
        late: asked only at the late cuts.
    """

    meaning: str
    rests_on: tuple[str, ...]
    pairs: Callable[[Lab, int], Pairs]
    late: bool = False


def observed(observe: Observe) -> Callable[[Lab, int], Pairs]:
    """Compare what a stage says up to a session in all worlds that agree up to it."""

    def pairs(lab: Lab, session: int) -> Pairs:
        told = observe(lab.whole, session).until(session)
        for name, stages in lab.worlds_at(session):
            yield name, told, observe(stages, session).until(session)

    return pairs


def symbols_at(panel: Panel, rows: Ints) -> Names:
    """Return the symbol of each row."""
    return np.array(panel.symbols)[panel.symbol_of_row[rows]]


def joined(parts: Sequence[Cells]) -> Cells:
    """Put cells with the same columns one after the other."""
    return Cells(
        symbol=np.concatenate([p.symbol for p in parts]),
        session=np.concatenate([p.session for p in parts]),
        columns={name: np.concatenate([p.columns[name] for p in parts]) for name in parts[0].columns},
    )


def told(panel: Panel, outcomes: Outcomes, labels: Sequence[str], session: int) -> Cells:
    """Return the trades that ended by a session, and the signals known by then to have none."""
    w = outcomes.walked
    none = (w.state > fills.OPEN) & (outcomes.session < session)
    done = (outcomes.closed & (outcomes.exit_session <= session)) | none
    o = outcomes.take(done)
    w, at = o.walked, np.maximum(o.walked.entry_row, 0)
    columns: dict[str, npt.NDArray[Any]] = {
        "state": w.state, "reason": w.reason, "exit_session": o.exit_session, "gross_r": o.gross_r, "net_r": o.net_r,
        "mae_r": o.mae_r, "mfe_r": o.mfe_r, "adv_usd": o.adv_usd, "ambiguous": w.ambiguous,
        "entry_usd": w.entry_price * panel.raw_factor[at], "stop_usd": w.stop * panel.raw_factor[at],
    }  # fmt: skip
    side = np.where(o.side > 0, "long", "short")
    symbol = np.array(panel.symbols)[o.symbol]
    names = [f"{s}/{word}/{label}" for s, word, label in zip(symbol, side, np.array(labels)[done], strict=True)]
    return Cells(
        symbol=np.array(names, dtype=np.str_),
        session=o.session,
        columns={name: values.astype(np.float64) for name, values in columns.items()},
    )
