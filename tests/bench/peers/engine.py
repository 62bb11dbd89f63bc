"""What the bench needs of each engine that does the same work, and what those beside Tallymark have in common.

Owns: the base of engines, topics and their layout, reading results. Does not own: measuring (run), the recount (sums).
"""

from __future__ import annotations

import json
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec  # type: ignore[attr-defined]

from pipeline.settings import Settings
from tests.bench.peers.sums import Sums

LEADERS_S = 10.0
SILENCE_S = 30.0
LATEST = OffsetSpec.latest()  # type: ignore[no-untyped-call]


class Engine(ABC):
    """One engine on one broker.

    slow: it gets the first events only. outputs: the topics that it writes, ingest's accepted events first; how far
    they are is its progress.
    """

    name: ClassVar[str]
    exactly_once: ClassVar[bool]
    slow: ClassVar[bool] = False
    outputs: Sequence[str] = ()

    def __init__(self, settings: Settings, folder: Path, meters: Sequence[Mapping[str, object]]) -> None:
        self._settings, self._folder, self._meters = settings, folder, meters

    @classmethod  # noqa: B027 - most need nothing
    def install(cls) -> None:
        """Get what it needs, once a machine. Raises Unavailable with a sentence when that cannot be had."""

    @abstractmethod
    def prepare(self) -> None:
        """Create its topics and tell it the meters, before events are sent."""

    @abstractmethod
    def start(self) -> list[subprocess.Popen[bytes]]:
        """Its processes."""

    @abstractmethod
    def sums(self) -> Sums:
        """What it has counted, read from its topics after the run."""


class Outputs:
    """Topics `PREFIX-accepted`, `-unique`, `-rejected`, `-duplicates`, `-settled`, `-usage`, all values JSON.

    The key of `usage` is slug|subject|minute|dimensions by name; its value has `value` and `count`.
    """

    def __init__(self, settings: Settings, prefix: str) -> None:
        self._settings = settings
        self._prefix = prefix
        kinds = ("accepted", "unique", "rejected", "duplicates", "settled", "usage")
        self.names = [f"{prefix}-{kind}" for kind in kinds]

    def create(self, compacted: Sequence[str] = ()) -> None:
        """All of them, and changelogs."""
        partitions = self._settings.partitions
        topics = [NewTopic(name, partitions, 1) for name in self.names]
        topics += [NewTopic(name, partitions, 1, config={"cleanup.policy": "compact"}) for name in compacted]
        admin = AdminClient({"bootstrap.servers": self._settings.kafka})
        for future in admin.create_topics(topics, operation_timeout=10).values():
            future.result()
        wait_for_leaders(self._settings, self.names)

    def sums(self, meters: Sequence[Mapping[str, Any]]) -> Sums:
        """The newest state of each window and the fate of each event."""
        found, group_by = Sums(), {meter["slug"]: sorted(meter.get("groupBy", {})) for meter in meters}
        for message in records(self._settings, [f"{self._prefix}-usage"]):
            slug, subject, minute, *dimensions = (message.key() or b"").decode().split("|")
            window = json.loads(message.value() or b"", parse_float=Decimal)
            by = tuple(zip(group_by[slug], dimensions, strict=True))
            found.window(
                (slug, subject, by, int(minute)), Decimal(str(window["value"])), int(window["count"])
            )
        for message in records(self._settings, [f"{self._prefix}-settled"]):
            found.fates[json.loads(message.value() or b"")["fate"]] += 1
        found.fates["repeats"] = sum(1 for _ in records(self._settings, [f"{self._prefix}-duplicates"]))
        found.fates["rejected"] = sum(1 for _ in records(self._settings, [f"{self._prefix}-rejected"]))
        return found


def ends(admin: AdminClient, topics: Sequence[str], partitions: int) -> dict[str, int]:
    """The sum of the end offsets of each topic, all in one request, because looking costs the broker too."""
    wanted = {TopicPartition(topic, number): LATEST for topic in topics for number in range(partitions)}
    found = dict.fromkeys(topics, 0)
    for partition, future in admin.list_offsets(wanted, request_timeout=10).items():
        found[partition.topic] += future.result().offset
    return found


def wait_for_leaders(settings: Settings, topics: Sequence[str]) -> None:
    """Return when every partition can be read."""
    admin = AdminClient({"bootstrap.servers": settings.kafka})
    deadline = time.monotonic() + LEADERS_S
    while True:
        try:
            ends(admin, topics, settings.partitions)
        except KafkaException:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


def records(settings: Settings, topics: Sequence[str]) -> Iterator[Message]:
    """Every committed record of the topics; each partition in its order."""
    consumer = Consumer(
        {
            "bootstrap.servers": settings.kafka,
            "group.id": "bench",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "log_level": 0,
        }
    )
    try:
        parts = [
            TopicPartition(topic, number, 0) for topic in topics for number in range(settings.partitions)
        ]
        consumer.assign(parts)
        left, received_s = len(parts), time.monotonic()
        while left:
            for message in consumer.consume(5_000, timeout=0.2):
                received_s, error = time.monotonic(), message.error()
                if error is None:
                    yield message
                elif error.code() == KafkaError._PARTITION_EOF:
                    left -= 1
                else:
                    raise KafkaException(error)
            if time.monotonic() - received_s > SILENCE_S:
                raise TimeoutError(f"{topics} cannot be read to their ends")
    finally:
        consumer.close()


def write_meters(meters: Sequence[Mapping[str, object]], folder: Path) -> Path:
    """The meters as a file, for engines that are no Python of ours."""
    file = folder / "meters.json"
    file.write_text(json.dumps(meters))
    return file


class Peer(Engine):
    """An engine whose topics are an Outputs, and whose processes are no Python of ours."""

    def __init__(self, settings: Settings, folder: Path, meters: Sequence[Mapping[str, object]]) -> None:
        super().__init__(settings, folder, meters)
        self._topics = Outputs(settings, "peer")
        self.outputs = self._topics.names

    def prepare(self) -> None:
        self._topics.create()

    def sums(self) -> Sums:
        return self._topics.sums(self._meters)
