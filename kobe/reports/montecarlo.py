"""The Monte Carlo report: what a year could bring if its days came like those out of sample."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import date

from kobe.backtest.montecarlo import RUIN_LOSS, Share, Summary, TradeSummary
from kobe.backtest.tail import Tail
from kobe.reports.document import Cell, Document, Section, Table


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """One strategy's simulated futures.

    Attributes:
        first, last, sessions: of the out-of-sample equity curve that is resampled.
        block_sessions: mean block length.
        daily: tail of its daily returns.
        schemes: scheme -> what its paths say; `blocks` is the answer, the others are there to compare.
        trades: of the account's trades in R, or None when it made none.
        trade_count, dates_drawn: trades resampled, and dates per path.
    """

    strategy: str
    first: date
    last: date
    sessions: int
    block_sessions: float
    daily: Tail
    schemes: dict[str, Summary]
    trades: TradeSummary | None
    trade_count: int
    dates_drawn: int

    @property
    def main(self) -> Summary:
        """The stationary block bootstrap."""
        return self.schemes["blocks"]


def build(outlooks: Sequence[Outlook], *, paths: int, horizon: int, seed: int, banners: tuple[str, ...]) -> Document:
    """Build the report of one run."""
    sections = [
        Section(
            title="Stationary block bootstrap of daily returns",
            lines=("VaR and CVaR are losses: a negative one is a gain.",),
            table=_figures(outlooks),
        ),
        Section(
            title="The same days resampled otherwise",
            lines=("Single days and permutations break up runs of bad days and understate drawdowns; not for use.",),
            table=_comparison(outlooks),
        ),
        Section(title="Trades in R, whole dates resampled", table=_trades(outlooks)),
    ]
    return Document(
        schema="kobe.montecarlo/1",
        title=f"Monte Carlo, {paths:,} paths of {horizon} sessions, seed {seed}",
        summary=tuple(_sentence(o) for o in outlooks),
        banners=banners,
        sections=tuple(sections),
        data={
            "paths": paths, "horizon_sessions": horizon, "seed": seed, "ruin_loss": RUIN_LOSS,
            "strategies": [_data(o) for o in outlooks],
        },
    )  # fmt: skip


def _sentence(o: Outlook) -> str:
    depth, (low, high) = dict(o.main.depths)[95], o.main.ruin.interval
    return (
        f"{o.strategy}: one path in twenty falls {depth:.1%} or more below its peak; "
        f"chance of losing half {o.main.ruin.share:.2%} [{low:.2%}, {high:.2%}]."
    )


def _share(share: Share) -> str:
    return f"{share.share:.2%} [{share.interval[0]:.2%}, {share.interval[1]:.2%}]"


def _quantile(tail: Tail) -> str:
    low, high = tail.value_at_risk_interval
    return f"{tail.value_at_risk:.2%} [{low:.2%}, {high:.2%}]"


def _figures(outlooks: Sequence[Outlook]) -> Table:
    lines: dict[str, Callable[[Outlook], Cell]] = {
        "Out of sample": lambda o: f"{o.first} to {o.last}, {o.sessions} sessions",
        "Mean block, sessions": lambda o: f"{o.block_sessions:.1f}",
        "VaR 95%, one day": lambda o: f"{o.daily.value_at_risk:.2%}",
        "CVaR 95%, one day": lambda o: f"{o.daily.conditional_value_at_risk:.2%}",
        "VaR 95%, horizon": lambda o: _quantile(o.main.horizon),
        "CVaR 95%, horizon": lambda o: f"{o.main.horizon.conditional_value_at_risk:.2%}",
        "Standard error of the 5% tail": lambda o: f"{o.main.horizon.probability_error:.2%}",
        "Growth of the middle path": lambda o: f"{o.main.median_final - 1.0:.2%}",
        "Worst day of a path, one in twenty": lambda o: f"{o.main.worst_day.value_at_risk:.2%}",
        "Chance of a profit": lambda o: _share(o.main.profit),
        f"Chance of ever losing {RUIN_LOSS:.0%}": lambda o: _share(o.main.ruin),
    }
    rows = [(name, *[value(o) for o in outlooks]) for name, value in lines.items()]
    for k, (percent, _) in enumerate(outlooks[0].main.depths):
        rows.append((f"Max drawdown, {percent}% of paths within", *[f"{o.main.depths[k][1]:.2%}" for o in outlooks]))
    return Table(columns=("figure, with 95% intervals", *[o.strategy for o in outlooks]), rows=tuple(rows))


def _comparison(outlooks: Sequence[Outlook]) -> Table:
    rows = tuple(
        (
            f"{o.strategy}: {name}", *[f"{depth:.2%}" for _, depth in s.depths],
            f"{s.horizon.conditional_value_at_risk:.2%}", f"{s.profit.share:.2%}",
        )
        for o in outlooks
        for name, s in o.schemes.items()
    )  # fmt: skip
    percents = [f"drawdown {p}%" for p, _ in outlooks[0].main.depths]
    return Table(columns=("resampled", *percents, "CVaR 95%", "profit"), rows=rows)


def _trades(outlooks: Sequence[Outlook]) -> Table:
    rows = []
    for o in outlooks:
        if o.trades is None:
            rows.append((o.strategy, 0, 0, "-", "-", "-"))
            continue
        low, high = o.trades.interval_r
        middle = f"{o.trades.median_r:.1f} [{low:.1f}, {high:.1f}]"
        deep = f"{dict(o.trades.depths_r)[95]:.1f}"
        rows.append((o.strategy, o.trade_count, o.dates_drawn, middle, deep, _share(o.trades.profit)))
    columns = ("strategy", "trades", "dates per path", "R of the middle path", "drawdown 95%, R", "chance of a profit")
    return Table(columns=columns, rows=tuple(rows))


def _data(o: Outlook) -> dict[str, object]:
    return {**asdict(o), "first": str(o.first), "last": str(o.last)}
