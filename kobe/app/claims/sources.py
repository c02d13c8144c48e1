"""How the values behind the documents' figures come about: one function per source, one line in the table."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

from kobe.app import import_bars, news, universe, wiring
from kobe.app.claims import defects, prices
from kobe.app.context import Context, PanelCache
from kobe.app.corporate_actions import run_actions_import
from kobe.app.reference import run_table_import
from kobe.app.walk_forward import WalkForwardRequest, run_walk_forward
from kobe.backtest.overfit import require_library
from kobe.core.errors import MissingDataError
from kobe.reports.document import jsonable

FREE_FILE = "equities_daily_survivorship_free_2013_2018"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Where values are derived.

    Attributes:
        data: folder of the test data; None where there is none.
        work: an empty folder; every source makes its own homes in it.
    """

    data: Path | None
    work: Path

    def file(self, name: str) -> Path:
        """Return a file of the test data.

        Raises:
            MissingDataError: it is not there.
        """
        path = self.data / name if self.data else None
        if path is None or not path.is_file():
            raise MissingDataError(
                "the test data are not there", seen=path or "no folder given", expected=name,
                next_command="kobe verify-claims --data FOLDER",
            )  # fmt: skip
        return path

    def folder_with(self, *names: str) -> Path:
        """Return the folder of the test data when it holds these files.

        Raises:
            MissingDataError: one is not there.
        """
        return [self.file(name).parent for name in names][-1]

    def home(self, name: str) -> Context:
        """Return the context of a new home with the default settings."""
        return wiring.build(self.work / name)


def derive_defects(bench: Bench) -> dict[str, Any]:
    """Listed and planted defects found."""
    data = bench.folder_with(
        "known_defects.csv", "corporate_actions.parquet", f"{defects.MAIN}.parquet", f"{defects.OLD}.parquet"
    )
    calendar = bench.home("defects").calendar
    counts, false = defects.listed_defects(data, calendar)
    return defects.as_data(counts, false, defects.planted_defects(data, calendar))


def derive_rebuild(bench: Bench) -> dict[str, Any]:
    """Prices rebuilt from the tape."""
    data = bench.folder_with(
        "equities_daily_raw_unadjusted.parquet", "corporate_actions.parquet", f"{defects.MAIN}.parquet"
    )
    return prices.rebuilt_prices(bench.home("rebuild"), data)


def derive_bias(bench: Bench) -> dict[str, Any]:
    """Bias of the last day's list against the membership of then; `full_years` leaves the first and last year out."""
    bars, members = bench.file(f"{FREE_FILE}.parquet"), bench.file("sp500_membership_monthly.parquet")
    ctx = bench.home("bias")
    told = import_bars.provenance(bars.stem, "consolidated", "total-return", "point-in-time")
    import_bars.run_import(ctx, import_bars.ImportRequest(file=bars, mapping={}, provenance=told))
    universe.run_universe_import(ctx, "sp500", members, dry_run=False)
    data = universe.run_bias(ctx, "sp500").data
    shares = [year["share"] for year in data["coverage"][1:-1]]
    return {**data, "full_years": {"lowest": min(shares), "highest": max(shares)}}


def derive_news_agreement(bench: Bench) -> dict[str, Any]:
    """Agreement of our tone with the vendor's labels."""
    file = bench.file("headlines.parquet")
    ctx = bench.home("news")
    run_table_import(ctx, news.news_import(file, file.stem, archive=True, dry_run=False))
    data = news.run_news_agreement(ctx).data
    return {**data, "headlines": sum(r["headlines"] for r in data["rows"] if r["scored by"] == "kobe")}


def derive_evidence(bench: Bench) -> dict[str, Any]:
    """Walk-forward, model and ten sessions on the real bars: `kobe demo --bars`."""
    return _demo(bench, "evidence", bench.file("equities_daily.parquet"))


def derive_walk_2010(bench: Bench) -> dict[str, Any]:
    """Walk-forward on the main file with its corporate actions."""
    return _walked(bench, "walk_2010", "equities_daily.parquet")


def derive_walk_2000(bench: Bench) -> dict[str, Any]:
    """Walk-forward on the older file with its corporate actions."""
    return _walked(bench, "walk_2000", "equities_daily_2000_2009.parquet")


def derive_walk_members(bench: Bench) -> dict[str, Any]:
    """Walk-forward on index members of then; the prices of that file hold their dividends."""
    members = bench.file("sp500_membership_monthly.parquet")
    return _walked(bench, "walk_members", f"{FREE_FILE}.parquet", members=members)


def _walked(bench: Bench, name: str, file: str, members: Path | None = None) -> dict[str, Any]:
    bars = bench.file(file)
    require_library()
    ctx = bench.home(name)
    adjustment, kind = ("split", "static-current") if members is None else ("total-return", "point-in-time")
    told = import_bars.provenance(bars.stem, "consolidated", adjustment, kind)
    import_bars.run_import(ctx, import_bars.ImportRequest(file=bars, mapping={}, provenance=told))
    if members is None:
        run_actions_import(ctx, bench.file("corporate_actions.parquet"), "corporate_actions", dry_run=False)
    else:
        universe.run_universe_import(ctx, "sp500", members, dry_run=False)
        data = ctx.settings.data.model_copy(update={"universe": "sp500"})
        panel = PanelCache(ctx.store, ctx.paths.universe, "sp500")
        ctx = replace(ctx, settings=ctx.settings.model_copy(update={"data": data}), panel=panel)
    document = run_walk_forward(ctx, WalkForwardRequest(thorough=True))
    strategies = {s["strategy"]: s for s in jsonable(document.data)["strategies"]}
    return {"walk": strategies, "judged": ctx.experiments.runs()[-1].results}


def derive_meta(bench: Bench) -> dict[str, Any]:
    """A model learned from the signals of 2000 to 2015, judged on those of 2016 to 2020."""
    from kobe.app.promote import run_promote
    from kobe.app.train_meta import TrainRequest, run_train_meta

    homes = {}
    for name, file in (("meta_old", "equities_daily_2000_2009.parquet"), ("meta_new", "equities_daily.parquet")):
        bars, ctx = bench.file(file), bench.home(name)
        told = import_bars.provenance(bars.stem, "consolidated", "split", "static-current")
        import_bars.run_import(ctx, import_bars.ImportRequest(file=bars, mapping={}, provenance=told))
        run_actions_import(ctx, bench.file("corporate_actions.parquet"), "corporate_actions", dry_run=False)
        run_walk_forward(ctx, WalkForwardRequest())
        homes[name] = ctx
    own, other = homes["meta_new"], homes["meta_old"].paths.walk_forward
    trained = run_train_meta(own, TrainRequest(holdout_from=date(2016, 1, 1), also=(other,))).data
    lines = run_promote(own).data["lines"]
    failed = sum(not line["passed"] for line in lines)
    return {**trained, "conditions": len(lines), "failed": failed, "lines": lines}


def derive_demo(bench: Bench) -> dict[str, Any]:
    """The same on the made-up market; needs no data."""
    return _demo(bench, "demo", None)


def _demo(bench: Bench, name: str, bars: Path | None) -> dict[str, Any]:
    from kobe.app.demo import DemoRequest, run_demo

    home = bench.work / name
    document = run_demo(DemoRequest(home=home, bars=bars))
    store, lines, trades = wiring.build(home).store, document.data["promote"]["lines"], document.data["trades"]
    held = store.manifest()
    return {
        **document.data,
        "store": {
            "bars": held.rows, "symbols": len(held.symbols),
            "symbols_ever_on_hold": store.holds().get_column("symbol").n_unique(),
        },
        "promotion": {"conditions": len(lines), "failed": sum(not line["passed"] for line in lines)},
        "book": {
            "closed_usd": [float(net) for *_, net, why in trades if why != "open"],
            "open": sum(why == "open" for *_, why in trades),
        },
    }  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What a person would run to see the same, and the function that derives it."""

    command: str
    derive: Callable[[Bench], dict[str, Any]]

    def values(self, bench: Bench) -> Any:
        """Return the values, JSON-ready."""
        return jsonable(self.derive(bench))


SOURCES: dict[str, Source] = {
    "defects": Source(command="python scripts/bench/market_data.py FOLDER defects", derive=derive_defects),
    "rebuild": Source(command="python scripts/bench/market_data.py FOLDER rebuild", derive=derive_rebuild),
    "bias": Source(command="kobe universe bias sp500", derive=derive_bias),
    "news_agreement": Source(command="kobe news agreement", derive=derive_news_agreement),
    "evidence": Source(command="kobe demo --bars equities_daily.parquet --json", derive=derive_evidence),
    "walk_2010": Source(
        command="kobe walk-forward --thorough, on equities_daily.parquet and corporate_actions.parquet",
        derive=derive_walk_2010,
    ),
    "walk_2000": Source(
        command="kobe walk-forward --thorough, on equities_daily_2000_2009.parquet and corporate_actions.parquet",
        derive=derive_walk_2000,
    ),
    "walk_members": Source(
        command=f"kobe walk-forward --thorough, on {FREE_FILE}.parquet and data.universe = sp500",
        derive=derive_walk_members,
    ),
    "meta": Source(command="kobe train-meta --holdout-from 2016-01-01 --with OLD/wf_outputs", derive=derive_meta),
    "demo": Source(command="kobe demo --json", derive=derive_demo),
}
