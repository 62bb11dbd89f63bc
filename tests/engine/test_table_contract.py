"""What a transaction sees of its table: the same of the real overlay as of the dict that takes its place in tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from pipeline.core.values.table import ScannedBytes
from pipeline.engine.table import Overlay, Restored, Table
from tests.fixtures.fake_transaction import DictTable

KEYS = [b"a", b"b", b"c", b"d"]


@dataclass
class Begun:
    """A transaction's table, what it has changed, and the transaction after it has committed."""

    table: ScannedBytes
    changes: Callable[[], Mapping[bytes, bytes | None]]
    commit: Callable[[], Begun]


def overlay(table: Table, offset: int = 0) -> Begun:
    own = Overlay(table)

    def commit() -> Begun:
        table.write(own.changes.items(), Restored("topic-id", offset + 1))
        return overlay(table, offset + 1)

    return Begun(own, lambda: own.changes, commit)


def fake(table: DictTable) -> Begun:
    def commit() -> Begun:
        table.commit()
        return fake(table)

    return Begun(table, lambda: table.changes, commit)


@pytest.fixture(params=["overlay", "dict"])
def begin(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Begun]:
    """Begins a transaction on an empty table of its own."""
    made = iter(range(1_000_000))
    if request.param == "overlay":
        return lambda: overlay(Table(tmp_path / str(next(made))))
    return lambda: fake(DictTable())


def test_an_absent_key_has_no_value(begin: Callable[[], Begun]) -> None:
    assert begin().table.get_many(KEYS) == [None] * 4
    assert begin().table.get_many([]) == []


def test_values_come_in_the_order_of_the_keys_and_may_repeat(begin: Callable[[], Begun]) -> None:
    begun = begin()
    begun.table.put(b"a", b"1")
    begun.table.put(b"b", b"2")
    assert begun.table.get_many([b"b", b"x", b"a", b"b"]) == [b"2", None, b"1", b"2"]


def test_a_read_sees_own_writes_and_a_scan_does_not(begin: Callable[[], Begun]) -> None:
    begun = begin()
    begun.table.put(b"a", b"1")
    begun.table.put(b"b", b"2")
    after = begun.commit()
    after.table.put(b"a", b"new")
    after.table.put(b"c", b"3")
    after.table.delete(b"b")
    assert after.table.get_many(KEYS) == [b"new", None, b"3", None]
    assert after.table.scan(b"", 10) == [(b"a", b"1"), (b"b", b"2")]
    assert after.commit().table.scan(b"", 10) == [(b"a", b"new"), (b"c", b"3")]


def test_a_scan_begins_at_its_key_and_ends_at_its_limit(begin: Callable[[], Begun]) -> None:
    begun = begin()
    for key in reversed(KEYS):
        begun.table.put(key, key)
    table = begun.commit().table
    assert table.scan(b"b", 2) == [(b"b", b"b"), (b"c", b"c")]
    assert table.scan(b"bb", 10) == [(b"c", b"c"), (b"d", b"d")]
    assert table.scan(b"e", 10) == []


def test_deleting_what_is_absent_is_a_change(begin: Callable[[], Begun]) -> None:
    begun = begin()
    begun.table.delete(b"a")
    assert begun.changes() == {b"a": None}
    assert begun.commit().changes() == {}


Steps = list[tuple[bytes, bytes | None] | None]  # a write, a deletion (None for the value), or a commit


@hypothesis(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(steps=st.lists(st.none() | st.tuples(st.sampled_from(KEYS), st.none() | st.binary(max_size=3))))
def test_any_history_reads_as_a_dict_does(begin: Callable[[], Begun], steps: Steps) -> None:
    begun, state, committed = begin(), dict[bytes, bytes](), dict[bytes, bytes]()
    for step in steps:
        if step is None:
            begun, committed = begun.commit(), dict(state)
        elif (value := step[1]) is None:
            begun.table.delete(step[0])
            state.pop(step[0], None)
        else:
            begun.table.put(step[0], value)
            state[step[0]] = value
        assert begun.table.get_many(KEYS) == [state.get(key) for key in KEYS]
        assert begun.table.scan(b"", 10) == sorted(committed.items())
