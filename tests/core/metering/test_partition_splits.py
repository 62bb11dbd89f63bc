"""Where the record of a subject is after partitions were split."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.metering.identity import subject_hash
from pipeline.core.metering.partition_splits import ONE_PARTITION, EventPartitions

# 1 became 2 at offset 100 of partition 0; 2 became 4 at offset 250 of partition 0 and 160 of partition 1.
TWICE = EventPartitions(4, ((1, 0, 100), (2, 0, 250), (3, 1, 160)))


@given(st.text(min_size=1), st.integers(0, 400))
def test_a_record_is_where_it_was_written(subject: str, offset: int) -> None:
    hash = subject_hash("default", subject)
    at_2, at_4 = hash % 2, hash % 4
    in_the_end = offset >= {0: 0, 1: 100, 2: 250, 3: 160}[at_4]
    in_between = offset >= {0: 0, 1: 100}[at_2]
    wanted = at_4 if in_the_end else at_2 if in_between else 0
    assert TWICE.of("default", subject, offset) == wanted


def test_what_a_partition_continues_ends_before_it() -> None:
    assert [list(TWICE.before(partition)) for partition in range(4)] == [
        [],
        [(0, 99)],
        [(0, 249)],
        [(1, 159), (0, 99)],
    ]


def test_a_number_that_was_never_raised_has_no_past() -> None:
    now = EventPartitions(8)
    assert {now.of("default", f"s{one}", 0) for one in range(99)} == set(range(8))
    assert list(now.before(7)) == [] and ONE_PARTITION.of("default", "ann", 5) == 0


def test_a_partition_that_was_empty_when_it_was_split_continues_nothing() -> None:
    assert list(EventPartitions(2, ((1, 0, 0),)).before(1)) == []


def test_a_record_without_a_known_offset_is_in_the_oldest_partition() -> None:
    for number in range(8):
        subject = f"s{number}"
        assert TWICE.of("default", subject, -1) == 0
        assert EventPartitions(2).of("default", subject, -1) == subject_hash("default", subject) % 2
