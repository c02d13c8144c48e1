"""An outbox as a home has it, on channels of a loopback server."""

import random
from dataclasses import replace
from pathlib import Path

from kit.notify_server import NotifyServer

from kobe.core.clock import Clock
from kobe.core.messages import Message, Severity
from kobe.infra.channels import CHANNELS
from kobe.infra.channels.kit import ChannelKit
from kobe.infra.locks import Lease
from kobe.infra.outbox import Line, Outbox
from kobe.infra.outbox_rules import Rules
from kobe.infra.outbox_store import OutboxStore
from kobe.infra.token_bucket import TokenBucket

PLAIN = Rules()


def outbox(folder: Path, clock: Clock, url: str, kinds: tuple[str, ...] = ("telegram",), *, rules: Rules = PLAIN,
           **more) -> Outbox:  # fmt: skip
    """Make an outbox whose channels are called as their kinds."""
    return Outbox(
        store=OutboxStore(folder / "outbox.db"), lines={kind: line(folder, clock, url, kind, rules) for kind in kinds},
        clock=clock, rng=random.Random(1), lease=lambda: Lease(folder / "locks", "notify", clock), **more,
    )  # fmt: skip


def line(folder: Path, clock: Clock, url: str, kind: str, rules: Rules = PLAIN) -> Line:
    """Make one line on the server."""
    secret = NotifyServer.token if kind == "telegram" else f"{url}/{kind}/hidden-token"
    kit = ChannelKit(name=kind, secret=secret, secret_name="SECRET", base_url=url, chat_id="1", url=f"{url}/hook",
                     timeouts=(1.0, 0.4))  # fmt: skip
    bucket = TokenBucket(folder / "locks", kind, capacity=rules.per_minute, per_s=rules.per_minute / 60, clock=clock,
                         sleep=lambda _s: None)  # fmt: skip
    return Line(channel=CHANNELS[kind](kit), rules=rules, take=lambda: bucket.take(timeout_s=0.0))


def told(key: str, severity: Severity = Severity.WARNING, **more) -> Message:
    """Make a message whose title is its key."""
    return replace(Message(key=key, kind="test", severity=severity, title=key), **more)
