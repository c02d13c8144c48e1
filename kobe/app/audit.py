"""`kobe audit verify`: is the record of every decision and order whole?"""

from dataclasses import asdict

from kobe.app.context import Context
from kobe.core.errors import ExitCode
from kobe.infra.records.audit_verify import verify
from kobe.reports.document import Document


def run_audit_verify(ctx: Context) -> Document:
    """Walk the chain from its first record to its anchored head."""
    report = verify(ctx.paths.audit)
    if report.ok:
        summary = f"{report.records:,} records, every hash follows; head {report.head_hash[:16]}"
    else:
        summary = f"DAMAGED: {report.problem} at record {report.first_bad_seq}: {report.detail}"
    return Document(
        schema="kobe.audit_verify/1",
        title=f"Audit chain at {ctx.paths.audit}",
        summary=(summary,),
        data=asdict(report),
        exit_code=ExitCode.OK if report.ok else ExitCode.INTEGRITY,
    )
