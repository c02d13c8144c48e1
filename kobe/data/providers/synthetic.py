"""A made-up US equity market, the same for the same seed: for the demo, for tests, and to know what is true.

The model, in log prices: one market factor and ten sectors with betas around 1, and an own part per stock; all with
fat tails and slowly changing volatility. A quarter of the variance comes overnight, the rest inside the session;
highs and lows are the exact extremes of a Brownian bridge between open and close. Stocks list late, collapse, are
taken over and split; raw prices are whole cents.

Planted on purpose (`reversal`): price pressure. On some days a stock, or the whole market, is pushed inside the
session by a shock that is larger when the market is nervous and the stock illiquid; sixty percent of what is left of
it disappears inside each later session.
With `reversal=0` nothing about tomorrow can be known. Whatever is computed from this market is SYNTHETIC: it shows
that kobe works, and nothing about any real market.
"""

from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt
import polars as pl

from kobe.core.calendar import Calendar
from kobe.core.panel import Floats
from kobe.core.units import SESSIONS_PER_YEAR

SECTORS = 10
OVERNIGHT_SHARE = 0.25
DAILY_DRIFT = 0.07 / SESSIONS_PER_YEAR
MARKET_VOL, SECTOR_VOL, OWN_VOL = 0.008, 0.006, 0.013
SHOCKS_PER_DAY, SHOCK_SIZE, MARKET_SHOCK_SIZE, SHOCK_KEPT = 0.08, 0.03, 0.010, 0.4
MARKET_SYMBOL = "SPY"


@dataclass(frozen=True, kw_only=True)
class SyntheticSpec:
    """What to make up.

    Attributes:
        symbols: stocks besides the market ETF.
        years: of 252 sessions, ending at `last_session`.
        last_session: a session of the calendar.
        seed: the whole market follows from it.
        reversal: strength of the planted price pressure; 0 makes a market without any edge.
    """

    symbols: int = 200
    years: int = 6
    last_session: date = date(2024, 12, 31)
    seed: int = 81
    reversal: float = 1.3


@dataclass(frozen=True, slots=True)
class _Paths:
    """Log-price parts per session (rows) and symbol (columns); the last column is the market ETF."""

    overnight: Floats
    intraday: Floats
    own_scale: Floats
    nervousness: Floats


def _rng(spec: SyntheticSpec, purpose: int) -> np.random.Generator:
    return np.random.default_rng([spec.seed, purpose])


def _volatility(rng: np.random.Generator, days: int, columns: int, persistence: float, noise: float) -> Floats:
    """Slowly changing multipliers around 1: the exponential of an AR(1)."""
    steps = rng.standard_normal((days, columns)) * noise
    level = np.empty((days, columns))
    state = np.zeros(columns)
    for t in range(days):
        state = persistence * state + steps[t]
        level[t] = state
    spread = noise**2 / (1.0 - persistence**2)
    result: Floats = np.exp(level - spread / 2.0)
    return result


def _fat(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Student t with five degrees of freedom, scaled to variance 1."""
    result: Floats = rng.standard_t(5, shape) * np.sqrt(3.0 / 5.0)
    return result


def _returns(spec: SyntheticSpec, days: int) -> _Paths:
    n = spec.symbols
    market_vol = _volatility(_rng(spec, 1), days, 1, 0.97, 0.10)
    own_vol = _volatility(_rng(spec, 2), days, n, 0.95, 0.12)
    traits = _rng(spec, 3)
    beta = np.append(np.clip(traits.normal(1.0, 0.25, n), 0.3, 1.8), 1.0)
    sector = traits.integers(0, SECTORS, n)
    own_size = OWN_VOL * np.exp(traits.normal(0.0, 0.3, n))
    parts = []
    for k, share in enumerate((OVERNIGHT_SHARE, 1.0 - OVERNIGHT_SHARE)):
        rng = _rng(spec, 10 + k)
        market = MARKET_VOL * market_vol * _fat(rng, (days, 1))
        sectors = SECTOR_VOL * market_vol * _fat(rng, (days, SECTORS))
        own = own_size * own_vol * _fat(rng, (days, n))
        total = market * beta
        total[:, :n] += sectors[:, sector] + own
        parts.append(np.sqrt(share) * total + share * DAILY_DRIFT)
    scale = np.column_stack([own_size * own_vol, MARKET_VOL * market_vol])
    return _Paths(parts[0], parts[1], scale, market_vol)


def _pressure(spec: SyntheticSpec, days: int, illiquidity: Floats, nervousness: Floats) -> Floats:
    """Change of the transient price pressure inside each session: each stock's own, and the whole market's."""
    n = spec.symbols
    reach = np.append(0.2 + 1.6 * illiquidity, 0.0)
    own = _shocks(_rng(spec, 20), days, n + 1, SHOCK_SIZE * spec.reversal) * reach
    market = _shocks(_rng(spec, 21), days, 1, MARKET_SHOCK_SIZE * spec.reversal)
    shock = (own + market) * np.clip(nervousness, 0.5, 2.5)
    change, left = np.zeros((days, n + 1)), np.zeros(n + 1)
    for t in range(days):
        now = left * SHOCK_KEPT + shock[t]
        change[t] = now - left
        left = now
    return change


def _shocks(rng: np.random.Generator, days: int, columns: int, size: float) -> Floats:
    """Rare signed shocks of exponential size."""
    struck = rng.random((days, columns)) < SHOCKS_PER_DAY
    sign = np.where(rng.random((days, columns)) < 0.5, -1.0, 1.0)
    result: Floats = struck * sign * size * rng.exponential(1.0, (days, columns))
    return result


def _bridge_extremes(rng: np.random.Generator, open_: Floats, close: Floats, variance: Floats) -> tuple[Floats, Floats]:
    """Highest and lowest log price of a Brownian bridge from open to close, drawn exactly, each by itself."""
    move = close - open_
    up, down = (np.sqrt(move**2 - 2.0 * variance * np.log(1.0 - rng.random(open_.shape))) for _ in range(2))
    return (open_ + close + up) / 2.0, (open_ + close - down) / 2.0


def _lives(spec: SyntheticSpec, days: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Floats]:
    """First and last day of each symbol, and how it ends: 0 lives on, -1 collapses, +1 is taken over."""
    rng, n = _rng(spec, 30), spec.symbols
    first, last, fate = np.zeros(n + 1, np.int64), np.full(n + 1, days - 1), np.zeros(n + 1)
    late = np.flatnonzero(rng.random(n) < 0.08)
    first[late] = rng.integers(1, max(2, days // 2), len(late))
    gone = np.flatnonzero(rng.random(n) < 0.06)
    last[gone] = rng.integers(days * 6 // 10, days, len(gone))
    fate[gone] = np.where(rng.random(len(gone)) < 0.5, -1.0, 1.0)
    return first, last, fate


def _end_stories(paths: _Paths, last: npt.NDArray[np.int64], fate: Floats) -> None:
    """Write the last weeks of the symbols that disappear into their returns."""
    for k in np.flatnonzero(fate < 0):
        paths.intraday[max(0, last[k] - 40) : last[k] + 1, k] -= 0.05
    for k in np.flatnonzero(fate > 0):
        offer = max(1, last[k] - 20)
        paths.overnight[offer, k] += 0.25
        paths.overnight[offer + 1 : last[k] + 1, k] *= 0.02
        paths.intraday[offer : last[k] + 1, k] *= 0.02
        paths.own_scale[offer : last[k] + 1, k] *= 0.02


def _raw_factors(spec: SyntheticSpec, days: int, level: Floats) -> Floats:
    """Raw price over adjusted price per day: steps at splits, 1 after the last one."""
    rng, n = _rng(spec, 40), spec.symbols
    factor = np.ones((days, n + 1))
    for k in np.flatnonzero(rng.random(n) < 0.15):
        when = int(rng.integers(days // 5, days - 1))
        expensive = level[when, k] > 15.0
        factor[:when, k] = float(rng.choice([2.0, 3.0, 4.0])) if expensive else 0.125
    return factor


def _frame(spec: SyntheticSpec, calendar: Calendar, number: int, arrays: dict[str, Floats]) -> pl.DataFrame:
    days = len(arrays["close"])
    first, last, _ = _lives(spec, days)
    names = [f"SYN{k:03d}" for k in range(spec.symbols)] + [MARKET_SYMBOL]
    dates = calendar.days[number - days + 1 : number + 1]
    alive = (np.arange(days)[:, None] >= first) & (np.arange(days)[:, None] <= last)
    order = sorted(range(len(names)), key=names.__getitem__)
    keep = alive.T[order].ravel()
    columns = {name: values.T[order].ravel()[keep] for name, values in arrays.items()}
    symbol = np.repeat(np.array([names[k] for k in order]), days)[keep]
    day = np.tile(dates, len(names))[keep]
    return pl.DataFrame({"date": pl.Series(day).cast(pl.Date), "symbol": symbol, **columns})


def synthetic_market(spec: SyntheticSpec, calendar: Calendar) -> pl.DataFrame:
    """Make the market up.

    Returns:
        Bars sorted by symbol and date in the store's columns: split-adjusted open, high, low, close, whole adjusted
        shares of volume, and `raw_factor` (raw price = price * raw_factor).
    """
    days, n = spec.years * SESSIONS_PER_YEAR, spec.symbols
    number = calendar.number(spec.last_session)
    paths = _returns(spec, days)
    traits = _rng(spec, 50)
    adv = np.append(10 ** np.clip(traits.normal(7.5, 0.6, n), 6.3, 8.9), 2e10)
    illiquidity = np.clip((8.9 - np.log10(adv[:n])) / 2.6, 0.0, 1.0)
    pressure = _pressure(spec, days, illiquidity, paths.nervousness)
    _, last, fate = _lives(spec, days)
    _end_stories(paths, last, fate)
    start = np.append(np.exp(traits.normal(np.log(32.0), 0.55, n)), 200.0)
    close = np.log(start) + np.cumsum(paths.overnight + paths.intraday + pressure, axis=0)
    before = np.vstack([np.log(start), close[:-1]])
    open_ = before + paths.overnight
    variance = (1.0 - OVERNIGHT_SHARE) * (paths.own_scale * 1.15) ** 2
    high, low = _bridge_extremes(_rng(spec, 60), open_, close, variance)
    factor = _raw_factors(spec, days, np.exp(close))
    prices = {}
    for name, value in (("open", open_), ("high", high), ("low", low), ("close", close)):
        prices[name] = np.maximum(np.round(np.exp(value) * factor * 100.0), 1.0) / 100.0 / factor
    busy = np.abs(close - before) / np.maximum(paths.own_scale, 1e-9)
    noise = _rng(spec, 70).normal(0.0, 0.35, close.shape)
    dollars = adv * np.exp(noise + 0.25 * np.clip(busy - 1.0, -1.0, 4.0) - 0.06)
    volume = np.maximum(np.round(dollars / prices["close"]), 1.0)
    return _frame(spec, calendar, number, {**prices, "volume": volume, "raw_factor": factor})
