"""The map of the house, executable: which room may import which, and what the pure ones never touch."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS: dict[str, set[str]] = {
    "core": set(),
    "infra": {"core"},
    "data": {"core", "infra"},
    "features": {"core"},
    "options": {"core"},
    "strategies": {"core", "features", "options"},
    "risk": {"core", "options"},
    "backtest": {"core", "features", "options", "strategies", "risk"},
    "learning": {"core", "infra", "features", "strategies", "backtest"},
    "execution": {"core", "infra", "risk", "backtest"},
    "decisions": {"core", "infra", "features", "strategies", "risk", "learning", "execution"},
    "reports": {"core", "infra", "backtest"},
    "app": {"core", "infra", "data", "features", "options", "strategies", "risk", "backtest", "learning",
            "execution", "decisions", "reports"},
    "interfaces": {"core", "app"},
}  # fmt: skip
PURE = {"core", "features", "options", "strategies", "risk", "backtest"}
EXECUTION_MAY_SEE = {"fills", "costs"}
REFUSED_NAMES = {"utils", "helpers", "common", "misc"}
IMPURE_CALLS = {
    "open", "input", "os.getenv", "os.environ.get", "time.time", "time.monotonic", "time.perf_counter", "time.sleep",
    "datetime.now", "datetime.utcnow", "datetime.today", "date.today", "datetime.datetime.now", "datetime.date.today",
}  # fmt: skip
IMPURE_METHODS = {"read_text", "write_text", "read_bytes", "write_bytes", "mkdir", "unlink", "touch", "rglob", "glob"}
IMPURE_IMPORTS = {"random", "socket", "subprocess", "requests", "urllib", "sqlite3", "tempfile", "secrets", "shutil"}


def modules() -> dict[str, Path]:
    """Return dotted module name -> file for everything in kobe."""
    files = sorted((ROOT / "kobe").rglob("*.py"))
    return {".".join(f.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): f for f in files}


def kobe_imports(tree: ast.AST, *, top_level_only: bool = False) -> list[str]:
    """Return the kobe modules a tree imports, `from x import y` as x.y."""
    nodes = [n for n in ast.iter_child_nodes(tree)] if top_level_only else list(ast.walk(tree))  # noqa: C416
    found = []
    for node in nodes:
        if isinstance(node, ast.Import):
            found += [a.name for a in node.names if a.name.startswith("kobe")]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("kobe"):
            found += [f"{node.module}.{a.name}" for a in node.names]
    return found


def layer_faults(name: str, source: str) -> list[str]:
    """Return what a module imports though it may not."""
    room = name.split(".")[1] if "." in name else ""
    faults = []
    for target in kobe_imports(ast.parse(source)):
        other = target.split(".")[1]
        if other not in ROOMS or not room or other == room:
            continue
        if other not in ROOMS[room]:
            faults.append(f"{name} imports {target}")
        if room == "execution" and other == "backtest" and target.split(".")[2] not in EXECUTION_MAY_SEE:
            faults.append(f"{name} imports {target}")
    return faults


def purity_faults(name: str, source: str) -> list[str]:
    """Return what a pure module touches."""
    faults = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            faults += [f"{name} imports {n}" for n in names if n.split(".")[0] in IMPURE_IMPORTS]
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "os.environ":
            faults.append(f"{name} reads the environment")
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called in IMPURE_CALLS or called.rpartition(".")[2] in IMPURE_METHODS:
                faults.append(f"{name} calls {called}")
            drawn = called.startswith(("np.random.", "numpy.random."))
            if drawn and not (called.endswith("default_rng") and node.args):
                faults.append(f"{name} draws unseeded {called}")
    return faults


def test_every_room_is_on_the_map_and_imports_only_what_the_map_allows():
    faults = []
    for name, path in modules().items():
        parts = name.split(".")
        if len(parts) > 1 and parts[1] not in {*ROOMS, "__main__"}:
            faults.append(f"{name} is in no room")
        faults += [] if parts[1:] in ([], ["__main__"]) else layer_faults(name, path.read_text(encoding="utf-8"))
    assert not faults, "\n".join(faults)


def test_pure_rooms_touch_no_file_clock_environment_or_unseeded_chance():
    faults = []
    for name, path in modules().items():
        if len(name.split(".")) > 1 and name.split(".")[1] in PURE:
            faults += purity_faults(name, path.read_text(encoding="utf-8"))
    assert not faults, "\n".join(faults)


def test_no_module_is_named_after_nothing():
    bad = [n for n in modules() if n.rpartition(".")[2] in REFUSED_NAMES]
    assert not bad


def test_modules_import_each_other_in_no_circle():
    known = modules()
    edges = {}
    for name, path in known.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        targets = kobe_imports(tree, top_level_only=True)
        edges[name] = {t if t in known else t.rpartition(".")[0] for t in targets} - {name}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join((*trail[trail.index(name) :], name))
        if name not in done:
            for other in sorted(edges.get(name, ())):
                visit(other, (*trail, name))
            done.add(name)

    for name in known:
        visit(name, ())


def test_only_the_review_clears_orders():
    callers = [
        name
        for name, path in modules().items()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"seal", "types.seal"}
    ]
    assert callers == ["kobe.risk.review"]


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("kobe.core.x", "from kobe.data import store"),
        ("kobe.features.x", "def f():\n    from kobe.backtest import engine"),
        ("kobe.execution.x", "from kobe.backtest import engine"),
        ("kobe.interfaces.cli.x", "import kobe.execution.oms"),
    ],
)
def test_a_planted_import_across_the_map_is_found(name, source):
    assert layer_faults(name, source)


@pytest.mark.parametrize(
    "source",
    [
        "open('x')", "import random", "import os\nos.environ['A']", "np.random.default_rng()", "np.random.normal()",
        "datetime.now()", "Path('x').read_text()", "import time\ntime.time()",
    ],
)  # fmt: skip
def test_a_planted_impurity_is_found(source):
    assert purity_faults("kobe.core.x", source)
