"""The mount table is read as the system writes it, and what cannot be known is said to be unknown."""

from pathlib import Path

import pytest

from kobe.infra import machine

TABLE = r"""/dev/vda / ext4 rw 0 0
filer:/homes /home nfs4 rw 0 0
/dev/sdb /home/ada/my\040disk xfs rw 0 0
share /mnt/c 9p rw 0 0
tmpfs /run tmpfs rw 0 0
filer:/run /run nfs rw 0 0
short line
"""


@pytest.mark.parametrize(
    ("path", "place", "kind", "network", "shared"),
    [
        ("/var/lib/kobe", "/", "ext4", False, False),
        ("/home/bob/kobe", "/home", "nfs4", True, False),
        ("/homes/bob", "/", "ext4", False, False),
        ("/home/ada/my disk/kobe", "/home/ada/my disk", "xfs", False, False),
        ("/mnt/c/kobe", "/mnt/c", "9p", False, True),
        ("/run/kobe", "/run", "nfs", True, False),
    ],
)
def test_a_path_lies_on_the_innermost_mount_and_the_later_of_two(path, place, kind, network, shared):
    mount = machine.mount_of(Path(path), TABLE)
    assert mount == machine.Mount(place, kind)
    assert (mount.is_network, mount.is_shared) == (network, shared)


def test_a_windows_share_is_a_network_drive_and_an_empty_table_tells_nothing():
    assert machine.mount_of(Path(r"\\filer\homes"), "").is_network
    assert machine.mount_of(Path("/x"), "") is None


def test_this_machine_answers_or_says_that_it_does_not_know(tmp_path):
    assert machine.clock_is_kept() in (True, False, None)
    assert machine.mount_of(tmp_path) is None or machine.mount_of(tmp_path).kind
    (tmp_path / "a").touch(mode=0o640)
    assert machine.mode_of(tmp_path / "a") in (0o640, None)
    assert machine.mode_of(tmp_path / "b") is None
