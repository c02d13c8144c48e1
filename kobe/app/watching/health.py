"""`kobe health`: is this home doing what it should? Quick, from its own records, nobody is asked over the network.

    0 healthy    7 degraded    4 stale bars    6 stopped on purpose (kill switch, HALT)    8 records damaged

Of several the worst counts, in the order 8, 6, 4, 7.
"""

from kobe.app.context import Context
from kobe.app.watching import alerts, watch_facts
from kobe.app.watching.watch_facts import Facts
from kobe.core.errors import ExitCode, IntegrityError, KobeError
from kobe.core.messages import Severity
from kobe.reports import health
from kobe.reports.document import Cell, Document
from kobe.reports.health import Trouble


def run_health(ctx: Context) -> Document:
    """Judge the quick facts by the rules of the alerts; nothing is changed, told or asked.

    Records that cannot be read are an answer too, and no error.
    """
    try:
        return of_facts(ctx, watch_facts.collect(ctx))
    except KobeError as error:
        return of_fault(ctx, error)


def of_fault(ctx: Context, error: KobeError) -> Document:
    """Return the health of a home whose records cannot be read."""
    trouble = Trouble(
        name=error.code, words=error.what + (f": {error.seen}" if error.seen else ""),
        next_command=error.next_command or "kobe doctor",
        code=ExitCode.INTEGRITY if isinstance(error, IntegrityError) else ExitCode.PARTIAL,
    )  # fmt: skip
    return health.build(health.State(as_of=ctx.clock.now(), troubles=(trouble,), facts={}))


def of_facts(ctx: Context, facts: Facts) -> Document:
    """Return the health that some facts make."""
    troubles = [
        Trouble(name=a.name, words=a.words, next_command=a.remedy,
                code=ExitCode.OK if a.severity is Severity.INFO else alerts.BY_NAME[a.name].health)
        for a in alerts.evaluate(ctx, facts)
    ]  # fmt: skip
    return health.build(health.State(as_of=facts.now, troubles=troubles, facts=_told(facts)))


def _told(facts: Facts) -> dict[str, Cell]:
    age = facts.beat_age_s
    runner = "none" if facts.beat is None or age is None else f"{facts.beat.job or 'waits'}, beat {age:.0f} s ago"
    return {
        "trading": facts.run_mode,
        "mode": facts.mode.mode.name,
        "kill switch": facts.kill_reason or "off",
        "runner": runner,
        "bars": "unknown" if facts.bars is None else f"to {facts.bars.newest}",
        "model": facts.model_id or "none",
        "positions": facts.books.positions,
        "audit records": facts.audit_records,
    }
