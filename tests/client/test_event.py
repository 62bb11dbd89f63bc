"""What may be given as an event, and what is sent."""

from __future__ import annotations

import json
import pickle
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from cloudevents.core.v1.event import CloudEvent
from tallymark import BadEvent, Event, Prepared
from tallymark._event import MAX_BYTES, prepare

from tests.client.conftest import event

AT = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)


def sent(given: Any) -> Any:
    return json.loads(prepare(given, lambda: AT, lambda: "made").text)


def test_fills_what_is_absent_and_nothing_else() -> None:
    full = {**event("a1"), "specversion": "1.0", "time": "2026-01-01T00:00:00.123456789Z", "region": "eu"}
    assert sent(full) == full
    assert sent(event()) == {
        **event(),
        "specversion": "1.0",
        "id": "made",
        "time": "2026-01-02T03:04:05.678901Z",
    }
    assert sent({**event(), "id": None, "time": None})["id"] == "made"


def test_leaves_the_given_dict_alone() -> None:
    given = event()
    prepare(given)
    assert given == event()


def test_an_event_object_has_its_id_and_time_from_the_start() -> None:
    one = Event(
        type="prompt",
        subject="ann",
        source="/app",
        data={"cost": Decimal("0.10")},
        extensions={"region": "eu"},
    )
    assert prepare(one) == prepare(pickle.loads(pickle.dumps(one)))
    assert b'"cost":0.10' in prepare(one).text
    assert sent(one)["region"] == "eu"
    assert sent(one)["id"] != sent(Event(type="prompt", subject="ann", source="/app"))["id"]


def test_times_are_rfc_3339_in_utc() -> None:
    at = datetime(2026, 7, 1, 2, 0, tzinfo=timezone(timedelta(hours=2)))
    assert sent(event(time=at))["time"] == "2026-07-01T00:00:00Z"


@pytest.mark.parametrize("data", [{"cost": Decimal("1.50")}, b'{"cost": 1.50}', '{"cost": 1.50}'])
def test_takes_cloudevents(data: Any) -> None:
    attributes = {
        "id": "a",
        "source": "/app",
        "type": "prompt",
        "subject": "ann",
        "time": AT,
        "specversion": "1.0",
    }
    found = prepare(CloudEvent(attributes, data))
    assert found.members() == {
        **attributes,
        "time": "2026-01-02T03:04:05.678901Z",
        "data": {"cost": Decimal("1.50")},
    }
    assert b'"cost":1.50' in found.text


def test_what_is_prepared_stays_as_it_is() -> None:
    text = Prepared(b'{"any": "thing"}')
    assert prepare(text) is text


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (event(subject=""), "subject"),
        (event(type=None), "type"),
        (event(source=5), "source"),
        ({**event(), "id": 5}, "id"),
        (event(data=[1]), "data"),
        (event(data="text"), "data"),
        (event(data={"x": float("nan")}), "JSON"),
        (event(data={"x": {1}}), "set"),
        (event(time=datetime(2026, 1, 1)), "zone"),
        (event(time=5), "time"),
        (event(data={"x": "y" * MAX_BYTES}), "bytes"),
        (event(data={"x": "\ud800"}), "surrogate"),
        (42, "int"),
    ],
)
def test_says_what_is_wrong(given: Any, says: str) -> None:
    with pytest.raises(BadEvent, match=says):
        prepare(given)
