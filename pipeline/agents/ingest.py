"""INGEST: validates and normalises events.

Reads `events` (any topic with a namespace), one event per record; and `events-http`, the events of one request per
record, with the namespace in a header. Event i of the record at offset o has the position o * MAX_EVENTS + i.
Writes `events-accepted`, packed, partitioned by identity, and `rejected`.
Keeps: counts. On replay: the same results, since the time of receipt is the broker's timestamp of the record.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import faust
import msgspec
from msgspec import Raw

from pipeline.agents.ingest_rejects import dead_letter
from pipeline.core.metering.event import Accepted, Limits, accept
from pipeline.core.metering.http_batch import MAX_EVENTS, NAMESPACE_HEADER, NO_NAMESPACE, TOPIC, split
from pipeline.core.metering.identity import identity_hash
from pipeline.engine.chunk import Chunk, Record
from pipeline.engine.packing import slices
from pipeline.engine.stage import Stage
from pipeline.engine.transaction import Transaction
from pipeline.errors import Rejected
from pipeline.records import KEY, AcceptedBatch

NAME = "ingest"

_pack_key = struct.Struct(KEY).pack
_encode = msgspec.json.Encoder().encode


def create(stage: Stage, namespaces: Mapping[str, str], partitions: int, limits: Limits) -> None:
    """namespaces: input topic -> namespace. partitions: of `events-accepted` and `rejected`."""

    async def ingest(chunks: faust.Stream[Chunk]) -> None:
        async for chunk in chunks:
            if (transaction := await stage.begin(chunk)) is not None:
                if chunk.topic == TOPIC:
                    fill_from_http(transaction, partitions, limits)
                else:
                    fill(transaction, namespaces[chunk.topic], partitions, limits)
                transaction.commit()

    stage.agent(*namespaces, TOPIC)(ingest)


@dataclass(slots=True)
class _Item:
    """One event of a request in the form of a record; `offset` is its position."""

    offset: int
    timestamp: int
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    key: bytes | None = None


def fill(transaction: Transaction, namespace: str, partitions: int, limits: Limits) -> None:
    """Validate each record of the chunk once."""
    accepted: Sorted = defaultdict(list)
    records = transaction.chunk.records
    _judge(transaction, records, namespace, transaction.counted_offset, accepted, partitions, limits)
    for target, events in accepted.items():
        _send(transaction, target, events)
    transaction.read(len(records))


def fill_from_http(transaction: Transaction, partitions: int, limits: Limits) -> None:
    """Validate each event of each request in the chunk once."""
    accepted: Sorted = defaultdict(list)
    events = 0
    counted = (transaction.counted_offset + 1) * MAX_EVENTS - 1  # position of the last event in the counts
    for record in transaction.chunk.records:
        first = record.offset * MAX_EVENTS
        namespace = NO_NAMESPACE
        try:
            namespace = _namespace(record)
            values = split(record.value or b"")
        except Rejected as refusal:  # not written by the API, which is the only producer of this topic
            whole = _Item(first, record.timestamp, record.value, tuple(record.headers), record.key)
            _reject(transaction, whole, namespace, refusal, counted, partitions)
            events += 1
            continue
        unpacked = [_Item(first + place, record.timestamp, value) for place, value in enumerate(values)]
        _judge(transaction, unpacked, namespace, counted, accepted, partitions, limits)
        events += len(unpacked)
    for target, found in accepted.items():
        _send(transaction, target, found)
    transaction.read(events)


def _namespace(record: Record) -> str:
    """The namespace in the header that the API writes. Raises Rejected("no-namespace")."""
    contents = [content for name, content in record.headers if name == NAMESPACE_HEADER]
    try:
        (namespace,) = [(content or b"").decode() for content in contents]
    except ValueError:  # none, several, or not UTF-8
        namespace = ""
    if not namespace:
        raise Rejected("no-namespace", f"The record must have exactly one header {NAMESPACE_HEADER}.")
    return namespace


Sorted = defaultdict[int, list[Accepted]]
"""Accepted events by partition of `events-accepted`."""


def _judge(
    transaction: Transaction,
    records: Sequence[Record],
    namespace: str,
    counted: int,
    accepted: Sorted,
    partitions: int,
    limits: Limits,
) -> None:
    """Sort records of one namespace into accepted and rejected; those after `counted` are added to the counts."""
    topic, partition = transaction.chunk.topic, transaction.chunk.partition
    uncounted = 0  # accepted events that are not in the counts yet
    for record in records:
        try:
            event = accept(
                record.value,
                record.headers,
                namespace,
                topic,
                partition,
                record.offset,
                record.timestamp,
                limits,
            )
        except Rejected as refusal:
            _reject(transaction, record, namespace, refusal, counted, partitions)
            continue
        accepted[identity_hash(event.identity) % partitions].append(event)
        uncounted += record.offset > counted
    if uncounted:
        transaction.count(namespace, "read", uncounted)
        transaction.count(namespace, "accepted", uncounted)


def _send(transaction: Transaction, target: int, events: list[Accepted]) -> None:
    for cut in slices([len(event.encoded) for event in events]):
        part = events[cut]
        keys = b"".join(
            [
                _pack_key(identity, content, received_at_ms, subject_hash)
                for identity, content, received_at_ms, subject_hash, _ in part
            ]
        )
        batch = AcceptedBatch(keys, [Raw(event.encoded) for event in part])
        transaction.send("events-accepted", _encode(batch), partition=target)


def _reject(
    transaction: Transaction,
    record: Record,
    namespace: str,
    refusal: Rejected,
    counted: int,
    partitions: int,
) -> None:
    """Dead-letter a record and count it. An input may have more partitions than `rejected`."""
    chunk = transaction.chunk
    key, value, headers = dead_letter(chunk, record, namespace, refusal)
    target = chunk.partition % partitions
    transaction.send("rejected", value, key=key, partition=target, headers=headers)
    if record.offset > counted:
        transaction.count(namespace, "read")
        transaction.count(namespace, f"rejected:{refusal.reason}")
