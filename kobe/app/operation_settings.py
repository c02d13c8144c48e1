"""Settings of the running day: timetable, messages, watching, the small service. Part of `app.settings`."""

from datetime import time
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Section(BaseModel):
    """A part of the configuration."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ScheduleSettings(Section):
    """What the timetable runs."""

    fetch: bool = False
    research: bool = False
    backup: bool = True
    heartbeat_s: float = Field(default=15.0, ge=1.0, le=300.0)
    stop_grace_s: float = Field(default=30.0, ge=1.0, le=600.0)


class ChannelSettings(Section):
    """One place where messages go; secrets are named here and kept in the environment or `.env`."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    kind: Literal["telegram", "slack", "discord", "email", "webhook", "console"]
    name: str = Field(default="", pattern=r"^([A-Za-z0-9][A-Za-z0-9_-]{0,39})?$")
    min_severity: Literal["info", "warning", "urgent"] = "info"
    digest_minutes: float = Field(default=0.0, ge=0, le=1440)
    per_minute: int = Field(default=20, ge=1, le=600)
    error_budget: int = Field(default=10, ge=1, le=1000)
    secret: str = Field(default="", pattern=r"^([A-Za-z_][A-Za-z0-9_]*)?$")
    chat_id: str = ""
    url: str = ""
    host: str = ""
    port: int = Field(default=587, ge=1, le=65535)
    security: Literal["starttls", "ssl", "none"] = "starttls"
    user: str = ""
    sender: str = Field(default="", alias="from")
    to: tuple[str, ...] = ()
    base_url: str = ""

    @property
    def called(self) -> str:
        """The name, or the kind where none is given."""
        return self.name or self.kind

    @model_validator(mode="after")
    def _of_this_machine(self) -> Self:
        """The token goes to whatever this names: only a test server's address is taken."""
        if self.base_url and urlsplit(self.base_url).hostname not in {"127.0.0.1", "::1", "localhost"}:
            raise ValueError("base_url takes an address of this machine only")
        return self


class BotSettings(Section):
    """Who may ask the bot, and who may tell it something."""

    enabled: bool = False
    chats: tuple[int, ...] = ()
    operators: tuple[int, ...] = ()
    secret: str = Field(default="KOBE_TELEGRAM_TOKEN", pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    base_url: str = ""

    @model_validator(mode="after")
    def _of_this_machine(self) -> Self:
        """Likewise: the token is in the address."""
        if self.base_url and urlsplit(self.base_url).hostname not in {"127.0.0.1", "::1", "localhost"}:
            raise ValueError("base_url takes an address of this machine only")
        return self


class NotifySettings(Section):
    """Who is told what."""

    channels: tuple[ChannelSettings, ...] = ()
    quiet_from: time = time(0)
    quiet_until: time = time(0)
    give_up_h: float = Field(default=24.0, gt=0, le=168)
    keep_days: int = Field(default=30, ge=1, le=366)
    bot: BotSettings = BotSettings()

    @model_validator(mode="after")
    def _names_once(self) -> Self:
        """A row of the outbox names its channel, so two of one name would answer for each other."""
        names = [c.called for c in self.channels]
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise ValueError(f"two channels are called {', '.join(twice)}: give each a name")
        return self


class WatchSettings(Section):
    """What counts as odd, late, old or short."""

    odd_z: float = Field(default=8.0, ge=3.0, le=50.0)
    window_bars: int = Field(default=60, ge=20, le=250)
    bars_due_h: float = Field(default=12.0, ge=0.0, le=64.0)
    source_days: int = Field(default=7, ge=1, le=366)
    job_late_s: float = Field(default=900.0, ge=60.0)
    order_unknown_s: float = Field(default=60.0, ge=0.0)
    unprotected_s: float = Field(default=60.0, ge=0.0)
    least_disk_mb: int = Field(default=500, ge=1)
    most_memory_mb: int = Field(default=4096, ge=64)
    metrics_file: str = ""
    otel_endpoint: str = ""


class ServiceSettings(Section):
    """The small HTTP service."""

    host: str = "127.0.0.1"
    port: int = Field(default=8787, ge=0, le=65535)
    refresh_s: int = Field(default=15, ge=1, le=3600)
    requests_per_minute: int = Field(default=120, ge=1, le=100_000)
    timeout_s: float = Field(default=10.0, gt=0, le=120)
