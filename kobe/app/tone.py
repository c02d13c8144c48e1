"""The tone of headlines as a decision takes it: what was known right before a session's close."""

from collections.abc import Sequence
from datetime import date

from kobe.app.context import Context
from kobe.core.frames import pl


def tone_at(ctx: Context, symbols: Sequence[str], session: date) -> dict[str, tuple[float, int]]:
    """Return mean tone and number of headlines per symbol, as known right before a session's close."""
    if not ctx.reference.holds("headlines"):
        return {}
    held = ctx.reference.read("headlines").filter(pl.col("symbol").is_in(list(symbols)))
    if not len(held):
        return {}
    from kobe.features import sentiment

    # The instant of the import is when this copy was read, not when the headline was known: that is `known_at`.
    told = sentiment.by_session(held.drop("fetched_at"), symbols, [session], ctx.calendar)
    return {s: (tone, n) for s, tone, n in told.select("symbol", "sentiment", "n").iter_rows() if n}
