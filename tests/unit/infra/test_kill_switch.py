"""The kill switch blocks by its presence, whatever it is, and by every doubt about it."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from kobe.core.errors import ConfigError
from kobe.infra.kill_switch import FileKillSwitch


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "state").mkdir()
    return tmp_path / "state" / "KILL_SWITCH"


PRESENT: dict[str, tuple[Callable[[Path], object], str]] = {
    "text": (lambda p: p.write_text("fat finger\nsecond line"), "fat finger"),
    "a mark before the text": (lambda p: p.write_bytes(b"\xef\xbb\xbf  stop \r\n"), "stop"),
    "control characters": (lambda p: p.write_text("stop\x1b[2Jnow"), "stop[2Jnow"),
    "a long text": (lambda p: p.write_text("x" * 100_000), "x" * 200),
    "an empty file": (lambda p: p.touch(), "KILL_SWITCH is present"),
    "only line breaks": (lambda p: p.write_text("\n\n"), "KILL_SWITCH is present"),
    "bytes that are no text": (lambda p: p.write_bytes(b"\xff\xfe\x00"), "\ufffd\ufffd"),
    "an empty folder": (lambda p: p.mkdir(), "KILL_SWITCH is present"),
    "a full folder": (lambda p: (p / "x").mkdir(parents=True), "KILL_SWITCH is present"),
    "a broken link": (lambda p: p.symlink_to("nowhere"), "KILL_SWITCH is present"),
    "a link to itself": (lambda p: p.symlink_to(p), "KILL_SWITCH is present"),
    "a pipe that would hang": (lambda p: os.mkfifo(p), "KILL_SWITCH is present"),  # noqa: PLW0108 - Windows has no os.mkfifo
}
DOUBT: dict[str, Callable[[Path], object]] = {
    "no folder": lambda p: p.parent.rmdir(),
    "a file in the place of the folder": lambda p: (p.parent.rmdir(), p.parent.touch()),
    "a broken link in the place of the folder": lambda p: (p.parent.rmdir(), p.parent.symlink_to("nowhere")),
}


def test_nothing_blocks_without_a_switch(path: Path) -> None:
    assert FileKillSwitch(path).reason() is None


@pytest.mark.parametrize("what", PRESENT)
def test_whatever_stands_at_the_path_blocks(path: Path, what: str) -> None:
    make, reason = PRESENT[what]
    make(path)
    assert FileKillSwitch(path).reason().endswith(reason)


@pytest.mark.parametrize("what", DOUBT)
def test_every_doubt_blocks(path: Path, what: str) -> None:
    DOUBT[what](path)
    assert "cannot be looked at" in FileKillSwitch(path).reason()


def test_a_folder_that_may_not_be_entered_blocks(unwritable: Path) -> None:
    inner = unwritable / "KILL_SWITCH"
    assert FileKillSwitch(inner).reason() is None
    was = os.geteuid()
    os.seteuid(os.getuid())
    unwritable.chmod(0o000)
    os.seteuid(was)
    assert "Permission denied" in FileKillSwitch(inner).reason()
    with pytest.raises(ConfigError):
        FileKillSwitch(inner).engage("stop")


def test_a_file_that_may_not_be_read_blocks(path: Path, unwritable: Path) -> None:
    was = os.geteuid()
    os.seteuid(os.getuid())
    path.write_text("secret")
    path.chmod(0o000)
    os.seteuid(was)
    assert FileKillSwitch(path).reason().endswith("KILL_SWITCH is present")


def test_engaging_blocks_with_its_reason_and_the_first_reason_stays(path: Path) -> None:
    switch = FileKillSwitch(path)
    switch.engage("loss limit\n reached")
    switch.engage("later thought")
    assert switch.reason() == "loss limit reached"
    path.unlink()
    switch.engage(" ")
    assert switch.reason() == "no reason given"


@pytest.mark.parametrize("what", PRESENT)
def test_engaging_over_anything_keeps_it_blocked(path: Path, what: str) -> None:
    PRESENT[what][0](path)
    FileKillSwitch(path).engage("stop")
    assert FileKillSwitch(path).reason() is not None


def test_engaging_makes_its_folder_and_needs_no_room_on_the_disk(tmp_path: Path, full_disk: Callable) -> None:
    switch = FileKillSwitch(tmp_path / "new" / "KILL_SWITCH")
    with full_disk(0):
        switch.engage("stop")
    assert switch.reason() is not None


def test_releasing_removes_files_links_and_empty_folders_only(path: Path) -> None:
    switch = FileKillSwitch(path)
    switch.release()
    for make in (Path.touch, Path.mkdir, lambda p: p.symlink_to("nowhere")):
        make(path)
        switch.release()
        assert switch.reason() is None
    (path / "inner").mkdir(parents=True)
    with pytest.raises(ConfigError, match="could not be removed"):
        switch.release()
    assert switch.reason() is not None
