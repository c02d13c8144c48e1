"""What the same sessions gave without the strategy: the market held, everything held, entries at random.

Prices are split-adjusted; dividends are cash on the ex-date, on either side of a comparison (DOMAIN 2.5, D12).
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt

from kobe.backtest import engine, kernel, metrics
from kobe.backtest.engine import Assumptions, Outcomes
from kobe.backtest.folds import in_test
from kobe.backtest.walk_forward import Split
from kobe.core.compiled import njit
from kobe.core.errors import DataError
from kobe.core.panel import Floats, Ints, Panel
from kobe.core.signal_table import SignalTable
from kobe.features.table import FeatureTable
from kobe.strategies.spec import BaseParams, Mask, Strategy, tradable

TIE = 1e-12  # the same trades summed in another order are no worse than themselves


def hold_market(
    panel: Panel, features: FeatureTable, first_session: int, last_session: int, assumptions: Assumptions
) -> Floats:
    """Return the daily returns of the market symbol, bought at the first session's open and held.

    Args:
        panel: the bars.
        features: the panel's feature table; names the market symbol.
        first_session: session number of the first return.
        last_session: of the last one.
        assumptions: costs and what a delisting loses.

    Returns:
        float64[sessions], the first against the money before the purchase; known at each close. The purchase pays
        spread and slippage once; nothing is sold. A session without a bar returns 0.

    Raises:
        MissingDataError: the panel does not hold the market symbol.
        DataError: it has no bar in the first session.
    """
    bought = np.array([panel.position(features.market_symbol)], dtype=np.int64)
    return _hold(panel, features, bought, first_session, last_session, assumptions)


def hold_universe(
    panel: Panel,
    features: FeatureTable,
    pool: Mask,
    first_session: int,
    last_session: int,
    assumptions: Assumptions,
) -> Floats:
    """Return the daily returns of equal dollars in every symbol that could be traded, bought once and held.

    Args:
        panel: the bars.
        features: the panel's feature table.
        pool: bool[rows], who belongs to the universe (`strategies.spec.tradable`); asked in the session before the
            first, because that is what is known at its open. Symbols without a bar at that open are not bought.
        first_session: session number of the first return.
        last_session: of the last one.
        assumptions: costs, and the fraction lost when a symbol stops trading and no event tells how; what is left of
            it stays in cash.

    Returns:
        float64[sessions], as `hold_market`.

    Raises:
        DataError: nothing can be bought in the first session.
    """
    before = panel.symbol_of_row[pool & (panel.session == first_session - 1)]
    there = panel.symbol_of_row[panel.session == first_session]
    bought = np.intersect1d(before, there).astype(np.int64)
    return _hold(panel, features, bought, first_session, last_session, assumptions)


def _hold(
    panel: Panel, features: FeatureTable, symbols: Ints, first: int, last: int, assumptions: Assumptions
) -> Floats:
    worth = np.full((last - first + 1, len(symbols)), np.nan)
    for column, k in enumerate(symbols):
        rows = np.arange(panel.offsets[k], panel.offsets[k + 1])
        rows = rows[(panel.session[rows] >= first) & (panel.session[rows] <= last)]
        worth[panel.session[rows] - first, column] = panel.close[rows]
    if worth.size == 0 or np.isnan(worth[0]).any():
        day = panel.calendar.sessions[first]
        raise DataError("nothing to buy and hold from this session on", seen=f"no bar on {day}", expected="a bar")
    received = _received(panel, symbols, first, len(worth))
    places = np.where(np.isnan(worth), 0, np.arange(len(worth))[:, None])
    worth = np.take_along_axis(worth, np.maximum.accumulate(places, axis=0), axis=0)
    _write_off(panel, worth, symbols, first, assumptions)
    equity = ((worth + received) / _paid(panel, features, symbols, first, assumptions)).mean(axis=1)
    result: Floats = equity / np.concatenate(([1.0], equity[:-1])) - 1.0
    return result


def _received(panel: Panel, symbols: Ints, first: int, sessions: int) -> Floats:
    """Dividends per share since the purchase at the first session's open, kept in cash; float64[sessions, symbols]."""
    cash = np.zeros((sessions, len(symbols)))
    if not panel.pays:
        return cash
    for column, k in enumerate(symbols):
        rows = np.arange(panel.offsets[k], panel.offsets[k + 1])
        rows = rows[(panel.session[rows] > first) & (panel.session[rows] < first + sessions)]
        cash[panel.session[rows] - first, column] = panel.dividend[rows]
    result: Floats = np.cumsum(cash, axis=0)
    return result


def _write_off(panel: Panel, worth: Floats, symbols: Ints, first: int, assumptions: Assumptions) -> None:
    """Take the loss of symbols that stopped trading, in the session in which the account does."""
    told = panel.final_loss[symbols]
    kept = 1.0 - np.where(np.isnan(told), assumptions.delisting_haircut, told)
    gone = panel.session[panel.offsets[symbols + 1] - 1] + kernel.DELISTED_AFTER_SESSIONS
    for column in np.flatnonzero(gone <= panel.last_session):
        worth[gone[column] - first :, column] *= kept[column]


def _paid(panel: Panel, features: FeatureTable, symbols: Ints, first: int, assumptions: Assumptions) -> Floats:
    """Price per share at the first session's open, with costs by the liquidity known before it."""
    at_first = np.flatnonzero(panel.session == first)
    rows = at_first[np.searchsorted(panel.symbol_of_row[at_first], symbols)]
    listed_before = rows > panel.offsets[symbols]
    adv = np.where(listed_before, features.column("adv_usd", 20)[rows - listed_before], np.nan)
    ones = np.ones(len(rows))
    return assumptions.costs.traded_price(panel, rows, panel.open[rows], adv, ones, ones)


@dataclass(frozen=True, kw_only=True)
class RandomEntry:
    """A strategy beside draws that enter as often, on the same sessions, in symbols picked by chance.

    The p-values take the strategy's picks of a session to be as unrelated as those of chance. Where they share a
    sector they move together, and the p-values are too small: on 100 made-up markets with sectors and no edge, 15
    had `p_mean_r` at or below 0.05. `excess_t` does not assume it (4% of 50 such markets above 1.645); quote both.

    Attributes:
        mean_r: mean net R of the strategy's closed trades, one position per symbol at a time.
        sharpe: annualised Sharpe ratio of its research account's daily returns.
        excess_t: t statistic, clustered by date, of the strategy's net R over what the draws made in the same session.
        drawn_mean_r, drawn_sharpe: float64[draws], the first two of each draw; NaN where undefined.
        signals, seed: what it was made from.
    """

    mean_r: float
    sharpe: float
    excess_t: float
    drawn_mean_r: Floats
    drawn_sharpe: Floats
    signals: int
    seed: int

    @property
    def p_mean_r(self) -> float:
        """Share of draws, the strategy itself among them, whose mean R is at least as good."""
        return p_value(self.mean_r, self.drawn_mean_r)

    @property
    def p_sharpe(self) -> float:
        """Share of draws, the strategy itself among them, whose Sharpe ratio is at least as good."""
        return p_value(self.sharpe, self.drawn_sharpe)


def p_value(figure: float, drawn: Floats) -> float:
    """Return (1 + draws at least as good) / (1 + draws); NaN for an undefined figure.

    An undefined draw counts as good, which is the pessimistic reading.
    """
    if np.isnan(figure):
        return float("nan")
    worse = drawn < figure - TIE * max(1.0, abs(figure))
    return (1.0 + float(np.count_nonzero(~worse))) / (1.0 + len(drawn))


def tables_of(panel: Panel, features: FeatureTable, strategy: Strategy, splits: Sequence[Split]) -> list[SignalTable]:
    """Return the out-of-sample signals of a walk-forward: one table per parameter set, cut to its test windows."""
    found = []
    for digest in dict.fromkeys(s.params_hash for s in splits):
        mine = [s for s in splits if s.params_hash == digest]
        table = strategy.signals(panel, features, mine[0].params)
        session = panel.session[table.row]
        keep = np.any([in_test(s.fold, session) for s in mine], axis=0)
        found.append(_rearranged(table, np.flatnonzero(keep)))
    return found


def random_entry(
    panel: Panel,
    features: FeatureTable,
    tables: Sequence[SignalTable],
    first_session: int,
    last_session: int,
    assumptions: Assumptions,
    *,
    seed: int,
    draws: int = 200,
) -> RandomEntry:
    """Compare a strategy's choice of symbols with chance.

    Every draw replaces the signals of a session by as many different rows of that session, each equally likely among
    those the strategy might have traded (`strategies.spec.tradable`). Side, score, target, exit rule, hold, costs and
    the stop's distance in ATR stay those of the signal replaced; a fixed stop level becomes the level as many ATR
    from the new close. Sessions are kept, so that timing the market earns nothing here: only the choice within a
    session does. Rows are drawn without repeating, as signals are of different symbols: with repeats the draws would
    vary more than the strategy can.

    Args:
        panel: the bars.
        features: the panel's feature table.
        tables: the signals, one table per parameter set (`tables_of`, or a single table of fixed parameters).
        first_session: session number at which the research account begins.
        last_session: of its last day.
        assumptions: costs and account, the same for the strategy and every draw.
        seed: the draws follow from it; more draws begin with the same ones.
        draws: how many; the least p-value is 1 / (1 + draws).

    Raises:
        DataError: no draws, no signals, or a session with more signals than tradable rows.
    """
    signals = sum(len(t) for t in tables)
    if draws < 1 or signals == 0:
        raise DataError("nothing to draw", seen=f"{draws} draws, {signals} signals", expected="one of each or more")
    judge = _Judge(panel=panel, features=features, assumptions=assumptions, first=first_session, last=last_session)
    own = judge.judged(tables)
    urns = [_urn(panel, features, t) for t in tables]
    rng, sessions = np.random.default_rng(seed), panel.last_session + 1
    mean_r, sharpe = np.empty(draws), np.empty(draws)
    total, count = np.zeros(sessions), np.zeros(sessions)
    for k in range(draws):
        drawn = judge.judged([_redrawn(panel, urn, rng) for urn in urns])
        mean_r[k], sharpe[k] = drawn.mean_r, drawn.sharpe
        total += np.bincount(drawn.session, drawn.net_r, sessions)
        count += np.bincount(drawn.session, minlength=sessions)
    return RandomEntry(
        mean_r=own.mean_r, sharpe=own.sharpe, excess_t=_excess_t(own, total, count), drawn_mean_r=mean_r,
        drawn_sharpe=sharpe, signals=signals, seed=seed,
    )  # fmt: skip


def _excess_t(own: "_Judged", total: Floats, count: Floats) -> float:
    known = count[own.session] > 0
    session = own.session[known]
    return metrics.date_clustered_t(own.net_r[known] - total[session] / count[session], session)


@dataclass(frozen=True, kw_only=True)
class _Judged:
    """Closed trades of a set of signals, one per symbol at a time, and the account's annualised Sharpe ratio."""

    net_r: Floats
    session: npt.NDArray[np.int32]
    sharpe: float

    @property
    def mean_r(self) -> float:
        """Mean net R; NaN without a trade."""
        return float(self.net_r.mean()) if len(self.net_r) else float("nan")


@dataclass(frozen=True, kw_only=True)
class _Judge:
    """The same arithmetic for the strategy and for every draw."""

    panel: Panel
    features: FeatureTable
    assumptions: Assumptions
    first: int
    last: int

    def judged(self, tables: Sequence[SignalTable]) -> _Judged:
        """Walk the signals of all tables and run one account over them."""
        parts = [engine.evaluate(self.panel, self.features, t, self.assumptions) for t in tables]
        o = parts[0] if len(parts) == 1 else Outcomes.concat(parts)
        if len(parts) > 1:
            o = o.take(np.argsort(o.row, kind="stable"))
        kept = engine.one_per_symbol(o) & o.closed
        account = engine.run_portfolio(self.panel, o, self.assumptions, self.first, self.last)
        return _Judged(net_r=o.net_r[kept], session=o.session[kept], sharpe=metrics.sharpe(account.returns))


@dataclass(frozen=True, kw_only=True)
class _Urn:
    """The rows a table's signals may be replaced by, sorted by session.

    Attributes:
        table: its signals in order of session.
        atr: of every row of the panel, with the table's period.
        stop_atr: float64[n], distance of each signal's stop from its close in ATR.
        rows: int64, tradable rows, shuffled in place by every draw.
        start, size, count: per session with signals: its part of `rows`, and how many are drawn from it.
    """

    table: SignalTable
    atr: Floats
    stop_atr: Floats
    rows: Ints
    start: Ints
    size: Ints
    count: Ints


def _urn(panel: Panel, features: FeatureTable, table: SignalTable) -> _Urn:
    params = BaseParams(**{f.name: table.params[f.name] for f in fields(BaseParams)})
    rows = np.flatnonzero(tradable(features, params))
    rows = rows[np.argsort(panel.session[rows], kind="stable")]
    session, count = np.unique(panel.session[table.row], return_counts=True)
    start = np.searchsorted(panel.session[rows], session, side="left")
    size = np.searchsorted(panel.session[rows], session, side="right") - start
    if np.any(count > size):
        k = int(np.argmax(count > size))
        raise DataError(
            "a session has more signals than rows to draw from", seen=f"{count[k]} signals, {size[k]} rows",
            expected="signals of tradable rows", next_command="kobe config show",
        )  # fmt: skip
    t = _rearranged(table, np.argsort(panel.session[table.row], kind="stable"))
    from_close = np.where(np.isnan(t.stop_level), t.stop_distance, t.side * (panel.close[t.row] - t.stop_level))
    atr = features.column("atr", params.atr_bars)
    return _Urn(table=t, atr=atr, stop_atr=from_close / t.atr, rows=rows, start=start, size=size, count=count)


def _rearranged(table: SignalTable, order: Ints) -> SignalTable:
    names = ("row", "side", "stop_distance", "stop_level", "target_r", "atr", "score")
    return replace(table, **{name: getattr(table, name)[order] for name in names})


def _redrawn(panel: Panel, urn: _Urn, rng: np.random.Generator) -> SignalTable:
    t = urn.table
    row = _draw(urn.rows, urn.start, urn.size, urn.count, rng.random(len(t)))
    atr = urn.atr[row]
    away = urn.stop_atr * atr
    fixed = ~np.isnan(t.stop_level)
    distance = np.where(fixed, np.nan, away)
    level = np.where(fixed, panel.close[row] - t.side * away, np.nan)
    drawn = replace(t, row=row, atr=atr, stop_distance=distance, stop_level=level)
    return _rearranged(drawn, np.argsort(row, kind="stable"))


@njit(cache=True, nogil=True)
def _draw(rows: Ints, start: Ints, size: Ints, count: Ints, chance: Floats) -> Ints:
    """Draw `count` different rows from each session's part, each equally likely; a partial shuffle in place."""
    out = np.empty(len(chance), np.int64)
    i = 0
    for s in range(len(start)):
        for j in range(count[s]):
            left = size[s] - j
            here = start[s] + j
            pick = here + min(int(chance[i] * left), left - 1)
            rows[here], rows[pick] = rows[pick], rows[here]
            out[i] = rows[here]
            i += 1
    return out
