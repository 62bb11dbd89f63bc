"""Reading an OpenMeter: its pages and cursors, retries, and one sentence for each failure."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli.migrate_sides import OpenMeter, TargetApi, idempotency_key, read_key
from pipeline.core.migration.event_slices import TimeSlice
from pipeline.errors import Rejected
from pipeline.settings import Settings
from tests.fixtures.openmeter import FakeOpenMeter, served, text_of, ulid

DAY_S = 86_400


@pytest.fixture
def fake() -> FakeOpenMeter:
    return FakeOpenMeter()


@pytest.fixture
def source(fake: FakeOpenMeter) -> Iterator[OpenMeter]:
    with served(fake) as url:
        yield OpenMeter(url + "/api/v1/", "om_key")


@pytest.mark.parametrize("number", [0, 1, 99, 100, 101, 250])
def test_all_pages_are_read(fake: FakeOpenMeter, source: OpenMeter, number: int) -> None:
    fake.meters = [{"slug": f"m{one}"} for one in range(number)]
    fake.customers = [{"key": f"c{one}"} for one in range(number)]
    assert list(source.pages("/meters")) == fake.meters
    assert list(source.pages("/customers")) == fake.customers


@pytest.mark.parametrize("number", [0, 100, 250])
def test_events_of_one_second_are_read_once_across_pages(
    fake: FakeOpenMeter, source: OpenMeter, number: int
) -> None:
    at = text_of(DAY_S)
    events: list[dict[str, Any]] = [{"id": str(one), "type": "x", "time": at} for one in range(number)]
    fake.events = [*events, {"id": "after", "type": "x", "time": text_of(2 * DAY_S)}]
    pages = source.events(TimeSlice(DAY_S, 2 * DAY_S).filter)
    assert [item["event"]["id"] for page in pages for item in page] == [str(one) for one in range(number)][
        ::-1
    ]


def test_numbers_keep_the_digits_that_are_sent(fake: FakeOpenMeter, source: OpenMeter) -> None:
    fake.values["c", "f"] = {"balance": 0.1 + 0.2}
    path = "/customers/c/entitlements/f/value"
    assert source.get(path, version=2)["balance"] == Decimal("0.30000000000000004")


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_failure_that_may_pass_is_retried(fake: FakeOpenMeter, source: OpenMeter, status: int) -> None:
    fake.failures, fake.subjects = [status, status], [{"id": ulid(1), "key": "ann"}]
    assert source.get("/subjects") == fake.subjects
    assert fake.requests == ["/api/v1/subjects"] * 3


def test_a_wrong_key_is_one_sentence(fake: FakeOpenMeter, source: OpenMeter) -> None:
    fake.key = "another"
    with pytest.raises(Rejected, match=r"answered /api/v1/subjects with 401: invalid token\.$"):
        source.get("/subjects")


def test_a_list_that_an_old_openmeter_lacks_is_named(source: OpenMeter) -> None:
    with pytest.raises(Rejected, match="/api/v1/nothing with 404"):
        source.get("/nothing")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("openmeter.cloud", "is not the URL of an OpenMeter"),
        ("ftp://openmeter.cloud", "is not the URL of an OpenMeter"),
        ("http://openmeter.example", "without TLS"),
    ],
)
def test_an_address_that_is_refused(url: str, words: str) -> None:
    with pytest.raises(Rejected, match=words):
        OpenMeter(url, "om_key")


def test_the_key_is_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("om_key\n")
    assert (read_key(file), read_key(None)) == ("om_key", "")
    file.write_text("\n")
    with pytest.raises(Rejected, match="holds no key"):
        read_key(file)
    with pytest.raises(Rejected, match="cannot be read"):
        read_key(tmp_path)


def test_a_repeated_request_has_the_same_idempotency_key() -> None:
    asked = ("http://source", "POST", "/grants", [("at", 1)], {"a": Decimal("0.1"), "b": 2}, "")
    again = ("http://source", "POST", "/grants", [("at", 1)], {"b": 2, "a": Decimal("0.1")}, "")
    assert idempotency_key(*asked) == idempotency_key(*again)
    others = [
        ("http://other", *asked[1:]), (asked[0], "PUT", *asked[2:]), (*asked[:2], "/rules", *asked[3:]),
        (*asked[:3], [], *asked[4:]), (*asked[:4], {"a": 1}, ""), (*asked[:5], "draft"),
    ]  # fmt: skip
    keys = [idempotency_key(*one) for one in (asked, *others)]
    assert len(set(keys)) == len(keys) and len(keys[0]) <= 255


@contextmanager
def recorded_keys() -> Iterator[tuple[str, list[str]]]:
    """The address of an API that takes everything, and the idempotency keys that it is sent."""
    keys: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            keys.append(self.headers["idempotency-key"])
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", keys
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_change_is_sent_again_by_the_next_run_under_its_key(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("tm_key")
    with recorded_keys() as (url, keys):
        settings = Settings.model_construct(api_url=url, api_key_file=str(tmp_path / "key"))
        for source in ("http://source", "http://source", "http://other"):
            TargetApi(settings, source).send("POST", "/meters", {"slug": "a"})
    assert keys[0] == keys[1] != keys[2]
