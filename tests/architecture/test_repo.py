"""The repository speaks of the project alone, and its links lead somewhere."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FORBIDDEN = (
    "py" + "pi.org",
    "python" + "hosted",
    "registry.npm" + "js",
    "deb." + "debian",
    "/wo" + "rk/",
    "/ro" + "ot/",
)
LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")


def tracked() -> list[Path]:
    """Return the files git tracks; skips outside a checkout."""
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in done.stdout.splitlines() if (ROOT / name).is_file()]


def test_requirement_files_hold_hashes_and_no_address():
    for path in (ROOT / "requirements").glob("*.txt"):
        text = path.read_text(encoding="utf-8")
        assert "://" not in text, path
        pinned, hashed = text.count("=="), text.count("--hash=sha256:")
        assert hashed >= pinned > 20, path


def test_no_tracked_file_names_a_registry_or_a_path_of_somebody_s_machine():
    faults = []
    for path in tracked():
        text = path.read_bytes().decode("utf-8", errors="ignore")
        faults += [f"{path.relative_to(ROOT)}: {word}" for word in FORBIDDEN if word in text]
    assert not faults


def test_every_relative_link_in_the_documents_leads_to_a_file():
    broken = [
        f"{path.relative_to(ROOT)} -> {target}"
        for path in tracked()
        if path.suffix == ".md"
        for target in LINK.findall(path.read_text(encoding="utf-8"))
        if not (path.parent / target).exists()
    ]
    assert not broken


def test_the_two_locked_sets_agree_on_every_version():
    def versions(name: str) -> dict[str, str]:
        text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
        return dict(re.findall(r"^([A-Za-z0-9_.-]+)==(\S+)", text, flags=re.MULTILINE))

    runtime, dev = versions("runtime.txt"), versions("dev.txt")
    assert runtime.items() <= dev.items()
