"""`kobe notify`: what an operator sees, and what the exit codes say."""

import json
from datetime import UTC, datetime

import pytest
from kit.command import kobe, one_line
from kit.notify_server import NotifyServer

from kobe.app import notify, wiring
from kobe.app.context import Paths
from kobe.app.notify_commands import (
    run_dead_list,
    run_dead_settle,
    run_notify_deliver,
    run_notify_list,
    run_notify_test,
)
from kobe.app.settings import Settings, load
from kobe.core.clock import SteppingClock
from kobe.core.errors import ConfigError, UsageError
from kobe.core.messages import Silence
from kobe.infra.clock import SystemClock
from kobe.infra.outbox import Outbox

CHANNELS = """
[[notify.channels]]
kind = "telegram"
chat_id = "1"
base_url = "{url}"

[[notify.channels]]
kind = "webhook"
name = "desk"
url = "{url}/hook"
min_severity = "urgent"
secret = "DESK_SECRET"
"""
ENV = {"KOBE_TELEGRAM_TOKEN": NotifyServer.token, "DESK_SECRET": "hidden-token"}


def settle_in(folder, text: str):
    (folder / "config").mkdir(parents=True)
    (folder / "config" / "kobe.toml").write_text(text, encoding="utf-8")
    return folder


def test_a_test_message_arrives_and_a_refused_one_waits_for_a_person(tmp_path):
    with NotifyServer() as server:
        home = settle_in(tmp_path / "home", CHANNELS.format(url=server.url))
        (home / ".env").write_text("".join(f"{k}={v}\n" for k, v in ENV.items()), encoding="utf-8")
        ctx = wiring.build(home)
        assert run_notify_test(ctx, dry_run=True).exit_code == 0
        assert server.requests == 0
        assert kobe(home, "notify", "test").returncode == 0
        assert {t.service for t in server.taken} == {"telegram", "hook"}
        server.faults.append("401")
        refused = kobe(home, "notify", "test", "telegram", "--json")
        assert refused.returncode == 7
        assert json.loads(refused.stdout)["channels"][0]["state"] == "dead"
        one_line(kobe(home, "notify", "test", "fax"), 2, "no such channel", "telegram, desk")
        one_line(kobe(home, "notify", "dead", "retry", "999"), 2, "no such dead letter")
        (letter,) = run_dead_list(ctx).data["letters"]
        with pytest.raises(UsageError, match="no dead letter is named"):
            run_dead_settle(ctx, [], retry=False)
        assert "--dry-run" in run_dead_settle(ctx, [], retry=True, everything=True, dry_run=True).summary[0]
        run_dead_settle(ctx, [letter["id"]], retry=True)
        assert run_notify_deliver(ctx).exit_code == 0
        assert len(server.texts("telegram")) == 2
        listed = kobe(home, "notify", "list")
        assert listed.returncode == 0, listed.stdout
        everything = listed.stdout + refused.stdout + refused.stderr + str(letter)
        assert not [secret for secret in ENV.values() if secret in everything]
        assert '"notify_dead"' in (home / "state" / "audit" / "audit.jsonl").read_text(encoding="utf-8")


def test_a_channel_without_its_secret_is_named_and_its_messages_wait(tmp_path):
    home = settle_in(tmp_path / "home", CHANNELS.format(url="http://127.0.0.1:9"))
    ctx = wiring.build(home)
    assert run_notify_test(ctx).exit_code == 7
    listed = run_notify_list(ctx)
    assert listed.exit_code == 7
    told = listed.data["channels"]
    assert [c["why"] for c in told] == ["KOBE_TELEGRAM_TOKEN is not set", "DESK_SECRET is not set"]
    assert [c["waiting"] for c in told] == [1, 1]


def test_without_channels_nothing_is_made_and_nothing_leaves(tmp_path):
    ctx = wiring.build(settle_in(tmp_path / "home", ""))
    assert run_notify_list(ctx).exit_code == run_notify_deliver(ctx).exit_code == 0
    with pytest.raises(UsageError, match="no channel is set"):
        run_notify_test(ctx)
    assert not (ctx.paths.state / "outbox.db").exists()


def test_with_a_pretended_time_nobody_is_told(tmp_path):
    settings, _ = load(settle_in(tmp_path / "home", CHANNELS.format(url="http://127.0.0.1:9")), None)
    paths = Paths(tmp_path / "home")
    assert isinstance(notify.notifier(paths, settings, SteppingClock(datetime(2020, 3, 5, tzinfo=UTC))), Silence)
    assert isinstance(notify.notifier(paths, settings, SystemClock()), Outbox)
    assert notify.secret_values(paths, Settings()) == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[[notify.channels]]\nkind = "telegram"\nbase_url = "https://evil.example"\n', "this machine"),
        ('[notify.bot]\nbase_url = "http://127.0.0.1.evil.example"\n', "this machine"),
        ('[[notify.channels]]\nkind = "slack"\n[[notify.channels]]\nkind = "slack"\n', "two channels"),
        ('[[notify.channels]]\nkind = "pigeon"\n', "kind"),
        ('[[notify.channels]]\nkind = "slack"\nname = "../x"\n', "name"),
        ('[notify]\nquiet_from = "25:00"\n', "quiet_from"),
    ],
)
def test_channels_that_cannot_be_are_refused(tmp_path, text, said):
    with pytest.raises(ConfigError, match=said):
        load(settle_in(tmp_path / "home", text), None)
