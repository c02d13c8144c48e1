"""The picks of a session as a picture for a chat."""

from datetime import date

from kobe.app.context import Context
from kobe.app.morning_report import chosen_of


def picture(ctx: Context, session: date | None = None) -> tuple[bytes, str] | None:
    """Return the picks of a scan as a PNG with its description; None where the extra `charts` is not installed.

    Args:
        ctx: context.
        session: the signal date of the scan (default: the last complete session).
    """
    from kobe.reports.render import png

    return png.picks_picture(chosen_of(ctx, session or ctx.calendar.last_complete(ctx.clock.now())))
