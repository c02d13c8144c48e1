"""Settings and command line choose where bulk work runs; nothing heavy is loaded before it does."""

import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from kobe.app import wiring
from kobe.core.errors import ConfigError, UsageError
from kobe.infra.compute import BACKENDS
from kobe.interfaces.cli.shell import Backend, Scheduler, Workers


def configured(folder, **keys):
    (folder / "config").mkdir(exist_ok=True)
    lines = "\n".join(f"{key} = {value!r}" for key, value in keys.items())
    (folder / "config" / "kobe.toml").write_text(f"[compute]\n{lines}\n")
    return wiring.build(folder)


def test_without_a_word_it_is_serial(tmp_path):
    assert wiring.build(tmp_path).compute.name == "serial"


@pytest.mark.parametrize("name", BACKENDS)
def test_the_settings_choose(tmp_path, name):
    ctx = configured(tmp_path, backend=name, workers=3)
    assert ctx.compute.name == name
    assert (ctx.settings.compute.workers, ctx.origins["compute.backend"]) == (3, str(tmp_path / "config" / "kobe.toml"))


@pytest.mark.parametrize(
    "keys", [{"backend": "ray"}, {"workers": -1}, {"backend": "dask", "scheduler": "localhost"}, {"cores": 3}]
)
def test_settings_that_cannot_be_are_refused(tmp_path, keys):
    with pytest.raises(ConfigError):
        configured(tmp_path, **keys)


def test_the_command_line_is_stronger_and_says_so(tmp_path):
    ctx = configured(tmp_path, backend="processes", workers=3)
    assert wiring.with_compute(ctx) is ctx
    chosen = wiring.with_compute(ctx, backend="dask", workers=1)
    assert (chosen.compute.name, chosen.settings.compute.workers) == ("dask", 1)
    assert chosen.origins["compute.backend"] == "command line"
    assert chosen.settings.risk == ctx.settings.risk
    assert ctx.compute.name == "processes"


def test_a_scheduler_alone_means_dask_and_fits_nothing_else(tmp_path):
    ctx = wiring.build(tmp_path)
    chosen = wiring.with_compute(ctx, scheduler="tcp://10.0.0.5:8786")
    assert (chosen.compute.name, chosen.settings.compute.scheduler) == ("dask", "tcp://10.0.0.5:8786")
    with pytest.raises(UsageError, match="only dask"):
        wiring.with_compute(ctx, backend="processes", scheduler="tcp://10.0.0.5:8786")
    with pytest.raises(UsageError, match="serial, processes, dask"):
        wiring.with_compute(ctx, backend="ray")
    with pytest.raises(ConfigError, match="address"):
        wiring.with_compute(ctx, scheduler="10.0.0.5")


def test_the_shared_options_read_what_they_say():
    seen = []
    app = typer.Typer()

    @app.command()
    def work(backend: Backend = None, workers: Workers = None, scheduler: Scheduler = None):
        seen.append((backend, workers, scheduler))

    run = CliRunner().invoke
    assert run(app, []).exit_code == 0
    assert run(app, ["--backend", "dask", "--workers", "2", "--scheduler", "tcp://a:1"]).exit_code == 0
    assert seen == [(None, None, None), ("dask", 2, "tcp://a:1")]
    assert run(app, ["--backend", "ray"]).exit_code == 2
    assert run(app, ["--workers", "-1"]).exit_code == 2


@pytest.mark.parametrize("name", BACKENDS)
def test_a_context_loads_nothing_of_a_backend_before_work(tmp_path, name):
    code = f"""
import sys
from pathlib import Path
from kobe.app import wiring
ctx = wiring.with_compute(wiring.build(Path({str(tmp_path)!r})), backend={name!r})
ctx.compute.close()
print([m for m in ("distributed", "dask", "multiprocessing.spawn", "threadpoolctl") if m in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert not (tmp_path / "cache" / "compute").exists()
