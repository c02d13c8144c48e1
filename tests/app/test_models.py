"""The registry: candidate, shadow, champion, retired; every step on record, one command back."""

import json
import shutil
from dataclasses import replace
from datetime import date

import pytest
from kit.home import at

from kobe.app import jobs, wiring
from kobe.app import promote as promotion
from kobe.app.day import perform
from kobe.app.models import run_models_diff, run_models_list, run_models_rollback, run_models_show
from kobe.app.promote import run_promote
from kobe.app.scan import ScanRequest, run_scan
from kobe.app.train_meta import TrainRequest, run_meta_dataset, run_train_meta
from kobe.core.errors import ExitCode, IntegrityError, MissingDataError, ModelError, UsageError
from kobe.infra.records import audit
from kobe.learning.promote import Line

PASS = [Line(name="all of it", value=1.0, threshold=">= 1", passed=True)]
FAIL = [Line(name="all of it", value=0.0, threshold=">= 1", passed=False)]


@pytest.fixture
def ctx(home):
    """A home with a base-rate champion and a candidate, one session of shadow asked."""
    built = wiring.build(home)
    settings = built.settings.model_copy(update={"meta": built.settings.meta.model_copy(update={"shadow_sessions": 2})})
    return replace(built, settings=settings)


def states(ctx):
    return {m["model"]: m["state"] for m in run_models_list(ctx).data["models"]}


def lined(monkeypatch, lines):
    monkeypatch.setattr(promotion, "judge", lambda *_, **__: list(lines))


def candidate_of(ctx):
    return next(m for m, state in states(ctx).items() if state in ("candidate", "shadow"))


def test_a_model_that_passes_is_heard_in_the_shadow_first_and_crowned_after_enough_sessions(ctx, monkeypatch):
    lined(monkeypatch, PASS)
    base, name = next(m for m, s in states(ctx).items() if s == "champion"), candidate_of(ctx)
    if states(ctx)[name] == "candidate":
        assert run_promote(ctx, dry_run=True).data["shadow"] == name
        assert states(ctx)[name] == "candidate"
        run_promote(ctx)
    assert states(ctx) | {name: "shadow", base: "champion"} == states(ctx)
    days = [date(2024, 12, 12), date(2024, 12, 26)]
    run_scan(ctx, ScanRequest(session=days[0]))
    run_scan(ctx, ScanRequest(session=days[0]))
    told = run_promote(ctx).data
    assert told["champion"] == base
    assert [line["name"] for line in told["lines"] if not line["passed"]] == ["sessions in shadow"]
    run_scan(ctx, ScanRequest(session=days[1]))
    assert run_promote(ctx).data["champion"] == name
    assert states(ctx) | {name: "champion", base: "retired"} == states(ctx)
    heard = [r.payload["shadow"] for r in audit.read(ctx.paths.audit) if r.kind == "decision" and r.payload["shadow"]]
    assert {h["model_id"] for h in heard} == {name}
    back = run_models_rollback(ctx, dry_run=False)
    assert back.data == {"was": name, "champion": base, "dry_run": False}
    assert states(ctx) | {name: "retired", base: "champion"} == states(ctx)
    assert run_models_rollback(ctx, dry_run=False).exit_code is ExitCode.REFUSED


def test_a_candidate_that_fails_stays_one_and_every_line_is_printed(ctx):
    document = run_promote(ctx, dry_run=True)
    names = [line["name"] for line in document.data["lines"]]
    assert document.data["candidate"] == candidate_of(ctx)
    assert not all(line["passed"] for line in document.data["lines"])
    for wanted in ("brier difference", "calibration error", "minimum record, sessions", "windows that earned money",
                       "overfitting probability of the strategies", "gated profit factor, costs doubled"):  # fmt: skip
        assert wanted in names


def test_a_card_that_was_changed_or_signed_by_another_key_is_never_loaded(ctx):
    name = candidate_of(ctx)
    assert run_models_show(ctx, name[:6]).data["model_id"] == name
    key = ctx.paths.state / "keys" / "models.pub"
    own = key.read_text()
    key.write_text("00" * 32)
    with pytest.raises(IntegrityError):
        ctx.models.load(name)
    key.write_text(own)
    assert (ctx.paths.state / "keys" / "models.key").stat().st_mode & 0o077 == 0
    card = ctx.models.folder / name / "card.json"
    card.write_bytes(card.read_bytes().replace(b'"rows":', b'"rows": '))
    with pytest.raises(IntegrityError, match="changed"):
        ctx.models.load(name)


def test_a_changed_holdout_or_another_scikit_learn_is_refused_for_promotion(ctx, monkeypatch):
    name, champion = candidate_of(ctx), next(m for m, s in states(ctx).items() if s == "champion")
    import sklearn

    monkeypatch.setattr(sklearn, "__version__", "0.1")
    with pytest.raises(ModelError, match="another version"):
        promotion.judge(ctx, name, champion, record=False)
    monkeypatch.undo()
    path = ctx.models.folder / name / "holdout.parquet"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(IntegrityError, match="holdout"):
        promotion.judge(ctx, name, champion, record=False)


def test_training_again_on_the_same_evidence_makes_the_same_model(ctx):
    before = states(ctx)
    run_train_meta(ctx)
    assert states(ctx) == before


def test_two_models_are_compared_value_by_value(ctx):
    one, other = (m["model"] for m in run_models_list(ctx).data["models"][:2])
    told = run_models_diff(ctx, one, other).data["differences"]
    assert {"value": "kind", "one": "base_rate", "other": "logistic"} in told
    assert run_models_diff(ctx, one, one).data["differences"] == []
    with pytest.raises(UsageError):
        run_models_show(ctx, "zz")


def test_the_data_set_says_what_is_in_it(ctx):
    told = run_meta_dataset(ctx).data
    assert told["rows"] == sum(s["rows"] for s in told["strategies"])
    assert all(s["taken"] + s["not taken"] == s["rows"] for s in told["strategies"])
    assert any(s["not taken"] for s in told["strategies"])
    assert date.fromisoformat(told["first"]) < date.fromisoformat(told["last"])


def test_the_week_s_learning_runs_after_its_last_session_and_only_then(home):
    ctx = wiring.build(home, clock=at(date(2024, 12, 31), 20, 0))
    eager = replace(ctx, settings=ctx.settings.model_copy(
        update={"meta": ctx.settings.meta.model_copy(update={"weekly": True})}))  # fmt: skip
    due = [day for day in ctx.calendar.between(date(2024, 3, 18), date(2024, 4, 5))
           if "learn" in [job.name for job in jobs.jobs_of(eager, day)]]  # fmt: skip
    assert due == [date(2024, 3, 22), date(2024, 3, 28), date(2024, 4, 5)]  # Good Friday 2024 was March 29
    assert "learn" not in [job.name for job in jobs.jobs_of(ctx, due[0])]
    before = states(ctx)
    document = perform.run_one(eager, "learn", date(2024, 12, 20), again=False)
    assert document.schema == "kobe.promote/2"
    after = states(ctx)
    assert set(after) > set(before)
    assert {m["evidence to"] for m in run_models_list(ctx).data["models"]} >= {"2024-12-20"}


def test_training_again_makes_good_what_was_lost_of_a_card_or_of_the_key(ctx):
    name = candidate_of(ctx)
    card = ctx.models.folder / name / "card.json"
    whole = card.read_bytes()
    for harm in (lambda: card.write_bytes(whole[:-1]), card.unlink,
                 lambda: shutil.rmtree(ctx.paths.state / "keys")):  # fmt: skip
        harm()
        with pytest.raises(IntegrityError):
            ctx.models.load(name)
        run_train_meta(ctx)
        assert ctx.models.load(name)[1]["rows"] > 0
        assert ctx.models.pipeline(name)


def test_a_shadow_that_passes_no_longer_makes_room_and_one_that_cannot_be_read_stops_no_scan(ctx, monkeypatch):
    name, base = candidate_of(ctx), next(m for m, s in states(ctx).items() if s == "champion")
    ctx.models.shadow(name, "test")
    card = ctx.models.folder / name / "card.json"
    whole = card.read_bytes()
    card.write_bytes(whole[:-1])
    run_scan(ctx, ScanRequest(session=date(2024, 12, 12)))
    heard = [r.payload["shadow"] for r in audit.read(ctx.paths.audit) if r.kind == "decision"][-1]
    assert "changed" in heard["silent"]
    assert ctx.models.sessions_spoken(name) == 0
    card.write_bytes(whole)
    lined(monkeypatch, FAIL)
    run_promote(ctx)
    assert states(ctx) | {name: "retired", base: "champion"} == states(ctx)


def test_a_base_rate_that_was_rolled_back_is_not_crowned_again_by_itself(ctx):
    first = next(m for m, s in states(ctx).items() if s == "champion")
    jobs._learn(ctx, date(2024, 12, 20))
    second = next(m for m, s in states(ctx).items() if s == "champion")
    assert second != first
    run_models_rollback(ctx, dry_run=False)
    run_promote(ctx)
    assert states(ctx) | {first: "champion", second: "retired"} == states(ctx)


def test_evidence_of_another_home_brings_its_bias_and_its_end_with_it(ctx, tmp_path):
    other = tmp_path / "wf_outputs"
    shutil.copytree(ctx.paths.walk_forward, other)
    for path in other.glob("*/summary.json"):
        told = json.loads(path.read_text())
        path.write_text(json.dumps(told | {"evidence_through": "2024-12-30", "banners": ["A BIAS OF ITS OWN"]}))
    document = run_train_meta(ctx, TrainRequest(also=(other,)))
    entry = next(e for e in ctx.models.entries() if e.model_id == document.data["model_id"])
    assert entry.knowable_from == date(2024, 12, 30)
    assert {"A BIAS OF ITS OWN", *ctx.panel().banners} == set(document.banners)
    for path in other.glob("*/summary.json"):
        path.unlink()
    with pytest.raises(MissingDataError, match="where these signals come from"):
        run_train_meta(ctx, TrainRequest(also=(other,)))
    with pytest.raises(UsageError, match="twice"):
        run_train_meta(ctx, TrainRequest(also=(ctx.paths.walk_forward,)))
