"""Telling people: channels, test, delivery, dead letters, and the bot that answers them."""

from typing import TYPE_CHECKING, Annotated

import typer

from kobe.interfaces.cli.shell import DryRun, Json, execute

if TYPE_CHECKING:
    from kobe.app.context import Context
    from kobe.app.output import Document

app = typer.Typer(no_args_is_help=True, help="Messages to people and their channels.", rich_markup_mode=None)
dead_app = typer.Typer(no_args_is_help=True, help="Messages that did not arrive.", rich_markup_mode=None)
app.add_typer(dead_app, name="dead")

Ids = Annotated[list[int] | None, typer.Argument(help="Numbers from `kobe notify dead list`.")]
Everything = Annotated[bool, typer.Option("--all", help="Every dead letter.")]


@app.command("list")
def notify_list(json: Json = False) -> None:
    """Show the channels: ready or why not, breaker, error budget, what waits; leaves with 7 where one needs a look.

    Example: kobe notify list
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.notify_commands import run_notify_list

        return run_notify_list(ctx)

    execute(use_case, json=json)


@app.command("test")
def notify_test(
    channel: Annotated[str | None, typer.Argument(help="Its name; default: every channel.")] = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Send a test message at once; leaves with 7 where a channel did not take it.

    Example: kobe notify test telegram
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.notify_commands import run_notify_test

        return run_notify_test(ctx, channel, dry_run=dry_run)

    execute(use_case, json=json)


@app.command("deliver")
def notify_deliver(dry_run: DryRun = False, json: Json = False) -> None:
    """Send what is due now, as the runner does all day; leaves with 7 where a due message did not leave.

    Example: kobe notify deliver
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.notify_commands import run_notify_deliver

        return run_notify_deliver(ctx, dry_run=dry_run)

    execute(use_case, json=json)


@dead_app.command("list")
def dead_list(json: Json = False) -> None:
    """Show the messages that were refused, given up, or may or may not have arrived.

    Example: kobe notify dead list
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.notify_commands import run_dead_list

        return run_dead_list(ctx)

    execute(use_case, json=json)


@dead_app.command("retry")
def dead_retry(ids: Ids = None, everything: Everything = False, dry_run: DryRun = False, json: Json = False) -> None:
    """Let dead letters wait for delivery again; one that may have arrived is marked "(maybe again)".

    Example: kobe notify dead retry 12 13
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.notify_commands import run_dead_settle

        return run_dead_settle(ctx, ids or [], retry=True, everything=everything, dry_run=dry_run)

    execute(use_case, json=json)


@dead_app.command("drop")
def dead_drop(ids: Ids = None, everything: Everything = False, dry_run: DryRun = False, json: Json = False) -> None:
    """Give dead letters up for good; the audit chain keeps which.

    Example: kobe notify dead drop --all --dry-run
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.notify_commands import run_dead_settle

        return run_dead_settle(ctx, ids or [], retry=False, everything=everything, dry_run=dry_run)

    execute(use_case, json=json)


def bot(
    once: Annotated[bool, typer.Option("--once", help="Answer what waits and leave; for cron.")] = False,
    json: Json = False,
) -> None:
    """Answer questions from Telegram until told to stop; only chats of the settings are answered.

    Example: kobe bot
    """

    def use_case(ctx: "Context") -> "Document":
        from kobe.app.bot.polling import run_bot

        return run_bot(ctx, once=once)

    execute(use_case, json=json)


def register(root: typer.Typer) -> None:
    """Put the commands of this file on the root."""
    root.add_typer(app, name="notify")
    root.command()(bot)
