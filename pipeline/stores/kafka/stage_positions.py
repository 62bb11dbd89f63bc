"""Whether stages have read their input up to given ends.

Owns: the ends of a stage's input, and which partitions it has not read to them. Does not own: the number of unread
records, which also has to know what a marker is (consumer_groups).

An end includes records of open transactions: they may be committed after it was noted. A group commits past the markers
at the end of a partition, so one that has read everything has committed the end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TypeVar

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from pipeline.errors import Unavailable
from pipeline.settings import Settings
from pipeline.stores.kafka import client as kafka
from pipeline.stores.kafka.consumer_groups import (
    LATEST,
    InputPartition,
    committed_offsets,
    input_topics,
    offsets,
)

_TIMEOUT_S = 10.0

T = TypeVar("T")


class StagePositions:
    """What Kafka knows of the stages' groups. Every call blocks, and raises Unavailable."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def ends(self, stage: str) -> dict[InputPartition, int]:
        """The end offset of every partition that the stage reads."""
        return self._asked(lambda: self._ends(stage))

    def unread(self, stage: str, ends: Mapping[InputPartition, int]) -> set[InputPartition]:
        """The partitions of which the stage's group has not committed the end. ends: of `ends`."""
        committed = self._asked(lambda: committed_offsets(self._settings, stage, list(ends)))
        return {place for place, end in ends.items() if end > max(committed.get(place, 0), 0)}

    @cached_property
    def _client(self) -> AdminClient:
        return kafka.admin(self._settings)

    def _ends(self, stage: str) -> dict[InputPartition, int]:
        existing = self._client.list_topics(timeout=_TIMEOUT_S).topics
        names = input_topics(self._settings, stage)
        if missing := [name for name in names if name not in existing]:
            raise Unavailable(
                f"Kafka at {self._settings.kafka} has no topic {missing[0]}, which {stage} reads."
            )
        places = [
            TopicPartition(name, number) for name in names for number in sorted(existing[name].partitions)
        ]
        return offsets(self._client, places, LATEST)

    def _asked(self, ask: Callable[[], T]) -> T:
        try:
            return ask()
        except KafkaException as error:
            raise kafka.unavailable(self._settings, error) from error
