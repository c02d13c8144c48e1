"""The job `prepare`: the evening's view of a session, worked out before anybody waits for it."""

from datetime import date

from kobe.app import decision, views
from kobe.app.context import Context
from kobe.reports.document import Document


def run_prepare(ctx: Context, session: date) -> Document:
    """Work out what a session looked like, so that the scan of it need not; nothing is decided."""
    found = decision.champion(ctx, session)
    params = decision.scan_params(ctx, None if found is None else found[1])
    _, seen = views.session_view(ctx, session, params, ctx.settings.market.symbol)
    signals = {name: len(s.signals) for name, s in seen.strategies.items()}
    return Document(
        schema="kobe.prepare/1", title=f"View of {session}",
        summary=(f"{len(seen.here)} symbols, signals: " + ", ".join(f"{n} {k}" for n, k in signals.items()),),
        data={"session": str(session), "symbols": len(seen.here), "signals": signals, "data_digest": seen.data_digest},
    )  # fmt: skip
