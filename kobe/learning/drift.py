"""Does a strategy still do what its record says? Recent signals against the champion's evidence, and what follows.

The signals are those of the backtest, taken or not, after the model's evidence ends. Two families of tests are each
corrected for their number (Holm): money (win rate, profit factor, Sharpe ratio, slow decay), which alone may take size
away, and signs (calibration, every feature), which say that somebody should look.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from kobe.backtest import metrics
from kobe.backtest.montecarlo import LEAST_BLOCK, bootstrap_interval, clustered_interval
from kobe.core.panel import Floats
from kobe.learning import calibrate
from kobe.learning import drift_statistics as tests
from kobe.learning.drift_states import ENTER, Evidence, Level
from kobe.learning.drift_statistics import Past, Sessions
from kobe.learning.model import StrategyRecord

WINDOW, LEAST_SIGNALS = 60.0, 20.0  # effective signals: what is judged, and less than which says nothing
WINDOW_DATES = 20  # what is judged spans a month at least: short windows are many looks, and one in a hundred is wrong
LOOK = 0.05
PSI_PREFIX = "psi "


@dataclass(frozen=True, kw_only=True)
class Trades:
    """Closed signals in the order of their sessions: session, session of the exit, and net R; no NaN."""

    session: Sessions
    exit_session: Sessions
    net_r: Floats

    def __len__(self) -> int:
        return len(self.net_r)

    @property
    def won(self) -> Floats:
        """1 where the trade made money after costs, else 0."""
        return (self.net_r > 0).astype(np.float64)

    def since(self, place: int) -> "Trades":
        """Return the trades from a place on."""
        return Trades(session=self.session[place:], exit_session=self.exit_session[place:], net_r=self.net_r[place:])

    def daily_r(self) -> Floats:
        """Return the sum of net R by exit session, from the first signal to the last exit, idle sessions included."""
        if not len(self):
            return np.zeros(0)
        found: Floats = np.bincount(self.exit_session - self.session[0], self.net_r).astype(np.float64)
        return found


@dataclass(frozen=True, kw_only=True)
class Reference:
    """What a strategy did in the evidence of its model.

    Attributes:
        win_rate, mean_r, profit_factor: of the model's record.
        sharpe: annualised, of daily sums of R.
        spread_r: standard deviation of a trade's R.
        won_together, r_together: correlation of outcomes inside a block of sessions.
        effective: how many independent trades the record is worth.
    """

    win_rate: float
    mean_r: float
    profit_factor: float
    sharpe: float
    spread_r: float
    won_together: float
    r_together: float
    effective: float


def reference_of(record: StrategyRecord, past: Trades) -> Reference:
    """Return the reference: figures from the model's record, their noise from the trades it was made of."""
    gained, lost = record.wins * record.average_win_r, (record.trades - record.wins) * record.average_loss_r
    block = tests.blocks(past.session)
    together = tests.intraclass(past.won, block)
    return Reference(
        win_rate=record.wins / record.trades,
        mean_r=(gained - lost) / record.trades,
        profit_factor=gained / lost if lost > 0 else math.nan,
        sharpe=metrics.sharpe(past.daily_r()),
        spread_r=float(np.std(past.net_r, ddof=1)) if len(past) > 1 else math.nan,
        won_together=together,
        r_together=tests.intraclass(past.net_r, block),
        effective=record.trades / tests.design_effect(block, together),
    )


@dataclass(frozen=True, kw_only=True)
class Window:
    """The newest signals that are judged.

    `effective` is what they are worth as independent ones, `size` what the comparison with the record is worth: the
    record is a sample too.
    """

    trades: Trades
    effective: float
    size: float

    @property
    def enough(self) -> bool:
        """Whether anything can be said."""
        return self.effective >= LEAST_SIGNALS

    @property
    def full(self) -> bool:
        """Whether a recovery can be seen."""
        return self.effective >= WINDOW


def window_of(recent: Trades, reference: Reference) -> Window:
    """Return the newest whole sessions worth `WINDOW` effective signals on `WINDOW_DATES`, or all there are."""
    newest = recent.since(tests.newest(recent.session, reference.won_together, WINDOW, WINDOW_DATES))
    effective = len(newest) / tests.design_effect(tests.blocks(newest.session), reference.won_together)
    size = 1.0 / (1.0 / effective + 1.0 / reference.effective) if effective else 0.0
    return Window(trades=newest, effective=effective, size=size)


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One statistic; NaN where it cannot be had.

    Attributes:
        low, high: 95% bootstrap interval.
        reference: what it was, or what is expected of it, in the evidence.
        critical: the value that one look would find too low or too high at 5%.
        p: one-sided; adjusted: for the tests of its family.
    """

    name: str
    value: float
    reference: float
    critical: float
    p: float
    low: float = math.nan
    high: float = math.nan
    adjusted: float = math.nan


def money_p(recent: Trades, window: Window, reference: Reference) -> dict[str, float]:
    """Return the p values of the money family: what decides about size, and nothing that is drawn."""
    mine = window.trades
    block = tests.blocks(mine.session)
    daily = mine.daily_r()
    weeks = daily[len(daily) % LEAST_BLOCK :].reshape(-1, LEAST_BLOCK).sum(axis=1)
    return {
        "win rate": tests.lower_tail(float(mine.won.mean()) * window.size, window.size, reference.win_rate),
        "profit factor": tests.t_tail(metrics.date_clustered_t(mine.net_r, block.astype(np.int32)),
                                      len(np.unique(block))),
        "sharpe": tests.mean_tail(weeks),
        "slow decay": tests.shortfall_tail(_decay(recent, reference)),
    }  # fmt: skip


def _decay(recent: Trades, reference: Reference) -> float:
    block = tests.blocks(recent.session)
    return tests.shortfall(recent.net_r, block, reference.mean_r, reference.spread_r, reference.r_together)


def money(recent: Trades, window: Window, reference: Reference, *, seed: int, intervals: bool = True) -> list[Reading]:
    """Return the money family, with intervals for people to read; nothing is decided by those.

    A profit factor below 1 and a mean R below 0 are one statement, and so is a Sharpe ratio below 0 of the sums by
    five sessions: their p values are t tests over such blocks, because percentiles of a bootstrap of few blocks are
    too sure of themselves.

    Args:
        recent: every signal since the evidence ended; not empty.
        window: the newest of them.
        reference: what they are compared with.
        seed: of the intervals.
        intervals: draw them; without they are NaN.
    """
    mine, p = window.trades, money_p(recent, window, reference)
    daily = mine.daily_r()
    rates = factors = sharpes = (math.nan, math.nan)
    if intervals:
        rates = clustered_interval(mine.won, mine.session, metrics.win_rate, seed=seed)
        factors = clustered_interval(mine.net_r, mine.session, metrics.profit_factor, seed=seed)
        sharpes = bootstrap_interval(daily, metrics.sharpe, seed=seed)
    readings = [
        Reading(name="win rate", value=metrics.win_rate(mine.net_r), low=rates[0], high=rates[1], p=p["win rate"],
                reference=reference.win_rate, critical=tests.critical_rate(window.size, reference.win_rate, LOOK)),
        Reading(name="profit factor", value=metrics.profit_factor(mine.net_r), low=factors[0], high=factors[1],
                reference=reference.profit_factor, critical=1.0, p=p["profit factor"]),
        Reading(name="sharpe", value=metrics.sharpe(daily), low=sharpes[0], high=sharpes[1], p=p["sharpe"],
                reference=reference.sharpe, critical=0.0),
        Reading(name="slow decay", value=_decay(recent, reference), p=p["slow decay"], reference=0.0,
                critical=tests.shortfall_critical(LOOK)),
    ]  # fmt: skip
    return adjusted(readings)


def signs(
    window: Window,
    reference: Reference,
    odds: Floats,
    features: Mapping[str, tuple[Floats | Past, Floats]],
    *,
    seed: int,
) -> list[Reading]:
    """Return the family of signs: calibration, and the stability index of every feature that ever varied.

    Args:
        window: the signals judged.
        reference: for how much their outcomes move together.
        odds: float64[len(window.trades)], the champion's probabilities; NaN leaves calibration out.
        features: name -> (values in the evidence in the order of time, values of the window).
        seed: of the simulated null of the calibration error.
    """
    found = [] if np.isnan(odds).any() else [_calibration(window, reference, odds, seed)]
    for name, (past, recent) in features.items():
        s = tests.shift(past, recent, LOOK)
        found.append(
            Reading(name=f"{PSI_PREFIX}{name}", value=s.value, reference=s.expected, critical=s.critical, p=s.p)
        )
    return adjusted([r for r in found if not math.isnan(r.value)])


def _calibration(window: Window, reference: Reference, odds: Floats, seed: int) -> Reading:
    won, edges = window.trades.won, calibrate.quantile_edges(odds)
    error = calibrate.expected_calibration_error(odds, won, edges)
    worth = tests.design_effect(tests.blocks(window.trades.session), reference.won_together)
    # Outcomes that move together miss by as much more as their mean does.
    drawn = math.sqrt(worth) * calibrate.ece_draws(odds, edges, seed=seed, samples=1000)
    p = (1.0 + float(np.count_nonzero(drawn >= error))) / (1.0 + len(drawn))
    return Reading(name="calibration error", value=error, reference=float(drawn.mean()),
                   critical=float(np.quantile(drawn, 1.0 - LOOK)), p=p)  # fmt: skip


def adjusted(readings: list[Reading]) -> list[Reading]:
    """Return the readings of one family with their p values adjusted for its size."""
    p = tests.holm(np.array([r.p for r in readings]))
    return [replace(r, adjusted=float(a)) for r, a in zip(readings, p, strict=True)]


def verdict(reading: Reading, worst: Level) -> Level:
    """Return the worst level that a reading alone would lead into, at most `worst`."""
    return max((level for level, p in ENTER.items() if level <= worst and reading.adjusted <= p), default=Level.NORMAL)


def evidence_of(session: int, window: Window, money: Iterable[float], signs: Iterable[float]) -> Evidence:
    """Boil the adjusted p values of a session down."""
    least = [min((p for p in family if not math.isnan(p)), default=math.nan) for family in (money, signs)]
    return Evidence(session=session, enough=window.enough, full=window.full, money=least[0], signs=least[1])
