"""The record of every decision and order: verify, show, prove, export, checkpoint, rotate, a clock accepted."""

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kobe.interfaces.cli import shell
from kobe.interfaces.cli.shell import Json, execute, parse_day

if TYPE_CHECKING:
    from kobe.app.context import Context
    from kobe.app.output import Document

app = typer.Typer(no_args_is_help=True, help="The hash-chained record.", rich_markup_mode=None)

Since = Annotated[
    date | None, typer.Option(parser=parse_day, metavar="DATE", help="From the beginning of this date in New York.")
]
Until = Annotated[
    date | None, typer.Option(parser=parse_day, metavar="DATE", help="To the end of this date in New York.")
]


@app.command("verify")
def verify(
    head: Annotated[
        str | None, typer.Option(metavar="SEQ:HASH", help="A head you kept, as the end-of-day report prints it.")
    ] = None,
    json: Json = False,
) -> None:
    """Walk the audit chain and name the first record that is not what it was; exit code 8 when there is one.

    Example: kobe audit verify --head 812:0f3a5b7c9d1e2f40
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.audit import run_audit_verify

        return run_audit_verify(ctx, head=head)

    execute(use_case, json=json)


@app.command("show")
def show(
    last: Annotated[int, typer.Option(min=1, max=1_000_000, help="So many of the newest records that fit.")] = 20,
    kind: Annotated[str | None, typer.Option(help="Only records of this kind, such as decision.")] = None,
    since: Since = None,
    contains: Annotated[str | None, typer.Option(help="Only records whose JSON holds this text.")] = None,
    json: Json = False,
) -> None:
    """Show records, oldest first.

    Example: kobe audit show --kind decision --since 2020-03-02 --contains AAPL
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.audit import ShowRequest, run_audit_show

        return run_audit_show(ctx, ShowRequest(last=last, kind=kind, since=since, contains=contains))

    execute(use_case, json=json)


@app.command("prove")
def prove(
    seq: Annotated[int, typer.Argument(min=1, help="Number of the record.")],
    out: Annotated[Path | None, typer.Option(help="File for the proof; it must not exist.")] = None,
    json: Json = False,
) -> None:
    """Prove to somebody without the chain that a record is in it.

    Example: kobe audit prove 812 --out proof-812.json
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.audit import run_audit_prove

        return run_audit_prove(ctx, seq, out)

    execute(use_case, json=json)


@app.command("check")
def check(
    file: Annotated[Path, typer.Argument(help="A proof, or the manifest of an export.")],
    key: Annotated[
        str | None, typer.Option(metavar="KEY", help="The public key it must be signed with: 64 hex digits, or a file.")
    ] = None,
    json: Json = False,
) -> None:
    """Check a proof or an export; it needs neither home nor chain. Exit code 8 when it proves nothing.

    Example: kobe audit check proof-812.json --key audit.pub
    """

    def run() -> "Document":
        from kobe.app.audit import run_audit_check

        return run_audit_check(file, key=key)

    shell.show(run, json=json)


@app.command("export")
def export(
    out: Annotated[Path, typer.Option(help="File for the records; it must not exist.")],
    since: Since = None,
    until: Until = None,
    json: Json = False,
) -> None:
    """Copy records byte for byte, with a signed manifest beside them.

    Example: kobe audit export --out audit-2020-03.jsonl --since 2020-03-01 --until 2020-03-31
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.audit import run_audit_export

        return run_audit_export(ctx, out, since=since, until=until)

    execute(use_case, json=json)


@app.command("checkpoint")
def checkpoint(
    renew: Annotated[
        str | None,
        typer.Option(metavar="REASON", help="Begin a new anchor, where the old one is lost; goes on record."),
    ] = None,
    json: Json = False,
) -> None:
    """Sign what the chain is now; that also happens by itself every 1,000 records.

    Example: kobe audit checkpoint
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.audit import run_audit_checkpoint

        return run_audit_checkpoint(ctx, renew=renew)

    execute(use_case, json=json)


@app.command("rotate")
def rotate(json: Json = False) -> None:
    """Close the chain's file and begin the next; that also happens by itself at 64 MB.

    Example: kobe audit rotate
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.audit import run_audit_rotate

        return run_audit_rotate(ctx)

    execute(use_case, json=json)


@app.command("accept-clock")
def accept_clock(
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why the clock was set back; goes on record.")],
    json: Json = False,
) -> None:
    """Put on record that a person knows why the clock was set back, so that the chain verifies again.

    Example: kobe audit accept-clock --reason "the time server stepped by 5 s"
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.audit import run_audit_accept_clock

        return run_audit_accept_clock(ctx, reason)

    execute(use_case, json=json)
