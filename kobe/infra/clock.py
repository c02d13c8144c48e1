"""The host's clock, read in this one place."""

from datetime import UTC, datetime


class SystemClock:
    """The present as the host tells it."""

    def now(self) -> datetime:
        """Return the present instant, aware, in UTC."""
        return datetime.now(UTC)
