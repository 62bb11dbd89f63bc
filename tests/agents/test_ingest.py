"""INGEST's agent: every record goes to exactly one place and is counted once, however often it is read."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.agents import ingest, ingest_rejects
from pipeline.core.metering.event import Limits
from pipeline.core.metering.identity import identity_hash
from pipeline.records import KEY, AcceptedBatch, Event
from tests.fixtures.examples import examples
from tests.fixtures.fake_transaction import FakeRecord, FakeTransactions, Sent, chunk_of

PARTITIONS = 4
LIMITS = Limits()


def line(id: str, **members: object) -> bytes:
    event = {"specversion": "1.0", "id": id, "source": "/s", "type": "t", "subject": "who", **members}
    return json.dumps(event).encode()


def run(values: Sequence[bytes | None], counted_offset: int = -1) -> FakeTransactions:
    working = FakeTransactions(chunk_of("events", values), counted_offset=counted_offset)
    ingest.fill(working.transaction, "default", PARTITIONS, LIMITS)
    return working


def events(sent: Sequence[Sent]) -> list[Event]:
    batches = [msgspec.json.decode(one.value or b"", type=AcceptedBatch) for one in sent]
    return [msgspec.json.decode(raw, type=Event) for batch in batches for raw in batch.events]


def test_good_events_are_packed_by_identity_and_bad_ones_dead_lettered() -> None:
    working = run([line("1"), b"{", line("2"), None, line("1")])
    accepted = working.to("events-accepted")
    assert sorted(event.offset for event in events(accepted)) == [0, 2, 4]
    assert [one.value for one in working.to("rejected")] == [b"{", None]
    assert working.counts["default"]["read"] == 5
    assert working.counts["default"]["accepted"] == 3
    assert working.events == 5


def test_copies_of_an_identity_go_to_one_partition_whatever_their_subject() -> None:
    working = run([line("same"), line("same", subject="another"), line("same", type="other")])
    assert len({one.partition for one in working.to("events-accepted")}) == 1


def test_keys_fit_the_events() -> None:
    for one in run([line(str(number)) for number in range(50)]).to("events-accepted"):
        batch = msgspec.json.decode(one.value or b"", type=AcceptedBatch)
        keys = list(struct.iter_unpack(KEY, batch.keys))
        assert len(keys) == len(batch.events)
        assert {identity_hash(identity) % PARTITIONS for identity, *_ in keys} == {one.partition}


def test_a_dead_letter_is_verbatim_with_reason_and_position() -> None:
    record = FakeRecord(7, b"\xff\x00", key=b"k", headers=(("tallymark_reason", b"mine"), ("x", None)))
    chunk = chunk_of("events", {7: b"\xff\x00"}, partition=3)
    working = FakeTransactions(chunk)
    chunk.records[0].key, chunk.records[0].headers = record.key, record.headers  # type: ignore[misc]
    ingest.fill(working.transaction, "default", PARTITIONS, LIMITS)
    (letter,) = working.to("rejected")
    assert (letter.key, letter.value, letter.partition) == (b"k", b"\xff\x00", 3)
    assert letter.headers[:2] == [("tallymark_reason", b"mine"), ("x", None)]
    texts = dict(letter.headers)  # the last of a name wins
    assert texts["tallymark_reason"] != b"mine"
    assert (texts["tallymark_topic"], texts["tallymark_partition"], texts["tallymark_offset"]) == (
        b"events",
        b"3",
        b"7",
    )


def test_a_dead_letter_that_is_too_large_is_cut_and_says_so() -> None:
    huge = b"0" * (ingest_rejects.KEPT_VALUE_BYTES * 3)
    (letter,) = run([huge]).to("rejected")
    assert letter.value == huge[: ingest_rejects.KEPT_VALUE_BYTES]
    assert dict(letter.headers)["tallymark_cut_from_bytes"] == str(len(huge)).encode()


@given(
    good=st.lists(st.booleans(), min_size=1, max_size=12),
    counted=st.integers(-1, 12),
)
@settings(max_examples=examples(60), deadline=None)
def test_a_replay_sends_the_same_and_counts_only_what_was_not_counted(good: list[bool], counted: int) -> None:
    values = [line(str(number)) if fine else b"no" for number, fine in enumerate(good)]
    first, again = run(values), run(values, counted_offset=counted)
    assert again.sent == first.sent
    left = good[counted + 1 :]
    assert again.counts.get("default", {}).get("read", 0) == len(left)
    assert again.counts.get("default", {}).get("accepted", 0) == sum(left)
