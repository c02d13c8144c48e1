"""What every test may ask for: the calendar, real bars where they are, a home of its own."""

import os
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("NUMBA_CACHE_DIR", str(Path(__file__).resolve().parents[1] / ".pytest_cache" / "numba"))

import polars as pl
import pytest
from hypothesis import settings
from kit import postgres

from kobe.core.calendar import Calendar, xnys
from kobe.core.panel import Panel
from kobe.data.assemble import panel_from
from kobe.data.manifest import Provenance
from kobe.data.providers.synthetic import SyntheticSpec, synthetic_market

ROOT = Path(__file__).resolve().parents[1]
settings.register_profile("ci", derandomize=True)  # what lands must not depend on the day's luck; at home it may
if os.environ.get("CI"):
    settings.load_profile("ci")
DATA = Path(os.environ.get("KOBE_TEST_DATA", ROOT.parent / "shared" / "data"))


@pytest.fixture(scope="session")
def calendar() -> Calendar:
    return xnys()


@pytest.fixture(scope="session")
def real_file() -> Path:
    path = DATA / "equities_daily.parquet"
    if not path.is_file():
        pytest.skip(f"real bars are not there: {path} (set KOBE_TEST_DATA)")
    return path


@pytest.fixture(scope="session")
def real_frame(real_file: Path) -> pl.DataFrame:
    """Bars of 60 symbols and SPY in the store's columns."""
    frame = pl.read_parquet(real_file).with_columns(pl.col("date").cast(pl.Date), raw_factor=pl.lit(1.0))
    names = sorted(frame.get_column("symbol").unique().to_list())
    wanted = [*names[::9][:60], "SPY"]
    kept = frame.filter(pl.col("symbol").is_in(wanted)).sort("symbol", "date")
    return kept.with_columns(pl.col("volume").cast(pl.Float64))


@pytest.fixture(scope="session")
def real_panel(real_frame: pl.DataFrame, calendar: Calendar) -> Panel:
    return panel_from(real_frame, calendar, Provenance(source="test"))


@pytest.fixture(scope="session")
def synthetic_panel(calendar: Calendar) -> Panel:
    bars = synthetic_market(SyntheticSpec(symbols=40, years=4), calendar)
    return panel_from(bars, calendar, Provenance(source="synthetic"))


@pytest.fixture(scope="session")
def made_home(tmp_path_factory) -> Path:
    """A home with bars, walk-forward and a champion; do not write into it, copy it (`home`)."""
    from kit.home import make_home

    folder = tmp_path_factory.mktemp("made") / "home"
    make_home(folder)
    return folder


@pytest.fixture
def home(made_home: Path, tmp_path: Path) -> Path:
    """A copy of the made home for one test."""
    from kit.home import copy_home

    return copy_home(made_home, tmp_path / "home")


@pytest.fixture(scope="session")
def postgres_cluster() -> Iterator[postgres.Cluster]:
    """A PostgreSQL server of this run's own; skips where none is installed."""
    with postgres.cluster() as cluster:
        yield cluster


@pytest.fixture
def postgres_url(postgres_cluster: postgres.Cluster) -> str:
    """The address of an empty schema, new for each test."""
    return postgres_cluster.fresh()
