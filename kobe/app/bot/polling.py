"""`kobe bot`: Telegram asks, kobe answers; an operator may also stop it, each order confirmed and on record.

How far it has read is durable before anything is done, so that no command is carried out twice; one that was being
carried out when the process died is not carried out again either, and its writer gets no answer.
"""

import secrets
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from types import FrameType

from kobe.app.bot import state as bot_state
from kobe.app.bot.answers import QUESTIONS, answer
from kobe.app.bot.orders import KILL, ORDERS
from kobe.app.bot.state import BotState
from kobe.app.context import Context
from kobe.app.notify import variables
from kobe.core.clock import SteppingClock
from kobe.core.errors import ConfigError, ExitCode, ExternalError, KobeError, UsageError
from kobe.infra.channels.telegram_bot import TelegramBot, Written
from kobe.infra.locks import Lease
from kobe.reports.document import Document

OLDEST = timedelta(seconds=60)
LONG_POLL_S = 25
LONGEST_PAUSE_S = 60.0


class _Stopped(BaseException):
    """SIGTERM came while nothing was being done."""


class _Signals:
    """Ends the loop at once while it only waits, and after the command while one is carried out."""

    def __init__(self) -> None:
        self.came = False
        self._waits = False

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        self.came = True
        if self._waits:
            raise _Stopped

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Mark the time in which nothing is being done."""
        self._waits = True
        try:
            if self.came:
                raise _Stopped
            yield
        finally:
            self._waits = False


def run_bot(ctx: Context, *, once: bool = False) -> Document:
    """Answer until SIGTERM; with `once`, answer what waits and return.

    Raises:
        ConfigError: the bot is off, has no token, or Telegram refuses it.
        ExternalError: another process runs the bot.
    """
    bot, handled, signals, pause_s = _bot(ctx), 0, _Signals(), 1.0
    with Lease(ctx.paths.locks, "bot", ctx.clock):
        if once:
            return _document(_poll(ctx, bot, 0, signals), ExitCode.OK)
        before = signal.signal(signal.SIGTERM, signals)
        try:
            while True:
                try:
                    handled += _poll(ctx, bot, LONG_POLL_S, signals)
                    pause_s = 1.0
                except ExternalError:
                    with signals.waiting():
                        ctx.wait(pause_s)
                    pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
        except _Stopped:
            return _document(handled, ExitCode.TERMINATED)
        finally:
            signal.signal(signal.SIGTERM, before)


def poll_once(ctx: Context) -> int:
    """Answer what waits and return how many commands were handled.

    Raises:
        ConfigError: the bot is off, has no token, or Telegram refuses it.
        ExternalError: Telegram is out of reach, or another process runs the bot.
    """
    bot = _bot(ctx)
    with Lease(ctx.paths.locks, "bot", ctx.clock):
        return _poll(ctx, bot, 0, _Signals())


def _bot(ctx: Context) -> TelegramBot:
    s = ctx.settings.notify.bot
    if not s.enabled:
        raise ConfigError("the bot is off", expected="notify.bot.enabled = true", next_command="kobe config show")
    if isinstance(ctx.clock, SteppingClock) and not s.base_url:
        raise UsageError("with a pretended time nothing leaves the machine", seen="--as-of")
    token = variables(ctx.paths).get(s.secret, "").strip()
    if not token:
        raise ConfigError("the bot has no token", seen=f"{s.secret} is not set", expected="in the environment or .env")
    return TelegramBot(token=token, base_url=s.base_url)


def _poll(ctx: Context, bot: TelegramBot, wait_s: int, signals: _Signals) -> int:
    state = bot_state.read(ctx.paths.state)
    with signals.waiting():
        written, offset = bot.written(state.offset, wait_s)
    handled = 0
    for each in written:
        state = replace(state, offset=each.update + 1)
        if each.chat not in ctx.settings.notify.bot.chats:
            state = _note_stranger(ctx, state, each)
            continue
        state, said = _handle(ctx, state, each)
        if said:
            handled += 1
            bot.say(each.chat, said, ctx.clock.now())
    if offset > state.offset or written:
        bot_state.write(ctx.paths.state, replace(state, offset=max(offset, state.offset)))
    return handled


def _note_stranger(ctx: Context, state: BotState, each: Written) -> BotState:
    """Give no answer; write down once that this chat tried."""
    if each.chat in state.strangers or len(state.strangers) >= bot_state.MOST_STRANGERS:
        return state
    state = replace(state, strangers=(*state.strangers, each.chat))
    bot_state.write(ctx.paths.state, state)
    ctx.audit.append("bot_stranger", {"chat": each.chat, "person": each.person})
    return state


def _handle(ctx: Context, state: BotState, each: Written) -> tuple[BotState, str]:
    """Do what one message asks; returns the state kept since and the answer, empty for what is no command."""
    first, *words = each.text.split() or [""]
    command = first.partition("@")[0].lower()
    if not command.startswith("/") or each.forwarded:
        bot_state.write(ctx.paths.state, state)
        return state, ""
    age = ctx.clock.now() - each.at
    if abs(age) > OLDEST:
        bot_state.write(ctx.paths.state, state)
        return state, f"{command} is {age.total_seconds():.0f} s old and was not carried out: write it again"
    if command in ORDERS:
        return _ask_back(ctx, state, each, command)
    if command == "/confirm":
        return _confirm(ctx, state, each, words[0] if words else "")
    bot_state.write(ctx.paths.state, state)
    return state, _answered(ctx, command, words)


def _answered(ctx: Context, command: str, words: list[str]) -> str:
    if command not in QUESTIONS:
        known = [f"{name} - {q.tells}" for name, q in QUESTIONS.items()]
        orders = [f"{name} - {o.does} (operators)" for name, o in ORDERS.items()]
        return "\n".join(["This bot of kobe knows:", *known, *orders])
    try:
        return answer(ctx, command, words)
    except KobeError as error:
        return error.message
    except Exception as error:  # noqa: BLE001 - the dispatch of the bot: one question that fails must not silence it
        return f"a fault in kobe: {type(error).__name__}; try it at the desk with --debug"


def _ask_back(ctx: Context, state: BotState, each: Written, command: str) -> tuple[BotState, str]:
    """Tell a fresh code, which confirms this command from this person in this chat for a minute."""
    if each.person not in ctx.settings.notify.bot.operators:
        bot_state.write(ctx.paths.state, state)
        _record(ctx, each, command, "refused: no operator")
        return state, f"{command} is for operators; you are {each.person}"
    code = f"{secrets.randbelow(1_000_000):06d}"
    state = state.asking(bot_state.asked_now(command, each.chat, each.person, code, ctx.clock.now()))
    bot_state.write(ctx.paths.state, state)
    _record(ctx, each, command, "asked")
    return state, f"{command}: {ORDERS[command].does}.\nTo do it, write within 60 seconds:\n/confirm {code}"


def _confirm(ctx: Context, state: BotState, each: Written, code: str) -> tuple[BotState, str]:
    """Carry out what waits if the code is right; right or wrong, it is good for one try."""
    asked = state.asked.get(str(each.chat))
    state = state.without(each.chat)
    bot_state.write(ctx.paths.state, state)
    operator = each.person in ctx.settings.notify.bot.operators
    if asked is None or not operator or not asked.is_confirmed(code, each.chat, each.person, ctx.clock.now()):
        _record(ctx, each, "/confirm", "refused: no such confirmation")
        return state, "nothing was done: no command waits for this code from you; ask for it again"
    who = f"person {each.person} in chat {each.chat}"
    unrecorded = _record(ctx, each, asked.command, "confirmed")
    if unrecorded and asked.command != KILL:  # stopping needs no record; everything else does
        return state, f"nothing was done: {unrecorded}"
    try:
        done = ORDERS[asked.command].carry_out(ctx, who)
    except KobeError as error:
        _record(ctx, each, asked.command, f"failed: {error.what}")
        return state, f"{asked.command} failed: {error.message}"
    _record(ctx, each, asked.command, "done")
    return state, done


def _record(ctx: Context, each: Written, command: str, outcome: str) -> str:
    """Write an operator's command to the audit chain; returns why that could not be done."""
    facts = {"command": command, "chat": each.chat, "person": each.person, "update": each.update, "outcome": outcome}
    try:
        ctx.audit.append("bot_command", facts)
    except KobeError as error:
        return f"not written to the audit chain: {error.message}"
    return ""


def _document(handled: int, code: ExitCode) -> Document:
    return Document(schema="kobe.bot/1", title="Bot stopped" if code else "Bot", summary=(f"{handled} answered",),
                    data={"handled": handled}, exit_code=code)  # fmt: skip
