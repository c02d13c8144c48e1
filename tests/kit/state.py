"""A small state folder with everything a home keeps, for the tests of backups; nothing here knows what it is about."""

from contextlib import closing
from pathlib import Path

from kobe.infra.clock import SystemClock
from kobe.infra.records.audit import AuditChain
from kobe.infra.records.ledger import SqlLedger


def make_state(state: Path, events: int = 30, word: str = "made") -> None:
    """Write two ledgers, an audit chain, models, keys and what does not belong into a backup."""
    with closing(SqlLedger(state / "kobe.db", SystemClock())) as ledger, ledger.exclusive():
        for number in range(events):
            ledger.append("things", f"e{number % 3}", word, {"n": number, "text": "x" * 300}, key=str(number))
    with closing(SqlLedger(state / "other.db", SystemClock())) as ledger:
        ledger.append("cash", "a", word, {}, key="1")
    chain = AuditChain(state / "audit", SystemClock(), "run")
    for number in range(events):
        chain.append(word, {"n": number})
    keys = state / "keys"
    keys.mkdir(mode=0o700)
    (keys / "secret.key").write_text("0" * 64)
    (keys / "secret.key").chmod(0o600)
    (state / "models" / "m1").mkdir(parents=True)
    (state / "models" / "m1" / "card.json").write_text(f'{{"word": "{word}"}}')
    (state / "locks").mkdir()
    (state / "locks" / "job.holder.json").write_text("{}")


def content_of(state: Path) -> dict[str, object]:
    """Return all that a state holds: events of both ledgers, audit lines, files."""
    told: dict[str, object] = {}
    for name in ("kobe.db", "other.db"):
        with closing(SqlLedger(state / name, SystemClock(), read_only=True)) as ledger:
            ledger.check()
            told[name] = list(ledger.copy_out())
    told["audit"] = (state / "audit" / "audit.jsonl").read_bytes()
    told["models"] = (state / "models" / "m1" / "card.json").read_text()
    return told
