"""Settings of the running day: timetable, messages, watching, the small service. Part of `app.settings`."""

from pydantic import BaseModel, ConfigDict, Field


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


class NotifySettings(Section):
    """Who is told what."""


class WatchSettings(Section):
    """What counts as odd."""


class ServiceSettings(Section):
    """The small HTTP service."""
