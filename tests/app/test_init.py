"""A home is made whole, again, after a kill, and around whatever is there already; nothing of a person's is lost."""

import json
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from kit.killing import ENVIRONMENT

from kobe.app import wiring
from kobe.app.backup import run_backup
from kobe.app.init import InitRequest, next_steps, present, run_init
from kobe.app.init_answers import RUNNERS
from kobe.app.secret_names import SECRETS
from kobe.core.errors import ConfigError, ExitCode, UsageError
from kobe.infra.records.backup import found

FILES = {"config/kobe.toml", ".env.example", "STATUS.md"}
FOLDERS = {"config", "data", "data/bars", "reports", "state"}
PAPER = {"mode": "paper", "data": "alpaca", "feed": "sip", "day_max_usd": "500", "order_max_usd": "99.50",
         "notify": "telegram", "notify_to": "12345", "runner": "systemd"}  # fmt: skip


def init(home, **changes):
    given = changes.pop("given", {})
    return run_init(InitRequest(home=home, given=given, **changes))


def tree(home):
    return {p.relative_to(home).as_posix(): p.read_bytes() for p in sorted(home.rglob("*")) if p.is_file()}


def test_a_home_is_made_and_made_again_without_a_change(tmp_path):
    home = tmp_path / "home"
    assert init(home).exit_code is ExitCode.OK
    assert set(tree(home)) == FILES
    assert {p.relative_to(home).as_posix() for p in home.rglob("*") if p.is_dir()} == FOLDERS
    assert stat.S_IMODE((home / "state").stat().st_mode) == 0o700
    before = tree(home)
    again = init(home)
    assert again.exit_code is ExitCode.OK
    assert again.data["done"] == []
    assert tree(home) == before


def test_answers_reach_the_settings_and_silence_keeps_them(tmp_path):
    home = tmp_path / "home"
    init(home, given=PAPER, env=True)
    settings = wiring.build(home).settings
    assert (settings.run.mode, settings.broker.feed, settings.data.providers) == ("paper", "sip", ("alpaca",))
    assert (settings.risk.day_max_usd, settings.risk.order_max_usd) == (500, 99.5)
    assert settings.schedule.fetch
    assert settings.notify.channels[0].chat_id == "12345"
    again = init(home)
    assert (again.exit_code, again.data["done"]) == (ExitCode.OK, [])


def test_every_secret_is_named_and_none_has_a_value_and_the_file_for_them_is_private(tmp_path):
    init(tmp_path / "home", env=True)
    for name in (".env", ".env.example"):
        lines = (tmp_path / "home" / name).read_text(encoding="utf-8").splitlines()
        pairs = [line.partition("=") for line in lines if line and not line.startswith("#")]
        assert {key for key, _, _ in pairs} == {secret.name for secret in SECRETS}
        assert {value for _, _, value in pairs} == {""}
    assert stat.S_IMODE((tmp_path / "home" / ".env").stat().st_mode) == 0o600


def test_every_secret_that_the_code_reads_is_named():
    root = Path(__file__).resolve().parents[2] / "kobe"
    known = {name for secret in SECRETS for name in (secret.name, *secret.aliases)}
    text = "\n".join(path.read_text(encoding="utf-8") for path in root.rglob("*.py"))
    word = r'"((?:APCA|ALPACA|POLYGON|MASSIVE|KOBE)_[A-Z_]*(?:KEY|KEY_ID|TOKEN|WEBHOOK|PASSWORD|SECRET))"'
    asked = set(re.findall(word, text))
    assert {"APCA_API_KEY_ID", "POLYGON_API_KEY"} <= asked
    assert asked - known == set()


def test_a_dry_run_says_it_and_changes_nothing(tmp_path):
    home = tmp_path / "home"
    document = init(home, given={**PAPER, "backups": str(tmp_path / "elsewhere")}, env=True, dry_run=True)
    assert not home.exists()
    assert not (tmp_path / "elsewhere").exists()
    wet = init(home, given={**PAPER, "backups": str(tmp_path / "elsewhere")}, env=True)
    assert document.data["done"] == wet.data["done"]


def test_what_differs_stays_until_it_is_forced_and_then_a_copy_stays(tmp_path):
    home = tmp_path / "home"
    (home / "config").mkdir(parents=True)
    mine = '[risk]\nday_max_usd = 200 # mine\n[scan]\ntop = 7\n[records]\nanchor = "hush"\n'
    (home / "config" / "kobe.toml").write_text(mine, encoding="utf-8")
    (home / "STATUS.md").write_text("mine", encoding="utf-8")
    (home / ".env").write_text("APCA_API_KEY_ID=hush\n", encoding="utf-8")
    same = init(home, env=True)
    assert same.exit_code is ExitCode.OK
    document = init(home, given={"mode": "paper"}, env=True)
    assert document.exit_code is ExitCode.PARTIAL
    told = "\n".join(document.data["files"][0]["differences"])
    assert "run.mode is sim, not paper" in told
    assert "scan.top is set there too" in told
    assert "hush" not in str(document)
    assert (home / "config" / "kobe.toml").read_text(encoding="utf-8") == mine
    forced = init(home, given={"mode": "paper"}, env=True, force=True)
    assert forced.exit_code is ExitCode.OK
    settings = wiring.build(home).settings
    assert (settings.run.mode, settings.risk.day_max_usd, settings.scan.top) == ("paper", 200, 3)
    [copy] = home.glob("config/kobe.toml.before-*")
    assert copy.read_text(encoding="utf-8") == mine
    assert (home / ".env").read_text(encoding="utf-8") == "APCA_API_KEY_ID=hush\n"
    assert (home / "STATUS.md").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize(
    "content", [b"[run\n", b"\xff\xfe\x00", b"[run]\nmod = 'hush'\n", b"[risk]\nday_max_usd = 'hush'\n"]
)
def test_settings_that_cannot_be_read_are_left_alone_and_told(tmp_path, content):
    home = tmp_path / "home"
    (home / "config").mkdir(parents=True)
    (home / "config" / "kobe.toml").write_bytes(content)
    document = init(home)
    assert document.exit_code is ExitCode.PARTIAL
    assert document.data["files"][0]["differences"]
    assert "hush" not in str(document)
    assert (home / "config" / "kobe.toml").read_bytes() == content
    init(home, force=True)
    assert [copy.read_bytes() for copy in home.glob("config/kobe.toml.before-*")] == [content]
    assert wiring.build(home).settings.run.mode == "sim"


@pytest.mark.parametrize("name", ["config", "data", "data/bars", "state", "reports"])
def test_a_file_in_the_way_is_refused_before_anything_is_done(tmp_path, name):
    home = tmp_path / "home"
    (home / name).parent.mkdir(parents=True)
    (home / name).write_text("mine", encoding="utf-8")
    before = tree(home)
    with pytest.raises(ConfigError, match="a file stands where a folder belongs"):
        init(home, force=True)
    assert tree(home) == before


def test_a_folder_in_the_place_of_a_file_and_a_file_in_the_place_of_the_home_are_refused(tmp_path):
    (tmp_path / "home" / "config" / "kobe.toml").mkdir(parents=True)
    with pytest.raises(ConfigError, match="a folder stands where a file belongs"):
        init(tmp_path / "home", force=True)
    (tmp_path / "file").touch()
    for home in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ConfigError):
            init(home)


def test_links_are_looked_through_and_never_written_through(tmp_path):
    home, outside = tmp_path / "home", tmp_path / "outside.toml"
    outside.write_text('[run]\nmode = "paper"\n', encoding="utf-8")
    (home / "config").mkdir(parents=True)
    (home / "config" / "kobe.toml").symlink_to(outside)
    (home / ".env").symlink_to(tmp_path / "nothing")
    assert init(home, env=True).data["answers"]["mode"] == "paper"
    init(home, given={"mode": "sim"}, env=True, force=True)
    assert outside.read_text(encoding="utf-8") == '[run]\nmode = "paper"\n'
    assert not (tmp_path / "nothing").exists()
    assert wiring.build(home).settings.run.mode == "sim"


def test_backups_go_where_they_were_asked_to_go(tmp_path):
    home, other = tmp_path / "home", tmp_path / "disk" / "backups"
    init(home, given={"backups": str(other)})
    ctx = wiring.build(home)
    ctx.ledger.append("things", "a", "made", {}, key="1")
    run_backup(ctx)
    ctx.ledger.close()
    assert len(found(other)) == 1
    assert stat.S_IMODE(other.stat().st_mode) == 0o700
    assert init(home).data["done"] == []
    assert present(home)["backups"] == str(other)
    with pytest.raises(ConfigError, match="elsewhere"):
        init(home, given={"backups": str(tmp_path / "third")})
    with pytest.raises(ConfigError, match="inside the state"):
        init(home, given={"backups": str(home / "state" / "copies")})


def test_the_next_command_of_a_simulated_home_needs_no_network(tmp_path):
    steps = next_steps(tmp_path, {**present(tmp_path)})
    assert steps[0][0] == f"kobe --home {tmp_path} demo"
    live = next_steps(tmp_path, {**present(tmp_path), **PAPER, "mode": "live", "runner": RUNNERS[0]})
    assert live[0][0].startswith("put APCA_API_KEY_ID")
    assert live[-1][0].endswith("run --live")


def test_one_order_dearer_than_the_day_is_refused_before_anything_is_done(tmp_path):
    with pytest.raises(UsageError, match="may not cost more"):
        init(tmp_path / "home", given={"day_max_usd": "50"})
    assert not (tmp_path / "home").exists()


CHILD = """
import json, os, sys
from pathlib import Path
from kit.killing import Countdown
from kobe.app import init, status, wiring
home, given = Path(sys.argv[1]), json.loads(sys.argv[2])
places = ("kobe/app/init.py", "kobe/infra/durable.py")

def once(folder, left):
    with Countdown(left, *places) as count:
        init.run_init(init.InitRequest(home=folder, given=given, env=True))
    return count.lines

whole = once(home / "whole", 0)
for number in range(1, 17):
    child = os.fork()
    if not child:
        once(home / f"cut{number}", number * whole // 17)
        os._exit(0)
    _, ended = os.waitpid(child, 0)
    print(os.WTERMSIG(ended) if os.WIFSIGNALED(ended) else 0)
"""


def test_killed_anywhere_and_run_again_it_is_the_home_an_undisturbed_run_makes(tmp_path):
    given = {**PAPER, "backups": str(tmp_path / "disk")}
    command = [sys.executable, "-c", CHILD, str(tmp_path), json.dumps(given)]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, check=False)
    assert done.returncode == 0, done.stderr
    signals = done.stdout.split()
    assert signals.count("9") >= 14
    whole = tree(tmp_path / "whole")
    for number in range(1, 17):
        home = tmp_path / f"cut{number}"
        assert init(home, given=given, env=True).exit_code is ExitCode.OK
        made = {name: content for name, content in tree(home).items() if "/.tmp-" not in f"/{name}"}
        assert made.keys() == whole.keys()
        assert made["config/kobe.toml"] == whole["config/kobe.toml"]
        assert stat.S_IMODE((home / ".env").stat().st_mode) == 0o600
        assert stat.S_IMODE((home / "state").stat().st_mode) == 0o700
        assert (home / "state" / "backups").is_dir()
        shutil.rmtree(home)
