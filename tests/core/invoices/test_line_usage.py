"""Which events a line counts, by their positions."""

from __future__ import annotations

import msgspec

from pipeline.core.invoices.line_usage import BACKFILLED, LineUsage, highest_seen, seen_key
from pipeline.core.metering.identity import subject_hash
from pipeline.core.metering.partition_splits import EventPartitions

EIGHT = EventPartitions(8)
USAGE = LineUsage(7, "SUM", 0, 0, 60, "0", "5", ((BACKFILLED, 2), (1, 40)))


def test_positions_are_offsets_plus_one() -> None:
    assert USAGE.counts(0, 1, 41)
    assert not USAGE.counts(0, 1, 42)
    assert not USAGE.counts(0, 0, 1)
    assert USAGE.counts(0, BACKFILLED, 3)
    assert USAGE.counts(0, 0, 0)  # of a version before positions


def test_only_whole_minutes_of_the_span_count() -> None:
    usage = msgspec.structs.replace(USAGE, start_s=90, part_s=90, end_s=200)
    assert [minute for minute in range(0, 300, 60) if usage.counts(minute, 1, 1)] == [60, 120]


def test_a_subject_has_the_partition_of_its_events() -> None:
    subjects = [f"s{number}" for number in range(50)]
    assert {seen_key("default", one, 0, 0, EIGHT) for one in subjects} == set(range(8))
    assert all(
        seen_key("default", one, 0, 0, EIGHT) == subject_hash("default", one) % 8
        and seen_key("default", one, 1, 0, EIGHT) == BACKFILLED
        for one in subjects
    )


def test_it_comes_back_as_it_was() -> None:
    with_filters = msgspec.structs.replace(USAGE, filters={"model": {"$eq": "small"}})
    for usage in (USAGE, with_filters):
        assert msgspec.json.decode(msgspec.json.encode(usage), type=LineUsage) == usage


def test_the_highest_revision_of_each_partition_counts() -> None:
    assert highest_seen([{1: 5, 0: 2}, {1: 3, BACKFILLED: 0}, {}]) == ((BACKFILLED, 0), (0, 2), (1, 5))
