"""The bill of materials names what is installed, once, and never lands in the repository."""

import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def sbom(*words: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(ROOT / "scripts" / "sbom.py"), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_every_installed_package_is_there_once_and_all_references_lead_to_one(tmp_path):
    path = tmp_path / "new" / "sbom.json"
    assert sbom(str(path)).returncode == 0
    told = json.loads(path.read_text(encoding="utf-8"))
    assert (told["bomFormat"], told["specVersion"]) == ("CycloneDX", "1.6")
    names = [c["name"] for c in told["components"]]
    assert names == sorted(set(names))
    by_name = {c["name"]: c for c in told["components"]}
    for name in ("numpy", "polars", "typer"):
        version = metadata.version(name)
        assert (by_name[name]["version"], by_name[name]["purl"]) == (version, f"pkg:pypi/{name}@{version}")
    root = told["metadata"]["component"]
    assert (root["name"], root["type"]) == ("kobe", "application")
    known = {c["bom-ref"] for c in told["components"]} | {root["bom-ref"]}
    needs = {d["ref"]: d["dependsOn"] for d in told["dependencies"]}
    assert needs.keys() == known
    assert {ref for refs in needs.values() for ref in refs} <= known
    assert by_name["numpy"]["purl"] in needs[root["bom-ref"]]


def test_it_is_not_written_where_it_could_be_committed():
    inside = ROOT / "sbom.json"
    done = sbom(str(inside))
    assert (done.returncode, inside.exists()) == (6, False)
    assert "never committed" in done.stderr
    assert sbom().returncode == 2


def test_a_place_that_git_ignores_is_taken(tmp_path):
    sys.path.insert(0, str(ROOT / "scripts"))
    import sbom as script

    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / ".gitignore").write_text("dist/\n", encoding="utf-8")
    places = {"dist/sbom.json": True, "sbom.json": False, "../elsewhere.json": True}
    assert {place: script.may_hold(tmp_path / place, tmp_path) for place in places} == places
