"""The sentences on topics that differ from their declaration, each with a way to recover.

Owns: the sentences. Does not own: finding the differences (topics).
"""

from __future__ import annotations

from collections.abc import Collection

from pipeline.stores.kafka.topic import Topic
from pipeline.stores.kafka.topic_ids import TOPIC, Identity, changed_id


def lost(topic: Topic) -> str:
    """For a missing topic with which state was built."""
    return f"{topic.name} is missing, but the state of this installation was built with it. {recovery(topic)}"


def another(topic: Topic, identity: Identity) -> str:
    """For a topic whose state was built with an earlier topic of this name."""
    ids = changed_id(identity.known[topic.name].id, identity.actual[topic.name])
    return f"{topic.name} was recreated: {ids}. {recovery(topic)}"


def unknown(topic: Topic) -> str:
    """For a topic whose id is not recorded."""
    return f"the id of {topic.name} is not recorded in {TOPIC}; `tallymark topics apply` records it."


def newer(topic: Topic, written: int) -> str:
    """For a topic to which a newer release may have written."""
    return (
        f"{topic.name} may hold records of version {written}, but this release of Tallymark reads versions up to "
        f"{topic.record_version}: run the release that wrote them, or a newer one."
    )


def older(topic: Topic, written: int) -> str:
    """For a topic to which this release writes records that the release before cannot read."""
    return (
        f"{topic.name} is recorded with records of version {written}, and this release writes version "
        f"{topic.record_version}; `tallymark topics apply` records that, and earlier releases are refused from then on."
    )


def recovery(topic: Topic) -> str:
    """How to recover from the loss of a topic."""
    backup = "Restore the cluster's data from a backup"
    if not topic.if_lost:
        return (
            f"{backup}; without one, start empty: delete every topic of Tallymark, its tables in ClickHouse and the "
            "folders of state_dir."
        )
    return (
        f"{backup}, or recreate it with `tallymark topics apply --recreate-lost {topic.name}`. That loses: "
        f"{topic.if_lost}."
    )


def other_number(topic: Topic, known: int) -> str:
    """For a setting that differs from the number of partitions at creation."""
    if topic.raisable:
        return (
            f"{topic.name} uses {known} partitions, but {topic.partitions} are declared. State would be looked up in "
            f"the wrong partitions: set `event_partitions = {known}` again, or raise their number with the state, by "
            "`tallymark topics raise --partitions N`."
        )
    return (
        f"{topic.name} was created with {known} partitions, but {topic.partitions} are declared. State would be looked "
        f"up in the wrong partitions: set `partitions = {known}` again."
    )


def too_few(topic: Topic, number: int, of_inner_topics: Collection[int]) -> str:
    """For fewer partitions than declared. of_inner_topics: the numbers that inner topics have."""
    numbers = f"{topic.name} has {number} partitions, but {topic.partitions} are declared"
    if topic.sharded and set(of_inner_topics) == {number}:
        return f"{numbers}: set `partitions = {number}`, the number of all inner topics."
    return f"{numbers}: increase it to {topic.partitions} with Kafka's tools (kafka-topics.sh --alter --partitions)."
