"""Artifacts appear whole or not at all, and leave nothing behind when they cannot."""

import errno
import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kobe.core.errors import ConfigError, ExternalError
from kobe.infra import durable
from kobe.infra.records.artifacts import FileArtifacts, sha256_file, write_json

REPOSITORY = Path(__file__).parents[3]


def test_an_artifact_is_written_with_its_folders_and_named_by_its_digest(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "split_01" / "trades.csv"
    digest = FileArtifacts().write(path, b"a,b\n")
    assert path.read_bytes() == b"a,b\n"
    assert digest == hashlib.sha256(b"a,b\n").hexdigest() == sha256_file(path)
    assert [p.name for p in path.parent.iterdir()] == ["trades.csv"]


def test_equal_content_is_left_alone_and_other_content_replaces_it(tmp_path: Path) -> None:
    path = tmp_path / "a"
    FileArtifacts().write(path, b"same")
    before = path.stat()
    FileArtifacts().write(path, b"same")
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    FileArtifacts().write(path, b"else")
    assert path.read_bytes() == b"else"


def test_json_is_written_for_people_and_always_alike(tmp_path: Path) -> None:
    digest = write_json(tmp_path / "a.json", {"b": [1, 2.5], "a": "é"})
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == '{\n  "a": "é",\n  "b": [\n    1,\n    2.5\n  ]\n}\n'
    assert write_json(tmp_path / "b.json", {"a": "é", "b": [1, 2.5]}) == digest
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "c.json", {"x": float("nan")})
    assert not (tmp_path / "c.json").exists()


def test_a_full_disk_leaves_the_old_content_and_no_temporary_file(tmp_path: Path, full_disk: Callable) -> None:
    path = tmp_path / "a"
    FileArtifacts().write(path, b"old")
    with full_disk(1000), pytest.raises(ExternalError, match="the disk is full") as raised:
        FileArtifacts().write(path, b"new" * 1000)
    assert raised.value.next_command == "kobe doctor"
    assert str(path) in raised.value.message
    assert (path.read_bytes(), list(tmp_path.iterdir())) == (b"old", [path])


def test_an_unwritable_place_is_a_matter_of_configuration(unwritable: Path) -> None:
    for path in (unwritable / "a", unwritable / "b" / "a"):
        with pytest.raises(ConfigError, match="kobe doctor"):
            FileArtifacts().write(path, b"x")


def test_a_file_in_the_place_of_a_folder_and_the_reverse_are_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder" / "inner").mkdir(parents=True)
    for path in (tmp_path / "file" / "a", tmp_path / "folder"):
        with pytest.raises(ConfigError, match=str(path)):
            FileArtifacts().write(path, b"x")
    assert [p.name for p in tmp_path.rglob(".tmp-*")] == []


def test_every_refusal_of_the_system_has_a_family(tmp_path: Path) -> None:
    families = {
        errno.ENOSPC: (ExternalError, True),
        errno.EIO: (ExternalError, False),
        errno.EROFS: (ConfigError, None),
    }
    for code, (family, retryable) in families.items():
        error = durable.fault(OSError(code, "told"), tmp_path)
        assert type(error) is family
        assert getattr(error, "retryable", None) is retryable


HALF_WRITER = """
import os, sys
from pathlib import Path
from kobe.infra import durable
descriptor, path = durable._open_temporary(Path(sys.argv[1]))
os.write(descriptor, b"half")
print(path, flush=True)
sys.stdin.readline()
"""


def test_a_sweep_takes_what_a_killed_writer_left_and_spares_a_living_one(tmp_path: Path) -> None:
    inner = tmp_path / "runs"
    inner.mkdir()
    (inner / "kept").touch()
    command = [sys.executable, "-c", HALF_WRITER, str(inner)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=REPOSITORY, text=True) as writer:
        left = Path(writer.stdout.readline().strip())
        assert FileArtifacts().sweep(tmp_path) == []
        writer.kill()
    assert left.read_bytes() == b"half"
    assert FileArtifacts().sweep(tmp_path) == [left]
    assert [p.name for p in inner.iterdir()] == ["kept"]
