"""Where messages leave the machine: one module for each kind of channel behind `Channel`. Imports core and infra only.

To add one: a module here with a class that takes a `ChannelKit`, and one line below; tests/unit/infra/test_channels.py
then runs over it: failures stay inside as a `Reply`, secrets are in no reply, long texts arrive whole.
"""

from collections.abc import Callable

from kobe.infra.channels.console import ConsoleChannel
from kobe.infra.channels.discord import DiscordChannel
from kobe.infra.channels.kit import Channel, ChannelKit
from kobe.infra.channels.mail import MailChannel
from kobe.infra.channels.slack import SlackChannel
from kobe.infra.channels.telegram import TelegramChannel
from kobe.infra.channels.webhook import WebhookChannel

CHANNELS: dict[str, Callable[[ChannelKit], Channel]] = {
    "telegram": TelegramChannel,
    "slack": SlackChannel,
    "discord": DiscordChannel,
    "email": MailChannel,
    "webhook": WebhookChannel,
    "console": ConsoleChannel,
}
