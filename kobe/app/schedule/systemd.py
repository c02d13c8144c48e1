"""Units for systemd: a timer that knows New York's clocks, what it starts, and the long-running runner instead."""

import re

from kobe.app.schedule.entries import RUN_LIMIT_H, ExportedFile, Group, Plan, grouped, spans
from kobe.core.errors import ExitCode

ONCE, RUN = "kobe-once", "kobe-run"
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
BEATS_MISSED = 4  # the runner is held for dead after so many heartbeats that did not come
PLAIN = re.compile(r"[A-Za-z0-9_@%+=:,./-]+")

HARDENING = """\
UMask=0077
NoNewPrivileges=yes
CapabilityBoundingSet=
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
# no MemoryDenyWriteExecute: the kernels are compiled as they are needed
"""


def systemd_files(plan: Plan) -> tuple[ExportedFile, ...]:
    """Write service and timer of `kobe run --once`, and the service of the runner; one of the two is installed."""
    head = f"# {plan.origin}\n"
    return (
        ExportedFile(name=f"{ONCE}.service", text=head + _once(plan)),
        ExportedFile(name=f"{ONCE}.timer", text=head + _timer(plan)),
        ExportedFile(name=f"{RUN}.service", text=head + _runner(plan)),
    )


def on_calendar(group: Group, zone: str) -> str:
    """Return a calendar event of systemd with its zone."""
    days = ",".join(DAYS[a] if a == b else f"{DAYS[a]}..{DAYS[b]}" for a, b in spans(group.days))
    hours, minutes = (",".join(f"{n:02d}" for n in numbers) for numbers in (group.hours, group.minutes))
    return f"{days} *-*-* {hours}:{minutes}:00 {zone}"


def quoted(word: str) -> str:
    """Return a word as systemd reads it: percent and dollar signs doubled, quotes where they are needed."""
    safe = word.replace("%", "%%").replace("$", "$$")
    return safe if PLAIN.fullmatch(word) else '"' + safe.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _path(path: str) -> str:
    """Return a path or a variable's assignment; dollar signs mean nothing there."""
    return quoted(path).replace("$$", "$")


def _timer(plan: Plan) -> str:
    events = "\n".join(f"OnCalendar={on_calendar(g, plan.wake_ups.zone)}" for g in grouped(plan.wake_ups.minutes))
    return f"""\
[Unit]
Description=wakes kobe at every slot of the New York day

[Timer]
# {plan.wake_ups.words}; half days are in it
{events}
AccuracySec=1s
# a wake-up missed while the machine was off comes after the start; kobe knows what is then too late
Persistent=true
Unit={ONCE}.service

[Install]
WantedBy=timers.target
"""


def _once(plan: Plan) -> str:
    return f"""\
[Unit]
Description=kobe: what is due now, then leave
Wants=network-online.target
After=network-online.target time-sync.target

[Service]
Type=oneshot
ExecStart={" ".join(quoted(word) for word in plan.words)}
# learning takes hours; what still runs then must not meet the next morning
TimeoutStartSec={RUN_LIMIT_H}h
{_place(plan)}"""


def _runner(plan: Plan) -> str:
    words = [word for word in plan.words if word != "--once"]
    dead_s = max(60, round(BEATS_MISSED * plan.heartbeat_s))
    stop_s = round(plan.stop_grace_s) + 30
    return f"""\
[Unit]
Description=kobe: the New York day, session after session
Wants=network-online.target
After=network-online.target time-sync.target
# one or the other: the runner needs no timer
Conflicts={ONCE}.timer
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
# the runner alone is asked to stop: it gives the job that runs its grace
KillMode=mixed
ExecStart={" ".join(quoted(word) for word in words)}
# read the settings again
ExecReload=/bin/kill -HUP $MAINPID
# {BEATS_MISSED} heartbeats of schedule.heartbeat_s, at least a minute
WatchdogSec={dead_s}s
# schedule.stop_grace_s and half a minute to write things down
TimeoutStopSec={stop_s}s
SuccessExitStatus={int(ExitCode.TERMINATED)}
Restart=on-failure
RestartSec=30s
# settings that cannot be used and damaged records are a person's to mend
RestartPreventExitStatus={int(ExitCode.CONFIG)} {int(ExitCode.INTEGRITY)}
{_place(plan)}
[Install]
WantedBy=multi-user.target
"""


def _place(plan: Plan) -> str:
    """Return who runs it and what it may touch; caches live in the home, because nothing else can be written."""
    cache = _path(f"XDG_CACHE_HOME={plan.home}/cache")
    writable = " ".join(_path(folder) for folder in (plan.home, *plan.writable))
    return f"User={plan.user}\nEnvironment={cache}\nReadWritePaths={writable}\n{HARDENING}"
