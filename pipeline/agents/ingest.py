"""INGEST: checks and normalises what producers sent.

Reads `events` (any topic with a namespace). Writes `events-accepted`, packed, partitioned by identity, and `rejected`.
Keeps: counts. On replay: the same verdicts, since "now" is the broker's timestamp of the record.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Mapping

import faust
import msgspec

from pipeline.agents.dead_letter import dead_letter
from pipeline.agents.packing import slices
from pipeline.core.event import Accepted, Limits, accept
from pipeline.core.identity import identity_hash
from pipeline.engine.chunk import Chunk, Record
from pipeline.engine.stage import Stage
from pipeline.engine.transaction import Transaction
from pipeline.errors import Rejected
from pipeline.records import KEY, AcceptedBatch

NAME = "ingest"

_pack_key = struct.Struct(KEY).pack
_encode = msgspec.json.Encoder().encode


def create(stage: Stage, namespaces: Mapping[str, str], partitions: int, limits: Limits) -> None:
    """namespaces: input topic -> namespace. partitions: of `events-accepted`."""

    async def ingest(chunks: faust.Stream[Chunk]) -> None:
        async for chunk in chunks:
            if (transaction := await stage.begin(chunk)) is not None:
                fill(transaction, namespaces[chunk.topic], partitions, limits)
                transaction.commit()

    stage.agent(*namespaces)(ingest)


def fill(transaction: Transaction, namespace: str, partitions: int, limits: Limits) -> None:
    """Judge each record of the chunk once."""
    chunk = transaction.chunk
    topic, partition, counted = chunk.topic, chunk.partition, transaction.counted_offset
    accepted: defaultdict[int, list[Accepted]] = defaultdict(list)
    uncounted = 0  # accepted events that are not in the counts yet
    for record in chunk.records:
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
            _reject(transaction, record, namespace, refusal)
            continue
        accepted[identity_hash(event.identity) % partitions].append(event)
        uncounted += record.offset > counted
    for target, events in accepted.items():
        _send(transaction, target, events)
    transaction.read(len(chunk.records))
    if uncounted:
        transaction.count(namespace, "read", uncounted)
        transaction.count(namespace, "accepted", uncounted)


def _send(transaction: Transaction, target: int, events: list[Accepted]) -> None:
    for cut in slices([len(event.encoded) for event in events]):
        part = events[cut]
        keys = b"".join(
            [
                _pack_key(event.identity, event.content, event.received_at_ms, event.subject_hash)
                for event in part
            ]
        )
        batch = AcceptedBatch(keys, [msgspec.Raw(event.encoded) for event in part])
        transaction.send("events-accepted", _encode(batch), partition=target)


def _reject(transaction: Transaction, record: Record, namespace: str, refusal: Rejected) -> None:
    """Dead-letter a record and count it."""
    chunk = transaction.chunk
    key, value, headers = dead_letter(chunk, record, namespace, refusal)
    transaction.send("rejected", value, key=key, partition=chunk.partition, headers=headers)
    if record.offset > transaction.counted_offset:
        transaction.count(namespace, "read")
        transaction.count(namespace, f"rejected:{refusal.reason}")
