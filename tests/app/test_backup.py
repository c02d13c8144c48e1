"""`kobe backup` and `kobe restore` of a home: made, listed, verified, thinned out, put back, and proved."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from kit import command

from kobe.app import wiring
from kobe.app.audit import audit_chain, run_audit_accept_clock, run_audit_verify
from kobe.app.backup import run_backup, run_backup_list, run_backup_verify, run_restore
from kobe.app.context import Context
from kobe.core.clock import SteppingClock
from kobe.core.errors import ConfigError, ExitCode, IntegrityError, RefusedError, UsageError
from kobe.infra.clock import SystemClock
from kobe.infra.records.audit import read

START = datetime(2026, 1, 2, 21, 30, tzinfo=UTC)


def built(folder: Path) -> Context:
    return wiring.build(folder, clock=SteppingClock(START))


@pytest.fixture
def ctx(tmp_path: Path) -> Context:
    settings = tmp_path / "home" / "config" / "kobe.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text("[records]\nbackups_kept = 2\n", encoding="utf-8")
    ctx = built(tmp_path / "home")
    for number in range(12):
        ctx.ledger.append("things", "a", "made", {"n": number}, key=str(number))
        ctx.audit.append("thing", {"n": number})
    return ctx


def numbers(ctx: Context) -> list[int]:
    return [event.payload["n"] for event in ctx.ledger.events("things")]


def test_a_backup_says_what_it_holds_and_how_to_go_back(ctx: Context) -> None:
    told = run_backup(ctx)
    assert told.data["path"] == str(ctx.paths.state / "backups" / "20260102T213000Z")
    assert told.data["events"]["state/kobe.db"]["number"] == 12
    assert told.data["chains"]["state/audit"]["records"] == 12
    assert told.summary[1] == f"To go back: kobe restore {told.data['path']} --replace"
    assert (Path(told.data["path"]) / "config" / "kobe.toml").is_file()
    assert run_backup_verify(ctx, None).data["files"] == told.data["files"]
    assert [row["backup"] for row in run_backup_list(ctx).data["backups"]] == ["20260102T213000Z"]


def test_no_secret_of_the_environment_file_is_copied(ctx: Context) -> None:
    (ctx.paths.home / ".env").write_text("APCA_API_SECRET_KEY=hunter2\n")
    made = Path(run_backup(ctx).data["path"])
    assert not any(b"hunter2" in path.read_bytes() for path in made.rglob("*") if path.is_file())


def test_a_dry_run_changes_nothing(ctx: Context) -> None:
    assert run_backup(ctx, prune=True, dry_run=True).data == {"path": None, "removed": []}
    assert not (ctx.paths.state / "backups").exists()
    made = Path(run_backup(ctx).data["path"])
    ctx.ledger.append("things", "a", "made", {"n": 99}, key="99")
    with pytest.raises(RefusedError):
        run_restore(ctx, made, dry_run=True)
    assert run_restore(ctx, made, replace=True, dry_run=True).data["restored"] is False
    assert numbers(ctx)[-1] == 99


def test_a_restore_proves_that_every_event_and_record_is_back_and_goes_on_record(ctx: Context) -> None:
    made = Path(run_backup(ctx).data["path"])
    ctx.ledger.append("things", "a", "made", {"n": 99}, key="99")
    ctx.audit.append("thing", {"n": 99})
    with pytest.raises(RefusedError, match="--replace"):
        run_restore(ctx, Path(made.name))
    told = run_restore(ctx, Path(made.name), replace=True)
    assert numbers(ctx) == list(range(12))
    again = built(ctx.paths.home)
    assert numbers(again) == list(range(12))
    records = list(read(ctx.paths.audit))
    assert [record.payload.get("n") for record in records[:12]] == list(range(12))
    assert [(record.kind, record.payload["backup"]) for record in records[12:]] == [("restore", made.name)]
    assert run_audit_verify(again).exit_code is ExitCode.OK
    aside = Path(told.data["aside"])
    assert [record.payload["n"] for record in read(aside / "audit")][-1] == 99
    compared = {row[0]: row[1] for row in told.sections[0].table.rows}
    assert compared["events of state/kobe.db"] == compared["records of state/audit"] == 12
    assert "all equal" in told.summary[0]
    assert run_backup_verify(again, Path(made.name)).data["path"] == str(made)


def test_a_kill_switch_that_is_on_survives_a_restore(ctx: Context) -> None:
    made = Path(run_backup(ctx).data["path"])
    (ctx.paths.state / "KILL_SWITCH").write_text("odd")
    told = run_restore(ctx, made, replace=True)
    assert told.data["kill_switch_stayed"]
    assert ctx.kill_switch.reason() is not None


def test_a_restore_into_a_new_home_brings_the_settings_and_leaves_present_ones(ctx: Context, tmp_path: Path) -> None:
    made = Path(run_backup(ctx).data["path"])
    fresh = built(tmp_path / "fresh")
    told = run_restore(fresh, made)
    assert numbers(fresh) == list(range(12))
    assert (fresh.paths.home / "config" / "kobe.toml").read_text() == "[records]\nbackups_kept = 2\n"
    assert any("settings of the backup are now" in line for line in told.summary)
    (ctx.paths.home / "config" / "kobe.toml").write_text("[records]\nbackups_kept = 3\n")
    told = run_restore(ctx, made, replace=True)
    assert any("left as they are" in line for line in told.summary)
    assert "3" in (ctx.paths.home / "config" / "kobe.toml").read_text()


def test_old_backups_go_when_that_is_asked_for(ctx: Context) -> None:
    elsewhere = ctx.paths.home / "elsewhere"
    for days in range(5):
        ctx.clock.set(START + timedelta(days=days))
        run_backup(ctx, into=elsewhere)
    ctx.clock.set(START + timedelta(days=4, hours=1))
    would = run_backup(ctx, into=elsewhere, prune=True, dry_run=True)
    assert len(would.data["removed"]) == 3
    told = run_backup(ctx, into=elsewhere, prune=True)
    assert told.data["removed"][1:] == ["20260104T213000Z", "20260103T213000Z", "20260102T213000Z"]
    assert sorted(p.name for p in elsewhere.iterdir()) == ["20260105T213000Z", "20260106T223000Z"]


def test_a_damaged_backup_is_listed_as_such_and_refused(ctx: Context) -> None:
    with pytest.raises(ConfigError, match="kobe backup create"):
        run_backup_verify(ctx, None)
    made = Path(run_backup(ctx).data["path"])
    (made / "state" / "kobe.db").write_bytes(b"")
    with pytest.raises(IntegrityError, match=r"state/kobe\.db"):
        run_restore(ctx, made, replace=True)
    (made / "MANIFEST.json").write_text("{")
    assert run_backup_list(ctx).data["backups"][0]["problem"] == "the backup is damaged"


def test_a_clock_set_back_ends_no_backup_and_a_person_can_take_note_of_it(ctx: Context) -> None:
    behind = SteppingClock(SystemClock().now() - timedelta(minutes=5))
    ctx = replace(ctx, audit=audit_chain(ctx.paths, behind, "later"))
    ctx.audit.append("thing", {"n": 12})
    assert run_audit_verify(ctx).exit_code is ExitCode.INTEGRITY
    assert run_backup_verify(ctx, Path(run_backup(ctx).data["path"])).exit_code is ExitCode.OK
    with pytest.raises(UsageError, match="reason"):
        run_audit_accept_clock(ctx, " ")
    assert run_audit_accept_clock(ctx, "the time server stepped").data["accepted"]
    assert run_audit_verify(ctx).exit_code is ExitCode.OK
    assert not run_audit_accept_clock(ctx, "again").data["accepted"]
    chain = ctx.paths.audit / "audit.jsonl"
    chain.write_bytes(chain.read_bytes().replace(b'"n":3', b'"n":4'))
    with pytest.raises(IntegrityError, match="more than a clock"):
        run_audit_accept_clock(ctx, "hide it")
    with pytest.raises(IntegrityError):
        run_backup(ctx)


def test_the_commands_speak_json_and_leave_with_their_codes(ctx: Context) -> None:
    def kobe(*words: str) -> tuple[int, dict]:
        done = command.kobe(ctx.paths.home, *words, "--json")
        return done.returncode, json.loads(done.stdout)

    code, made = kobe("backup", "create", "--prune")
    assert (code, made["schema"]) == (0, "kobe.backup/1")
    path = made["path"]
    assert kobe("backup", "list")[0] == kobe("backup", "verify", path)[0] == 0
    assert kobe("restore", path)[0] == int(ExitCode.REFUSED)
    code, told = kobe("restore", path, "--replace")
    assert (code, told["schema"]) == (0, "kobe.restore/1")
    assert kobe("backup", "verify", "nowhere")[0] == int(ExitCode.CONFIG)
