"""The laws of a sweep: what is young stays, the whole table is visited, slices are bounded, restarts change nothing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.values.sweep import SweepProgress, Swept, sweep
from tests.fixtures.fake_transaction import DictTable

REST = 100

keys = st.binary(min_size=1, max_size=3)
# An expired entry is one whose value is b"old".
tables = st.dictionaries(keys, st.sampled_from([b"old", b"young"]), max_size=40)
limits = st.integers(1, 7)


def is_old(_: bytes, value: bytes) -> bool:
    return value == b"old"


def committed(rows: dict[bytes, bytes]) -> DictTable:
    return DictTable(dict(rows))


class Counted(DictTable):
    """A table that counts what is read of it."""

    read = 0

    def scan(self, start: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        found = super().scan(start, limit)
        self.read += len(found)
        return found


@given(tables, limits)
def test_a_whole_sweep_removes_what_is_old_and_nothing_else(rows: dict[bytes, bytes], limit: int) -> None:
    table, progress = committed(rows), SweepProgress(REST)
    removed: list[bytes] = []
    for _ in range(len(rows) // limit + 1):
        removed += progress.advance(0, 0, lambda start: sweep(table, limit, is_old, start=start))
        table.commit()
    assert table.rows == {key: value for key, value in rows.items() if value == b"young"}
    assert removed == sorted(rows.keys() - table.rows.keys())


@given(tables, limits)
def test_a_slice_reads_at_most_its_limit(rows: dict[bytes, bytes], limit: int) -> None:
    table, start = Counted(dict(rows)), b""
    for _ in range(len(rows) // limit + 1):
        before = table.read
        removed, start = sweep(table, limit, is_old, start=start)
        assert table.read - before <= limit and len(removed) <= limit
        if not start:
            break
    assert start == b""


@given(tables, limits, st.sets(st.integers(0, 50)), st.sets(st.integers(0, 50)))
def test_restarts_and_chunks_that_do_not_commit_change_nothing_in_the_end(
    rows: dict[bytes, bytes], limit: int, restarts: set[int], lost: set[int]
) -> None:
    table, progress = committed(rows), SweepProgress(rest=1)
    for number in range(150):
        if number in restarts:
            progress = SweepProgress(rest=1)
        tried = committed(table.rows)
        progress.advance(0, number, lambda start, tried=tried: sweep(tried, limit, is_old, start=start))  # type: ignore[misc]
        if number not in lost:
            tried.commit()
            table = tried
    assert table.rows == {key: value for key, value in rows.items() if value == b"young"}


@given(tables, limits, keys)
def test_only_keys_with_the_prefix_go(rows: dict[bytes, bytes], limit: int, prefix: bytes) -> None:
    table, start = committed(rows), b""
    while True:
        _, start = sweep(table, limit, is_old, prefix=prefix, start=start)
        table.commit()
        if not start:
            break
    assert table.rows == {
        key: value for key, value in rows.items() if value == b"young" or not key.startswith(prefix)
    }


@given(st.sets(st.integers(0, 255), max_size=40), limits, st.integers(0, 255))
def test_a_sweep_in_the_order_of_age_ends_at_the_first_young_key(
    ages: set[int], limit: int, first_young: int
) -> None:
    table, start = Counted({bytes([age]): b"" for age in ages}), b""
    is_young = bytes([first_young]).__le__
    while True:
        _, start = sweep(table, limit, start=start, is_young=is_young)
        if not start:
            break
    assert sorted(key[0] for key in table.rows) == sorted(age for age in ages if age >= first_young)
    old = sum(age < first_young for age in ages)
    assert table.read <= old + limit


def test_after_its_end_a_sweep_rests_and_partitions_do_not_disturb_each_other() -> None:
    progress, calls = SweepProgress(REST), list[tuple[int, bytes]]()

    def advance(partition: int, now: int, next_key: bytes) -> None:
        def sweep_from(start: bytes) -> Swept:
            calls.append((partition, start))
            return Swept([], next_key)

        progress.advance(partition, now, sweep_from)

    advance(0, 5, b"k")
    advance(1, 5, b"")  # its end: it rests until 105
    advance(0, 6, b"")  # until 106
    advance(1, 104, b"")
    advance(0, 105, b"")
    advance(1, 105, b"")
    advance(0, 106, b"")
    assert calls == [(0, b""), (1, b""), (0, b"k"), (1, b""), (0, b"")]


def test_what_the_chunk_wrote_itself_is_visited_later() -> None:
    table = committed({})
    table.put(b"a", b"old")
    assert sweep(table, 5, is_old) == Swept([], b"")
    table.commit()
    assert sweep(table, 5, is_old) == Swept([b"a"], b"")
