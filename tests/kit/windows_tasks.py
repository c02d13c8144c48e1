"""The rules a Task Scheduler document must hold, from Microsoft's published schema of the 2004 task namespace.

`faults` names every rule a document breaks; `starts` says at which minutes of the week its triggers start it.
"""

import re
from collections.abc import Callable
from datetime import datetime
from xml.etree import ElementTree as ET

NAMESPACE = "{http://schemas.microsoft.com/windows/2004/02/mit/task}"
VERSIONS = ("1.2", "1.3", "1.4")
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
DURATION = re.compile(r"P(?=.)(\d+Y)?(\d+M)?(\d+D)?(T(?=.)(\d+H)?(\d+M)?(\d+(\.\d+)?S)?)?")
DATE_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?")

Rule = Callable[[str], bool]


def any_text(_text: str) -> bool:
    return True


def filled(text: str) -> bool:
    return bool(text)


def path(text: str) -> bool:
    return 1 <= len(text) <= 260


def flag(text: str) -> bool:
    return text in ("true", "false", "1", "0")


def duration(text: str) -> bool:
    return DURATION.fullmatch(text) is not None


def date_time(text: str) -> bool:
    if not DATE_TIME.fullmatch(text):
        return False
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def between(least: int, most: int) -> Rule:
    return lambda text: text.isdecimal() and least <= int(text) <= most


def one_of(*words: str) -> Rule:
    return lambda text: text in words


# element -> (children with their rule or their own table; required children; whether the order is fixed)
ABOUT = {"URI": any_text, "SecurityDescriptor": any_text, "Source": any_text, "Date": date_time, "Author": any_text,
         "Version": any_text, "Description": any_text, "Documentation": any_text}  # fmt: skip
BASE = ("Enabled", "StartBoundary", "EndBoundary", "Repetition", "ExecutionTimeLimit", "RandomDelay")
SETTINGS = {
    "AllowStartOnDemand": flag, "DisallowStartIfOnBatteries": flag, "StopIfGoingOnBatteries": flag,
    "AllowHardTerminate": flag, "StartWhenAvailable": flag, "NetworkProfileName": any_text,
    "RunOnlyIfNetworkAvailable": flag, "WakeToRun": flag, "Enabled": flag, "Hidden": flag,
    "DeleteExpiredTaskAfter": duration, "ExecutionTimeLimit": duration, "Priority": between(0, 10),
    "RunOnlyIfIdle": flag, "UseUnifiedSchedulingEngine": flag, "DisallowStartOnRemoteAppSession": flag,
    "MultipleInstancesPolicy": one_of("Parallel", "Queue", "IgnoreNew", "StopExisting"),
}  # fmt: skip
PRINCIPAL = {
    "UserId": filled, "GroupId": filled, "DisplayName": any_text,
    "LogonType": one_of("S4U", "Password", "InteractiveToken", "InteractiveTokenOrPassword"),
    "RunLevel": one_of("LeastPrivilege", "HighestAvailable"),
}  # fmt: skip
EXEC = {"Command": path, "Arguments": any_text, "WorkingDirectory": path}
TRIGGERS_MAX = 48


def faults(content: bytes) -> list[str]:
    """Return every rule a document breaks; empty for one that `schtasks /Create /XML` takes."""
    if not content.startswith(b"\xff\xfe"):
        return ["not UTF-16 with its mark"]
    try:
        task = ET.fromstring(content.decode("utf-16"))
    except (ET.ParseError, UnicodeDecodeError) as error:
        return [f"not XML: {error}"]
    if task.tag != f"{NAMESPACE}Task" or task.get("version") not in VERSIONS:
        return [f"not a task: {task.tag} {task.get('version')}"]
    found: list[str] = []
    parts = children(task, found)
    allowed = {"RegistrationInfo", "Triggers", "Settings", "Data", "Principals", "Actions"}
    found += [f"Task holds {name}" for name in parts if name not in allowed]
    if "Actions" not in parts:
        return [*found, "Task has no Actions"]
    plain(parts.get("RegistrationInfo"), ABOUT, found)
    plain(parts.get("Settings"), SETTINGS, found)
    triggers = list(parts.get("Triggers", []))
    found += [f"{len(triggers)} triggers"] if len(triggers) > TRIGGERS_MAX else []
    for trigger in triggers:
        calendar_trigger(trigger, found)
    principals = list(parts.get("Principals", []))
    found += [f"{len(principals)} principals"] if len(principals) > 1 else []
    for principal in principals:
        plain(principal, PRINCIPAL, found)
    known = {principal.get("id") for principal in principals}
    if parts["Actions"].get("Context", None) not in {None, *known}:
        found.append("Actions name a principal that is not there")
    actions(parts["Actions"], found)
    return found


def actions(element: ET.Element, found: list[str]) -> None:
    found += [] if 1 <= len(element) <= 32 else [f"{len(element)} actions"]
    for action in element:
        found += [] if name_of(action) == "Exec" else [f"action {name_of(action)}"]
        plain(action, EXEC, found, required=("Command",))


def calendar_trigger(trigger: ET.Element, found: list[str]) -> None:
    """Check a trigger by week: its children are a sequence, those of its week are not."""
    if name_of(trigger) != "CalendarTrigger":
        found.append(f"trigger {name_of(trigger)}")
        return
    names = [name_of(child) for child in trigger]
    order = [(*BASE, "ScheduleByWeek").index(n) if n in (*BASE, "ScheduleByWeek") else -1 for n in names]
    if -1 in order or order != sorted(set(order)) or names[-1:] != ["ScheduleByWeek"]:
        found.append(f"CalendarTrigger holds {', '.join(names)}")
        return
    parts = children(trigger, found)
    rules = {"Enabled": flag, "StartBoundary": date_time, "EndBoundary": date_time, "ExecutionTimeLimit": duration,
             "RandomDelay": duration}  # fmt: skip
    for name, rule in rules.items():
        if name in parts and not rule(parts[name].text or ""):
            found.append(f"{name} is {parts[name].text}")
    found += [] if "StartBoundary" in parts else ["a trigger by week starts at no time of day"]
    week = children(parts["ScheduleByWeek"], found)
    found += [f"ScheduleByWeek holds {n}" for n in week if n not in ("WeeksInterval", "DaysOfWeek")]
    if "WeeksInterval" in week and not between(1, 52)(week["WeeksInterval"].text or ""):
        found.append(f"WeeksInterval is {week['WeeksInterval'].text}")
    days = children(week["DaysOfWeek"], found) if "DaysOfWeek" in week else {}
    found += [f"DaysOfWeek holds {n}" for n, day in days.items() if n not in WEEKDAYS or (day.text or "")]
    found += [] if days else ["a week without days"]


def plain(element: ET.Element | None, rules: dict[str, Rule], found: list[str], required: tuple[str, ...] = ()) -> None:
    """Check children that each come once at most, in any order, with plain text."""
    if element is None:
        return
    parts = children(element, found)
    found += [f"{name_of(element)} has no {name}" for name in required if name not in parts]
    for name, child in parts.items():
        rule = rules.get(name)
        if rule is None:
            found.append(f"{name_of(element)} holds {name}")
        elif len(child) or not rule(child.text or ""):
            found.append(f"{name} is {child.text}")


def children(element: ET.Element, found: list[str]) -> dict[str, ET.Element]:
    names = [name_of(child) for child in element]
    found += [
        f"{name_of(element)} holds {n} twice" for n in set(names) if names.count(n) > 1 and n != "CalendarTrigger"
    ]
    return dict(zip(names, element, strict=True))


def name_of(element: ET.Element) -> str:
    return element.tag.removeprefix(NAMESPACE)


def starts(content: bytes) -> set[tuple[int, int, int]]:
    """Return the minutes of the week (Monday is 0) at which the triggers start the task, by the machine's clock."""
    found = set()
    for trigger in ET.fromstring(content.decode("utf-16")).iter(f"{NAMESPACE}CalendarTrigger"):
        text = trigger.findtext(f"{NAMESPACE}StartBoundary") or ""
        begin = datetime.fromisoformat(text)
        if begin.tzinfo is not None:
            raise ValueError(f"{text} does not follow the machine's clock")
        days = trigger.find(f"{NAMESPACE}ScheduleByWeek/{NAMESPACE}DaysOfWeek")
        found |= {(WEEKDAYS.index(name_of(day)), begin.hour, begin.minute) for day in days}
    return found
