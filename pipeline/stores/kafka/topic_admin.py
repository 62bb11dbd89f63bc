"""Calls to the cluster that create, alter and describe topics.

Owns: creating topics, setting and reading their configuration. Does not own: the declarations (topics).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from confluent_kafka import KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourceType,
)

from pipeline.settings import Settings
from pipeline.stores.kafka import client as kafka

TIMEOUT_S = 30.0


def create(settings: Settings, topics: Sequence[NewTopic]) -> None:
    """Create topics, and return when the controller has done it; existing ones stay. Raises Unavailable."""
    if not topics:
        return
    client = kafka.admin(settings)  # in a variable, since it must outlive its futures
    try:
        for future in client.create_topics(list(topics), operation_timeout=TIMEOUT_S).values():
            try:
                future.result()
            except KafkaException as error:
                # Two workers may start at the same time; the other one created it from the same declaration.
                if error.args[0].name() != "TOPIC_ALREADY_EXISTS":
                    raise
    except KafkaException as error:
        raise kafka.unavailable(settings, error) from error


def add_partitions(settings: Settings, numbers: Mapping[str, int]) -> None:
    """Raise the number of partitions, by topic, and return when the controller has done it. Raises Unavailable."""
    if not numbers:
        return
    client = kafka.admin(settings)
    wanted = [NewPartitions(topic, number) for topic, number in numbers.items()]
    try:
        for future in client.create_partitions(wanted, operation_timeout=TIMEOUT_S).values():
            future.result()
    except KafkaException as error:
        raise kafka.unavailable(settings, error) from error


def alter(settings: Settings, changes: Mapping[str, Mapping[str, str]]) -> None:
    """Set configuration, by topic. Raises Unavailable."""
    resources = [
        ConfigResource(
            ResourceType.TOPIC,
            topic,
            incremental_configs=[
                ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
                for name, value in config.items()
            ],
        )
        for topic, config in changes.items()
    ]
    if not resources:
        return
    client = kafka.admin(settings)
    try:
        for future in client.incremental_alter_configs(resources).values():
            future.result()
    except KafkaException as error:
        raise kafka.unavailable(settings, error) from error


def configs(settings: Settings, topics: Sequence[str]) -> dict[str, dict[str, str]]:
    """The whole configuration of each topic, without topics that were deleted meanwhile. Raises Unavailable."""
    resources = [ConfigResource(ResourceType.TOPIC, topic) for topic in topics]
    if not resources:
        return {}
    client = kafka.admin(settings)
    try:
        futures = client.describe_configs(resources, request_timeout=TIMEOUT_S)
        found: dict[str, dict[str, str]] = {}
        for resource, future in futures.items():
            if (error := future.exception()) is None:
                found[resource.name] = {name: str(entry.value) for name, entry in future.result().items()}
            elif error.args[0].name() != "UNKNOWN_TOPIC_OR_PART":
                raise error
        return found
    except KafkaException as error:
        raise kafka.unavailable(settings, error) from error
