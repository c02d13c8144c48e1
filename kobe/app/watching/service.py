"""What the small service answers, and whom: pages made of facts that are a second old at most, behind a door.

It only ever reads. What does not need to be known by the door of HTTP is decided here and tested without it.
"""

import hashlib
import hmac
import ipaddress
import json
import re
import threading
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from kobe.app import notify
from kobe.app.context import Context
from kobe.app.status import run_status
from kobe.app.watching import alerts, health, metrics, watch_facts
from kobe.app.watching.watch_facts import Facts
from kobe.core.errors import ConfigError, ExitCode, KobeError
from kobe.infra.exposition import CONTENT_TYPE
from kobe.infra.serving import GuestRates, Kept
from kobe.reports.document import Section
from kobe.reports.render import html, terminal

TOKEN = "KOBE_SERVICE_TOKEN"  # noqa: S105 - the name of the variable that holds it
LEAST_TOKEN = 16
KEPT_S = 1.0
MOST_BODY_BYTES = 1024
METHODS = ("GET", "HEAD")
JSON_TYPE, HTML_TYPE = "application/json", "text/html; charset=utf-8"
HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
"""On every answer, refusals included."""
_STYLE = re.compile(r"<style>(.*?)</style>", re.DOTALL)
_CHARSET = '<meta charset="utf-8">'


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What goes back: the number, the kind of content, the content, and headers besides `HEADERS`."""

    status: int
    kind: str
    content: bytes
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What came in, as far as the door looks at it."""

    method: str
    guest: str
    host: str = ""
    authorization: str = ""
    body_bytes: int | None = 0
    """Of the body as it is announced; None: a body of unknown length."""


@dataclass(frozen=True)
class Service:
    """One home behind a door.

    Attributes:
        ctx: context; its ledger may be read by many threads.
        token: what a guest must bring; empty: whoever reaches the loopback address is let in.
        rates: requests each guest has left.
        quick, whole, page: facts without and with the bars, and the status page; one thread at a time makes them.
    """

    ctx: Context
    token: str
    rates: GuestRates
    quick: Kept[Facts]
    whole: Kept[Facts]
    page: Kept[str]

    def refusal(self, asked: Asked) -> Answer | None:
        """Say why a request is not answered, or None; the cheapest question comes first."""
        if asked.method not in METHODS:
            return error(405, "method_not_allowed", "this service only reads", {"allow": ", ".join(METHODS)})
        if not self.rates.admits(asked.guest):
            return error(429, "too_many_requests", "too many requests in a minute", {"retry-after": "10"})
        if asked.body_bytes is None:
            return error(411, "length_required", "a body needs its length, and none is wanted")
        if asked.body_bytes > MOST_BODY_BYTES:
            return error(413, "body_too_large", f"at most {MOST_BODY_BYTES} bytes, and none is wanted")
        if not self.token:
            return None if is_loopback(_name_of(asked.host)) else error(
                421, "misdirected", "ask for the loopback address by its own name"
            )  # fmt: skip
        if not hmac.compare_digest(asked.authorization.encode(), f"Bearer {self.token}".encode()):
            return error(401, "unauthorized", "a bearer token is needed", {"www-authenticate": "Bearer"})
        return None

    def answer(self, path: str) -> Answer:
        """Return the page of a path; records that cannot be read are 503."""
        page = PAGES.get(path)
        if page is None:
            return error(404, "not_found", f"there is {', '.join(PAGES)}")
        try:
            return page(self)
        except KobeError as fault:
            return error(503, fault.code, fault.what)

    def health(self) -> Answer:
        """200 while the home is healthy, else 503; the body says why."""
        try:
            document = health.of_facts(self.ctx, self.quick())
        except KobeError as fault:
            document = health.of_fault(self.ctx, fault)
        status = 200 if document.exit_code is ExitCode.OK else 503
        return _answer(status, JSON_TYPE, terminal.as_json(document) + "\n")

    def ready(self) -> Answer:
        """200 as soon as records can be read; what they say does not matter."""
        self.quick()
        return _answer(200, JSON_TYPE, '{"ready": true}\n')

    def metrics(self) -> Answer:
        """The numbers for Prometheus."""
        return _answer(200, CONTENT_TYPE, metrics.render(self.whole()))

    def status(self) -> Answer:
        """The status page with the alerts on top, loading itself again after a while."""
        page = self.page()
        style = _STYLE.search(page)
        digest = b64encode(hashlib.sha256(style[1].encode()).digest()).decode() if style else ""
        policy = HEADERS["content-security-policy"] + (f"; style-src 'sha256-{digest}'" if digest else "")
        again = f'{_CHARSET}\n<meta http-equiv="refresh" content="{self.ctx.settings.service.refresh_s}">'
        found = _answer(200, HTML_TYPE, page.replace(_CHARSET, again, 1))
        return replace(found, headers={"content-security-policy": policy})


PAGES: dict[str, Callable[[Service], Answer]] = {
    "/health": Service.health,
    "/ready": Service.ready,
    "/metrics": Service.metrics,
    "/status": Service.status,
}
"""Every path; one line adds one."""


def build(ctx: Context, host: str) -> Service:
    """Make the service for an address it is to listen at.

    Raises:
        ConfigError: others could reach the address and there is no token, or it is short enough to be guessed.
    """
    token = notify.variables(ctx.paths).get(TOKEN, "").strip()
    if not token and not is_loopback(host):
        raise ConfigError(
            "an address that others reach needs a token", seen=host, expected=f"{TOKEN} in the environment or .env",
            next_command="kobe serve --host 127.0.0.1",
        )  # fmt: skip
    if token and len(token) < LEAST_TOKEN:
        raise ConfigError(f"{TOKEN} is too short", seen=f"{len(token)} letters", expected=f"at least {LEAST_TOKEN}")
    one_at_a_time = threading.RLock()  # the folds of a context are one thread's work
    quick = Kept(lambda: watch_facts.collect(ctx), KEPT_S, lock=one_at_a_time)
    return Service(
        ctx=ctx, token=token, rates=GuestRates(ctx.settings.service.requests_per_minute), quick=quick,
        whole=Kept(lambda: watch_facts.collect(ctx, bars=True), KEPT_S, lock=one_at_a_time),
        page=Kept(lambda: _page(ctx, quick()), KEPT_S, lock=one_at_a_time),
    )  # fmt: skip


def _page(ctx: Context, facts: Facts) -> str:
    document = run_status(ctx, write=False)
    lines = tuple(f"{a.severity.word}: {a.words}; next: {a.remedy}" for a in alerts.evaluate(ctx, facts))
    told = Section(title="Alerts", lines=lines or ("none",), boxed=bool(lines))
    return html.render(replace(document, sections=(told, *document.sections)))


def is_loopback(host: str) -> bool:
    """Say whether a name or address is this machine's own."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _name_of(host: str) -> str:
    """Return a Host header without its port: a page elsewhere may point its own name at this address."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if host.count(":") == 1 else host


def error(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> Answer:
    """Return a refusal or a fault as JSON."""
    told = json.dumps({"schema": "kobe.error/1", "error": {"code": code, "message": message}})
    return replace(_answer(status, JSON_TYPE, told + "\n"), headers=dict(headers or {}))


def _answer(status: int, kind: str, text: str) -> Answer:
    return Answer(status=status, kind=kind, content=text.encode(), headers={})
