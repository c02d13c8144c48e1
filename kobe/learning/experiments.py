"""The experiment registry: every run that looked at returns, with every combination it tried. Nothing is taken out.

A run's name is made from what was asked and from what, so the same question has the same name; each time it is asked
is an event of its own. How many different combinations were ever tried on a strategy deflates its Sharpe ratio
(DOMAIN 2.9): N counts what was looked at, not what survived.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kobe.core.errors import IntegrityError, UsageError
from kobe.core.frames import pl
from kobe.core.ids import digest, short_digest
from kobe.core.ports import Artifacts, Event, Ledger

STREAM, HOLDOUTS = "experiments", "holdouts"
RUN, OPENED = "run", "opened"
TRIAL_SCHEMA = {
    "strategy": str, "params_hash": str, "params": str, "trades": int, "objective": float, "sharpe": float,
}  # fmt: skip
"""A combination that was tried: its parameters as JSON, trades, what it was chosen by, Sharpe ratio per session."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """What a run is asked; equal questions have equal names.

    Attributes:
        kind: the command, such as `walk_forward`.
        request: what was asked for, JSON-ready; enough to ask again.
        inputs: digests of what it was asked about (bars, settings), code version, first and last session.
        seed: of everything drawn.
    """

    kind: str
    request: Mapping[str, Any]
    inputs: Mapping[str, Any]
    seed: int

    @property
    def name(self) -> str:
        """Sixteen hex digits."""
        return short_digest([self.kind, dict(self.request), dict(self.inputs), self.seed])


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One run of a question.

    Attributes:
        experiment_id: the question's name.
        number: how often it had been asked by then, from 1.
        at: when it ended, UTC.
        results: figures, JSON-ready.
        results_digest: of the figures and the artifacts; equal runs have equal ones.
        code: digest of the program that ran.
        trials: how many combinations this run looked at.
        trials_file: name of the table that holds them.
        parent: the run this one continues, or None.
    """

    experiment_id: str
    number: int
    at: datetime
    question: Question
    results: dict[str, Any]
    results_digest: str
    code: str
    trials: int
    trials_file: str
    parent: str | None


@dataclass(frozen=True)
class Experiments:
    """The registry: events in the ledger, tables of trials by content in a folder."""

    folder: Path
    ledger: Ledger
    artifacts: Artifacts

    def record(
        self, question: Question, trials: "pl.DataFrame", results: Mapping[str, Any], artifacts: Mapping[str, str],
        *, code: str, deflated: Mapping[str, Any] | None = None, parent: str | None = None,
    ) -> Experiment:  # fmt: skip
        """Append a run; the trials are on the disk before the event that counts them.

        Args:
            question: what was asked.
            trials: every combination looked at, in the columns of `TRIAL_SCHEMA`.
            results: figures, JSON-ready (no NaN).
            artifacts: name -> digest of what was written.
            code: digest of the program.
            deflated: figures that also depend on what was tried before; kept beside the results, but no part of their
                digest, because the same run later stands against more trials.
            parent: experiment this one continues.
        """
        table = trials.select(pl.col(name).cast(kind) for name, kind in TRIAL_SCHEMA.items()).sort(
            "strategy", "params_hash", "objective", "trades", nulls_last=True
        )
        buffer = io.BytesIO()
        table.write_parquet(buffer, compression="zstd")
        file = f"trials-{digest(table.write_json())[:16]}.parquet"
        self.artifacts.write(self.folder / file, buffer.getvalue())
        number = 1 + sum(e.entity == question.name for e in self.ledger.events(STREAM))
        payload = {
            "kind": question.kind, "request": dict(question.request), "inputs": dict(question.inputs),
            "seed": question.seed, "results": _joined(results, deflated or {}), "artifacts": dict(artifacts),
            "results_digest": digest([dict(results), dict(artifacts)]), "trials": len(table), "trials_file": file,
            "parent": parent, "code": code,
        }  # fmt: skip
        self.ledger.append(STREAM, question.name, RUN, payload, key=f"{question.name}:{number}")
        return self.runs()[-1]

    def runs(self) -> list[Experiment]:
        """Return every run, oldest first."""
        asked: dict[str, int] = {}
        found = []
        for event in self.ledger.events(STREAM):
            asked[event.entity] = asked.get(event.entity, 0) + 1
            found.append(_experiment(event, asked[event.entity]))
        return found

    def find(self, experiment_id: str) -> Experiment:
        """Return the newest run of an experiment; a unique beginning of its name is enough.

        Raises:
            UsageError: there is none, or several begin so.
        """
        runs = self.runs()
        names = sorted({r.experiment_id for r in runs if r.experiment_id.startswith(experiment_id)})
        if len(names) != 1:
            raise UsageError(
                "no such experiment" if not names else "several experiments begin so", seen=experiment_id,
                expected=", ".join(names[:5]) or "a name from kobe experiments list",
                next_command="kobe experiments list",
            )  # fmt: skip
        return [r for r in runs if r.experiment_id == names[0]][-1]

    def trials_of(self, run: Experiment) -> "pl.DataFrame":
        """Return the combinations a run looked at.

        Raises:
            IntegrityError: their table is gone or damaged.
        """
        try:
            return pl.read_parquet(self.folder / run.trials_file)
        except (OSError, pl.exceptions.PolarsError) as error:
            raise IntegrityError(
                "the trials of an experiment cannot be read", seen=f"{run.trials_file}: {error}"[:160],
                expected="the file as it was written; restore state/ from a backup", next_command="kobe doctor",
            ) from error  # fmt: skip

    def looked_at(self, strategy: str, source: str) -> set[str]:
        """Return the names of all combinations of a strategy ever tried on bars of one kind.

        Args:
            strategy: its id; rules and searches count under the id of what they vary.
            source: `real` or `synthetic`: what was tried on made-up markets says nothing about real ones.
        """
        tables = {r.trials_file: r for r in self.runs() if r.question.inputs.get("market") == source}
        seen: set[str] = set()
        for run in tables.values():
            mine = self.trials_of(run).filter(pl.col("strategy") == strategy)
            seen |= set(mine.get_column("params_hash").to_list())
        return seen

    def open_holdout(self, name: str, facts: Mapping[str, Any]) -> None:
        """Open a final holdout, which can be done once.

        Args:
            name: of the span that was set apart, such as its digest.
            facts: who opens it and for what, JSON-ready.

        Raises:
            UsageError: it was opened before; the message says by whom and when.
        """
        self.check_closed(name)
        if not self.ledger.append(HOLDOUTS, name, OPENED, dict(facts), key=name):
            self.check_closed(name)

    def check_closed(self, name: str) -> None:
        """Refuse when a holdout was opened before.

        Raises:
            UsageError: it was; the message says by whom and when.
        """
        before = [e for e in self.ledger.events(HOLDOUTS) if e.entity == name]
        if before:
            first = before[0]
            raise UsageError(
                "this holdout was opened before, and can say nothing new",
                seen=f"by {first.payload.get('who')} on {_at(first):%Y-%m-%d %H:%M} UTC for {first.payload.get('for')}",
                expected="bars nobody has judged by yet",
                next_command="kobe experiments list",
            )

    def holdouts(self) -> list[dict[str, Any]]:
        """Return every holdout that was opened, with when, by whom and for what."""
        return [{"holdout": e.entity, "at": _at(e).isoformat(timespec="seconds"), **e.payload}
                for e in self.ledger.events(HOLDOUTS)]  # fmt: skip


def _joined(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Return both mappings as one; mappings under the same key are joined in turn."""
    both = dict(one)
    for key, value in other.items():
        mine = both.get(key)
        both[key] = _joined(mine, value) if isinstance(mine, Mapping) and isinstance(value, Mapping) else value
    return both


def _at(event: Event) -> datetime:
    return datetime.fromtimestamp(event.at_ns / 1e9, UTC)


def _experiment(event: Event, number: int) -> Experiment:
    p = event.payload
    question = Question(kind=p["kind"], request=p["request"], inputs=p["inputs"], seed=int(p["seed"]))
    return Experiment(
        experiment_id=event.entity, number=number, at=_at(event), question=question, results=p["results"],
        results_digest=p["results_digest"], code=p["code"], trials=int(p["trials"]), trials_file=p["trials_file"],
        parent=p["parent"],
    )  # fmt: skip


def differences(one: Mapping[str, Any], other: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any, Any]]:
    """Return what differs between two nested mappings: dotted key, value here, value there; None where absent."""
    found: list[tuple[str, Any, Any]] = []
    for key in sorted({*one, *other}):
        a, b = one.get(key), other.get(key)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            found += differences(a, b, f"{prefix}{key}.")
        elif a != b:
            found.append((f"{prefix}{key}", a, b))
    return found


def trial_rows(rows: Sequence[Mapping[str, Any]]) -> "pl.DataFrame":
    """Return trials as a table in the columns of `TRIAL_SCHEMA`."""
    return pl.DataFrame(list(rows), schema=TRIAL_SCHEMA, orient="row")
