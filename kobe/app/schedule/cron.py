"""Entries for cron, in the host's zone: Debian's cron knows no other."""

import shlex

from kobe.app.schedule.entries import ExportedFile, Group, Plan, grouped, spans

NAME = "kobe.cron"


def cron_files(plan: Plan) -> tuple[ExportedFile, ...]:
    """Write a crontab: a person's own, or with a user's name one for the system (/etc/cron.d)."""
    command = f"{plan.user} {_command(plan)}" if plan.user else _command(plan)
    entries = [f"{fields(group)} {command}" for group in grouped(plan.wake_ups.minutes)]
    return (ExportedFile(name=NAME, text="\n".join([*_header(plan), f"@reboot {command}", *entries]) + "\n"),)


def fields(group: Group) -> str:
    """Return the five fields of a line; cron counts weekdays from Sunday, which is 0."""
    days = ",".join(_span(span) for span in spans((day + 1) % 7 for day in group.days))
    return f"{','.join(map(str, group.minutes))} {','.join(map(str, group.hours))} * * {days}"


def _span(span: tuple[int, int]) -> str:
    first, last = span
    return str(first) if first == last else f"{first}-{last}"


def _command(plan: Plan) -> str:
    """Return the command for cron's shell; an unescaped percent sign would end it there."""
    program, *rest = plan.words
    return shlex.join([program, "-q", *rest]).replace("%", "\\%")


def _header(plan: Plan) -> list[str]:
    woken = plan.wake_ups
    columns = "minute hour day month weekday (0 is Sunday)" + (" user" if plan.user else "")
    return [
        f"# kobe, woken at every slot of the New York day; times are those of {woken.zone}.",
        f"# {plan.origin}",
        "#",
        f"# Cron must run in {woken.zone}: Debian's has no other zone than the host's. A slot stands here with every",
        "# local time it can have (both changes of clocks, half days); kobe asks the exchange calendar what is due and",
        f"# leaves when nothing is: {woken.words}.",
        "# No flock is needed: a run holds kobe's own lease, which ends with its process; a second one leaves with 5.",
        "# Only errors are printed (-q), and cron mails what is printed to the owner, or to:",
        "# MAILTO=you@example.com",
        *[f"# The hour of {at:%Y-%m-%d %H:%M} comes twice; cron may wake kobe only after it." for at in woken.repeated],
        "#",
        f"# {columns} command",
    ]
