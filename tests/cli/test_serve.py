"""The small service over real HTTP: what it answers, whom, and how it ends."""

import os
import re
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kit.home import copy_home

from kobe.app import wiring
from kobe.core.errors import ConfigError
from kobe.interfaces.http.server import serve

PAGES = ("/health", "/ready", "/metrics", "/status")
PROMISED = ("content-security-policy", "x-content-type-options", "x-frame-options", "cache-control")
TOKEN = "a-token-of-the-tests-0123456789"


@contextmanager
def serving(home, *words, **variables):
    """Run `kobe serve` and give its port."""
    command = [sys.executable, "-m", "kobe", "--home", str(home), "serve", "--port", "0", *words]
    environment = {**os.environ, "KOBE_SERVICE__REQUESTS_PER_MINUTE": "100000", **variables}
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            line = process.stderr.readline()
            found = re.search(r"listening at http://\S+:(\d+):", line)
            assert found, line + process.stderr.read()
            yield process, int(found[1])
        finally:
            process.kill()


@pytest.fixture(scope="module")
def served(made_home, tmp_path_factory):
    home = copy_home(made_home, tmp_path_factory.mktemp("served") / "home")
    with serving(home) as (_, port), socket.create_connection(("127.0.0.1", port), timeout=20) as slow:
        slow.sendall(b"GET /health HTTP/1.1\r\nHost: local")
        yield slow, port


def ask(port, path, method="GET", body=None, headers=None):
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(method, path, body=body, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read().decode()
    finally:
        connection.close()


def raw(port, content):
    """Send bytes and return everything that comes back."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as line:
        line.sendall(content)
        found = b""
        try:
            while part := line.recv(65536):
                found += part
        except ConnectionResetError:
            pass
        return found


def test_each_page_answers_with_the_headers_that_protect_it(served):
    _, port = served
    kinds = {"/health": "application/json", "/ready": "application/json", "/metrics": "text/plain",
             "/status": "text/html"}  # fmt: skip
    for path in PAGES:
        status, headers, body = ask(port, path)
        assert status == (503 if path == "/health" else 200), "its bars are of years ago: stale"
        assert headers["content-type"].startswith(kinds[path])
        assert all(headers[name] for name in PROMISED)
        assert "server" not in headers
        assert int(headers["content-length"]) == len(body.encode())
    assert '"exit_code": 4' in ask(port, "/health")[2]
    assert "kobe_mode 0" in ask(port, "/metrics")[2]


def test_the_status_page_needs_no_script_loads_itself_again_and_its_policy_fits_its_style(served):
    from base64 import b64encode
    from hashlib import sha256

    _, headers, page = ask(served[1], "/status")
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)[1]
    assert f"sha256-{b64encode(sha256(style.encode()).digest()).decode()}" in headers["content-security-policy"]
    assert '<meta http-equiv="refresh" content="15">' in page
    assert "<script" not in page
    assert "style=" not in page.partition("</style>")[2]
    assert "the newest bar is of 2024-12-31" in page


def test_head_has_the_length_and_no_body_and_nothing_but_reading_is_allowed(served):
    _, port = served
    for path in ("/ready", "/status"):
        status, headers, body = ask(port, path, "HEAD")
        assert (status, body) == (200, "")
        assert int(headers["content-length"]) > 0
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "FOO"):
        status, headers, body = ask(port, "/health", method)
        assert (status, headers["allow"]) == (405, "GET, HEAD")
        assert '"method_not_allowed"' in body


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/", {}, 404),
        ("/health/", {}, 404),
        ("/docs", {}, 404),
        ("/openapi.json", {}, 404),
        ("/health", {"Host": "evil.example"}, 421),
        ("/ready", {"Host": "localhost:1"}, 200),
        ("/ready", {"Host": "[::1]:80"}, 200),
        ("/health", {"Content-Length": "5000"}, 413),
        ("/health", {"Content-Length": "9" * 18}, 411),
        ("/health", {"Transfer-Encoding": "chunked"}, 411),
    ],
)
def test_what_is_refused_and_how(served, path, headers, status):
    found, told, body = ask(served[1], path, headers=headers)
    assert found == status
    assert all(told[name] for name in PROMISED)
    if status != 200:
        assert body.startswith('{"schema": "kobe.error/1", "error": ')


HEADER = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(st.sampled_from(PAGES), st.text(max_size=30).map(lambda t: "/" + t)),
    st.dictionaries(st.sampled_from(["Host", "Authorization", "Content-Length", "X", "Accept", "Cookie"]), HEADER),
    st.sampled_from(["GET", "HEAD", "POST", "get", "G\x00T", ""]),
)
def test_whatever_is_sent_it_answers_with_a_number_it_knows_and_lives(served, path, headers, method):
    _, port = served
    lines = [f"{method} {path} HTTP/1.1", *(f"{k}: {v}" for k, v in {"Host": "localhost", **headers}.items()), "", ""]
    answer = raw(port, "\r\n".join(lines).encode("utf-8", errors="surrogatepass"))
    assert re.match(rb"HTTP/1\.1 (200|400|401|404|405|411|413|421|503) ", answer), answer[:80]
    assert b"Traceback" not in answer
    assert b"nosniff" in answer


def test_many_ask_at_once_and_a_guest_that_says_nothing_is_hung_up_on(served):
    slow, port = served
    with ThreadPoolExecutor(16) as pool:
        found = [s for s, _, _ in pool.map(lambda k: ask(port, PAGES[1 + k % 3]), range(96))]
    assert found == [200] * 96
    assert slow.recv(1) == b"", "half a request, and the line was closed"


def test_a_token_opens_an_address_that_others_reach_and_sigterm_ends_it_cleanly(home):
    with serving(home, "--host", "0.0.0.0", KOBE_SERVICE_TOKEN=TOKEN, KOBE_SERVICE__REQUESTS_PER_MINUTE="5") as (
        process,
        port,
    ):
        for wrong in ({}, {"Authorization": f"Bearer {TOKEN[:-1]}"}, {"Authorization": f"Basic {TOKEN}"}):
            status, headers, body = ask(port, "/status", headers=wrong)
            assert (status, headers["www-authenticate"]) == (401, "Bearer")
            assert TOKEN not in body
        right = {"Authorization": f"Bearer {TOKEN}", "Host": "any.example"}
        found = [ask(port, "/ready", headers=right) for _ in range(3)]
        assert [status for status, _, _ in found] == [200, 200, 429], "five of a minute, wrong ones counted"
        assert found[-1][1]["retry-after"]
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 143
    assert (out.strip(), err) == ("Service stopped", "")


def test_an_address_that_others_reach_is_refused_without_a_token_and_a_short_one_is_none(home, monkeypatch):
    monkeypatch.delenv("KOBE_SERVICE_TOKEN", raising=False)
    ctx = wiring.build(home)
    for host in ("0.0.0.0", "::", "10.0.0.1", "example.com"):
        with pytest.raises(ConfigError, match="needs a token"):
            serve(ctx, host, 0)
    (home / ".env").write_text("KOBE_SERVICE_TOKEN=short\n")
    with pytest.raises(ConfigError, match="too short") as told:
        serve(ctx, "127.0.0.1", 0)
    assert "short" not in str(told.value.seen).replace("5 letters", "")


def test_a_port_in_use_and_a_missing_extra_are_said(home, monkeypatch):
    ctx = wiring.build(home)
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(ConfigError, match="cannot be listened at"),
    ):
        serve(ctx, None, taken.getsockname()[1])
    monkeypatch.setitem(sys.modules, "fastapi", None)
    with pytest.raises(ConfigError, match=r"pip install 'kobe\[service\]'"):
        serve(ctx, None, 0)
