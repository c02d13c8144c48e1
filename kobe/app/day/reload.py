"""Settings read anew while the runner works: what bounds money may only become tighter, until somebody restarts it."""

from collections.abc import Callable
from typing import Any

from kobe.app.config import flatten
from kobe.app.settings import Settings

FIXED = ("run", "broker", "records", "sim", "calendar", "costs", "account", "walk_forward", "strategies", "data",
         "notify", "compute")  # fmt: skip
"""Sections that stay what they were: another account, another ledger or other rules are another run."""


def _less(old: Any, new: Any) -> bool:
    return bool(new <= old)


def _more(old: Any, new: Any) -> bool:
    return bool(new >= old)


def _only_off(old: Any, new: Any) -> bool:
    return bool(old) or not new


def _only_on(old: Any, new: Any) -> bool:
    return bool(new) or not old


def _off_or_same(old: Any, new: Any) -> bool:
    return bool(old in ("off", new))


def _never(old: Any, new: Any) -> bool:
    return bool(old == new)


TIGHTER: dict[str, Callable[[Any, Any], bool]] = {
    "risk.order_max_usd": _less, "risk.day_max_usd": _less, "risk.max_positions": _less, "risk.max_per_symbol": _less,
    "risk.min_price_usd": _more, "risk.min_adv_usd": _more, "risk.trust_iex_volume": _only_off,
    "risk.max_spread": _less, "risk.quote_max_age_s": _less, "risk.open_delay_s": _more, "risk.close_margin_s": _more,
    "risk.max_clock_skew_s": _less, "risk.luld_margin": _more, "risk.limit_max_atr": _less, "risk.max_gross": _less,
    "risk.max_name": _less, "risk.max_sector": _less, "risk.max_correlation": _less, "risk.day_drawdown": _less,
    "risk.month_drawdown": _less, "risk.min_size": _less, "risk.max_size": _less, "risk.max_adv_share": _less,
    "risk.leverage": _less, "risk.allow_shorts": _only_off, "risk.day_trade_policy": _never,
    "breakers.daily_loss": _less, "breakers.losing_streak": _less, "breakers.errors": _less,
    "breakers.errors_window_s": _more, "breakers.rejects_of_last": _never, "breakers.reject_rate": _less,
    "breakers.stale_sessions": _less, "exits.breakeven_r": _never, "exits.trail_atr": _never,
    "scan.max_correlation": _less, "scan.regime": _off_or_same, "earnings.enabled": _only_on,
    "earnings.unknown": _never, "earnings.before_sessions": _more, "earnings.after_sessions": _more,
    "earnings.trusted": _never,
}  # fmt: skip
"""Setting -> whether a new value is as tight as the old one. What is in neither table may change freely."""


def tightened(old: Settings, new: Settings) -> tuple[Settings, list[str], list[str]]:
    """Return what is in force after a reload, what changed and what was refused.

    Args:
        old: in force now.
        new: as the files say.
    """
    before, after = flatten(old.model_dump()), flatten(new.model_dump())
    taken, changed, refused = new.model_dump(), [], []
    for section in FIXED:
        if getattr(old, section) != getattr(new, section):
            taken[section] = getattr(old, section).model_dump() if section != "strategies" else old.strategies
            refused.append(f"{section} waits for a restart")
    for key in sorted(before.keys() | after.keys()):
        section, _, name = key.partition(".")
        if section in FIXED or before.get(key) == after.get(key):
            continue
        if key in TIGHTER and not TIGHTER[key](before[key], after[key]):
            taken[section][name] = before[key]
            refused.append(f"{key} = {after[key]} is looser than {before[key]}")
        else:
            changed.append(f"{key} = {after.get(key)}")
    return Settings.model_validate(taken), changed, refused
