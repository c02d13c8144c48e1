"""The two readers our exports are held against know what their manuals say, and refuse what is broken."""

from datetime import UTC, date, datetime

import pytest
from kit import cron_table, windows_tasks

from kobe.app.schedule.entries import ExportedFile, Plan, WakeUps, WeekMinute
from kobe.app.schedule.windows import windows_files


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("line", "hits", "misses"),
    [
        ("5 0 * * * x", ["2024-03-05T00:05"], ["2024-03-05T00:06", "2024-03-05T01:05"]),
        ("15 14 1 * * x", ["2024-03-01T14:15"], ["2024-03-02T14:15"]),
        ("0 22 * * 1-5 x", ["2024-03-01T22:00"], ["2024-03-02T22:00", "2024-03-03T22:00"]),
        ("23 0-23/2 * * * x", ["2024-03-01T02:23"], ["2024-03-01T03:23"]),
        ("5 4 * * sun x", ["2024-03-03T04:05"], ["2024-03-04T04:05"]),
        ("5 4 * * 7 x", ["2024-03-03T04:05"], ["2024-03-02T04:05"]),
        ("30 4 1,15 * 5 x", ["2024-03-01T04:30", "2024-03-08T04:30", "2024-03-15T04:30"], ["2024-03-02T04:30"]),
        ("0,30 */6 * jan * x", ["2024-01-07T18:30"], ["2024-02-07T18:30", "2024-01-07T17:30"]),
    ],
)
def test_a_crontab_line_runs_when_its_manual_says(line, hits, misses):
    table = cron_table.read(line + "\n")
    assert all(table.runs(at(text)) == ["x"] for text in hits)
    assert not any(table.runs(at(text)) for text in misses)


@pytest.mark.parametrize(
    "text", ["60 0 * * * x\n", "5-1 0 * * * x\n", "0 0 * * 8 x\n", "0 0 * * x\n", "0 0 * * mon-fri x\n", "0 0 * * 1 x"]
)
def test_a_line_cron_refuses_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        cron_table.read(text)


def test_percent_signs_end_a_command_unless_they_are_escaped():
    assert cron_table.shell_of("a 'b\\%' c%input") == "a 'b%' c"


@pytest.fixture
def document() -> ExportedFile:
    day = date(2026, 11, 26)
    minutes = frozenset({WeekMinute(0, 9, 35), WeekMinute(4, 9, 35), WeekMinute(5, 10, 0)})
    woken = WakeUps(zone="America/New_York", first=day, last=day, minutes=minutes, instants=3, repeated=())
    (file,) = windows_files(Plan(
        words=(r"C:\Program Files\kobe\kobe.exe", "--home", r"C:\Jo & Co\kobe", "run", "--once"),
        home=r"C:\Jo & Co\kobe", user=r"DESK\jo", writable=(), heartbeat_s=15.0, stop_grace_s=30.0, wake_ups=woken,
        made_by="kobe schedule export windows", made=day,
    ))  # fmt: skip
    return file


def test_our_task_holds_every_rule(document):
    assert windows_tasks.faults(document.content) == []
    assert windows_tasks.starts(document.content) == {(0, 9, 35), (4, 9, 35), (5, 10, 0)}
    assert document.content[:2] == b"\xff\xfe"
    assert "\n" not in document.content.decode("utf-16").replace("\r\n", "")
    assert r'--home "C:\Jo &amp; Co\kobe" run --once' in document.text
    for setting in ("IgnoreNew", "<StartWhenAvailable>true", "<WakeToRun>true", "PT8H", "LeastPrivilege"):
        assert setting in document.text


BEGIN = "<StartBoundary>2026-11-26T09:35:00</StartBoundary>"


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        (f"<Enabled>true</Enabled>\n      {BEGIN}", f"{BEGIN}<Enabled>true</Enabled>", "CalendarTrigger holds"),
        (BEGIN, "", "no time of day"),
        (BEGIN, "<StartBoundary>2026-13-26T09:35:00</StartBoundary>", "StartBoundary"),
        (BEGIN, "<StartBoundary>9:35</StartBoundary>", "StartBoundary"),
        ("ScheduleByWeek>", "ScheduleWeekly>", "CalendarTrigger holds"),
        ("<Friday />", "<Freitag />", "DaysOfWeek holds"),
        ("<Friday />", "<Friday>1</Friday>", "DaysOfWeek holds"),
        ("<Friday />", "<Friday /><Friday />", "twice"),
        ("<WeeksInterval>1<", "<WeeksInterval>53<", "WeeksInterval"),
        ("IgnoreNew", "Forbid", "MultipleInstancesPolicy"),
        ("PT8H", "8h", "ExecutionTimeLimit"),
        ("PT8H", "P", "ExecutionTimeLimit"),
        ("<WakeToRun>true", "<WakeToRun>yes", "WakeToRun"),
        ("<WakeToRun>true</WakeToRun>", "<WakeUp>true</WakeUp>", "Settings holds WakeUp"),
        ("<Priority>5", "<Priority>11", "Priority"),
        ("LeastPrivilege", "Admin", "RunLevel"),
        ("S4U", "None", "LogonType"),
        ('Context="Trader"', 'Context="Nobody"', "principal"),
        ("<Command>", "<Command>" + 260 * "x", "Command"),
        ("<Command>", "<Program>", "not XML"),
        ('version="1.2"', 'version="2.0"', "not a task"),
        ("2004/02/mit/task", "2005/02/mit/task", "not a task"),
    ],
)
def test_a_broken_task_is_refused_by_name(document, right, wrong, said):
    assert right in document.text
    broken = ExportedFile(name="broken.xml", text=document.text.replace(right, wrong), utf16=True)
    assert any(said in fault for fault in windows_tasks.faults(broken.content)), windows_tasks.faults(broken.content)


def test_a_task_in_the_wrong_letters_with_too_many_triggers_or_without_actions_is_refused(document):
    assert windows_tasks.faults(document.text.encode()) == ["not UTF-16 with its mark"]
    one = document.text[document.text.index("<CalendarTrigger>") : document.text.index("</CalendarTrigger>")]
    many = document.text.replace("<Triggers>", "<Triggers>" + 47 * (one + "</CalendarTrigger>"))
    assert windows_tasks.faults(ExportedFile(name="", text=many, utf16=True).content) == ["49 triggers"]
    begin, end = document.text.index("<Actions"), document.text.index("</Task>")
    idle = document.text[:begin] + document.text[end:]
    assert windows_tasks.faults(ExportedFile(name="", text=idle, utf16=True).content) == ["Task has no Actions"]
