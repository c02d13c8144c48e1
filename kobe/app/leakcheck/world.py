"""Everything a day is decided from, as it was delivered: tape prices, and events with the day they were known."""

from dataclasses import dataclass, replace
from datetime import date

import numpy as np
import polars as pl

from kobe.app.context import Context
from kobe.core.calendar import Calendar
from kobe.core.panel import PRICE_COLUMNS, Panel
from kobe.data import actions
from kobe.data.assemble import panel_from
from kobe.data.manifest import Provenance
from kobe.data.providers.synthetic import SyntheticSpec, synthetic_market

UNIVERSE_SHARE = 0.8  # of the symbols under test, so that being left out occurs
TAPE_DECIMALS = 6  # a price on the tape has at most four; what is beyond came from dividing and multiplying


@dataclass(frozen=True, kw_only=True, eq=False)
class World:
    """Bars and events of one market.

    Attributes:
        bars: store columns, sorted by symbol and date; tape prices where `provenance` says `raw`.
        events: splits, dividends and delistings; each is known on its date and not before.
        calendar: counts the sessions.
        provenance: what the bars mean.
        market: whose bars describe the market.
        universe_size: how many symbols the universe holds; a number given, not counted from bars that come later.
    """

    bars: pl.DataFrame
    events: pl.DataFrame
    calendar: Calendar
    provenance: Provenance
    market: str
    universe_size: int

    def day(self, session: int) -> date:
        """Return the date of a session number."""
        return self.calendar.sessions[session]

    @property
    def span(self) -> tuple[int, int]:
        """First and last session with a bar."""
        days = self.bars.get_column("date").to_physical().to_numpy()
        first, last = np.searchsorted(self.calendar.days, [days.min(), days.max()])
        return int(first), int(last)

    def until(self, session: int) -> "World":
        """Return what was known at a session's close: no later bar, no later event."""
        known = pl.col("date") <= self.day(session)
        return replace(self, bars=self.bars.filter(known), events=self.events.filter(known))

    def splits_after(self, session: int) -> frozenset[str]:
        """Return the symbols whose unit of account a later split changes."""
        later = self.events.filter((pl.col("kind") == "split") & (pl.col("date") > self.day(session)))
        return frozenset(later.get_column("symbol").to_list())


def other_future(world: World, session: int, seed: int) -> World:
    """Return a world with the same past up to a session's close and another future after it.

    Later prices are multiplied by noise, later volumes change places, a tenth of the symbols stop trading at once,
    later splits and dividends have other sizes.
    """
    rng = np.random.default_rng([seed, session])
    later = (world.bars.get_column("date") > world.day(session)).to_numpy()
    factor = np.where(later, np.exp(rng.normal(0.0, 0.2, len(later))), 1.0)
    volume = world.bars.get_column("volume").to_numpy().copy()
    volume[later] = rng.permutation(volume[later])
    names = world.bars.get_column("symbol").unique().sort().to_list()
    gone = [n for n in rng.choice(names, len(names) // 10, replace=False).tolist() if n != world.market]
    bars = world.bars.with_columns([pl.col(c) * pl.Series(factor) for c in PRICE_COLUMNS], volume=pl.Series(volume))
    after = pl.col("date") > world.day(session)
    events = world.events.with_columns(value=pl.when(after).then(pl.col("value") * 1.7).otherwise(pl.col("value")))
    return replace(world, bars=bars.filter(~(after & pl.col("symbol").is_in(gone))), events=events)


def of_panel(panel: Panel, events: pl.DataFrame, market: str, universe_size: int) -> World:
    """Take a panel back to the tape: raw prices, and the splits its raw factors step by.

    Bars delivered with dividends in the price stay as they are: what later dividends did to them cannot be undone.
    """
    dates = pl.Series(panel.calendar.days[panel.session]).cast(pl.Date)
    symbol = np.array(panel.symbols)[panel.symbol_of_row]
    factor = panel.raw_factor if panel.adjustment != "total-return" else np.ones(len(panel))
    prices = {name: np.round(getattr(panel, name) * factor, TAPE_DECIMALS) for name in PRICE_COLUMNS}
    columns = {"date": dates, "symbol": symbol, **prices, "volume": panel.volume / factor, "raw_factor": 1.0}
    meaning = "raw" if panel.adjustment != "total-return" else panel.adjustment
    return World(
        bars=pl.DataFrame(columns),
        events=pl.concat([_splits(panel, factor), events.filter(pl.col("kind").is_in(["dividend", "delisting"]))]),
        calendar=panel.calendar,
        provenance=Provenance(source=panel.source, feed=panel.feed, adjustment=meaning, universe=panel.universe),
        market=market,
        universe_size=universe_size,
    )


def _splits(panel: Panel, factor: np.ndarray) -> pl.DataFrame:
    same = np.append(False, panel.symbol_of_row[1:] == panel.symbol_of_row[:-1])
    ratio = np.append(1.0, factor[:-1] / factor[1:])
    rows = np.flatnonzero(same & (np.abs(ratio - 1.0) > 1e-9))
    columns = {
        "symbol": np.array(panel.symbols)[panel.symbol_of_row[rows]],
        "date": pl.Series(panel.calendar.days[panel.session[rows]]).cast(pl.Date),
        "kind": "split", "value": np.round(ratio[rows], 9), "detail": "", "source": panel.source,
    }  # fmt: skip
    return pl.DataFrame(columns, schema_overrides=pl.Schema(actions.SCHEMA)).select(list(actions.SCHEMA))


def from_store(ctx: Context, symbols: int, seed: int) -> World:
    """Return a seeded sample of the store's symbols, the market's symbol always among them."""
    panel, market = ctx.store.panel(), ctx.settings.market.symbol
    rng = np.random.default_rng(seed)
    names = [s for s in panel.symbols if s != market]
    kept = set(rng.choice(names, min(symbols, len(names)), replace=False).tolist()) | {market}
    events = ctx.store.actions()
    told = actions.renamed(events, events).filter(pl.col("symbol").is_in(sorted(kept)))
    return of_panel(panel.select(kept), told, market, int(symbols * UNIVERSE_SHARE))


def synthetic(calendar: Calendar, symbols: int, seed: int, years: int = 4) -> World:
    """Return a made-up market with dividends and delistings put in, so that every kind of event occurs."""
    spec = SyntheticSpec(symbols=symbols, years=years, seed=seed, reversal=2.5)
    panel = panel_from(synthetic_market(spec, calendar), calendar, Provenance(source="synthetic"))
    return of_panel(panel, _made_up_events(panel, seed), "SPY", int(symbols * UNIVERSE_SHARE))


def _made_up_events(panel: Panel, seed: int) -> pl.DataFrame:
    """Dividends of about 1% every 63 sessions for every third symbol; a delisting after each last bar."""
    rng = np.random.default_rng([seed, 1])
    rows: list[tuple[str, date, str, float, str, str]] = []
    sessions = panel.calendar.sessions
    for k, bars in enumerate(panel):
        if k % 3 == 0:
            for i in range(int(rng.integers(10, 63)), len(bars), 63):
                paid = float(bars.close[i] * panel.raw_factor[bars.first_row + i]) * 0.01
                rows.append((bars.symbol, sessions[bars.session[i]], "dividend", paid, "", "synthetic"))
        if bars.session[-1] < panel.last_session:
            after = sessions[int(bars.session[-1]) + 1]
            rows.append((bars.symbol, after, "delisting", float(rng.uniform(0.1, 0.9)), "", "synthetic"))
    return pl.DataFrame(rows, schema=actions.SCHEMA, orient="row")
