"""A crontab as cron reads it: which commands run in a minute. Written from crontab(5), not from our exporter."""

import re
from dataclasses import dataclass
from datetime import datetime

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
BOUNDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
VARIABLE = re.compile(r"[A-Za-z_]\w*\s*=")


@dataclass(frozen=True)
class CronLine:
    """One line: five sets of numbers, whether the two fields of days were stars, and what is run."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    day_star: bool
    weekday_star: bool
    command: str

    def runs(self, at: datetime) -> bool:
        """Say whether it runs in the minute of a wall clock; a day is either field's where both are given."""
        if at.minute not in self.minutes or at.hour not in self.hours or at.month not in self.months:
            return False
        by_day, by_weekday = at.day in self.days, at.isoweekday() % 7 in self.weekdays
        return by_day and by_weekday if self.day_star or self.weekday_star else by_day or by_weekday


@dataclass(frozen=True)
class CronTable:
    """The lines of a crontab, and what runs when the machine starts."""

    lines: tuple[CronLine, ...]
    at_boot: tuple[str, ...]

    def runs(self, at: datetime) -> list[str]:
        """Return the commands that run in a minute."""
        return [line.command for line in self.lines if line.runs(at)]


def read(text: str) -> CronTable:
    """Read a crontab; a line that cron would refuse is a ValueError."""
    if not text.endswith("\n"):
        raise ValueError("cron ignores a last line without an end")
    lines, boot = [], []
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#") or VARIABLE.match(line):
            continue
        if line.startswith("@"):
            when, command = line.split(None, 1)
            if when != "@reboot":
                raise ValueError(when)
            boot.append(shell_of(command))
        else:
            lines.append(line_of(line))
    return CronTable(lines=tuple(lines), at_boot=tuple(boot))


def line_of(line: str) -> CronLine:
    """Read five fields and a command."""
    *fields, command = line.split(None, 5)
    if len(fields) != 5:
        raise ValueError(line)
    names = (None, None, None, (MONTHS, 1), (WEEKDAYS, 0))
    sets = [numbers(field, bounds, name) for field, bounds, name in zip(fields, BOUNDS, names, strict=True)]
    weekdays = frozenset(day % 7 for day in sets[4])
    return CronLine(*sets[:4], weekdays, fields[2].startswith("*"), fields[4].startswith("*"), shell_of(command))


def numbers(field: str, bounds: tuple[int, int], names: tuple[tuple[str, ...], int] | None) -> frozenset[int]:
    """Read a field: stars, numbers, ranges, steps and lists; a name stands alone."""
    found: set[int] = set()
    for part in field.split(","):
        stretch, _, step = part.partition("/")
        if names and stretch.lower() in names[0]:
            first = last = names[0].index(stretch.lower()) + names[1]
        elif stretch == "*":
            first, last = bounds
        else:
            begin, dash, end = stretch.partition("-")
            first, last = int(begin), int(end if dash else begin)
        if not bounds[0] <= first <= last <= bounds[1] or (step and (int(step) < 1 or first == last)):
            raise ValueError(field)
        found.update(range(first, last + 1, int(step or 1)))
    return frozenset(found)


def shell_of(command: str) -> str:
    """Return what the shell is given: an unescaped percent sign ends it, an escaped one loses its backslash."""
    return re.split(r"(?<!\\)%", command)[0].replace("\\%", "%")
