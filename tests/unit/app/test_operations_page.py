"""docs/operations.md says what the tables of the code say: jobs, bad ends, exit codes, settings of a reload."""

import re
from datetime import timedelta
from pathlib import Path

from kobe.app.day.recovery import RULES
from kobe.app.day.reload import FIXED
from kobe.app.jobs import JOBS, Job
from kobe.core.errors import EXIT_MEANINGS

PAGE = (Path(__file__).parents[3] / "docs" / "operations.md").read_text(encoding="utf-8")


def minutes(span: timedelta) -> str:
    return f"{span // timedelta(minutes=1)} min"


def row_of(job: Job) -> str:
    """The line of a job."""
    name = f"**`{job.name}`**" if job.critical else f"`{job.name}`"
    needs = ", ".join(f"`{needed}`" for needed in job.needs) or "-"
    limits = f"{minutes(job.timeout)}, {job.memory_mb / 1024:g} GiB"
    return f"| {job.slot.words} | {name} | {job.summary} | {job.latest} | {needs} | {limits} |"


def rows_under(heading: str) -> list[str]:
    """The rows of the first table under a heading, without its head."""
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return lines[2:]


def test_the_day_is_the_table_of_jobs():
    assert rows_under("The day") == [row_of(job) for job in JOBS]


def test_every_bad_end_stands_there_with_its_rule():
    expected = [f"| `{failure.value}` | {rule.repeats} | {rule.reason} |" for failure, rule in RULES.items()]
    assert [row.rsplit(" | ", 1)[0] + " |" for row in rows_under("When a job ends badly")] == expected


def test_every_exit_code_stands_there_with_its_meaning():
    expected = [f"| {int(code)} | {meaning} |" for code, meaning in EXIT_MEANINGS.items()]
    assert [row.rsplit(" | ", 1)[0] + " |" for row in rows_under("Exit codes")] == expected


def test_what_no_reload_changes_is_named():
    (sentence,) = re.findall(r"Sections that wait for a restart: (.+?)\.\n", PAGE, flags=re.DOTALL)
    assert re.findall(r"`([a-z_]+)`", sentence) == list(FIXED)
