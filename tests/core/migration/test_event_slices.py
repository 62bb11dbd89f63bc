"""Ranges in slices, listed events in the order of their time, requests within the limits."""

from __future__ import annotations

import json
from decimal import Decimal
from itertools import pairwise
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.migration.event_slices import (
    MOST_BYTES,
    MOST_EVENTS,
    TimeSlice,
    events_of,
    requests,
    slices,
)


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(1, 10**5))
def test_slices_cover_a_range_once(from_s: int, length_s: int, size_s: int) -> None:
    found = list(slices(from_s, from_s + length_s, size_s))
    assert [one.to_s - one.from_s > 0 for one in found] == [True] * len(found)
    assert sum(one.to_s - one.from_s for one in found) == length_s
    assert all(one.to_s == other.from_s for one, other in pairwise(found))


def test_a_slice_is_cut_down_to_a_second() -> None:
    assert TimeSlice(10, 13).halves() == [TimeSlice(10, 11), TimeSlice(11, 13)]
    assert TimeSlice(10, 11).halves() == [TimeSlice(10, 11)]


def test_the_filter_is_half_open() -> None:
    assert json.loads(TimeSlice(0, 60).filter) == {
        "time": {"$and": [{"$gte": "1970-01-01T00:00:00.000Z"}, {"$lt": "1970-01-01T00:01:00.000Z"}]}
    }


def test_events_come_oldest_first_without_repeats_and_nulls() -> None:
    items: list[dict[str, Any]] = [
        {"event": {"id": "3", "data": {"n": None}, "dataschema": None}},
        {"event": {"id": "2"}, "fate": "duplicate"},
        {"event": {"id": "2"}, "fate": "counted"},
        {"event": {"id": "1"}, "validationError": "no meter"},
    ]
    assert events_of(items) == [{"id": "1"}, {"id": "2"}, {"id": "3", "data": {"n": None}}]


@given(st.lists(st.integers(0, 300_000), max_size=12))
def test_requests_hold_all_events_in_order_and_few_bytes(sizes: list[int]) -> None:
    events = [{"id": str(number), "data": {"x": "a" * size}} for number, size in enumerate(sizes)]
    found = list(requests(events))
    assert [event for batch in found for event in batch] == events
    assert all(len(msgspec.json.encode(batch)) <= MOST_BYTES for batch in found if len(batch) > 1)


def test_requests_hold_few_events_and_every_digit() -> None:
    event = {"id": "a", "data": {"n": Decimal("0.10000000000000000001")}}
    assert [len(batch) for batch in requests([event] * (MOST_EVENTS + 1))] == [MOST_EVENTS, 1]
