"""DEDUPE's agent: what passes, what is a repeat, what the changelog holds, what the sweep forgets."""

from __future__ import annotations

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.agents import dedupe, ingest
from pipeline.core.metering.event import Limits
from pipeline.records import Event, Settled
from tests.agents.test_ingest import line
from tests.fixtures.examples import examples
from tests.fixtures.fake_transaction import DictTable, FakeTransactions, chunk_of

PARTITIONS = 4
HOUR_MS = 3_600_000
LIFETIME_MS = 24 * HOUR_MS
START_MS = 1_700_000_000_000


def accepted(lines: list[bytes], at_ms: int = START_MS) -> bytes:
    """One packed record of `events-accepted`, as ingest makes it with a single partition."""
    chunk = chunk_of("events", lines)
    for record in chunk.records:
        record.timestamp = at_ms  # type: ignore[misc]
    working = FakeTransactions(chunk)
    ingest.fill(working.transaction, "default", 1, Limits())
    (packed,) = working.to("events-accepted")
    assert packed.value is not None
    return packed.value


def run(
    records: dict[int, bytes],
    table: DictTable | None = None,
    counted_offset: int = -1,
    at_ms: int = START_MS,
    sweep: dedupe.Sweep | None = None,
) -> FakeTransactions:
    chunk = chunk_of("events-accepted", records)
    for record in chunk.records:
        record.timestamp = at_ms  # type: ignore[misc]
    working = FakeTransactions(chunk, table, counted_offset)
    dedupe.fill(working.transaction, PARTITIONS, LIFETIME_MS, sweep or dedupe.Sweep(LIFETIME_MS))
    return working


def unique(working: FakeTransactions) -> list[str]:
    sent = working.to("events-unique")
    return sorted(
        event.id for one in sent for event in msgspec.json.decode(one.value or b"", type=list[Event])
    )


def repeats(working: FakeTransactions) -> list[tuple[str, str]]:
    sent = working.to("duplicates")
    settled = [one for record in sent for one in msgspec.json.decode(record.value or b"", type=list[Settled])]
    return [(msgspec.json.decode(msgspec.json.encode(one.event), type=Event).id, one.fate) for one in settled]


def test_the_first_passes_and_repeats_are_named() -> None:
    lines = [line("1"), line("2"), line("1"), line("2", subject="another")]
    working = run({0: accepted(lines)})
    assert unique(working) == ["1", "2"]
    assert repeats(working) == [("1", "duplicate"), ("2", "conflict")]
    assert working.counts == {"default": {"read": 4, "unique": 2, "duplicate": 1, "conflict": 1}}


def test_a_repeat_in_a_later_chunk_is_known() -> None:
    first = run({0: accepted([line("1")])})
    later = run({1: accepted([line("1")])}, first.table)
    assert unique(later) == []
    assert repeats(later) == [("1", "duplicate")]


def test_events_of_a_subject_go_to_one_partition() -> None:
    working = run({0: accepted([line(str(number)) for number in range(30)])})
    assert len({one.partition for one in working.to("events-unique")}) == 1


def test_the_changelog_brings_back_what_was_put_and_not_what_expired() -> None:
    changes = dict(run({0: accepted([line("1"), line("2")])}).table.changes)
    changes[b"expired-identity"] = None
    restored = [
        item for key, value in dedupe.CHANGELOG.pack(changes) for item in dedupe.CHANGELOG.unpack(key, value)
    ]
    assert dict(restored) == {key: value for key, value in changes.items() if value is not None}


def test_a_sweep_forgets_what_is_older_than_the_lifetime() -> None:
    sweep = dedupe.Sweep(LIFETIME_MS)
    first = run({0: accepted([line("old")])}, sweep=sweep)
    assert len(first.table.rows) == 1
    much_later = START_MS + LIFETIME_MS + 2 * HOUR_MS
    kept = DictTable(dict(first.table.rows))
    later = run({1: accepted([line("new")], much_later)}, kept, at_ms=much_later, sweep=sweep)
    assert unique(later) == ["new"]
    assert len(later.table.rows) == 1


@given(data=st.data(), ids=st.lists(st.integers(0, 5), min_size=1, max_size=20))
@settings(max_examples=examples(60), deadline=None)
def test_conservation_and_replay(data: st.DataObject, ids: list[int]) -> None:
    """Whatever is read again, from wherever, the state and what passes stay what they were."""
    cut = data.draw(st.integers(1, len(ids)))
    records = {0: accepted([line(str(one)) for one in ids[:cut]])}
    if ids[cut:]:
        records[1] = accepted([line(str(one)) for one in ids[cut:]])
    first = run(records)
    assert len(unique(first)) + len(repeats(first)) == len(ids)
    assert unique(first) == sorted({str(one) for one in ids})
    torn = DictTable({key: value for key, value in first.table.rows.items() if data.draw(st.booleans())})
    again = run(records, torn, counted_offset=max(records))
    assert again.sent == first.sent
    assert again.table.rows == first.table.rows
    assert again.counts == {}
