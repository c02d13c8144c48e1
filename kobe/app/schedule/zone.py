"""The time zone of the machine, by its name in the time zone database."""

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from kobe.core.errors import UsageError

EXAMPLE = "a name such as Europe/Berlin"


def zone_named(name: str) -> ZoneInfo:
    """Return a zone.

    Raises:
        UsageError: the time zone database has none of that name.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:  # a folder of the database is an OSError
        raise UsageError("unknown time zone", seen=f"--tz {name}", expected=EXAMPLE) from error


def host_zone() -> ZoneInfo:
    """Return the zone this machine's clocks are set to, or the one of TZ.

    Raises:
        UsageError: the machine does not say, or says two different ones.
    """
    import tzlocal

    try:
        name = tzlocal.get_localzone_name()
    except (ZoneInfoNotFoundError, ValueError, LookupError, OSError) as error:
        raise UsageError("the machine does not name its time zone", seen=error, expected=f"--tz, {EXAMPLE}") from error
    return zone_named(name)
