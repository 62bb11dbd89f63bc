"""Dedupe: worked cases, and laws over streams of packed records with repeats, expiry and replays."""

import json
import struct
from typing import NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.metering.dedupe import (
    Deduped,
    dedupe,
    expired,
    pack_entries,
    unpack_entries,
)
from pipeline.core.metering.identity import identity
from pipeline.errors import Broken
from pipeline.records import KEY, AcceptedBatch
from tests.fixtures.kafka_record import take, text

LIFETIME_MS = 100


class Table(dict[bytes, bytes]):
    def get_many(self, keys: list[bytes]) -> list[bytes | None]:
        return [self.get(key) for key in keys]


class Sent(NamedTuple):
    name: str
    content: int = 0
    at_ms: int = 0


def pack(*events: Sent, namespace: str = "default") -> AcceptedBatch:
    keys = b"".join(
        struct.pack(KEY, identity(namespace, "/s", name), struct.pack("<q", content), at_ms, len(name))
        for name, content, at_ms in events
    )
    texts = [json.dumps([namespace, "/s", name, content, at_ms]).encode() for name, content, at_ms in events]
    return AcceptedBatch(keys, [msgspec.Raw(text) for text in texts])


def run(table: Table, position: int, *events: Sent) -> Deduped:
    """Decide one record and apply its entries, as the agent does."""
    result = dedupe(pack(*events), position, table, LIFETIME_MS)
    table.update(result.entries)
    return result


def names(result: Deduped) -> tuple[list[str], list[str], list[str]]:
    """(unique, duplicates, conflicts) in their order."""
    settled = [(json.loads(bytes(item.event))[2], item.fate) for item in result.repeats]
    return (
        [json.loads(bytes(event))[2] for _, event in result.unique],
        [name for name, fate in settled if fate == "duplicate"],
        [name for name, fate in settled if fate == "conflict"],
    )


def test_first_repeat_and_conflict_across_records() -> None:
    table = Table()
    assert names(run(table, 0, Sent("a"), Sent("b"))) == (["a", "b"], [], [])
    assert names(run(table, 1, Sent("a"), Sent("c"), Sent("b", content=1))) == (["c"], ["a"], ["b"])
    assert names(run(table, 2, Sent("b", content=1))) == ([], [], ["b"])  # the first stands
    assert names(run(table, 3, Sent("b"))) == ([], ["b"], [])


def test_repeats_inside_one_record() -> None:
    result = run(Table(), 0, Sent("a"), Sent("a"), Sent("a", content=1), Sent("b"), Sent("a"))
    assert names(result) == (["a", "b"], ["a", "a"], ["a"])
    assert len(result.entries) == 2
    assert result.counts == {"default": {"read": 5, "unique": 2, "duplicate": 2, "conflict": 1}}
    assert [(item.fate, item.reason) for item in result.repeats] == [
        ("duplicate", "same-content"),
        ("conflict", "other-content"),
        ("duplicate", "same-content"),
    ]


def test_unique_events_carry_their_subject_hash_and_text() -> None:
    accepted = take(text())
    key = struct.pack(KEY, *accepted[:4])
    result = dedupe(AcceptedBatch(key, [msgspec.Raw(accepted.encoded)]), 7, Table(), LIFETIME_MS)
    assert [(subject_hash, bytes(event)) for subject_hash, event in result.unique] == [
        (accepted.subject_hash, accepted.encoded)
    ]
    assert result.counts["default"]["read"] == 1


def test_an_identity_is_forgotten_after_its_lifetime_and_not_before() -> None:
    table = Table()
    run(table, 0, Sent("a", at_ms=1000))
    assert names(run(table, 1, Sent("a", at_ms=1000 + LIFETIME_MS))) == ([], ["a"], [])
    assert names(run(table, 2, Sent("a", at_ms=1001 + LIFETIME_MS))) == (["a"], [], [])
    assert names(run(table, 3, Sent("a", at_ms=1002 + LIFETIME_MS))) == ([], ["a"], [])  # of the second life
    entry = table[identity("default", "/s", "a")]
    assert not expired(entry, 1001 + 2 * LIFETIME_MS, LIFETIME_MS)
    assert expired(entry, 1002 + 2 * LIFETIME_MS, LIFETIME_MS)


def test_a_repeat_does_not_lengthen_the_life() -> None:
    table = Table()
    run(table, 0, Sent("a", at_ms=0))
    run(table, 1, Sent("a", at_ms=LIFETIME_MS))
    assert names(run(table, 2, Sent("a", at_ms=LIFETIME_MS + 1))) == (["a"], [], [])


def test_a_replay_passes_again_with_its_entry() -> None:
    table = Table()
    first = run(table, 5, Sent("a"), Sent("a"), Sent("b"))
    again = run(table, 5, Sent("a"), Sent("a"), Sent("b"))
    assert (names(again), again.entries, again.counts) == (names(first), first.entries, first.counts)
    assert names(run(table, 6, Sent("a"), Sent("a"), Sent("b"))) == ([], ["a", "a", "b"], [])


def test_empty_record() -> None:
    assert dedupe(AcceptedBatch(b"", []), 0, Table(), LIFETIME_MS) == ([], [], [], {})


@pytest.mark.parametrize("namespace", ["default", 'a","b', "back\\slash", "größe"])
def test_counts_are_by_namespace(namespace: str) -> None:
    result = dedupe(pack(Sent("a"), Sent("b"), namespace=namespace), 0, Table(), LIFETIME_MS)
    assert result.counts == {namespace: {"read": 2, "unique": 2, "duplicate": 0, "conflict": 0}}


def test_broken_records_stop_the_process() -> None:
    one, other = pack(Sent("a"), namespace="one"), pack(Sent("a"), namespace="onemore")
    mixed = AcceptedBatch(one.keys + other.keys, one.events + other.events)
    short = AcceptedBatch(one.keys[:-1], one.events)
    nameless = AcceptedBatch(one.keys, [msgspec.Raw(b"[1]")])
    for batch in (mixed, short, nameless):
        with pytest.raises(Broken):
            dedupe(batch, 0, Table(), LIFETIME_MS)


sent = st.builds(Sent, st.sampled_from("abcde"), st.integers(0, 1), st.integers(0, 3 * LIFETIME_MS))
streams = st.lists(st.lists(sent, max_size=8), max_size=8)


def plain_fates(events: list[Sent]) -> list[str]:
    """The same rules by one plain loop."""
    firsts: dict[str, Sent] = {}
    fates = []
    for event in events:
        first = firsts.get(event.name)
        if first is None or first.at_ms + LIFETIME_MS < event.at_ms:
            firsts[event.name] = event
            fates.append("unique")
        else:
            fates.append("duplicate" if first.content == event.content else "conflict")
    return fates


def fates(result: Deduped, events: list[Sent]) -> list[str]:
    """The fates in the order of the events, matched by text: each output keeps the order of the input."""
    unique = [bytes(event) for _, event in result.unique]
    repeats = [(bytes(item.event), item.fate) for item in result.repeats]
    found = []
    places = {index for _, entry in result.entries for index in [struct.unpack(">qI8sq", entry)[1]]}
    for index, event in enumerate(pack(*events).events):
        if index in places:
            assert unique.pop(0) == bytes(event)
            found.append("unique")
        else:
            assert repeats[0][0] == bytes(event)
            found.append(repeats.pop(0)[1])
    assert not unique and not repeats
    return found


@given(streams)
def test_stream_equals_the_plain_loop_and_conserves(stream: list[list[Sent]]) -> None:
    table = Table()
    found = []
    for position, events in enumerate(stream):
        result = run(table, position, *events)
        found += fates(result, events)
        if events:
            count = result.counts["default"]
            assert count["read"] == len(events) == count["unique"] + count["duplicate"] + count["conflict"]
            assert count["unique"] == len(result.unique) == len(result.entries)
            assert count["duplicate"] + count["conflict"] == len(result.repeats)
    assert found == plain_fates([event for events in stream for event in events])


@given(streams)
def test_splitting_the_records_changes_no_fate(stream: list[list[Sent]]) -> None:
    events = [event for record in stream for event in record]
    whole = fates(run(Table(), 0, *events), events)
    table = Table()
    assert [
        fate for at, event in enumerate(events) for fate in fates(run(table, at, event), [event])
    ] == whole


@given(st.lists(sent, max_size=8), st.lists(sent, min_size=1, max_size=8), st.integers(0, 8))
def test_replay_gives_the_same_result(before: list[Sent], events: list[Sent], applied: int) -> None:
    """Whichever part of the entries had been applied when the work stopped."""
    # within one record no identity may live twice: its place would be the later one
    events = [event._replace(at_ms=events[0].at_ms) for event in events]
    table = Table()
    run(table, 1, *before)
    first = dedupe(pack(*events), 2, table, LIFETIME_MS)
    table.update(first.entries[:applied])
    again = dedupe(pack(*events), 2, table, LIFETIME_MS)
    assert fates(again, events) == fates(first, events)
    assert (again.entries, again.counts) == (first.entries, first.counts)


entries = st.lists(st.tuples(st.binary(min_size=16, max_size=16), st.integers(0, 2**62)), max_size=5)


@given(entries)
def test_changelog_record_round_trip(items: list[tuple[bytes, int]]) -> None:
    written = [(key, struct.pack(">qI8sq", 1, 2, b"contents", at_ms)) for key, at_ms in items]
    record = pack_entries(written)
    assert list(unpack_entries(record)) == written
    assert int.from_bytes(record[1:9]) == max((at_ms for _, at_ms in items), default=0)


def test_the_changelog_record_stays_as_it_is() -> None:
    """It lies in a topic for a horizon and is read by later versions."""
    result = dedupe(pack(Sent("a", content=5, at_ms=1000)), 258, Table(), LIFETIME_MS)
    key = identity("default", "/s", "a").hex()
    assert pack_entries(result.entries).hex() == (
        "01"
        + "00000000000003e8"
        + key
        + "0000000000000102"
        + "00000000"
        + "0500000000000000"
        + "00000000000003e8"
    )


@pytest.mark.parametrize("record", [b"", b"\x01", b"\x02" + bytes(8), b"\x01" + bytes(8 + 43)])
def test_a_broken_changelog_record_stops_the_process(record: bytes) -> None:
    with pytest.raises(Broken):
        list(unpack_entries(record))


def test_a_broken_entry_stops_the_process() -> None:
    with pytest.raises(Broken):
        expired(b"short", 0, LIFETIME_MS)
    with pytest.raises(Broken):
        dedupe(pack(Sent("a")), 0, Table({identity("default", "/s", "a"): b"short"}), LIFETIME_MS)
