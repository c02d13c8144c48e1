"""Telling people: the outbox of a home, made of its settings and of the secrets in the environment or `.env`."""

import os
import random
import secrets
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING

from kobe.app.context import Paths
from kobe.app.operation_settings import ChannelSettings
from kobe.app.settings import Settings, dotenv
from kobe.core.clock import Clock, SteppingClock
from kobe.core.messages import Notifier, Severity, Silence
from kobe.infra.locks import Lease
from kobe.infra.outbox import LEASE, Line, Outbox
from kobe.infra.outbox_rules import Quiet, Rules
from kobe.infra.outbox_store import OutboxStore
from kobe.infra.token_bucket import TokenBucket

if TYPE_CHECKING:
    from kobe.infra.channels.kit import Channel

FILE = "outbox.db"
SECRETS: dict[str, str] = {
    "telegram": "KOBE_TELEGRAM_TOKEN",
    "slack": "KOBE_SLACK_WEBHOOK",
    "discord": "KOBE_DISCORD_WEBHOOK",
    "email": "KOBE_SMTP_PASSWORD",
    "webhook": "KOBE_WEBHOOK_SECRET",
    "console": "",
}
"""Kind of channel -> the variable that holds its secret, where the channel does not name another."""


def notifier(paths: Paths, settings: Settings, clock: Clock) -> Notifier:
    """Return what tells people; with a stepping clock (`--as-of`, simulation) nothing ever leaves the machine."""
    return Silence() if isinstance(clock, SteppingClock) else outbox(paths, settings, clock)


def outbox(paths: Paths, settings: Settings, clock: Clock) -> Outbox:
    """Make the outbox of a home; nothing is opened, read or asked before its first use."""
    n = settings.notify
    found = variables(paths)
    lines = {c.called: _line(paths, c, found, clock) for c in n.channels}
    return Outbox(
        store=OutboxStore(paths.state / FILE), lines=lines, clock=clock, rng=random.Random(secrets.randbits(64)),  # noqa: S311 - jitter
        lease=lambda: Lease(paths.locks, LEASE, clock), quiet=Quiet(begins=n.quiet_from, ends=n.quiet_until),
        kept=timedelta(days=n.keep_days), patience=timedelta(hours=n.give_up_h),
    )  # fmt: skip


def variables(paths: Paths) -> dict[str, str]:
    """Return the environment over the home's `.env`: where secrets are kept."""
    return {**dotenv(paths.home / ".env"), **os.environ}


def secret_values(paths: Paths, settings: Settings) -> tuple[str, ...]:
    """Return every secret of the channels and the bot, for the redaction of logs."""
    names = {_secret_name(c) for c in settings.notify.channels} | {settings.notify.bot.secret}
    found = variables(paths)
    return tuple(found[name] for name in sorted(names) if found.get(name))


def _line(paths: Paths, c: ChannelSettings, found: Mapping[str, str], clock: Clock) -> Line:
    bucket = TokenBucket(
        paths.locks, f"notify-{c.called}", capacity=c.per_minute, per_s=c.per_minute / 60, clock=clock,
        sleep=lambda _seconds: None,
    )  # fmt: skip
    rules = Rules(
        least=Severity[c.min_severity.upper()], digest_s=c.digest_minutes * 60, per_minute=c.per_minute,
        error_budget=c.error_budget,
    )  # fmt: skip
    return Line(channel=_channel(c, found), rules=rules, take=lambda: bucket.take(timeout_s=0.0))


def _channel(c: ChannelSettings, found: Mapping[str, str]) -> "Channel":
    from kobe.infra.channels import CHANNELS
    from kobe.infra.channels.kit import ChannelKit

    name = _secret_name(c)
    kit = ChannelKit(
        name=c.called, secret=found.get(name, "").strip(), secret_name=name, base_url=c.base_url.rstrip("/"),
        chat_id=c.chat_id, url=c.url, host=c.host, port=c.port, security=c.security, user=c.user, sender=c.sender,
        to=c.to,
    )  # fmt: skip
    return CHANNELS[c.kind](kit)


def _secret_name(c: ChannelSettings) -> str:
    return c.secret or SECRETS[c.kind]
