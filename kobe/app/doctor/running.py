"""Checks of the doctor: keys, broker, messages, timetable and switches."""

from collections.abc import Mapping
from datetime import date, timedelta

from kobe.app import desk, notify
from kobe.app.context import Context
from kobe.app.day import runs
from kobe.app.doctor.finding import Finding, fail, has_run, ok, warn
from kobe.app.jobs import remedy
from kobe.app.operation_settings import ChannelSettings
from kobe.app.secret_names import BROKER_KEY, BROKER_SECRET, SECRETS, told
from kobe.app.start_up import BINDING
from kobe.app.watching import alerts, heartbeat, service, watch_facts
from kobe.core.errors import ExitCode
from kobe.core.types import Mode

PREFIXES = {"paper": "PK", "live": "AK"}
KEY_LENGTHS, SECRET_LENGTHS = range(16, 33), range(36, 65)
PROVIDER_KEYS = {"polygon": ("POLYGON_API_KEY",), "alpaca": (BROKER_KEY, BROKER_SECRET)}
SILENT_BEATS = 4
IDLE_SESSIONS = 1
OF_POSITIONS = ("unprotected", "exit_overdue", "order_unknown", "books_differ")
CHANNEL_NEEDS = {"telegram": ("chat_id",), "email": ("host", "from", "to"), "webhook": ("url",)}
_ENV = ".env of the home, or the environment; see .env.example"


def keys(ctx: Context) -> list[Finding]:
    """Are the keys there that the settings ask for, and do they look like such keys? Their values are never shown."""
    given = notify.variables(ctx.paths)
    found = _broker_keys(ctx, given) if ctx.settings.run.mode != "sim" else []
    found += _provider_keys(ctx, given)
    host = ctx.settings.service.host
    if not service.is_loopback(host) and not told(service.TOKEN, given):
        found.append(fail(f"kobe serve listens at {host} and {service.TOKEN} is not set", _ENV, ExitCode.CONFIG))
    return found or [ok("the settings ask for none")]


def _broker_keys(ctx: Context, given: Mapping[str, str]) -> list[Finding]:
    mode = ctx.settings.run.mode
    key, secret = told(BROKER_KEY, given), told(BROKER_SECRET, given)
    missing = [name for name, value in ((BROKER_KEY, key), (BROKER_SECRET, secret)) if not value]
    if missing:
        return [fail(f"not set: {', '.join(missing)}", _ENV, ExitCode.CONFIG)]
    fault = "" if ctx.settings.broker.base_url else shape_fault(mode, key, secret)
    if key == secret:
        fault = "key and secret are the same"
    if fault:
        return [fail(fault, _ENV, ExitCode.CONFIG)]
    twice = [s.name for s in SECRETS if len({given[n] for n in (s.name, *s.aliases) if given.get(n)}) > 1]
    if twice:
        return [warn(f"{', '.join(twice)} is told under two names with two values", _ENV)]
    return [ok(f"{mode} keys: {len(key)} and {len(secret)} characters")]


def _provider_keys(ctx: Context, given: Mapping[str, str]) -> list[Finding]:
    """Look whether bars can be fetched, where the timetable does: one provider that answers is enough."""
    asked = ctx.settings.data.providers if ctx.settings.schedule.fetch else ()
    lacking = {name: [v for v in PROVIDER_KEYS.get(name, ()) if not told(v, given)] for name in asked}
    without = {name: variables for name, variables in lacking.items() if variables}
    if not without:
        return []
    seen = "; ".join(f"{name} needs {', '.join(variables)}" for name, variables in without.items())
    return [fail(seen, _ENV, ExitCode.CONFIG) if len(without) == len(lacking) else warn(seen, _ENV)]


def shape_fault(mode: str, key: str, secret: str) -> str:
    """Return what is odd about a pair of keys, in words that hold none of their letters; empty where nothing is."""
    if secret[:2] in PREFIXES.values() and len(secret) in KEY_LENGTHS and len(key) in SECRET_LENGTHS:
        return f"{BROKER_KEY} and {BROKER_SECRET} are swapped"
    if any(not c.isascii() or not c.isprintable() or c.isspace() for c in key + secret):
        return "a key holds blanks or letters no key has"
    belongs = next((name for name, prefix in PREFIXES.items() if key.startswith(prefix)), "unknown")
    if belongs != mode:
        return f"{BROKER_KEY} is of an {belongs} account, and run.mode is {mode}"
    if len(key) not in KEY_LENGTHS:
        return f"{BROKER_KEY} has {len(key)} characters; {KEY_LENGTHS[0]} to {KEY_LENGTHS[-1]} are usual"
    if len(secret) not in SECRET_LENGTHS:
        return f"{BROKER_SECRET} has {len(secret)} characters; {SECRET_LENGTHS[0]} to {SECRET_LENGTHS[-1]} are usual"
    return ""


def broker(ctx: Context) -> list[Finding]:
    """Does the broker answer, with the account of this home, and does its clock agree with ours?"""
    if ctx.settings.run.mode == "sim" and not ctx.paths.state.is_dir():
        return [ok("simulated; its books begin with the first order")]
    account = ctx.broker.account()
    found = [ok(f"{ctx.broker.name}: cash {account.cash_usd:.2f} $")]
    if account.blocked:
        return [fail("the broker has blocked the account", "ask the broker", ExitCode.REFUSED)]
    if ctx.settings.run.mode == "sim":
        return found
    bound = [e.payload["account_id"] for e in ctx.ledger.events(BINDING, entity=ctx.broker.environment)]
    expected = ctx.settings.broker.account_id or (bound[-1] if bound else account.account_id)
    if account.account_id != expected:
        found = [fail("another account answered than the one this home trades", "kobe broker account",
                      ExitCode.INTEGRITY)]  # fmt: skip
    before = ctx.clock.now()
    skew = (ctx.broker.now() - before).total_seconds()
    most = ctx.settings.risk.max_clock_skew_s
    if abs(skew) > most:
        seen = f"this machine's clock and the broker's differ by {abs(skew):.1f} s; {most:g} s are allowed"
        found.append(fail(seen, "set the clock of this machine right", ExitCode.CONFIG))
    return found


def channels(ctx: Context) -> list[Finding]:
    """Is somebody told, and is all there that each channel needs? Nothing is sent."""
    settings, given = ctx.settings.notify, notify.variables(ctx.paths)
    missing = [f"{one.called} needs {name}" for one in settings.channels for name in _absent(one, given)]
    if settings.bot.enabled and not given.get(settings.bot.secret):
        missing.append(f"kobe bot needs {settings.bot.secret}")
    if missing:
        return [fail("; ".join(missing), "config/kobe.toml, [notify]; secrets: .env of the home", ExitCode.CONFIG)]
    if not settings.channels:
        return [warn("nobody is told anything: no channel in [notify]", "kobe init --notify, docs/notifications.md")]
    return [ok(f"{', '.join(one.called for one in settings.channels)}; kobe notify test proves them")]


def _absent(channel: ChannelSettings, given: Mapping[str, str]) -> list[str]:
    """Return what a channel lacks: settings by their names, secrets by their variables."""
    fields = channel.model_dump(by_alias=True)
    lacking = [name for name in CHANNEL_NEEDS.get(channel.kind, ()) if not fields[name]]
    variable = channel.secret or notify.SECRETS[channel.kind]
    is_open = channel.kind == "email" and not channel.user  # a mail server that asks for no password
    return lacking + ([variable] if variable and not is_open and not given.get(variable) else [])


def schedule(ctx: Context) -> list[Finding]:
    """Does somebody run the day: the runner by its heartbeat, or the system's scheduler by what ran?"""
    now, beat = ctx.clock.now(), heartbeat.read(ctx)
    serious = ctx.settings.run.mode != "sim"
    if beat is not None:
        age, limit = beat.age_s(now), SILENT_BEATS * ctx.settings.schedule.heartbeat_s
        if age <= limit:
            return [ok(f"the runner is alive: process {beat.pid}, {age:.0f} s ago")]
        seen = f"the runner (process {beat.pid}) has been silent for {timedelta(seconds=round(age))}"
        return [fail(seen, "kobe run", ExitCode.EXTERNAL)]
    begun = runs.begun(ctx.ledger, ctx.today + timedelta(days=1))
    if not begun:
        seen = "nobody runs the day yet"
        remedy = "kobe run, or kobe schedule export"
        return [fail(seen, remedy, ExitCode.EXTERNAL) if serious and has_run(ctx) else warn(seen, remedy)]
    last = begun[-1]
    idle = len(ctx.calendar.between(last, ctx.calendar.last_complete(now))) - 1
    if idle <= IDLE_SESSIONS:
        return [ok(f"no runner; jobs of {last} ran")]
    seen = f"no runner, and nothing ran since {last}: {idle} sessions"
    remedy = "kobe run, or see whether the exported entries are installed"
    return [fail(seen, remedy, ExitCode.EXTERNAL) if serious else warn(seen, remedy)]


def jobs(ctx: Context) -> list[Finding]:
    """Did the last run of each job end well?"""
    bad = {*runs.BAD_ENDS, runs.GIVEN_UP}
    found = [
        warn(f"{job} of {session}: {status}: {detail}", remedy(ctx, job, date.fromisoformat(session), status))
        for job, session, status, detail in runs.last_runs(ctx.ledger, ctx.today)
        if status in bad
    ]
    return found or [ok("none failed")]


def positions(ctx: Context) -> list[Finding]:
    """Is what is held protected and in time, and does the broker agree? By the rules of `kobe health`."""
    if not ctx.paths.state.is_dir():
        return [ok("nothing is held yet")]
    standing = [a for a in alerts.evaluate(ctx, watch_facts.collect(ctx)) if a.name in OF_POSITIONS]
    return [fail(a.words, a.remedy, alerts.BY_NAME[a.name].health) for a in standing] or [
        ok("protected, in time, as the broker has it")
    ]


def switches(ctx: Context) -> list[Finding]:
    """May orders leave?"""
    if not ctx.paths.state.is_dir():
        return [ok("kill switch off, mode NORMAL")]
    reason = ctx.kill_switch.reason()
    if reason is not None:
        return [fail(f"the kill switch is on: {reason}", "kobe resume", ExitCode.REFUSED)]
    state = desk.current_mode(ctx)
    if state.mode is Mode.NORMAL:
        return [ok("kill switch off, mode NORMAL")]
    seen = f"mode {state.mode.name}: {state.why}"
    if state.mode <= Mode.REDUCED:
        return [warn(seen, "kobe mode show")]
    return [fail(seen, "kobe mode show, kobe reconcile", ExitCode.REFUSED)]
