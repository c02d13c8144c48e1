"""Signals in, trades and an equity curve out: the one path from a `SignalTable` to money."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from kobe.backtest import account, carry, fills, kernel
from kobe.backtest.costs import CostModel
from kobe.core.panel import Floats, Ints, Panel
from kobe.core.signal_table import SignalTable
from kobe.features.table import FeatureTable


@dataclass(frozen=True, kw_only=True)
class Assumptions:
    """What the backtest takes for granted, each pessimistic by default.

    Attributes:
        costs: spread, slippage and fees.
        use_stop: False removes the protective stop (to see what it costs); R stays the risk it would have had.
        stop_first: False fills the target first in a bar that reaches both (the optimistic run of DOMAIN 2.1).
        delisting_haircut: fraction of the last price lost when a held symbol stops trading and no event tells how
            (DOMAIN 2.6: -30% on NYSE, Shumway 1997); daily bars alone do not tell a take-over from a failure. It goes
            against the position, long or short; a loss that an event tells is the price's, and a short gains it.
        terms: the research account.
        entry_filter: marks the signal rows whose entry the account may take (such as: no earnings near), from what
            was known at their close; None: all. Signals it holds back keep their simulated outcome.
    """

    costs: CostModel
    use_stop: bool = True
    stop_first: bool = True
    delisting_haircut: float = 0.30
    terms: account.Terms = field(
        default=account.Terms(
            cash_usd=100_000.0, risk_fraction=0.01, name_cap=0.10, max_positions=10, max_adv_share=0.01
        )
    )
    entry_filter: Callable[[Panel, Ints], npt.NDArray[np.bool_]] | None = None


@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """Every signal of a table with what became of it; columns of one length, ordered by panel row.

    Known at the close of the exit bar. Prices are adjusted dollars; NaN where there was no trade or no exit yet.

    Attributes:
        row, symbol, side, score, atr: from the signal.
        session: int32, session number of the signal.
        exit_session: int32, session in which the end is known (for a symbol that stopped trading that is later than
            its last bar); the largest int32 while the trade has not ended.
        walked: fills, stops, reasons (see `kernel.Walked`).
        adv_usd: liquidity at the signal.
        entry_paid, exit_got: fills after spread and slippage.
        dividend: dollars paid on a share while it was held, to a long and by a short; until now where still held.
        borrow: dollars that the loan of a share sold short has cost, likewise; 0 for longs.
        gross_r, net_r: result in units of initial risk; NaN until closed. Gross is the price's move alone; net is
            after spread and slippage, with dividends and the cost of the loan (docs/decisions/0007).
        mae_r, mfe_r: worst and best excursion from the fill in R.
        params_hash: digest of the parameters each signal was made with.
    """

    row: Ints
    symbol: npt.NDArray[np.int32]
    side: npt.NDArray[np.int8]
    score: Floats
    atr: Floats
    session: npt.NDArray[np.int32]
    exit_session: npt.NDArray[np.int32]
    walked: kernel.Walked
    adv_usd: Floats
    entry_paid: Floats
    exit_got: Floats
    dividend: Floats
    borrow: Floats
    gross_r: Floats
    net_r: Floats
    mae_r: Floats
    mfe_r: Floats
    params_hash: npt.NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.row)

    @property
    def closed(self) -> npt.NDArray[np.bool_]:
        """True where the trade has an exit."""
        return np.equal(self.walked.state, fills.CLOSED)

    def take(self, keep: Ints | npt.NDArray[np.bool_]) -> "Outcomes":
        """Return some of the rows, in the order given."""
        return _rebuild([self], lambda parts: parts[0][keep])

    @staticmethod
    def concat(parts: "list[Outcomes]") -> "Outcomes":
        """Return several tables of one panel one after the other."""
        return _rebuild(parts, np.concatenate)


def _rebuild(parts: list[Outcomes], combine: object) -> Outcomes:
    join = combine if callable(combine) else np.concatenate
    names = [n for n in Outcomes.__dataclass_fields__ if n != "walked"]
    columns = {name: join([getattr(p, name) for p in parts]) for name in names}
    walked = kernel.Walked(*(join(list(cols)) for cols in zip(*(p.walked for p in parts), strict=True)))
    return Outcomes(walked=walked, **columns)


def walk(panel: Panel, table: SignalTable, *, use_stop: bool = True, stop_first: bool = True) -> kernel.Walked:
    """Follow every signal of a table to its exit with the compiled kernel."""
    market = kernel.Market(
        panel.offsets, panel.session, panel.open, panel.high, panel.low, panel.close, panel.raw_factor,
        table.exit_mask, panel.last_session,
    )  # fmt: skip
    wishes = kernel.Wishes(
        table.row, panel.symbol_of_row[table.row], table.side, table.stop_distance, table.stop_level,
        table.target_r, table.atr,
    )  # fmt: skip
    rules = kernel.Rules(table.max_gap_atr, table.hold_bars, use_stop, stop_first)
    return kernel.walk_signals(market, wishes, rules)


def evaluate(panel: Panel, features: FeatureTable, table: SignalTable, assumptions: Assumptions) -> Outcomes:
    """Follow every signal and charge costs; nothing here depends on an account or on other signals."""
    walked = walk(panel, table, use_stop=assumptions.use_stop, stop_first=assumptions.stop_first)
    adv = features.column("adv_usd", 20)[table.row]
    side = table.side.astype(np.float64)
    costs = assumptions.costs
    ones = np.ones(len(table))
    entry_paid = costs.traded_price(panel, np.maximum(walked.entry_row, 0), walked.entry_price, adv, side, ones)
    symbol = panel.symbol_of_row[table.row]
    told = np.where(walked.exit_row == panel.offsets[symbol + 1] - 1, panel.final_loss[symbol], np.nan)
    loss = np.where(np.isnan(told), side * assumptions.delisting_haircut, told)
    cut = np.where(walked.reason == fills.END_OF_DATA, loss, 0.0)
    takes = (walked.reason != fills.TARGET).astype(np.float64)
    exit_rows = np.maximum(walked.exit_row, 0)
    exit_got = costs.traded_price(panel, exit_rows, walked.exit_price * (1.0 - cut), adv, -side, takes)
    risk = np.abs(walked.entry_price - walked.stop)
    known_after = np.where(walked.reason == fills.END_OF_DATA, kernel.DELISTED_AFTER_SESSIONS, 0)
    known_at = panel.session[exit_rows] + known_after
    exit_session = np.where(walked.exit_row >= 0, known_at, np.iinfo(np.int32).max)
    dividend, borrow = _held(panel, table, walked, exit_session, costs)
    return Outcomes(
        row=table.row,
        symbol=symbol,
        side=table.side,
        score=table.score,
        atr=table.atr,
        session=panel.session[table.row],
        exit_session=exit_session.astype(np.int32),
        walked=walked,
        adv_usd=adv,
        entry_paid=entry_paid,
        exit_got=exit_got,
        dividend=dividend,
        borrow=borrow,
        gross_r=side * (walked.exit_price * (1.0 - cut) - walked.entry_price) / risk,
        net_r=(side * (exit_got - entry_paid + dividend) - borrow) / risk,
        mae_r=walked.worst / risk,
        mfe_r=walked.best / risk,
        params_hash=np.full(len(table), table.params_hash),
    )


def _held(
    panel: Panel, table: SignalTable, walked: kernel.Walked, exit_session: Ints, costs: CostModel
) -> tuple[Floats, Floats]:
    """Dividends and cost of the loan per share of every trade, until its end or the newest bar."""
    terms = carry.carry_of(panel, table.side, costs, panel.last_session)
    if not len(terms.dividend) and not len(terms.borrow):
        return np.zeros(len(table)), np.zeros(len(table))
    last_row = panel.offsets[panel.symbol_of_row[table.row] + 1] - 1
    end_row = np.where(walked.exit_row >= 0, walked.exit_row, last_row)
    end = np.minimum(exit_session, panel.last_session)
    dividend = carry.dividends_held(terms, walked.entry_row, end_row)
    return dividend, carry.borrow_held(terms, panel, table.side, walked.entry_row, end_row, end)


def one_per_symbol(outcomes: Outcomes) -> npt.NDArray[np.bool_]:
    """Mark the signals that would have found their symbol free; rows must ascend."""
    w = outcomes.walked
    return kernel.first_come(outcomes.symbol, outcomes.row, w.exit_row, w.state)


@dataclass(frozen=True, kw_only=True)
class Portfolio:
    """One continuous account over the signals it was offered.

    Attributes:
        first_session: session number of the first point; one point per session, flat days included.
        equity_usd: marked to market at each close.
        exposure: gross open value over equity at each close.
        offered: positions in the outcomes, in the order the account saw them.
        quantity: raw shares bought per offered trade, 0 where skipped.
        skipped: why (index into `account.SKIPS`).
        dividends_usd: cash dividends per offered trade, negative for a short, which pays them; until now where open.
        borrow_usd: what the loan of shares sold short has cost, likewise; 0 for longs.
        net_usd: result per offered trade after all costs, fees, dividends and loans; NaN while open, 0 where skipped.
    """

    first_session: int
    equity_usd: Floats
    exposure: Floats
    offered: Ints
    quantity: Floats
    skipped: npt.NDArray[np.int8]
    dividends_usd: Floats
    borrow_usd: Floats
    net_usd: Floats
    starting_cash_usd: float

    @property
    def returns(self) -> Floats:
        """Daily returns, the first one against the starting cash; float64[sessions]."""
        before = np.concatenate(([self.starting_cash_usd], self.equity_usd[:-1]))
        return self.equity_usd / before - 1.0


def run_portfolio(
    panel: Panel, outcomes: Outcomes, assumptions: Assumptions, first_session: int, last_session: int,
    among: Ints | None = None,
) -> Portfolio:  # fmt: skip
    """Run the research account over the entered signals, best score first within a session.

    Ties are broken by liquidity, then by symbol, so that the order of the input changes nothing. `among` gives the
    positions in the outcomes of the signals that are offered; without it they all are.
    """
    o, w = outcomes, outcomes.walked
    entered = np.arange(len(o)) if among is None else among
    entered = entered[w.entry_row[entered] >= 0]
    if assumptions.entry_filter is not None:
        entered = entered[assumptions.entry_filter(panel, o.row[entered])]
    session = panel.session[w.entry_row[entered]]
    entered = entered[account.best_first(session, o.score[entered], o.adv_usd[entered], o.symbol[entered])]
    trades, closed = _trades(panel, o, entered, assumptions.costs)
    equity, exposure, quantity, skipped = account.run_account(
        trades, assumptions.terms, carry.carry_of(panel, trades.side, assumptions.costs, last_session), panel.session,
        panel.close, first_session, last_session,
    )  # fmt: skip
    sold = quantity * trades.factor * np.where(trades.side > 0, trades.exit_price, trades.entry_price)
    fee = np.ceil(sold * trades.fee_rate * 100.0 - 1e-9) / 100.0
    units = quantity * trades.factor
    dividends = trades.side * units * o.dividend[entered] + 0.0  # never -0.0
    borrowed = units * o.borrow[entered]
    gain = trades.side * units * (trades.exit_price - trades.entry_price) + dividends - borrowed
    net = np.where(quantity > 0, np.where(closed, gain - fee, np.nan), 0.0)
    return Portfolio(
        first_session=first_session, equity_usd=equity, exposure=exposure, offered=entered, quantity=quantity,
        skipped=skipped, dividends_usd=dividends, borrow_usd=borrowed, net_usd=net,
        starting_cash_usd=assumptions.terms.cash_usd,
    )  # fmt: skip


def _trades(panel: Panel, o: Outcomes, entered: Ints, costs: CostModel) -> tuple[account.Trades, npt.NDArray[np.bool_]]:
    """Return signals as the account sees them, in the order given, and which of them have ended."""
    w, symbol, side, entry_row = o.walked, o.symbol[entered], o.side[entered], o.walked.entry_row[entered]
    closed = np.equal(w.state[entered], fills.CLOSED)
    end_row = np.where(closed, w.exit_row[entered], panel.offsets[symbol + 1] - 1)
    sale_row = np.where(side > 0, end_row, entry_row)
    risk = np.abs(w.entry_price[entered] - w.stop[entered])
    trades = account.Trades(
        symbol, side, entry_row, end_row, o.exit_session[entered], o.entry_paid[entered], o.exit_got[entered], risk,
        o.adv_usd[entered] / panel.close[o.row[entered]], panel.raw_factor[entry_row], costs.fee_rate(panel, sale_row),
    )  # fmt: skip
    return trades, closed
