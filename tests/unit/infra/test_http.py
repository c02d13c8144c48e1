"""Safe reads: bounded, patient where told to be, one family of errors, nothing secret in any of them."""

import random
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from kit.market_server import MarketServer
from pytest_httpserver import HTTPServer

from kobe.core.clock import SteppingClock
from kobe.core.errors import ConfigError, ExternalError, MissingDataError, SchemaError
from kobe.infra.http import LONGEST_WAIT_S, HttpClient

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
SECRET = "Bearer s3cret-nobody-may-see"


@pytest.fixture
def server():
    with HTTPServer(host="127.0.0.1") as running:
        yield running


def client(server, **changes):
    clock = SteppingClock(NOW)
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock.advance(seconds=seconds)

    url = changes.pop("base_url", None) or server.url_for("").rstrip("/")
    given = {"base_url": url, "clock": clock, "sleep": sleep, "rng": random.Random(1),
             "headers": {"Authorization": SECRET}, "timeouts": (1.0, 1.0), **changes}  # fmt: skip
    return HttpClient(**given), slept


def test_a_good_answer_is_its_body_and_carries_the_key_in_its_header(server):
    server.expect_request("/x", query_string={"a": "1"}, headers={"Authorization": SECRET}).respond_with_data(b"body")
    asked, slept = client(server)
    assert asked.get("/x", {"a": 1}) == b"body"
    assert slept == []


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_passing_faults_are_asked_again_at_most_four_times_in_all(server, status):
    server.expect_request("/x").respond_with_data(b"no", status=status)
    asked, slept = client(server)
    with pytest.raises(ExternalError) as told:
        asked.get("/x")
    assert told.value.retryable
    assert len(server.log) == 4
    assert len(slept) == 3
    assert all(0 <= s <= 4.0 for s in slept)
    assert SECRET not in str(told.value)


@pytest.mark.parametrize(
    ("status", "error"),
    [(401, ConfigError), (403, ConfigError), (404, MissingDataError), (400, ExternalError), (418, ExternalError),
     (301, SchemaError)],
)  # fmt: skip
def test_answers_that_will_not_change_are_not_asked_again(server, status, error):
    server.expect_request("/x").respond_with_data(b"no", status=status, headers={"Location": "http://127.0.0.1:9/"})
    asked, _ = client(server)
    with pytest.raises(error) as told:
        asked.get("/x")
    assert len(server.log) == 1
    assert SECRET not in str(told.value)


@pytest.mark.parametrize(
    ("after", "least", "most"),
    [("9", 9, 14), (format_datetime(NOW + timedelta(seconds=20), usegmt=True), 20, 25), ("99999", 90, LONGEST_WAIT_S),
     ("soon", 0, 2), ("-5", 0, 2)],
)  # fmt: skip
def test_retry_after_is_obeyed_in_both_forms_and_never_for_ever(server, after, least, most):
    server.expect_ordered_request("/x").respond_with_data(b"", status=429, headers={"Retry-After": after})
    server.expect_ordered_request("/x").respond_with_data(b"good")
    asked, slept = client(server)
    assert asked.get("/x") == b"good"
    assert least <= slept[0] <= most


def test_a_body_cut_on_the_way_is_asked_for_again():
    with MarketServer({}, faults=["drop"]) as cutting:
        asked, slept = client(cutting, base_url=cutting.url)
        assert asked.get("/q/d/l/", {"s": "x.us", "d1": "20200102", "d2": "20200103"}) == b"No data"
    assert len(slept) == 1


def test_nobody_there_is_out_of_reach(server):
    asked, _ = client(server, base_url="http://127.0.0.1:9")
    with pytest.raises(ExternalError, match="ConnectError"):
        asked.get("/x")


def test_another_host_is_never_asked(server):
    asked, _ = client(server)
    here = server.url_for("").rstrip("/")
    for there in ("http://127.0.0.1:9/next?page=2", here.replace("http://", "http://me:key@") + "/x",
                  here + "@127.0.0.1:9/x", here.replace("http:", "https:") + "/x"):  # fmt: skip
        with pytest.raises(SchemaError, match=r"another host|no address") as told:
            asked.get(there)
        assert "key" not in str(told.value)
    assert server.log == []


def test_an_address_that_is_none_is_the_settings_fault(server):
    for base in ("nonsense", "ftp://127.0.0.1", "http://"):
        asked, _ = client(server, base_url=base)
        with pytest.raises(ConfigError, match="address"):
            asked.get("/x")


def test_a_key_in_the_address_is_in_no_error(server):
    asked, _ = client(server, base_url=server.url_for("").rstrip("/").replace("http://", "http://user:s3cret@"))
    server.expect_request("/x").respond_with_data(b"no", status=404)
    with pytest.raises(MissingDataError) as told:
        asked.get("/x", {"apiKey": "s3cret"})
    assert "s3cret" not in str(told.value) + repr(asked)


def test_an_answer_without_end_is_not_read_to_its_end(server):
    server.expect_request("/x").respond_with_data(b"x" * 5000)
    asked, _ = client(server, max_body_bytes=4999)
    with pytest.raises(SchemaError, match="too large"):
        asked.get("/x")
    assert len(client(server, max_body_bytes=5000)[0].get("/x")) == 5000


def test_an_answer_that_trickles_is_given_up_and_asked_for_again(server):
    server.expect_request("/x").respond_with_data(b"slow")

    class Leaping(SteppingClock):
        def now(self):
            self.instant += timedelta(seconds=121)
            return self.instant

    asked, _ = client(server, clock=Leaping(NOW), sleep=lambda _: None)
    with pytest.raises(ExternalError, match="trickles"):
        asked.get("/x")
    assert len(server.log) == 4


def test_every_request_passes_the_limit_first(server):
    server.expect_request("/x").respond_with_data(b"no", status=503)
    taken = []
    asked, _ = client(server, before=lambda: taken.append(1))
    with pytest.raises(ExternalError):
        asked.get("/x")
    assert len(taken) == len(server.log) == 4
