"""`kobe promote`: candidate to shadow, shadow to champion, and every line of the verdict."""

import hashlib
import io
import math
from dataclasses import asdict, dataclass, replace
from typing import Any

import polars as pl

from kobe.app.context import Context
from kobe.app.train_meta import HOLDOUT, Lesson, lesson
from kobe.core.errors import IntegrityError, MissingDataError, ModelError
from kobe.learning import promote, registry
from kobe.learning.dataset import FEATURE_COLUMNS
from kobe.learning.model import BASE_RATE
from kobe.learning.promote import Line, Search
from kobe.reports.document import Document, Section, Table, jsonable

PATIENCE = "sessions in shadow"


@dataclass(frozen=True, kw_only=True)
class _Ruling:
    """What is to happen: who becomes what, in words, and the lines that decided it."""

    judged: str | None
    against: str
    lines: tuple[Line, ...]
    notes: tuple[str, ...]
    crowned: str | None = None
    shadowed: str | None = None
    dropped: str | None = None


def run_promote(ctx: Context, *, dry_run: bool = False) -> Document:
    """Judge the model in shadow, else the newest candidate; nothing to promote is a success that says why.

    The base rate becomes the first champion, and the champion again whenever no candidate with skill is newer:
    its evidence is refreshed, its claim stays the same.
    """
    entries = {e.model_id: e for e in ctx.models.entries()}
    bases = [e.model_id for e in entries.values() if e.kind == BASE_RATE]
    if not bases:
        raise MissingDataError("no candidate to judge", next_command="kobe train-meta")
    champion = next((e.model_id for e in entries.values() if e.state == registry.CHAMPION), None)
    ruling = _rule(ctx, entries, champion, bases[-1], dry_run=dry_run)
    banners = tuple(ctx.models.load(ruling.judged or bases[-1])[1]["banners"])
    scope = promote.scope(banners)
    notes = ruling.notes
    if scope == promote.PAPER:
        notes = (*notes, f"whatever is promoted is for paper only: {'; '.join(banners)}")
    if not dry_run:
        _carry_out(ctx, ruling, champion, scope)
    return _document(ruling, champion, notes, banners, scope, dry_run=dry_run)


def _rule(
    ctx: Context, entries: dict[str, registry.Entry], champion: str | None, base: str, *, dry_run: bool
) -> _Ruling:
    notes, crowned = [], None
    renewed = entries[base].state == registry.CANDIDATE  # one that was rolled back is not crowned again by itself
    if champion is None or (entries[champion].kind == BASE_RATE and champion != base and renewed):
        notes.append(f"base rate {base} becomes champion: it claims nothing but the strategies' own win rates")
        crowned = base
    against = crowned or champion or base
    shadow = next((e.model_id for e in entries.values() if e.state == registry.SHADOW), None)
    newest = next((e.model_id for e in reversed(entries.values()) if e.kind != BASE_RATE), None)
    judged = shadow or newest
    if judged is None or entries[judged].state in (registry.CHAMPION, registry.RETIRED):
        notes.append("no candidate waits" if judged is None else f"{judged} was already promoted")
        return _Ruling(judged=None, against=against, lines=(), notes=tuple(notes), crowned=crowned)
    lines = judge(ctx, judged, against, record=not dry_run)
    if shadow:
        lines.append(_patience(ctx, shadow))
    failed = [line.name for line in lines if not line.passed]
    ruling = _Ruling(judged=judged, against=against, lines=tuple(lines), notes=(), crowned=crowned)
    if failed:
        notes.append(f"nothing to promote: {judged} fails {len(failed)} of {len(lines)}: {', '.join(failed)}")
        if shadow and failed != [PATIENCE]:
            notes.append(f"{shadow} is dropped from the shadow; the next candidate has its turn")
            return replace(ruling, notes=tuple(notes), dropped=shadow)
        return replace(ruling, notes=tuple(notes))
    if shadow or not ctx.settings.meta.shadow_sessions:
        notes.append(f"{judged} passes every condition and becomes champion")
        return replace(ruling, notes=tuple(notes), crowned=judged)
    wait = ctx.settings.meta.shadow_sessions
    notes.append(f"{judged} passes every condition and speaks in the champion's shadow for {wait} sessions first")
    return replace(ruling, notes=tuple(notes), shadowed=judged)


def _patience(ctx: Context, shadow: str) -> Line:
    spoken, wanted = ctx.models.sessions_spoken(shadow), ctx.settings.meta.shadow_sessions
    return Line(name=PATIENCE, value=spoken, threshold=f">= {wanted}", passed=spoken >= wanted)


def judge(ctx: Context, candidate_id: str, champion_id: str, *, record: bool) -> list[Line]:
    """Judge a candidate on the rows that were kept from it.

    Args:
        ctx: context.
        candidate_id: the challenger.
        champion_id: whom it is compared with.
        record: count this look at the holdout.

    Raises:
        IntegrityError: the holdout is not the one the card names.
        ModelError: the candidate was trained by another version of scikit-learn.
    """
    candidate, facts = ctx.models.load(candidate_id)
    _refuse_other_version(facts)
    champion, _ = ctx.models.load(champion_id)
    holdout = _holdout(ctx, candidate_id, facts)
    if champion.kind == BASE_RATE:  # frozen before the holdout: its record must not include it
        odds = holdout.get_column("p_base").to_numpy()
    else:
        odds = champion.probability(holdout.select(FEATURE_COLUMNS).to_numpy(), holdout["strategy"].to_list())
    judged = holdout.with_columns(pl.Series("p_champion", odds))
    looks = ctx.models.judged(candidate_id) if record else ctx.models.judgements() + 1
    return promote.judge(
        judged, candidate, champion, facts["report"], search_of(lesson(ctx), looks), seed=ctx.settings.run.seed
    )


def search_of(held: Lesson, looks: int) -> Search:
    """Return what was tried before a model, from the walk-forward's own statistics; NaN where they are not told."""
    told = [s.get("statistics") or {} for s in held.summaries.values()]
    return Search(
        trials=sum(_number(t.get("trials")) for t in told) + looks,
        trial_sharpe_sd=_largest(t.get("trial_sharpe_sd") for t in told),
        pbo=_largest(t.get("pbo") for t in told),
    )


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _largest(values: Any) -> float:
    numbers = [_number(v) for v in values]
    return math.nan if not numbers or any(math.isnan(n) for n in numbers) else max(numbers)


def _refuse_other_version(facts: dict[str, Any]) -> None:
    import sklearn

    made = facts.get("versions", {}).get("scikit-learn")
    if made != sklearn.__version__:
        raise ModelError(
            "the candidate was trained by another version of scikit-learn", seen=made, expected=sklearn.__version__,
            next_command="kobe train-meta",
        )  # fmt: skip


def _holdout(ctx: Context, model_id: str, facts: dict[str, Any]) -> pl.DataFrame:
    path = ctx.models.folder / model_id / HOLDOUT
    content = path.read_bytes() if path.is_file() else b""
    if hashlib.sha256(content).hexdigest() != facts["holdout_sha256"]:
        raise IntegrityError("a model's holdout was changed", seen=path, next_command="kobe train-meta")
    return pl.read_parquet(io.BytesIO(content))


def _carry_out(ctx: Context, ruling: _Ruling, champion: str | None, scope: str) -> None:
    if ruling.dropped:
        ctx.models.drop(ruling.dropped, ruling.notes[-1])
    if ruling.shadowed:
        ctx.models.shadow(ruling.shadowed, ruling.notes[-1])
    if ruling.crowned and ruling.crowned != champion:
        ctx.models.promote(ruling.crowned, ruling.notes[-1])
    if ruling.shadowed or (ruling.crowned and ruling.crowned != champion) or ruling.judged:
        ctx.audit.append(
            "promote",
            {
                "champion": ruling.crowned or champion, "was": champion, "shadow": ruling.shadowed,
                "judged": ruling.judged, "scope": scope, "lines": jsonable([asdict(n) for n in ruling.lines]),
            },
        )  # fmt: skip


def verdict_table(lines: tuple[Line, ...]) -> Table:
    """Return every condition with its value, threshold and verdict."""
    return Table(
        columns=("condition", "value", "threshold", "verdict"),
        rows=tuple((n.name, float(n.value), n.threshold, "pass" if n.passed else "fail") for n in lines),
    )


def _document(
    ruling: _Ruling, champion: str | None, notes: tuple[str, ...], banners: tuple[str, ...], scope: str, *,
    dry_run: bool,
) -> Document:  # fmt: skip
    title = f"{ruling.judged} against {ruling.against}"
    return Document(
        schema="kobe.promote/2",
        title="Promotion" + (" (--dry-run, nothing changed)" if dry_run else ""),
        summary=notes,
        banners=banners,
        sections=(Section(title=title, table=verdict_table(ruling.lines)),) if ruling.lines else (),
        data={
            "candidate": ruling.judged, "champion_before": champion, "champion": ruling.crowned or champion,
            "shadow": ruling.shadowed, "notes": list(notes), "lines": [asdict(n) for n in ruling.lines],
            "dry_run": dry_run, "scope": scope,
        },
    )  # fmt: skip
