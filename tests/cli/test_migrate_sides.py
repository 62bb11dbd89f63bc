"""Reading an OpenMeter: its pages and cursors, retries, and one sentence for each failure."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli.migrate_sides import OpenMeter, read_key
from pipeline.core.migration.event_slices import TimeSlice
from pipeline.errors import Rejected
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
