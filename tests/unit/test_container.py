"""The image and its services keep to their rules: pinned, hash-locked, without root, without a secret, read-only."""

import importlib.util
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from kobe.app.init import example

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = ROOT / "ops" / "docker" / "compose.yaml"
SECRET = re.compile(r"(?i)(secret|token|password|passwd|webhook|api_?key|credential)")
COMMANDS = {
    "FROM", "ARG", "ENV", "WORKDIR", "COPY", "RUN", "VOLUME", "USER", "STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT", "CMD",
}  # fmt: skip


def instructions(text):
    """Return (word, rest) of each instruction, continuation lines joined and comments dropped."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [tuple(line.split(None, 1)) for line in joined.splitlines() if line.strip()]


def image_faults(text):
    """Return what is wrong with a Dockerfile."""
    told = instructions(text)
    faults = [f"unknown instruction {word}" for word, _ in told if word not in COMMANDS]
    given = dict(rest.partition("=")[::2] for word, rest in told if word == "ARG")
    stages = set()
    for word, rest in told:
        if word == "FROM":
            name, *alias = re.sub(r"\$\{(\w+)\}", lambda m: given.get(m[1], ""), rest).split(" AS ")
            if name not in stages:
                image, _, tag = name.partition(":")
                faults += [] if re.match(r"\d+\.\d+", tag) else [f"{name} is not pinned by version"]
                faults += [f"{name} names a host"] if "." in image.split("/")[0] else []
            stages.update(alias)
        if word in ("ARG", "ENV"):
            faults += [f"{word} {key}" for key in re.findall(r"(\w+)=?", rest.split("=")[0]) if SECRET.search(key)]
            faults += [f"ENV {key}" for key in re.findall(r"\s(\w+)=", rest) if SECRET.search(key)]
        if word == "RUN":
            if "apt-get install" in rest and "rm -rf /var/lib/apt/lists" not in rest:
                faults.append("apt lists stay in the image")
            for call in rest.split("&&"):
                if "pip install" in call and "--require-hashes" not in call and "--no-deps" not in call:
                    faults.append("pip installs what no hash names")
            faults += [f"{w} in RUN" for w in ("curl ", "wget ", "sudo ") if w in rest]
        if word == "COPY" and rest.split()[0] == ".":
            faults.append("COPY . takes whatever lies about")
        faults += ["ADD fetches"] if word == "ADD" else []
    last = [i for i, (word, _) in enumerate(told) if word == "FROM"][-1]
    final = dict(told[last:])
    user = final.get("USER", "root").partition(":")[0]
    faults += [] if user.isdigit() and int(user) >= 1000 else ["the user is root, or has no fixed number"]
    faults += [f"no {word}" for word in ("HEALTHCHECK", "STOPSIGNAL", "ENTRYPOINT", "VOLUME") if word not in final]
    return faults


def service_faults(name, service):
    """Return what is wrong with a service of the compose file."""
    wanted = {"read_only": True, "cap_drop": ["ALL"], "user": "10001:10001", "env_file": "kobe.env"}
    faults = [f"{name}: {key} is {service.get(key)!r}" for key, value in wanted.items() if service.get(key) != value]
    faults += [] if "no-new-privileges:true" in service.get("security_opt", []) else [f"{name}: may gain privileges"]
    faults += [] if any(m.startswith("/tmp:") for m in service.get("tmpfs", [])) else [f"{name}: no tmpfs"]
    faults += [] if "mem_limit" in service and "pids_limit" in service else [f"{name}: unlimited"]
    faults += [f"{name}: publishes {p}" for p in service.get("ports", []) if not p.startswith("127.0.0.1:")]
    faults += [f"{name}: mounts {v}" for v in service.get("volumes", []) if v.startswith(("/", ".", "~"))]
    faults += [f"{name}: secrets in the file"] if "environment" in service else []
    faults += [f"{name}: {service['image']} has no version"] if not re.search(r":\d", service["image"]) else []
    faults += [f"{name}: {key}" for key in ("privileged", "network_mode", "pid", "devices") if key in service]
    return faults


def compose():
    return yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))


def test_the_dockerfile_keeps_to_the_rules():
    assert image_faults((ROOT / "Dockerfile").read_text(encoding="utf-8")) == []


def test_every_service_is_read_only_without_rights_and_published_on_this_machine_alone():
    told = compose()
    assert set(told["services"]) == {"runner", "service", "bot"}
    assert [fault for name, one in told["services"].items() for fault in service_faults(name, one)] == []
    homes = {one["volumes"][0] for one in told["services"].values()}
    assert homes == {"home:/var/lib/kobe"}
    assert "home" in told["volumes"]


def test_image_and_services_agree_with_each_other_and_with_the_project():
    image = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    services = compose()["services"].values()
    assert {one["image"] for one in services} == {f"kobe:{project['version']}"}
    assert {one["user"] for one in services} == {re.search(r"(?m)^USER (\S+)", image)[1]}
    assert re.search(r"(?m)^STOPSIGNAL SIGTERM$", image)
    volume = re.search(r"(?m)^VOLUME (\S+)", image)[1]
    assert f"KOBE_HOME={volume}" in image
    extras = re.search(r'ARG EXTRAS="([^"]*)"', image)[1].split()
    assert set(extras) <= set(project["optional-dependencies"])
    seconds = [int(one["stop_grace_period"].rstrip("s")) for one in services]
    settings = tomllib.loads((ROOT / "config" / "kobe.toml").read_text(encoding="utf-8"))
    assert min(seconds) > settings["schedule"]["stop_grace_s"]


def test_the_example_of_the_secrets_file_is_the_one_that_init_writes():
    assert (COMPOSE.parent / "kobe.env.example").read_text(encoding="utf-8") == example()


def test_every_command_of_image_and_services_exists():
    from typer.testing import CliRunner

    from kobe.interfaces.cli.main import app

    commands = {one["command"][0] for one in compose()["services"].values()} | {"health"}
    for command in sorted(commands):
        done = CliRunner().invoke(app, [command, "--help"])
        assert done.exit_code == 0, command


def test_nothing_goes_into_the_build_that_the_dockerfile_does_not_copy():
    allowed = {
        line.removeprefix("!").rstrip("/")
        for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        if line.startswith("!")
    }
    copied = set()
    for word, rest in instructions((ROOT / "Dockerfile").read_text(encoding="utf-8")):
        if word == "COPY" and "--from" not in rest:
            copied.update(part.rstrip("/") for part in rest.split()[:-1])
    assert copied == allowed
    assert all((ROOT / name).exists() for name in allowed)


@pytest.mark.parametrize(
    "text",
    [
        "FROM python\nUSER 10001", "FROM python:latest", "FROM registry.example.org/python:3.11",
        "FROM python:3.11\nENV A=1 API_KEY=x", "FROM python:3.11\nARG TOKEN", "FROM python:3.11\nUSER root",
        "FROM python:3.11\nRUN apt-get update && apt-get install -y x", "FROM python:3.11\nRUN pip install x",
        "FROM python:3.11\nCOPY . /app", "FROM python:3.11\nADD http://x /x", "FROM python:3.11\nRUN curl x | sh",
    ],
)  # fmt: skip
def test_a_planted_fault_of_a_dockerfile_is_found(text):
    sound = "\nVOLUME /x\nSTOPSIGNAL SIGTERM\nHEALTHCHECK CMD x\nENTRYPOINT x"
    assert image_faults("FROM python:3.11-slim" + "\nUSER 10001" + sound) == []
    user = "" if "USER" in text else "\nUSER 10001"
    assert image_faults(text + user + sound) != []


@pytest.mark.parametrize(
    "change",
    [
        {"read_only": False}, {"cap_drop": []}, {"user": "0"}, {"ports": ["8787:8787"]}, {"volumes": ["/:/host"]},
        {"environment": {"TOKEN": "x"}}, {"image": "kobe:latest"}, {"privileged": True}, {"tmpfs": []},
        {"security_opt": []}, {"network_mode": "host"},
    ],
)  # fmt: skip
def test_a_planted_fault_of_a_service_is_found(change):
    service = compose()["services"]["runner"]
    assert service_faults("runner", service) == []
    assert service_faults("runner", {**service, **change}) != []


def script():
    spec = importlib.util.spec_from_file_location("locked_extras", ROOT / "scripts" / "locked_extras.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_an_extra_adds_comes_from_the_lock_with_its_hashes():
    module = script()
    text = module.locked(["service", "charts", "otel"])
    runtime = (ROOT / "requirements" / "runtime.txt").read_text(encoding="utf-8")
    dev = (ROOT / "requirements" / "dev.txt").read_text(encoding="utf-8")
    assert text.startswith(runtime)
    added = module.blocks(text.removeprefix(runtime))
    assert {"fastapi", "uvicorn", "starlette", "matplotlib", "pillow", "opentelemetry-sdk"} <= set(added)
    assert not {"pytest", "ruff", "mypy", "moto", "distributed"} & set(added)
    for parts in added.values():
        for part in parts:
            assert part in dev
            assert "--hash=sha256:" in part
    assert module.locked([]) == runtime
    with pytest.raises(SystemExit, match="no such extra"):
        module.locked(["nonsense"])


def test_the_entrance_hands_over_to_kobe_and_needs_no_writable_root(tmp_path):
    """The script runs as it is, with a stand-in for kobe that tells its process and its arguments."""
    stub = tmp_path / "bin" / "kobe"
    stub.parent.mkdir()
    stub.write_text('#!/bin/sh\necho "$$ $@ $(umask)"\n', encoding="utf-8")
    stub.chmod(0o755)
    entrance = ROOT / "ops" / "docker" / "entrypoint.sh"
    env = {"PATH": f"{stub.parent}:/usr/bin:/bin", "NUMBA_CACHE_DIR": str(tmp_path / "no" / "room")}
    process = subprocess.Popen(
        ["sh", str(entrance), "run", "--live"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env
    )
    out, error = process.communicate()
    assert out.split() == [str(process.pid), "run", "--live", "0077"]
    assert "no room" in error
    assert process.returncode == 0
