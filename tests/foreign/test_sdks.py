"""What the official CloudEvents SDKs send is counted, or refused for the reason that our rules name.

The bytes are recordings of what each SDK put on the wire (`python -m tests.foreign.sdks` makes them).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
import pytest

from pipeline.core.metering.event import Accepted, Limits, accept
from pipeline.core.metering.http_batch import read, split
from pipeline.errors import Rejected
from pipeline.records import Event
from tests.foreign.sdks.replay import ARRIVAL_MS, COUNTED, EXPECTED, Sent, cases, expected, recorded

LIMITS = Limits(horizon_s=100 * 365 * 86_400)
SENT = recorded()
CASES = cases()
SDKS = {"js", "python-1", "python-2", "go", "java"}
MODES = {"kafka binary", "kafka structured", "http binary", "http structured"}


def taken(sent: Sent) -> list[Accepted]:
    """The events as INGEST takes them. Raises Rejected."""
    if sent.binding == "kafka":
        return [accept(sent.value, sent.kafka_headers, "default", "events", 0, 0, ARRIVAL_MS, LIMITS)]
    request = read(sent.content_type, sent.http_headers, sent.value or b"", LIMITS.max_event_bytes)
    return [
        accept(item, (), "default", "events-http", 0, place, ARRIVAL_MS, LIMITS)
        for place, item in enumerate(split(request.packed))
    ]


def verdict(sent: Sent) -> str:
    try:
        taken(sent)
    except Rejected as refused:
        return refused.reason
    return COUNTED


def test_every_sdk_is_recorded_in_every_mode() -> None:
    """An SDK leaves out only what it refuses to make."""
    assert {(one.sdk, one.way) for one in SENT} >= {(sdk, mode) for sdk in SDKS for mode in MODES}
    assert ("go", "http batch") in {(one.sdk, one.way) for one in SENT}
    assert {one.case for one in SENT} == CASES.keys() | {"batch"}
    assert CASES.keys() >= EXPECTED.keys()


@pytest.mark.parametrize("sdk", sorted(SDKS))
def test_each_event_is_counted_or_refused_with_the_right_reason(sdk: str) -> None:
    sent = [one for one in SENT if one.sdk == sdk]
    found = {f"{one.case}, {one.way}": verdict(one) for one in sent}
    assert found == {f"{one.case}, {one.way}": expected(one) for one in sent}
    assert sum(reason == COUNTED for reason in found.values()) >= 50


def data_of(case: str) -> Any:
    """The data that a counted event of the case has."""
    given = CASES[case]["data"]
    return given.get("json", {"tokens": 12}) if given else None


def at_ms(case: str) -> int | None:
    """The event's time, to the millisecond that every SDK keeps; None where the SDK may set its own."""
    text = CASES[case].get("time", "2026-11-20T12:30:00.123Z")
    return None if text is None else int(datetime.fromisoformat(text).timestamp() * 1000)


@pytest.mark.parametrize("sdk", sorted(SDKS))
def test_a_counted_event_has_what_the_sender_gave(sdk: str) -> None:
    for one in SENT:
        if one.sdk != sdk or one.mode == "batch" or expected(one) != COUNTED:
            continue
        (accepted,) = taken(one)
        event = msgspec.json.decode(accepted.encoded, type=Event)
        where = f"{one.case}, {one.way}"
        assert event.id == f"{one.case}.{one.binding}.{one.mode}", where
        assert event.type == "prompt" and event.source in {"/js", "/py", "/go", "/java"}, where
        assert event.subject == CASES[one.case].get("subject", "ann"), where
        assert msgspec.json.decode(event.data) == data_of(one.case), where
        if (expected_ms := at_ms(one.case)) is not None:
            assert event.time_ns // 1_000_000 == expected_ms, where


def test_a_batch_holds_each_of_its_events() -> None:
    (batch,) = [one for one in SENT if one.mode == "batch"]
    events = [msgspec.json.decode(one.encoded, type=Event) for one in taken(batch)]
    assert [event.id for event in events] == [f"{case}.http.batch" for case in list(CASES)[:3]]
    assert [msgspec.json.decode(event.data) for event in events] == [
        data_of(case) for case in list(CASES)[:3]
    ]
