"""`kobe init` and `kobe doctor` as a person and as a program meet them."""

import json
import os
import pty
import subprocess
import sys

from kit.command import kobe

from kobe.app.init import InitRequest, run_init

SECRET = "PK" + "ABCDEFGH1234567890"
QUIET = {"APCA_API_KEY_ID": "", "APCA_API_SECRET_KEY": ""}


def typed(home, answers):
    """Run `kobe init` on a terminal where a person types; return (exit code, all that was shown)."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "kobe", "--home", str(home), "init"]
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env={**os.environ, "COLUMNS": "200"}
    )
    os.close(theirs)
    os.write(ours, "".join(f"{line}\n" for line in answers).encode())
    shown = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        shown += part
    os.close(ours)
    return process.wait(), shown.decode()


def test_on_a_terminal_it_asks_what_it_needs_again_where_the_answer_is_none_and_takes_return_for_the_default(tmp_path):
    code, shown = typed(tmp_path / "home", ["", "pigeons", "stooq", "250", "", "telegram", "4711", "", "cron"])
    assert code == 0, shown
    assert "expected: one of files" in shown
    assert "Feed of quotes" not in shown  # a question that does not apply is not asked
    text = (tmp_path / "home" / "config" / "kobe.toml").read_text(encoding="utf-8")
    for line in ('providers = ["stooq"]', "day_max_usd = 250", 'chat_id = "4711"'):
        assert line in text
    assert "schedule export cron" in shown


def test_without_a_terminal_it_never_waits_and_programs_get_json(tmp_path):
    done = kobe(tmp_path / "x", "init", "--home", str(tmp_path / "home"), "--mode", "paper", "--json", env=QUIET)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["schema"] == "kobe.init/1"
    assert told["next"][0].startswith("put APCA_API_KEY_ID")
    assert not (tmp_path / "x").exists()
    other = kobe(tmp_path / "home", "init", "--mode", "sim", "--yes")
    assert other.returncode == 7
    assert "--force" in other.stdout


def test_doctor_in_an_empty_home_explains_itself_and_leaves_with_zero(tmp_path):
    done = kobe(tmp_path / "home", "doctor")
    assert done.returncode == 0, done.stdout
    assert "FAIL" not in done.stdout
    assert "Next: kobe init" in done.stdout
    assert not (tmp_path / "home").exists()


def test_doctor_names_one_check_mends_it_and_never_shows_a_secret(tmp_path):
    home = tmp_path / "home"
    run_init(InitRequest(home=home, given={"mode": "paper"}, env=True))
    (home / ".env").write_text(f"APCA_API_KEY_ID={SECRET}\nAPCA_API_SECRET_KEY={SECRET}\n", encoding="utf-8")
    (home / ".env").chmod(0o644)
    env = {name: value for name, value in os.environ.items() if name not in QUIET}
    command = [sys.executable, "-m", "kobe", "--home", str(home), "doctor", "--only", "keys", "--only", "permissions"]

    def run(*words):
        return subprocess.run([*command, *words], capture_output=True, text=True, check=False, env=env)

    broken = run("--json")
    assert broken.returncode == 3
    assert {c["check"]: c["result"] for c in json.loads(broken.stdout)["checks"]} == {
        "keys": "fail", "permissions": "fail",
    }  # fmt: skip
    mended = run("--fix")
    assert mended.returncode == 3
    assert (home / ".env").stat().st_mode & 0o777 == 0o600
    for done in (broken, mended):
        assert SECRET not in done.stdout + done.stderr
