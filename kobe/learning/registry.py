"""The model registry: content-addressed cards on disk, and who is champion since when in the ledger."""

import hashlib
import json
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from kobe.core.errors import IntegrityError, ModelError
from kobe.core.ids import canonical_json
from kobe.core.ports import Artifacts, Event, Ledger
from kobe.learning.model import MetaModel, from_json, to_json

STREAM = "models"


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
    """Models by content. A card whose digest is not in the ledger is never loaded."""

    folder: Path
    ledger: Ledger
    artifacts: Artifacts

    def add(self, model: MetaModel, facts: dict[str, Any], pipeline: bytes | None) -> str:
        """Store a candidate with its facts and return its id."""
        card = canonical_json({"model": to_json(model), "facts": facts}).encode()
        model_id = hashlib.sha256(card).hexdigest()[:16]
        if pipeline is not None:
            self.artifacts.write(self.folder / model_id / "pipeline.skops", pipeline)
        sha = self.artifacts.write(self.folder / model_id / "card.json", card)
        payload = {"sha256": sha, "kind": model.kind, "knowable_from": facts["knowable_from"], "why": facts["why"]}
        self.ledger.append(STREAM, model_id, "candidate", payload, key=f"{model_id}:candidate")
        return model_id

    def load(self, model_id: str) -> tuple[MetaModel, dict[str, Any]]:
        """Return a model and its facts.

        Raises:
            ModelError: unknown id, or made for another version of the features.
            IntegrityError: the card on disk is not the one that was registered.
        """
        known = [e for e in self.ledger.events(STREAM, entity=model_id) if e.kind == "candidate"]
        if not known:
            raise ModelError("unknown model", seen=model_id, next_command="kobe train-meta")
        path = self.folder / model_id / "card.json"
        try:
            content = path.read_bytes()
        except OSError as error:
            raise IntegrityError("a registered model is missing", seen=path, next_command="kobe train-meta") from error
        if hashlib.sha256(content).hexdigest() != known[0].payload["sha256"]:
            raise IntegrityError("a model card was changed", seen=path, next_command="kobe train-meta")
        document = json.loads(content)
        return from_json(document["model"]), document["facts"]

    def promote(self, model_id: str, why: str) -> None:
        """Make a model champion from now on; the one before retires by that."""
        entry = next(e for e in self.entries() if e.model_id == model_id)
        events = self.ledger.events(STREAM)
        payload = {"knowable_from": entry.knowable_from.isoformat(), "why": why}
        key = f"promotion:{sum(e.kind == 'promoted' for e in events) + 1}"
        self.ledger.append(STREAM, model_id, "promoted", payload, key=key)

    def entries(self) -> list[Entry]:
        """Return every model, oldest first, with its state."""
        events = self.ledger.events(STREAM)
        crowned = [e.entity for e in events if e.kind == "promoted"]
        return [
            Entry(
                model_id=e.entity, kind=e.payload["kind"], knowable_from=_day(e), why=e.payload["why"],
                state=_state(e.entity, crowned),
            )
            for e in events
            if e.kind == "candidate"
        ]  # fmt: skip

    def champion(self, as_of: date) -> str | None:
        """Return the id of the model that was champion for a session: the last one promoted on earlier evidence."""
        promoted = [e for e in self.ledger.events(STREAM) if e.kind == "promoted" and _day(e) <= as_of]
        return promoted[-1].entity if promoted else None

    def newest_candidate(self) -> str | None:
        """Return the id of the model added last."""
        added = [e.entity for e in self.ledger.events(STREAM) if e.kind == "candidate"]
        return added[-1] if added else None


def _day(event: Event) -> date:
    return date.fromisoformat(event.payload["knowable_from"])


def _state(model_id: str, crowned: list[str]) -> str:
    if not crowned or model_id not in crowned:
        return "candidate"
    return "champion" if crowned[-1] == model_id else "retired"
