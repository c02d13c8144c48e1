"""A broken home is found out, defect by defect; what is safe is mended and nothing else is touched."""

import fcntl
import json
import os
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from kit.alpaca_server import KEY, SECRET, AlpacaServer
from kit.home import LAST, at

from kobe.app import desk, wiring
from kobe.app.backup import run_backup
from kobe.app.day import runs
from kobe.app.doctor import checks as doctor
from kobe.app.doctor import machine as doctor_machine
from kobe.app.doctor import running as doctor_running
from kobe.app.doctor.checks import CHECKS, FIXES, DoctorRequest, run_doctor, run_doctor_at
from kobe.app.watching import heartbeat
from kobe.core.clock import SteppingClock
from kobe.core.errors import ExitCode, UsageError
from kobe.core.types import JobRecord, Mode
from kobe.infra import machine

EVENING = at(LAST, 18, 0).now()
WITHOUT = {"APCA_API_KEY_ID", "APCA_API_SECRET_KEY", "ALPACA_API_KEY", "ALPACA_SECRET_KEY", "KOBE_TELEGRAM_TOKEN",
           "POLYGON_API_KEY", "MASSIVE_API_KEY", "KOBE_SERVICE_TOKEN"}  # fmt: skip


@dataclass
class Standing:
    """A host's clock that stands: unlike a stepping one, it is not pretended."""

    instant: datetime

    def now(self):
        return self.instant


@pytest.fixture(autouse=True)
def _no_keys_of_the_host(monkeypatch):
    for name in WITHOUT:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def fit_home(made_home, tmp_path_factory):
    """A home in which nothing fails: with a backup, and for its owner alone."""
    folder = tmp_path_factory.mktemp("fit") / "home"
    shutil.copytree(made_home, folder)
    ctx = build(folder)
    run_backup(ctx)
    run_doctor(ctx, DoctorRequest(fix=True))
    ctx.ledger.close()
    return folder


@pytest.fixture
def fit(fit_home, tmp_path):
    return Path(shutil.copytree(fit_home, tmp_path / "home"))


def build(home, clock=None):
    return wiring.build(home, clock=clock or SteppingClock(EVENING))


def found(document, check):
    return [one for one in document.data["checks"] if one["check"] == check]


def settings(home, text):
    (home / "config" / "kobe.toml").write_text(text, encoding="utf-8")


def keys(home, key, secret):
    (home / ".env").write_text(f"APCA_API_KEY_ID={key}\nAPCA_API_SECRET_KEY={secret}\n", encoding="utf-8")
    (home / ".env").chmod(0o600)


def edit(path, change):
    content = change(path.read_bytes())
    path.chmod(0o600)
    path.write_bytes(content)


def flip_middle(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 0xFF]) + content[middle + 1 :]


def smash_ledger(home):
    for other in ("kobe.db-wal", "kobe.db-shm"):
        (home / "state" / other).unlink(missing_ok=True)
    edit(home / "state" / "kobe.db", lambda b: b[:4096] + b"\x7f" * 8192 + b[12288:])


def only(home, pattern):
    return next(iter(sorted(home.glob(pattern))))


def job(home, day, status):
    ctx = build(home)
    started = ctx.clock.now()
    runs.write(ctx.ledger, JobRecord(job="scan", session=day, run_id="r", status=status, started=started,
                                     finished=started, outputs={}, detail="it said no"))  # fmt: skip
    ctx.ledger.close()


def ran_and_stands_still(home):
    job(home, LAST, runs.DONE)
    settings(home, "[calendar]\nextra_closures = []\n")


def mode(home, wanted):
    ctx = build(home)
    desk.set_mode(ctx, "operator", wanted, "a drill")
    ctx.ledger.close()


def silent_runner(home):
    ctx = build(home, SteppingClock(EVENING - timedelta(minutes=5)))
    heartbeat.beat(ctx, ctx.clock.now(), None)


DEFECTS = {
    "settings that are no TOML": ("settings", 3, lambda h: settings(h, "[run\n")),
    "an unknown setting": ("settings", 3, lambda h: settings(h, "[run]\nmod = 'sim'\n")),
    "a key in the settings": ("settings", 3, lambda h: settings(h, "# PKABCDEFGHIJKLMNOPQR\n[run]\n")),
    "no settings": ("settings", 0, lambda h: (h / "config" / "kobe.toml").unlink()),
    "a file where a folder belongs": ("folders", 3, lambda h: (shutil.rmtree(h / "reports"), (h / "reports").touch())),
    "a missing folder": ("folders", 0, lambda h: shutil.rmtree(h / "reports")),
    "a private key others may read": ("permissions", 3, lambda h: only(h, "state/keys/*.key").chmod(0o644)),
    "a folder of keys others may enter": ("permissions", 3, lambda h: (h / "state" / "keys").chmod(0o755)),
    "secrets others may read": ("permissions", 3, lambda h: (keys(h, "a", "b"), (h / ".env").chmod(0o644))),
    "a state others may write": ("permissions", 3, lambda h: (h / "state").chmod(0o777)),
    "a state others may read": ("permissions", 0, lambda h: (h / "state").chmod(0o755)),
    "what a killed writer left": ("temporary", 0, lambda h: (h / "state" / ".tmp-0123456789abcdef").touch()),
    "a damaged store": ("bars", 8, lambda h: edit(h / "data/bars/manifest.json", lambda b: b[:-30])),
    "a damaged year of bars": ("bars", 8, lambda h: (shutil.rmtree(h / "data/bars/cache", ignore_errors=True),
                                                      edit(only(h, "data/bars/2022-*.parquet"), flip_middle))),
    "bars set aside": ("quarantine", 0, lambda h: ((h / "data/quarantine").mkdir(exist_ok=True),
                                                    (h / "data/quarantine/q.csv").touch())),
    "a changed model": ("model", 8, lambda h: [edit(card, lambda b: b.replace(b":", b": ", 1))
                                               for card in h.glob("state/models/*/card.json")]),
    "a ledger with a hole": ("ledger", 8, smash_ledger),
    "an edited audit record": ("audit", 8, lambda h: edit(h / "state/audit/audit.jsonl",
                                                            lambda b: b.replace(b'"kind"', b'"kin"', 1))),
    "a cut audit chain": ("audit", 8, lambda h: edit(h / "state/audit/audit.jsonl",
                                                       lambda b: b"\n".join(b.splitlines()[:-1]) + b"\n")),
    "a damaged backup": ("backups", 8, lambda h: edit(only(h, "state/backups/*Z/state/kobe.db"), flip_middle)),
    "a restore cut short": ("backups", 8, lambda h: (h / "state" / ".restoring-00000000").write_text("{}")),
    "no backup": ("backups", 0, lambda h: shutil.rmtree(h / "state" / "backups")),
    "no keys": ("keys", 3, lambda h: settings(h, '[run]\nmode = "paper"\n')),
    "live keys on paper": ("keys", 3, lambda h: (settings(h, '[run]\nmode = "paper"\n'),
                                                  keys(h, "AK" + "A" * 18, "s" * 40))),
    "a provider without its key": ("keys", 3, lambda h: settings(
        h, '[schedule]\nfetch = true\n[data]\nproviders = ["polygon"]\n')),
    "one of two providers without its key": ("keys", 0, lambda h: settings(h, "[schedule]\nfetch = true\n")),
    "a service that others reach without a token": ("keys", 3, lambda h: settings(
        h, '[service]\nhost = "0.0.0.0"\n')),
    "a heartbeat nobody foresaw": ("schedule", 1, lambda h: (h / "state" / "runner.json").write_text(
        '{"pid": 1, "run_id": "r", "started_ns": 0, "beat_ns": "now", "next_ns": 0}')),
    "a channel without its token": ("channels", 3, lambda h: settings(
        h, '[[notify.channels]]\nkind = "telegram"\nchat_id = "1"\n')),
    "a channel without its chat": ("channels", 3, lambda h: settings(h, '[[notify.channels]]\nkind = "telegram"\n')),
    "a runner that went silent": ("schedule", 5, silent_runner),
    "a failed job": ("jobs", 0, lambda h: job(h, LAST, runs.FAILED)),
    "a kill switch": ("switches", 6, lambda h: (h / "state" / "KILL_SWITCH").write_text("a drill")),
    "a mode that only reduces": ("switches", 6, lambda h: mode(h, Mode.REDUCE_ONLY)),
    "no page": ("page", 0, lambda h: (h / "STATUS.md").unlink()),
}  # fmt: skip


@pytest.mark.parametrize("defect", DEFECTS)
def test_each_defect_is_found_by_its_check_with_a_remedy_and_the_code_of_its_family(fit, defect):
    check, code, plant = DEFECTS[defect]
    clean = run_doctor_at(fit, DoctorRequest(only=(check,)), clock=SteppingClock(EVENING))
    assert clean.exit_code is ExitCode.OK
    before = {one["seen"] for one in found(clean, check)}
    plant(fit)
    document = run_doctor_at(fit, DoctorRequest(only=(check,)), clock=SteppingClock(EVENING))
    odd = [one for one in found(document, check) if one["result"] != "ok" and one["seen"] not in before]
    assert odd, document.data
    assert all(one["next"] for one in odd)
    assert {one["result"] for one in odd} == ({"fail"} if code else {"warn"})
    assert int(document.exit_code) == code


def test_no_defect_hides_another_and_the_worst_family_is_the_exit_code(fit):
    for defect in ("a kill switch", "no keys", "a cut audit chain", "no page", "what a killed writer left"):
        DEFECTS[defect][2](fit)
    document = run_doctor_at(fit, DoctorRequest(), clock=Standing(EVENING))
    assert {one["check"] for one in document.data["checks"]} == set(CHECKS)
    failed = {one["check"] for one in document.data["checks"] if one["result"] == "fail"}
    assert {"switches", "keys", "audit", "broker"} <= failed
    assert document.exit_code is ExitCode.INTEGRITY
    assert document.sections[0].table.rows[0][1] == "FAIL"  # the worst is on top


def test_settings_that_cannot_be_used_leave_the_other_checks_their_turn(fit):
    settings(fit, "[risk]\nday_max_usd = -1\n")
    document = run_doctor_at(fit, DoctorRequest(), clock=SteppingClock(EVENING))
    assert {one["check"] for one in document.data["checks"]} == set(CHECKS)
    assert document.banners
    assert document.exit_code is ExitCode.CONFIG
    assert "day_max_usd" in found(document, "settings")[0]["seen"]


def tree(folder):
    """Modes and contents; the side files of an open SQLite database are nobody's change."""
    paths = [p for p in sorted(folder.rglob("*")) if not p.name.endswith(("-wal", "-shm", ".lock"))]
    return {p.relative_to(folder).as_posix(): (p.stat().st_mode & 0o777, p.read_bytes() if p.is_file() else b"")
            for p in paths}  # fmt: skip


def changed(before, after):
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


def test_looking_changes_nothing_in_a_full_home_a_broken_one_and_an_empty_one(fit, tmp_path):
    for defect in ("a missing folder", "a state others may read", "no page", "what a killed writer left"):
        DEFECTS[defect][2](fit)
    before = tree(fit)
    for request in (DoctorRequest(), DoctorRequest(dry_run=True), DoctorRequest(fix=True, dry_run=True)):
        run_doctor_at(fit, request, clock=SteppingClock(EVENING))
        assert changed(before, tree(fit)) == set()
    run_doctor_at(tmp_path / "nowhere", DoctorRequest())
    assert not (tmp_path / "nowhere").exists()


def test_fixing_mends_exactly_what_is_safe(fit):
    for defect in ("a missing folder", "a private key others may read", "a state others may write", "no page",
                   "what a killed writer left", "a kill switch", "a cut audit chain", "bars set aside"):  # fmt: skip
        DEFECTS[defect][2](fit)
    views = fit / "cache" / "views"
    views.mkdir(parents=True, exist_ok=True)
    for name in ("old.npz", "new.npz"):
        (views / name).write_bytes(b"x")
    (fit / ".tmp-notes of mine").write_text("a person's own file")
    stamp = datetime(2020, 1, 1, tzinfo=UTC).timestamp()
    os.utime(views / "old.npz", (stamp, stamp))
    os.utime(fit / ".tmp-notes of mine", (stamp, stamp))
    being_written = fit / "state" / ".tmp-ffffffffffffffff"
    key = only(fit, "state/keys/*.key").relative_to(fit).as_posix()
    with being_written.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        before = tree(fit)
        document = run_doctor_at(fit, DoctorRequest(fix=True), clock=SteppingClock(EVENING))
        after = tree(fit)
    assert changed(before, after) == {
        "reports", "state", key, "STATUS.md", "state/.tmp-0123456789abcdef", "cache/views/old.npz",
    }  # fmt: skip
    assert {one["outcome"] for one in document.data["mended"]} == {"done"}
    assert len(document.data["mended"]) == 6
    assert document.exit_code is ExitCode.INTEGRITY  # the audit chain is for a person
    again = run_doctor_at(fit, DoctorRequest(fix=True, only=tuple(FIXES)), clock=SteppingClock(EVENING))
    assert [one["what"] for one in again.data["mended"]] == ["remove what killed writers left below state"]


def test_a_repair_that_cannot_be_made_is_told_and_the_others_are_made(fit):
    shutil.rmtree(fit / "reports")
    (fit / "config" / "kobe.toml").unlink()
    (fit / "config").rmdir()
    (fit / "STATUS.md").unlink()
    (fit / "data" / "gone").touch()
    (fit / "config").symlink_to(fit / "data" / "gone" / "below")
    document = run_doctor_at(fit, DoctorRequest(fix=True), clock=SteppingClock(EVENING))
    assert (fit / "reports").is_dir()
    assert (fit / "STATUS.md").is_file()
    assert found(document, "folders")[0]["result"] == "fail"


def test_an_empty_home_frightens_nobody(tmp_path):
    document = run_doctor_at(tmp_path / "home", DoctorRequest())
    assert document.exit_code is ExitCode.OK
    assert not [one for one in document.data["checks"] if one["result"] == "fail"]
    assert any("new" in line for line in document.summary)
    assert document.summary[-1].startswith("Next: kobe init")


def test_an_unknown_check_is_refused_with_the_names():
    with pytest.raises(UsageError, match="filesystem"):
        doctor._chosen(("nonsense",))


PAPER_KEY, PAPER_SECRET = "PK" + "A1" * 9, "s3cr" * 10


@pytest.mark.parametrize(
    ("mode", "key", "secret", "said"),
    [
        ("paper", PAPER_KEY, PAPER_SECRET, ""),
        ("live", "AK" + "A1" * 9, PAPER_SECRET, ""),
        ("live", PAPER_KEY, PAPER_SECRET, "paper account"),
        ("paper", PAPER_SECRET, PAPER_KEY, "swapped"),
        ("paper", PAPER_KEY + " ", PAPER_SECRET, "blanks"),
        ("paper", PAPER_KEY, PAPER_SECRET[:20], "20 characters"),
        ("paper", "PKSHORT", PAPER_SECRET, "7 characters"),
        ("paper", "XY" + "A1" * 9, PAPER_SECRET, "unknown account"),
        ("paper", PAPER_KEY, PAPER_SECRET[:-1] + "é", "letters no key has"),
    ],
)
def test_odd_keys_are_named_without_their_letters(mode, key, secret, said):
    fault = doctor_running.shape_fault(mode, key, secret)
    assert bool(fault) == bool(said)
    assert said in fault
    assert key not in fault
    assert secret not in fault


@pytest.fixture
def paper(fit):
    with AlpacaServer() as server:
        settings(fit, f'[run]\nmode = "paper"\n[broker]\nbase_url = "{server.url}"\ndata_url = "{server.url}"\n')
        keys(fit, KEY, SECRET)
        server.set_clock(EVENING)
        yield fit


def test_the_broker_s_account_clock_and_calendar_are_compared_with_ours(paper):
    home = paper
    request = DoctorRequest(only=("keys", "broker", "calendar"))
    document = run_doctor_at(home, request, clock=Standing(EVENING))
    assert document.exit_code is ExitCode.OK, document.data
    late = run_doctor_at(home, request, clock=Standing(EVENING - timedelta(seconds=30)))
    assert late.exit_code is ExitCode.CONFIG
    assert "30.0 s" in next(one for one in found(late, "broker") if one["result"] == "fail")["seen"]
    settings(home, (home / "config/kobe.toml").read_text() + '[calendar]\nextra_closures = ["2025-01-08"]\n')
    other = run_doctor_at(home, request, clock=Standing(EVENING))
    assert found(other, "calendar")[0]["result"] == "fail"
    assert "2025-01-08" in found(other, "calendar")[0]["seen"]


def test_a_broker_that_is_away_is_one_failure_and_a_warning(fit):
    settings(fit, '[run]\nmode = "paper"\n[broker]\nbase_url = "http://127.0.0.1:9"\ndata_url = "http://127.0.0.1:9"\n')
    keys(fit, KEY, SECRET)
    document = run_doctor_at(fit, DoctorRequest(only=("broker", "calendar")), clock=Standing(EVENING))
    assert document.exit_code is ExitCode.EXTERNAL
    assert found(document, "calendar")[0]["result"] == "warn"
    said = json.dumps(document.data)
    assert KEY not in said
    assert SECRET not in said


def test_what_is_missing_is_a_warning_until_the_home_has_run(fit, calendar):
    later = Standing(calendar.closes_at(calendar.offset(LAST, 6)))
    request = DoctorRequest(only=("bars", "backups", "schedule", "clock"))
    quiet = run_doctor_at(fit, request, clock=later)
    assert found(quiet, "bars")[0]["result"] == "warn"
    job(fit, LAST, runs.DONE)
    document = run_doctor_at(fit, request, clock=later)
    told = {one["check"]: one["result"] for one in document.data["checks"]}
    assert told["bars"] == "fail"
    assert told["schedule"] == "warn"
    assert document.exit_code is ExitCode.DATA


def test_records_from_times_to_come_are_a_clock_that_ran_ahead(fit):
    job(fit, LAST, runs.DONE)
    document = run_doctor_at(fit, DoctorRequest(only=("clock",)), clock=Standing(EVENING - timedelta(days=1)))
    assert document.exit_code is ExitCode.CONFIG


def test_the_machine_is_judged_at_its_bounds():
    assert doctor_machine.python_is((3, 10)).code is ExitCode.CONFIG
    assert doctor_machine.room(doctor_machine.LEAST_FREE_BYTES - 1).code is ExitCode.EXTERNAL
    assert doctor_machine.room(doctor_machine.LEAST_FREE_BYTES).level == "warn"
    assert doctor_machine.room(doctor_machine.LITTLE_FREE_BYTES).level == "ok"
    levels = [doctor_machine.lies_on(machine.Mount("/", kind)).level for kind in ("nfs4", "9p", "ext4")]
    assert levels == ["fail", "warn", "ok"]
    missing, other = doctor_machine.against_lock(
        "nonesuch-package==1.0 \\\n    --hash=sha256:0\npydantic==0.1 ; python_version >= '3' \\\ncolorama==9 ; "
        "sys_platform == 'none' \\\n"
    )
    assert missing == ["nonesuch-package"]
    assert len(other) == 1
    assert "instead of 0.1" in other[0]
