"""Watching: health, alerts, odd values, numbers, and the small service."""

from typing import TYPE_CHECKING, Annotated

import typer

from kobe.interfaces.cli.shell import AsOf, DryRun, Json, Session, execute

if TYPE_CHECKING:
    from kobe.app.context import Context
    from kobe.app.output import Document

alerts_app = typer.Typer(no_args_is_help=True, help="What may be wrong, and what is.", rich_markup_mode=None)


def health(as_of: AsOf = None, json: Json = False) -> None:
    """Say whether this home does what it should; quick, and nobody is asked over the network.

    Leaves with 0 healthy, 7 degraded, 4 stale bars, 6 stopped on purpose, 8 records damaged.

    Example: kobe health --json
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.watching.health import run_health

        return run_health(ctx)

    execute(use_case, json=json, as_of=as_of)


def anomalies(session: Session = None, as_of: AsOf = None, json: Json = False) -> None:
    """Show odd returns, volumes, ranges and spreads of what is held, picked and the market, and data that grew old.

    Example: kobe anomalies --session 2020-03-09
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.watching.anomalies import run_anomalies

        return run_anomalies(ctx, session)

    execute(use_case, json=json, as_of=as_of)


@alerts_app.command("list")
def alerts_list(as_of: AsOf = None, json: Json = False) -> None:
    """List every alert there can be, and since when those that began last time stand.

    Example: kobe alerts list
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.watching.alerts import run_alerts_list

        return run_alerts_list(ctx)

    execute(use_case, json=json, as_of=as_of)


@alerts_app.command("check")
def alerts_check(dry_run: DryRun = False, as_of: AsOf = None, json: Json = False) -> None:
    """Look at everything now; what began and what ended is told and remembered once.

    Example: kobe alerts check --dry-run
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.watching.alerts import run_alerts_check

        return run_alerts_check(ctx, None if dry_run else ctx.notifier.tell)

    execute(use_case, json=json, as_of=as_of)


def metrics(
    write: Annotated[
        str, typer.Option("--write", metavar="FILE", help="Also write them for node_exporter, as NAME.prom.")
    ] = "",
    as_of: AsOf = None,
    json: Json = False,
) -> None:
    """Show the numbers of this home as Prometheus gets them.

    Example: kobe metrics --write metrics/kobe.prom
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.watching.metrics import run_metrics

        return run_metrics(ctx, write)

    execute(use_case, json=json, as_of=as_of)


def serve(
    host: Annotated[
        str | None, typer.Option(help="Else service.host; one that others reach needs KOBE_SERVICE_TOKEN.")
    ] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Else service.port; 0 is any free one.")] = None,
    json: Json = False,
) -> None:
    """Serve /health, /ready, /metrics and /status on this machine until told to stop; it only reads.

    Example: kobe serve --port 8787
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.interfaces.http.server import serve as listen

        return listen(ctx, host, port)

    execute(use_case, json=json)


def register(app: typer.Typer) -> None:
    """Put the commands of this file on the root."""
    app.command()(health)
    app.command()(anomalies)
    app.add_typer(alerts_app, name="alerts")
    app.command()(metrics)
    app.command()(serve)
