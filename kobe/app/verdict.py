"""What the evidence about a strategy does and does not support: DOMAIN's conditions, one line each (D15)."""

import math
from dataclasses import replace

from kobe.app.judgement import ABSURD_SHARPE, ABSURD_WIN_RATE, Statistics
from kobe.backtest.overfit import require_library
from kobe.core.errors import ConfigError
from kobe.reports.walk_forward import Evidence, Verdict, VerdictLine

LEAST_TRADES, LEAST_SESSIONS = 30, 504


def verdict(evidence: Evidence, found: Statistics) -> Verdict:
    """Judge the evidence; what could not be computed or was not asked passes nothing."""
    lines = (*_necessary(found), *_sufficient(found), _windows(evidence))
    passed = all(line.passed for line in lines)
    return Verdict(
        headline=_headline(evidence, found, passed=passed), lines=lines, supports=_supports(evidence, found),
        does_not_support=_does_not(found, passed=passed),
    )  # fmt: skip


def _line(name: str, value: float | None, threshold: str, *, good: bool, digits: str = ".2f") -> VerdictLine:
    if value is None:
        return VerdictLine(name=name, value="not asked (--thorough)", threshold=threshold, passed=None)
    if math.isnan(value):
        return VerdictLine(name=name, value="cannot be had", threshold=threshold, passed=None)
    return VerdictLine(name=name, value=format(value, digits), threshold=threshold, passed=good)


def _necessary(s: Statistics) -> tuple[VerdictLine, ...]:
    """The usual gates: passing them proves little (DOMAIN 2.8), failing them ends the matter."""
    return (
        _line("Sharpe ratio", s.sharpe, "above 1", good=s.sharpe > 1),
        _line("Profit factor in R", s.profit_factor, "above 1.5", good=s.profit_factor > 1.5),
        _line("Closed trades", s.trades, f"{LEAST_TRADES} or more", good=s.trades >= LEAST_TRADES, digits=",.0f"),
        _not_absurd(s),
    )  # fmt: skip


def _not_absurd(s: Statistics) -> VerdictLine:
    """Whether the figures could be true at all; without any there is nothing to doubt and nothing to pass."""
    unknown = math.isnan(s.sharpe) and math.isnan(s.win_rate)
    return VerdictLine(
        name="Not too good to be true",
        value="cannot be had" if unknown else f"Sharpe {s.sharpe:.2f}, {s.win_rate:.1%} won",
        threshold=f"at most {ABSURD_SHARPE:g} and {ABSURD_WIN_RATE:.0%}", passed=None if unknown else not s.absurd,
    )  # fmt: skip


def _sufficient(s: Statistics) -> tuple[VerdictLine, ...]:
    spa, mean, excess = s.spa_cash, s.random_mean_r_p, s.random_excess_t
    good_sessions = s.sessions >= LEAST_SESSIONS
    return (
        _line("Sessions out of sample", s.sessions, f"{LEAST_SESSIONS} or more", good=good_sessions, digits=",.0f"),
        _line(f"Deflated Sharpe ratio ({s.trials:,} trials)", s.dsr, "0.95 or more", good=s.dsr >= 0.95, digits=".3f"),
        _line("Probability of overfitting", s.pbo, "0.20 or less", good=s.pbo <= 0.20),
        _superior(spa),
        _line("Mean R against entries at random, p", mean, "0.05 or less", good=mean is not None and mean <= 0.05,
              digits=".3f"),
        _line("Excess over entries at random, t by date", excess, "above 1.645",
              good=excess is not None and excess > 1.645),
        _line("Profit factor with costs doubled", s.costs_x2_profit_factor, "above 1.2",
              good=s.costs_x2_profit_factor > 1.2),
    )  # fmt: skip


def _superior(p: float | None) -> VerdictLine:
    good = p is not None and p <= 0.05
    line = _line("Superior ability against cash, p", p, "0.05 or less", good=good, digits=".3f")
    if p is not None and math.isnan(p):
        try:
            require_library()
        except ConfigError as error:
            return replace(line, value=f"not installed: {error.next_command}")
    return line


def _windows(evidence: Evidence) -> VerdictLine:
    share = evidence.positive_windows
    return _line("Test windows that earned money", share, "60% or more", good=share >= 0.60, digits=".0%")


def _headline(evidence: Evidence, s: Statistics, *, passed: bool) -> str:
    low, high = evidence.sharpe_interval
    if s.absurd:
        return "Too good to be true: look for the mistake before anything else. Nothing of it may be promoted."
    if passed:
        return "The evidence holds up against every condition asked of it."
    if math.isnan(low) or low <= 0.0:
        return f"No edge is shown: the interval of the Sharpe ratio, {low:.2f} to {high:.2f}, includes zero."
    return f"Something is there (Sharpe {low:.2f} to {high:.2f}), but not everything that was asked holds."


def _supports(evidence: Evidence, s: Statistics) -> tuple[str, ...]:
    low, high = evidence.sharpe_interval
    found = [
        f"Over {s.sessions:,} sessions nobody chose by, the Sharpe ratio was {s.sharpe:.2f} [{low:.2f}, {high:.2f}]."
    ]
    if not math.isnan(s.market_sharpe):
        found.append(f"The market, bought and held over the same sessions, had {s.market_sharpe:.2f}.")
    if s.random_excess_t is not None and s.random_excess_t > 1.645:
        found.append("It picks better than chance among the same sessions' tradable symbols.")
    return tuple(found)


def _does_not(s: Statistics, *, passed: bool) -> tuple[str, ...]:
    found = []
    if not math.isnan(s.needed_sessions) and s.needed_sessions > s.sessions:
        found.append(
            f"That the Sharpe ratio is above zero: showing one this small takes {s.needed_sessions:,.0f} sessions."
        )
    elif math.isnan(s.needed_sessions):
        found.append("That the Sharpe ratio is above zero: it was not.")
    if not s.dsr >= 0.95:
        found.append(f"That it is more than the luck of {s.trials:,} tries: the best of so many worthless ones would "
                     f"show {s.expected_max_sharpe:.2f}.")  # fmt: skip
    if s.random_mean_r_p is None:
        found.append("That its choice of symbols beats chance: that was not asked (--thorough).")
    if not passed:
        found.append("Trading it live.")
    return tuple(found)
