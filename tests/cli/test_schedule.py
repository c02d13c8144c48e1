"""`kobe schedule`: the timetable as it is shown, and entries as the operating systems' own tools read them."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from kit import cron_table, windows_tasks
from kit.command import kobe, one_line
from typer.testing import CliRunner

from kobe.app import wiring
from kobe.app.jobs import slots
from kobe.app.schedule.export import ExportRequest, run_schedule_export
from kobe.app.schedule.show import run_schedule_show
from kobe.app.schedule.systemd import quoted
from kobe.core.clock import NEW_YORK, SteppingClock
from kobe.core.errors import ConfigError, UsageError
from kobe.interfaces.cli.main import app

WEDNESDAY = datetime(2026, 11, 25, 10, 0, tzinfo=NEW_YORK)
AS_OF = ("--as-of", "2026-11-25T10:00")


def context(home: Path, at: datetime = WEDNESDAY):
    return wiring.build(home, clock=SteppingClock(at))


def exported(where: Path, scheduler: str, **options) -> dict[str, str]:
    document = run_schedule_export(context(where), ExportRequest(scheduler=scheduler, **options))
    return {file["name"]: file["text"] for file in document.data["files"]}


def test_a_piped_crontab_is_the_written_one_and_the_home_stays_untouched(tmp_path):
    home, out = tmp_path / "home", tmp_path / "kobe.cron"
    home.mkdir()
    words = ("schedule", "export", "cron", "--tz", "Europe/Berlin", *AS_OF)
    piped = kobe(home, *words)
    request = ExportRequest(scheduler="cron", zone="Europe/Berlin", output=out)
    dry = run_schedule_export(context(home), replace(request, dry_run=True))
    assert dry.summary[0] == f"{out} would be written"
    assert not out.exists()
    told = run_schedule_export(context(home), request).data
    assert piped.stdout == out.read_text(encoding="utf-8") == told["files"][0]["text"]
    assert (told["until"], told["written"], told["zone"]) == ("2031-11-25", [str(out)], "Europe/Berlin")
    assert "Europe/Berlin" in piped.stdout.splitlines()[0]
    assert "right until 2031-11-25" in piped.stdout
    assert list(home.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="cron's shell")
def test_cron_s_shell_gives_kobe_the_words_whatever_the_home_is_called(tmp_path):
    home = tmp_path / "it's 100% $HOME"
    home.mkdir()
    program = tmp_path / "my kobe"
    program.write_text(f"#!{sys.executable}\nimport json, sys\nprint(json.dumps(sys.argv[1:]))\n", encoding="utf-8")
    program.chmod(0o755)
    (text,) = exported(home, "cron", zone="UTC", program=str(program)).values()
    table = cron_table.read(text)
    (command,) = {line.command for line in table.lines}
    assert table.at_boot == (command,)
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == ["-q", "--home", str(home), "run", "--once"]


def test_a_user_makes_it_a_crontab_of_the_system(tmp_path):
    (text,) = exported(tmp_path, "cron", zone="UTC", user="trader").values()
    assert {line.command.split()[0] for line in cron_table.read(text).lines} == {"trader"}


@pytest.fixture
def units(tmp_path) -> Path:
    """Units for a home with a hard name, as files."""
    home = tmp_path / "home of 100%"
    home.mkdir()
    folder = tmp_path / "units"
    exported(home, "systemd", user="daemon", output=folder)
    return folder


analyze = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


@analyze
def test_systemd_finds_nothing_to_say_about_the_units(units):
    files = sorted(str(file) for file in units.iterdir())
    assert [Path(file).name for file in files] == ["kobe-once.service", "kobe-once.timer", "kobe-run.service"]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *files], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    worst = ["systemd-analyze", "security", "--offline=true", "--threshold=30", "--no-pager"]
    for unit in ("kobe-once.service", "kobe-run.service"):
        done = subprocess.run([*worst, str(units / unit)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-300:]


@analyze
def test_systemd_itself_wakes_at_every_slot_across_the_change_of_clocks(units, calendar):
    """Its own reading of the timer, from before a change of New York's clocks to after the next half day."""
    begin, days = datetime(2026, 10, 29, tzinfo=UTC), 33
    events = re.findall(r"^OnCalendar=(.+)$", (units / "kobe-once.timer").read_text(encoding="utf-8"), re.MULTILINE)
    command = ["systemd-analyze", "calendar", "--base-time=2026-10-29 00:00:00 UTC", "--iterations=150", *events]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "TZ": "UTC"})
    found = re.findall(r"(?:Next elapse|Iter. #\d+|Iteration #\d+): \w+ (\S+ \S+) UTC", done.stdout)
    woken = {datetime.fromisoformat(text).replace(tzinfo=UTC) for text in found}
    end = begin + timedelta(days=days)
    needed = {at for day in calendar.between(begin.date(), end.date()) for at in slots(calendar, day) if at < end}
    assert needed <= woken
    assert len(needed) > 100
    assert sum(begin <= at < end for at in woken) < 2 * len(needed)


def test_the_runner_s_unit_knows_our_exit_codes_and_heartbeat(units):
    text = (units / "kobe-run.service").read_text(encoding="utf-8")
    for line in ("Type=notify", "WatchdogSec=60s", "Restart=on-failure", "RestartPreventExitStatus=3 8",
                 "SuccessExitStatus=143", "NoNewPrivileges=yes", "ProtectSystem=strict"):  # fmt: skip
        assert f"\n{line}\n" in text
    assert "--once" not in text
    assert "home of 100%%" in text


@pytest.mark.parametrize(
    ("word", "line"),
    [("/srv/kobe", "/srv/kobe"), ("a b", '"a b"'), ("100%", "100%%"), ("$HOME", '"$$HOME"'), ("a'b", '"a\'b"'),
     ("C:\\x", '"C:\\\\x"')],
)  # fmt: skip
def test_words_are_quoted_as_systemd_reads_them(word, line):
    assert quoted(word) == line


def test_an_anchor_kept_apart_may_be_written_too(tmp_path):
    config = tmp_path / "config"
    config.mkdir()
    (config / "kobe.toml").write_text('[records]\nanchor = "/mnt/apart/audit.json"\n', encoding="utf-8")
    text = exported(tmp_path, "systemd", user="daemon")["kobe-once.service"]
    assert f"ReadWritePaths={tmp_path} /mnt/apart\n" in text


def test_windows_gets_tasks_that_hold_the_schema_and_every_coming_slot(tmp_path, calendar):
    exported(
        tmp_path, "windows", zone="America/Chicago", home="C:\\kobe home", user="DESK\\jo",
        program="C:\\Program Files\\kobe\\kobe.exe", output=tmp_path / "tasks",
    )  # fmt: skip
    contents = [file.read_bytes() for file in sorted((tmp_path / "tasks").iterdir())]
    assert [windows_tasks.faults(content) for content in contents] == [[] for _ in contents]
    starts = set().union(*(windows_tasks.starts(content) for content in contents))
    for day in calendar.between(date(2026, 11, 25), date(2031, 11, 20)):
        for instant in slots(calendar, day):
            local = instant.astimezone(ZoneInfo("America/Chicago"))
            assert (local.weekday(), local.hour, local.minute) in starts


def test_kubernetes_gets_cron_jobs_with_a_zone_that_may_write_the_home_alone(tmp_path, calendar):
    yaml = pytest.importorskip("yaml", reason="comes with the extra scale")
    files = exported(tmp_path, "kubernetes")
    (claim,) = yaml.safe_load_all(files["kobe-home.yaml"])
    jobs = list(yaml.safe_load_all(files["kobe-once.yaml"]))
    lines = []
    for job in jobs:
        spec, pod = job["spec"], job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        assert (job["apiVersion"], job["kind"]) == ("batch/v1", "CronJob")
        assert (spec["timeZone"], spec["concurrencyPolicy"]) == ("America/New_York", "Forbid")
        assert spec["startingDeadlineSeconds"] >= 600
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["envFrom"] == [{"secretRef": {"name": "kobe", "optional": True}}]
        assert [*container["command"], *container["args"]] == ["kobe", "--home", "/var/lib/kobe", "run", "--once"]
        assert {"name": "home", "mountPath": "/var/lib/kobe"} in container["volumeMounts"]
        assert pod["volumes"][0]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
        lines.append(f"{spec['schedule']} run\n")
    names = [job["metadata"]["name"] for job in jobs]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z0-9-]{1,52}", name) for name in names)
    table = cron_table.read("".join(lines))
    for day in calendar.between(date(2026, 11, 25), date(2031, 11, 20)):
        assert all(table.runs(instant.astimezone(NEW_YORK)) for instant in slots(calendar, day))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"scheduler": "launchd"}, "no such scheduler"),
        ({"scheduler": "cron", "zone": "Europe"}, "unknown time zone"),
        ({"scheduler": "cron", "zone": "../etc/passwd"}, "unknown time zone"),
        ({"scheduler": "cron", "zone": "UTC", "home": "kobe"}, "whole path"),
        ({"scheduler": "cron", "zone": "UTC", "home": "/srv/kobe\n* * * * * root reboot"}, "cannot hold"),
        ({"scheduler": "cron", "zone": "UTC", "user": "jo; reboot"}, "user's name"),
        ({"scheduler": "systemd", "zone": "UTC"}, "New York's clocks itself"),
        ({"scheduler": "systemd", "user": "jo\nExecStart=/bin/sh"}, "user's name"),
        ({"scheduler": "windows", "zone": "UTC", "home": "/srv/kobe"}, "whole path"),
        ({"scheduler": "windows", "zone": "UTC", "home": "C:\\k", "program": "C:\\" + 260 * "k", "user": "jo"}, "path"),
        ({"scheduler": "kubernetes", "user": "jo"}, "a number"),
    ],
)
def test_what_a_scheduler_cannot_hold_is_refused(tmp_path, options, said):
    with pytest.raises(UsageError, match=said):
        exported(tmp_path, **options)


def test_a_refusal_is_one_line_and_a_usage_error(tmp_path):
    one_line(kobe(tmp_path, "schedule", "export", "cron", "--tz", "Mars/Olympus"), 2, "unknown time zone")


def test_live_entries_say_live_and_without_it_a_live_home_is_warned(tmp_path):
    with pytest.raises(ConfigError, match=r"run\.mode"):
        wiring.arm(context(tmp_path), live=True)
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "kobe.toml").write_text('[run]\nmode = "live"\n', encoding="utf-8")
    request = ExportRequest(scheduler="cron", zone="UTC")
    assert "refused" in " ".join(run_schedule_export(context(tmp_path), request).summary)
    armed = run_schedule_export(wiring.arm(context(tmp_path), live=True), request)
    assert all(line.endswith("run --once --live") for line in armed.summary if not line.startswith("#"))
    assert "refused" not in " ".join(armed.summary)


def test_show_says_holiday_and_half_day_in_both_zones(tmp_path):
    """The machine's zone is the one of TZ here; the export takes it where it is given none."""
    done = kobe(tmp_path, "schedule", "show", "--date", "2026-11-26", *AS_OF, env={"TZ": "Europe/Berlin"})
    assert done.returncode == 0, done.stderr
    for words in ("2026-11-26 is a holiday", "2026-11-27", "half day", "13:00", "Fri 12:55", "Fri 18:55", "15:30"):
        assert words in done.stdout
    assert max(len(line.rstrip()) for line in done.stdout.splitlines()) < 120
    told = run_schedule_show(context(tmp_path), date(2026, 11, 29)).data
    assert (told["session"], told["is_session"], told["half_day"]) == ("2026-11-30", False, False)
    (close,) = [job for job in told["jobs"] if job["job"] == "exits-close"]
    assert close["at"] == "2026-11-30T15:55:00-05:00"


def test_the_next_wake_ups_are_the_next_slots_even_over_a_weekend(tmp_path, calendar):
    friday = datetime(2026, 11, 27, 22, 0, tzinfo=NEW_YORK)
    told = run_schedule_show(context(tmp_path, friday), following=12).data["next"]
    days = calendar.between(date(2026, 11, 20), date(2026, 12, 10))
    coming = sorted({at for day in days for at in slots(calendar, day) if at > friday})
    assert [datetime.fromisoformat(row["at"]) for row in told] == coming[:12]
    named = [job for row in told for job in row["jobs"]]
    assert {"exits-open", "exits-close", "eod-report"} <= set(named)


def test_every_command_of_the_install_notes_exists():
    notes = (Path(__file__).resolve().parents[2] / "ops" / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"(?:^|`)kobe ([a-z][^`#\n]*)", notes, re.MULTILINE)
    assert len(commands) >= 8
    for command in commands:
        done = CliRunner().invoke(app, [*shlex.split(command), "--help"])
        assert done.exit_code == 0, (command, done.output)
