"""What a running ingest worker made of the records on `events`, read from the topics as anyone could.

Owns: waiting until all is read, and that each record went exactly one way, verbatim. Does not own: the worker.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import msgspec
from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from pipeline.records import AcceptedBatch, Counts, Event
from pipeline.settings import Settings
from pipeline.stores.kafka.definitions import CountsView
from tests.fixtures.patience import PATIENCE_S

Headers = list[tuple[str, bytes | None]]


class Place(NamedTuple):
    partition: int
    offset: int


class Input(NamedTuple):
    """A record as it stands on `events`."""

    key: bytes | None
    value: bytes | None
    headers: Headers
    at_ms: int


class Outcome(NamedTuple):
    """What ingest made of the records of one test: accepted events by id, and refused ones by reason."""

    accepted: dict[str, Event]
    rejected: list[tuple[str, Input]]


class Ingest:
    """An ingest worker that runs, and what it wrote since `outcome` was asked last."""

    def __init__(self, settings: Settings, counts: CountsView) -> None:
        self.servers = settings.kafka
        self._counts = counts
        self._seen: set[Place] = set()

    def outcome(self) -> Outcome:
        """Waits until everything on `events` is counted. Each record has to have gone exactly one way, verbatim."""
        inputs = {_place(one): _input(one) for one in read(self.servers, "events")}
        ends = {place.partition: place.offset for place in sorted(inputs)}
        assert self._counts.wait_for(lambda counts: _covers(counts, ends), PATIENCE_S), (
            "ingest did not read all"
        )
        accepted = [
            event for event in self._accepted() if Place(event.partition, event.offset) not in self._seen
        ]
        rejected = [one for one in self._rejected() if one[0] not in self._seen]
        for event in accepted:
            assert (event.namespace, event.input_topic) == ("default", "events")
            assert event.received_at_ms == inputs[Place(event.partition, event.offset)].at_ms
        for place, _, kept in rejected:
            assert kept == inputs[place]
        places = [Place(event.partition, event.offset) for event in accepted] + [one[0] for one in rejected]
        assert sorted(places) == sorted(inputs.keys() - self._seen)
        self._seen |= inputs.keys()
        by_id = {event.id: event for event in accepted}
        assert len(by_id) == len(accepted)
        return Outcome(
            by_id, sorted(((reason, kept) for _, reason, kept in rejected), key=lambda one: one[0])
        )

    def _accepted(self) -> Iterator[Event]:
        for record in read(self.servers, "events-accepted"):
            batch = msgspec.json.decode(record.value() or b"", type=AcceptedBatch)
            for raw in batch.events:
                yield msgspec.json.decode(raw, type=Event)

    def _rejected(self) -> Iterator[tuple[Place, str, Input]]:
        """Where the refused record stood, the reason, and the record as it was."""
        for record in read(self.servers, "rejected"):
            headers = list(record.headers() or [])
            ours = {name: (content or b"").decode() for name, content in headers[-7:]}
            assert ours["tallymark_topic"] == "events" and ours["tallymark_namespace"] == "default"
            assert ours["tallymark_detail"]
            place = Place(int(ours["tallymark_partition"]), int(ours["tallymark_offset"]))
            at_ms = int(ours["tallymark_received_at_ms"])
            assert len(ours) == 7
            yield place, ours["tallymark_reason"], Input(record.key(), record.value(), headers[:-7], at_ms)


def _covers(counts: Mapping[str, Counts], ends: Mapping[int, int]) -> bool:
    found = {count.partition: count.offset for count in counts.values() if count.stage == "ingest"}
    return all(found.get(partition, -1) >= end for partition, end in ends.items())


def _place(record: Message) -> Place:
    return Place(record.partition() or 0, record.offset() or 0)


def _input(record: Message) -> Input:
    return Input(record.key(), record.value(), list(record.headers() or []), record.timestamp()[1])


def read(servers: str, topic: str) -> list[Message]:
    """All committed records of a topic, by partition and offset."""
    consumer = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": "never-joined",
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
            "log_level": 0,
        }
    )
    try:
        partitions = consumer.list_topics(topic, timeout=PATIENCE_S).topics[topic].partitions
        consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
        found: list[Message] = []
        left = len(partitions)
        while left:
            record = consumer.poll(PATIENCE_S)
            assert record is not None, f"{topic} cannot be read to its end"
            if record.error() is None:
                found.append(record)
            else:
                assert record.error().code() == KafkaError._PARTITION_EOF, record.error()
                left -= 1
        return sorted(found, key=_place)
    finally:
        consumer.close()
