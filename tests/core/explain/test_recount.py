"""What a meter read from an event, and the quantity of many by each aggregation."""

from __future__ import annotations

import pytest

from pipeline.core.explain.recount import EventMeasure, EventTally, RecordedEvent
from pipeline.core.metering.meter import AGGREGATIONS, Aggregation, change, define
from pipeline.core.values import number
from pipeline.errors import Broken

BODY = {
    "slug": "tokens", "eventType": "prompt", "aggregation": "SUM", "valueProperty": "$.tokens",
    "groupBy": {"model": "$.model"},
}  # fmt: skip
VALUES = {"SUM": "6", "COUNT": "3", "AVG": "2", "MIN": "1", "MAX": "3", "UNIQUE_COUNT": "3", "LATEST": "2"}


def event(data: str, decided: int = 5, rules: int = 1) -> RecordedEvent:
    return RecordedEvent("a", "s", "ann", 10**18, 7, data, "events", 0, 3, decided, rules, False, 4)


def test_every_aggregation_has_its_quantity() -> None:
    assert VALUES.keys() == set(AGGREGATIONS)
    for aggregation, expected in VALUES.items():
        kind: Aggregation = aggregation  # type: ignore[assignment]
        recount = EventTally(kind)
        assert recount.quantity_atto == 0
        for value, at in ((1, "2"), (3, "1"), (2, "3")):
            found = f"m{value}" if kind == "UNIQUE_COUNT" else value * number.SCALE
            recount.add(number.SCALE if kind == "COUNT" else found, at)
        assert (number.text(recount.quantity_atto), recount.events) == (expected, 3)


def test_values_below_zero_are_counted() -> None:
    low, high = EventTally("MIN"), EventTally("MAX")
    for value in (-3, -2):
        low.add(value * number.SCALE, "")
        high.add(value * number.SCALE, "")
    assert (number.text(low.quantity_atto), number.text(high.quantity_atto)) == ("-3", "-2")


def test_a_member_counts_once() -> None:
    recount = EventTally("UNIQUE_COUNT")
    for member in ("a", "b", "a"):
        recount.add(member, "")
    assert number.text(recount.quantity_atto) == "2"


def test_an_event_is_read_with_the_dimensions_of_its_decision() -> None:
    old = define(BODY, 3)
    meter = change(old, define({**BODY, "groupBy": {"kind": "$.kind"}}, 3), 8)
    measure = EventMeasure(meter)
    data = '{"tokens": 1.5, "model": "m", "kind": 7.0}'
    before, after = measure.read(event(data)), measure.read(event(data, decided=9))
    assert (before.dimensions, after.dimensions) == ({"model": "m"}, {"kind": "7"})
    assert before.text == after.text == "1.5"
    assert measure.read(event(data, decided=9, rules=0)).dimensions == {"kind": "7.0"}


def test_an_event_that_the_meter_cannot_take_is_an_error() -> None:
    with pytest.raises(Broken, match="The meter tokens counted an event that it cannot take"):
        EventMeasure(define(BODY, 3)).read(event('{"tokens": "many"}'))


def test_the_order_of_events_is_that_of_the_meter() -> None:
    measure = EventMeasure(define(BODY, 3))
    first = measure.read(event('{"tokens": 1}'))
    later = measure.read(event('{"tokens": 1}')._replace(offset=4))
    newest = measure.read(event('{"tokens": 1}')._replace(time_ns=10**18 + 1, offset=0))
    assert first.order < later.order < newest.order
