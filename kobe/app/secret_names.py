"""The names of every secret kobe may ask for. Their values live in the environment or in `.env` of the home."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SecretName:
    """A variable, the other names it is taken from, and what it is for."""

    name: str
    purpose: str
    aliases: tuple[str, ...] = ()


BROKER_KEY, BROKER_SECRET = "APCA_API_KEY_ID", "APCA_API_SECRET_KEY"

SECRETS: tuple[SecretName, ...] = (
    SecretName(BROKER_KEY, "Alpaca, paper (PK...) or live (AK...): the key's id", ("ALPACA_API_KEY",)),
    SecretName(BROKER_SECRET, "Alpaca: the secret half", ("ALPACA_SECRET_KEY",)),
    SecretName("POLYGON_API_KEY", "bars from Polygon", ("MASSIVE_API_KEY",)),
    SecretName("KOBE_TELEGRAM_TOKEN", "messages by Telegram, and kobe bot"),
    SecretName("KOBE_SLACK_WEBHOOK", "messages by Slack: the whole address"),
    SecretName("KOBE_DISCORD_WEBHOOK", "messages by Discord: the whole address"),
    SecretName("KOBE_SMTP_PASSWORD", "messages by e-mail"),
    SecretName("KOBE_WEBHOOK_SECRET", "signs messages to a webhook of your own"),
    SecretName("KOBE_SERVICE_TOKEN", "kobe serve on another address than this machine's own"),
)


def told(name: str, given: Mapping[str, str]) -> str:
    """Return a secret under any of its names, empty where there is none."""
    aliases = next((secret.aliases for secret in SECRETS if secret.name == name), ())
    return next((given[one] for one in (name, *aliases) if given.get(one)), "")
