"""The peers' own environment beside kobe's: `.venv-bench`, made when it is not there; nothing of it reaches kobe."""

import subprocess
import sys

from .worker import ROOT

PEERS = ("vectorbt[rust]", "lib-pybroker", "backtesting", "ta-lib", "pyarrow")
FOLDER = ROOT / ".venv-bench"
PYTHON = FOLDER / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
MARKET = FOLDER / "market"


def make() -> None:
    """Make the environment and install the peers' newest versions, once; needs the network then."""
    done = FOLDER / "peers.txt"
    wanted = "\n".join(PEERS)
    if done.is_file() and done.read_text(encoding="utf-8") == wanted:
        return
    subprocess.run([sys.executable, "-m", "venv", str(FOLDER)], check=True)
    subprocess.run([str(PYTHON), "-m", "pip", "install", "--quiet", *PEERS], check=True)
    done.write_text(wanted, encoding="utf-8")


def versions() -> str:
    """Return the peers' versions, for the head of the report."""
    names = ", ".join(repr(name.split("[")[0]) for name in PEERS[:3])
    code = f"from importlib.metadata import version as v; print(*(f'{{n}} {{v(n)}}' for n in ({names})), sep=', ')"
    return subprocess.run([str(PYTHON), "-c", code], check=True, capture_output=True, text=True).stdout.strip()
