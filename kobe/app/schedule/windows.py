"""Tasks for the Windows Task Scheduler, in the host's zone: a trigger without an offset follows its clocks."""

import subprocess
from xml.etree import ElementTree as ET

from kobe.app.schedule.entries import RUN_LIMIT_H, ExportedFile, Plan, WeekMinute
from kobe.core.errors import UsageError

NAMESPACE = "http://schemas.microsoft.com/windows/2004/02/mit/task"
VERSION = "1.2"
TRIGGERS_MAX = 48  # of one task; more than that the Task Scheduler refuses
PATH_MAX = 260
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
PRINCIPAL = "Trader"

SETTINGS = {
    "AllowStartOnDemand": "true",
    "MultipleInstancesPolicy": "IgnoreNew",
    "DisallowStartIfOnBatteries": "false",
    "StopIfGoingOnBatteries": "false",
    "AllowHardTerminate": "true",
    "StartWhenAvailable": "true",
    "RunOnlyIfNetworkAvailable": "false",
    "WakeToRun": "true",
    "Enabled": "true",
    "ExecutionTimeLimit": f"PT{RUN_LIMIT_H}H",
    "Priority": "5",
}  # batteries: exits come first; priority: 7, the default, is below normal


def windows_files(plan: Plan) -> tuple[ExportedFile, ...]:
    """Write as many tasks as the triggers need; `schtasks /Create /XML` reads each.

    Raises:
        UsageError: a path is longer than the Task Scheduler allows.
    """
    for path in (plan.words[0], plan.home):
        if len(path) > PATH_MAX:
            raise UsageError("the Task Scheduler takes no such path", seen=path, expected=f"{PATH_MAX} characters")
    times = _times(plan.wake_ups.minutes)
    parts = [times[at : at + TRIGGERS_MAX] for at in range(0, len(times), TRIGGERS_MAX)]
    names = ["kobe-once"] if len(parts) == 1 else [f"kobe-once-{n}" for n in range(1, len(parts) + 1)]
    return tuple(
        ExportedFile(name=f"{name}.xml", text=_task(plan, name, part), utf16=True)
        for name, part in zip(names, parts, strict=True)
    )


def _times(minutes: frozenset[WeekMinute]) -> list[tuple[int, int, list[int]]]:
    """Return hour, minute and the weekdays of each trigger."""
    days: dict[tuple[int, int], list[int]] = {}
    for at in sorted(minutes):
        days.setdefault((at.hour, at.minute), []).append(at.weekday)
    return [(hour, minute, found) for (hour, minute), found in sorted(days.items())]


def _task(plan: Plan, name: str, times: list[tuple[int, int, list[int]]]) -> str:
    task = ET.Element("Task", {"version": VERSION, "xmlns": NAMESPACE})
    about = _under(task, "RegistrationInfo")
    _under(about, "Date", f"{plan.made}T00:00:00")
    _under(about, "Author", "kobe")
    _under(about, "Description", f"Wakes kobe at the slots of the New York day, in {plan.wake_ups.zone}. {plan.origin}")
    _under(about, "URI", f"\\kobe\\{name}")
    triggers = _under(task, "Triggers")
    for time in times:
        _trigger(triggers, plan, time)
    principal = _under(_under(task, "Principals"), "Principal", id=PRINCIPAL)
    _under(principal, "UserId", plan.user)
    _under(principal, "LogonType", "S4U")  # also while nobody is logged on, and no password is kept
    _under(principal, "RunLevel", "LeastPrivilege")
    settings = _under(task, "Settings")
    for key, value in SETTINGS.items():
        _under(settings, key, value)
    program, *rest = plan.words
    action = _under(_under(task, "Actions", Context=PRINCIPAL), "Exec")
    _under(action, "Command", program)
    _under(action, "Arguments", subprocess.list2cmdline(rest))
    _under(action, "WorkingDirectory", plan.home)
    ET.indent(task)
    return '<?xml version="1.0" encoding="UTF-16"?>\n' + ET.tostring(task, encoding="unicode") + "\n"


def _trigger(triggers: ET.Element, plan: Plan, time: tuple[int, int, list[int]]) -> None:
    hour, minute, days = time
    trigger = _under(triggers, "CalendarTrigger")
    _under(trigger, "Enabled", "true")
    _under(trigger, "StartBoundary", f"{plan.made}T{hour:02d}:{minute:02d}:00")
    week = _under(trigger, "ScheduleByWeek")
    _under(week, "WeeksInterval", "1")
    chosen = _under(week, "DaysOfWeek")
    for day in days:
        _under(chosen, DAYS[day])


def _under(parent: ET.Element, name: str, text: str | None = None, **attributes: str) -> ET.Element:
    element = ET.SubElement(parent, name, attributes)
    element.text = text
    return element
