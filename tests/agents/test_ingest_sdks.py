"""INGEST's agent on what the official CloudEvents SDKs send: counted, or in `rejected` with the reason."""

from __future__ import annotations

from collections import Counter

from pipeline.agents import ingest
from pipeline.core.metering.event import Limits
from pipeline.core.metering.http_batch import NAMESPACE_HEADER, TOPIC, read
from pipeline.engine.chunk import Chunk
from tests.agents.test_ingest import PARTITIONS, events
from tests.fixtures.fake_transaction import FakeRecord, FakeTransactions
from tests.foreign.sdks.replay import ARRIVAL_MS, COUNTED, Sent, expected, recorded

LIMITS = Limits(horizon_s=100 * 365 * 86_400)
SENT = recorded()


def chunk_of(topic: str, records: list[FakeRecord]) -> FakeTransactions:
    return FakeTransactions(Chunk(topic, 0, 0, len(records), records, 1), counted_offset=-1)


def tallied(working: FakeTransactions) -> Counter[str]:
    """How many records of the chunk were counted, and how many refused for each reason."""
    found = Counter({COUNTED: len(events(working.to("events-accepted")))})
    found.update((dict(one.headers)["tallymark_reason"] or b"").decode() for one in working.to("rejected"))
    return found


def test_from_kafka() -> None:
    sent = [one for one in SENT if one.binding == "kafka"]
    records = [
        FakeRecord(offset, one.value, ARRIVAL_MS, headers=tuple(one.kafka_headers))
        for offset, one in enumerate(sent)
    ]
    working = chunk_of("events", records)
    ingest.fill(working.transaction, "default", PARTITIONS, LIMITS)
    assert tallied(working) == Counter(map(expected, sent))
    assert working.counts["default"]["read"] == len(sent)


def from_api(offset: int, sent: Sent) -> FakeRecord:
    """The record that the API writes for one request."""
    request = read(sent.content_type, sent.http_headers, sent.value or b"", LIMITS.max_event_bytes)
    return FakeRecord(offset, request.packed, ARRIVAL_MS, headers=((NAMESPACE_HEADER, b"acme"),))


def test_over_http() -> None:
    sent = [one for one in SENT if one.binding == "http" and expected(one) == COUNTED]
    working = chunk_of(TOPIC, [from_api(offset, one) for offset, one in enumerate(sent)])
    ingest.fill_from_http(working.transaction, PARTITIONS, LIMITS)
    in_batches = sum(one.mode == "batch" for one in sent) * 2  # a batch has three events
    assert tallied(working) == {COUNTED: len(sent) + in_batches}
