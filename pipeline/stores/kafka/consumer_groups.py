"""The consumer groups of the stages: their members, and how far each group has read.

Owns: members, committed offsets, lag. Does not own: the totals of a stage (Counts).
A transaction marker has an offset of its own, so `end - committed` is above zero even when a group has read everything;
whether there is a record after the committed offset is found by reading (`_probe`).
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from pipeline.engine import restore
from pipeline.engine.retry import within
from pipeline.settings import Settings
from pipeline.stages import STAGES
from pipeline.stores.kafka import client as kafka
from pipeline.stores.kafka import topic_ids, topics

_STATE = ("-meta", "-changelog")
_WHOLLY = ("control", topic_ids.TOPIC)
_TIMEOUT_S = 10.0
_PROBE_TIMEOUT_S = 5.0
_STEADY_S = 2.0
_AGAIN_S = 0.2
_STAGES_AT_ONCE = 8  # each has one or two consumers for some 50 ms

LATEST = OffsetSpec.latest()  # type: ignore[no-untyped-call]
EARLIEST = OffsetSpec.earliest()  # type: ignore[no-untyped-call]

InputPartition = tuple[str, int]


def group_of(stage: str) -> str:
    """The consumer group of a stage."""
    return f"tallymark-{stage}"


def input_topics(settings: Settings, stage: str) -> list[str]:
    """The topics that a stage reads through its group, from the declarations.

    Without its own state, which it reads when it takes a partition over, and topics that every process reads whole.
    """
    return [
        topic.name
        for topic in topics.load(settings).values()
        if stage in topic.consumers and topic.name not in _WHOLLY and not topic.name.endswith(_STATE)
    ]


def members(client: AdminClient, settings: Settings, stages: Sequence[str]) -> set[str]:
    """The worker ids (client ids) of the members of the stages' groups. Raises Unavailable."""
    groups = [group_of(stage) for stage in stages]
    found: set[str] = set()
    futures = client.describe_consumer_groups(groups, request_timeout=_TIMEOUT_S)
    for future in futures.values():
        try:
            found |= {member.client_id for member in future.result(_TIMEOUT_S * 2).members}
        except KafkaException as error:
            if error.args[0].name() != "GROUP_ID_NOT_FOUND":
                raise kafka.unavailable(settings, error) from error
    return found


def lag(settings: Settings, stages: tuple[str, ...] = STAGES) -> dict[str, int | None]:
    """Records that each stage has not read yet; None if one of its topics is missing. Raises Unavailable."""
    client = kafka.admin(settings)
    try:
        # This also avoids a delay of 3 s in the first list_offsets of a new client.
        existing = client.list_topics(timeout=_TIMEOUT_S).topics
    except KafkaException as error:
        raise kafka.unavailable(settings, error) from error
    wanted = {stage: input_topics(settings, stage) for stage in stages}
    places = {
        stage: [
            (name, partition) for name in names if name in existing for partition in existing[name].partitions
        ]
        for stage, names in wanted.items()
    }
    unread = _steadily(client, settings, places)
    return {
        stage: sum(unread[stage].values()) if all(name in existing for name in wanted[stage]) else None
        for stage in stages
    }


def _steadily(
    client: AdminClient, settings: Settings, places: Mapping[str, list[InputPartition]]
) -> dict[str, dict[InputPartition, int]]:
    """Retry while a partition changes its leader or a group its coordinator."""
    try:
        return within(_STEADY_S, lambda: _unread(client, settings, places), restore.passes, _AGAIN_S)
    except KafkaException as error:
        raise kafka.unavailable(settings, error) from error


def _unread(
    client: AdminClient, settings: Settings, places: Mapping[str, list[InputPartition]]
) -> dict[str, dict[InputPartition, int]]:
    every = [TopicPartition(*place) for stage in places for place in places[stage]]
    ends, begins = offsets(client, every, LATEST), offsets(client, every, EARLIEST)

    def of_stage(stage: str) -> dict[InputPartition, int]:
        committed = committed_offsets(settings, stage, places[stage])
        at = {place: max(committed.get(place, -1), begins[place]) for place in places[stage]}
        gaps = {place: ends[place] - at[place] for place in at if ends[place] > at[place]}
        something = _probe(settings, {place: at[place] for place in gaps})
        return {place: gap for place, gap in gaps.items() if place in something}

    with ThreadPoolExecutor(_STAGES_AT_ONCE) as threads:
        return dict(zip(places, threads.map(of_stage, places), strict=True))


def offsets(
    client: AdminClient, places: list[TopicPartition], which: OffsetSpec
) -> dict[InputPartition, int]:
    """The earliest or the latest offset of each partition. Raises KafkaException."""
    futures = client.list_offsets(dict.fromkeys(places, which), request_timeout=_TIMEOUT_S)
    return {
        (place.topic, place.partition): future.result(_TIMEOUT_S * 2).offset
        for place, future in futures.items()
    }


def committed_offsets(
    settings: Settings, stage: str, places: list[InputPartition]
) -> dict[InputPartition, int]:
    """The offset that a stage's group has committed, of each partition; below 0: none. Raises KafkaException."""
    if not places:
        return {}
    config = kafka.client_config(settings) | {"log_level": 0}
    return restore.committed_offsets(config, group_of(stage), places, _TIMEOUT_S)


def _probe(settings: Settings, at: Mapping[InputPartition, int]) -> set[InputPartition]:
    """The partitions that have a committed record at or after the offset. One without a response is included."""
    if not at:
        return set()
    consumer = Consumer(
        kafka.client_config(settings)
        | {
            "group.id": f"tallymark-probe-{uuid.uuid4()}",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
            "fetch.wait.max.ms": 20,
            "fetch.message.max.bytes": 1024,
            "log_level": 0,
        }
    )
    open_places, something = set(at), set[InputPartition]()
    try:
        consumer.assign([TopicPartition(*place, offset) for place, offset in at.items()])
        deadline = time.monotonic() + _PROBE_TIMEOUT_S
        while open_places and time.monotonic() < deadline:
            message = consumer.poll(0.1)
            if message is None:
                continue
            error = message.error()
            place = (message.topic() or "", message.partition() or 0)
            if error is None:
                something.add(place)
                open_places.discard(place)
            elif error.code() == KafkaError._PARTITION_EOF:
                open_places.discard(place)
    finally:
        consumer.close()
    return something | open_places
