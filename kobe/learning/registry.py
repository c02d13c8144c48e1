"""The model registry: content-addressed, signed cards on disk, and who may speak since when in the ledger.

A model is a candidate, then a shadow whose probabilities are written down beside the champion's without moving
anything, then champion, then retired. Every step is an event; a state is a fold over them.
"""

import hashlib
import json
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from kobe.core.errors import IntegrityError, ModelError
from kobe.core.ids import canonical_json
from kobe.core.ports import Artifacts, Event, Ledger, Signer
from kobe.learning.model import MetaModel, from_json, to_json

STREAM = "models"
CARD_VERSION = 2
CANDIDATE, SHADOW, CHAMPION, RETIRED = "candidate", "shadow", "champion", "retired"
PROMOTED, SPOKE, JUDGED, SEALED, DROPPED = "promoted", "spoke", "judged", "sealed", "dropped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One model of the registry.

    `knowable_from` is the last session its evidence reaches: no scan of an earlier session may use it.
    """

    model_id: str
    kind: str
    state: str
    knowable_from: date
    why: str


@dataclass(frozen=True)
class ModelRegistry:
    """Models by content. A card whose digest or signature is not the registered one is never loaded."""

    folder: Path
    ledger: Ledger
    artifacts: Artifacts
    signer: Signer

    def add(self, model: MetaModel, facts: dict[str, Any], pipeline: bytes | None) -> str:
        """Store a candidate with its facts and return its id.

        One that is there already stays the same model; what was lost or damaged of it on the disk is made good, and it
        is signed anew where the home's key is another one now.
        """
        card = canonical_json({"card_version": CARD_VERSION, "model": to_json(model), "facts": facts}).encode()
        model_id = hashlib.sha256(card).hexdigest()[:16]
        if any(e.kind == CANDIDATE for e in self.ledger.events(STREAM, entity=model_id)):
            self._make_good(model_id, card, pipeline)
            return model_id
        if pipeline is not None:
            self.artifacts.write(self.folder / model_id / "pipeline.skops", pipeline)
        sha = self.artifacts.write(self.folder / model_id / "card.json", card)
        payload = {
            "sha256": sha, "kind": model.kind, "knowable_from": facts["knowable_from"], "why": facts["why"],
            "signature": self.signer.sign(card),
            "pipeline_sha256": None if pipeline is None else hashlib.sha256(pipeline).hexdigest(),
        }  # fmt: skip
        self.ledger.append(STREAM, model_id, CANDIDATE, payload, key=f"{model_id}:candidate")
        return model_id

    def _make_good(self, model_id: str, card: bytes, pipeline: bytes | None) -> None:
        self.artifacts.write(self.folder / model_id / "card.json", card)
        events = self.ledger.events(STREAM, entity=model_id)
        held, path = _seal(events), self.folder / model_id / "pipeline.skops"
        signature, sha = self.signer.sign(card), held["pipeline_sha256"]
        lost = pipeline is not None and not (path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == sha)
        if pipeline is not None and lost:
            sha = self.artifacts.write(path, pipeline)
        if lost or signature != held["signature"]:
            payload = {"signature": signature, "pipeline_sha256": sha}
            count = sum(e.kind == SEALED for e in events) + 1
            self.ledger.append(STREAM, model_id, SEALED, payload, key=f"{model_id}:sealed:{count}")

    def load(self, model_id: str) -> tuple[MetaModel, dict[str, Any]]:
        """Return a model and its facts.

        Raises:
            ModelError: unknown id, or a card of another version or made for another version of the features.
            IntegrityError: the card on disk is not the one that was registered and signed.
        """
        events = self.ledger.events(STREAM, entity=model_id)
        known = [e for e in events if e.kind == CANDIDATE]
        if not known:
            raise ModelError("unknown model", seen=model_id, next_command="kobe models list")
        path = self.folder / model_id / "card.json"
        try:
            content = path.read_bytes()
        except OSError as error:
            raise IntegrityError("a registered model is missing", seen=path, next_command="kobe train-meta") from error
        registered = known[0].payload
        if hashlib.sha256(content).hexdigest() != registered["sha256"]:
            raise IntegrityError("a model card was changed", seen=path, next_command="kobe train-meta")
        document = json.loads(content)
        if document.get("card_version") != CARD_VERSION:
            raise ModelError(
                "the model card is of another version", seen=document.get("card_version"), expected=CARD_VERSION,
                next_command="kobe train-meta",
            )  # fmt: skip
        if not self.signer.verify(content, _seal(events)["signature"]):
            raise IntegrityError(
                "a model card does not bear this home's signature", seen=path, next_command="kobe train-meta"
            )
        return from_json(document["model"]), document["facts"]

    def pipeline(self, model_id: str) -> bytes:
        """Return the scikit-learn pipeline a model came from, as skops bytes, for audit.

        Raises:
            ModelError: it has none.
            IntegrityError: the file is not the one that was registered.
        """
        events = self.ledger.events(STREAM, entity=model_id)
        sha = _seal(events)["pipeline_sha256"] if events else None
        if sha is None:
            raise ModelError("this model has no pipeline", seen=model_id, next_command="kobe models list")
        path = self.folder / model_id / "pipeline.skops"
        content = path.read_bytes() if path.is_file() else b""
        if hashlib.sha256(content).hexdigest() != sha:
            raise IntegrityError("a model's pipeline was changed", seen=path, next_command="kobe train-meta")
        return content

    def shadow(self, model_id: str, why: str) -> None:
        """Let a candidate speak beside the champion, heard by the record alone."""
        self.ledger.append(STREAM, model_id, SHADOW, {"why": why}, key=f"{model_id}:shadow")

    def drop(self, model_id: str, why: str) -> None:
        """Take a model out of the shadow for good: it no longer passes, and the next one has its turn."""
        self.ledger.append(STREAM, model_id, DROPPED, {"why": why}, key=f"{model_id}:dropped")

    def spoke(self, model_id: str, session: date) -> None:
        """Write down that a shadow was asked about a session; once per session, however often it is scanned."""
        payload = {"session": session.isoformat()}
        self.ledger.append(STREAM, model_id, SPOKE, payload, key=f"{model_id}:spoke:{session}")

    def sessions_spoken(self, model_id: str) -> int:
        """Return in how many sessions a shadow was asked."""
        return sum(e.kind == SPOKE for e in self.ledger.events(STREAM, entity=model_id))

    def judged(self, model_id: str) -> int:
        """Write down that a model was judged on its holdout; return how many different models ever were."""
        self.ledger.append(STREAM, model_id, JUDGED, {}, key=f"{model_id}:judged")
        return self.judgements()

    def judgements(self) -> int:
        """Return how many different models were judged on a holdout."""
        return len({e.entity for e in self.ledger.events(STREAM) if e.kind == JUDGED})

    def promote(self, model_id: str, why: str) -> None:
        """Make a model champion from now on; the one before retires by that."""
        entry = next(e for e in self.entries() if e.model_id == model_id)
        events = self.ledger.events(STREAM)
        payload = {"knowable_from": entry.knowable_from.isoformat(), "why": why}
        key = f"promotion:{sum(e.kind == PROMOTED for e in events) + 1}"
        self.ledger.append(STREAM, model_id, PROMOTED, payload, key=key)

    def before(self) -> str | None:
        """Return the champion before the present one: where a rollback leads."""
        crowned = _crowned(self.ledger.events(STREAM))
        return crowned[-2] if len(crowned) > 1 else None

    def entries(self) -> list[Entry]:
        """Return every model, oldest first, with its state."""
        events = self.ledger.events(STREAM)
        states = _states(events)
        return [
            Entry(
                model_id=e.entity, kind=e.payload["kind"], knowable_from=_day(e), why=e.payload["why"],
                state=states[e.entity],
            )
            for e in events
            if e.kind == CANDIDATE
        ]  # fmt: skip

    def champions(self, as_of: date) -> list[str]:
        """Return the ids of all models ever promoted on evidence up to a session, in the order of promotion."""
        return [e.entity for e in self.ledger.events(STREAM) if e.kind == PROMOTED and _day(e) <= as_of]

    def champion(self, as_of: date) -> str | None:
        """Return the id of the model that was champion for a session: the last one promoted on earlier evidence."""
        promoted = self.champions(as_of)
        return promoted[-1] if promoted else None

    def shadow_at(self, as_of: date) -> str | None:
        """Return the newest shadow whose evidence ends at or before a session, or None."""
        entries = [e for e in self.entries() if e.state == SHADOW and e.knowable_from <= as_of]
        return entries[-1].model_id if entries else None

    def newest_candidate(self) -> str | None:
        """Return the id of the model added last."""
        added = [e.entity for e in self.ledger.events(STREAM) if e.kind == CANDIDATE]
        return added[-1] if added else None


def _day(event: Event) -> date:
    return date.fromisoformat(event.payload["knowable_from"])


def _seal(events: list[Event]) -> dict[str, Any]:
    """Return the signature and the pipeline's digest as they were registered last."""
    sealed = [e.payload for e in events if e.kind in (CANDIDATE, SEALED)]
    return {key: sealed[-1].get(key) for key in ("signature", "pipeline_sha256")}


def _crowned(events: list[Event]) -> list[str]:
    """Return the champions in order; a rollback takes the last one off again."""
    crowned: list[str] = []
    for event in events:
        if event.kind != PROMOTED:
            continue
        if len(crowned) > 1 and event.entity == crowned[-2]:
            crowned.pop()
        else:
            crowned.append(event.entity)
    return crowned


def _states(events: list[Event]) -> dict[str, str]:
    states: dict[str, str] = {}
    for event in events:
        if event.kind == CANDIDATE:
            states.setdefault(event.entity, CANDIDATE)
        elif event.kind == SHADOW:
            states[event.entity] = SHADOW
        elif event.kind == DROPPED:
            states[event.entity] = RETIRED
        elif event.kind == PROMOTED:
            states |= {name: RETIRED for name, state in states.items() if state == CHAMPION}
            states[event.entity] = CHAMPION
    return states
