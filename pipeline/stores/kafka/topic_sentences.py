"""What is said of topics that are not as declared, and the way back from each.

Owns: the sentences. Does not own: finding the differences (topics).
"""

from __future__ import annotations

from collections.abc import Collection

from pipeline.stores.kafka.topic import Topic
from pipeline.stores.kafka.topic_ids import TOPIC, Identity, changed_id


def lost(topic: Topic) -> str:
    """It is missing, and state was made with it."""
    return f"{topic.name} is missing, and the state of this installation was made with it. {way_back(topic)}"


def another(topic: Topic, identity: Identity) -> str:
    """State was made with an earlier topic of the name."""
    ids = changed_id(identity.known[topic.name].id, identity.actual[topic.name])
    return f"{topic.name} was made anew: {ids}. {way_back(topic)}"


def unknown(topic: Topic) -> str:
    """Nobody has noted its id."""
    return f"{topic.name} is not noted in {TOPIC}; `tallymark topics apply` notes it."


def way_back(topic: Topic) -> str:
    """What can be done about a topic that was lost."""
    copy = "Bring the cluster's data back from a copy"
    if not topic.if_lost:
        return (
            f"{copy}; without one, begin anew: delete every topic of Tallymark, its tables in ClickHouse and the "
            "folders of state_dir."
        )
    return (
        f"{copy}, or let `tallymark topics apply --recreate-lost {topic.name}` make it anew, which costs: "
        f"{topic.if_lost}."
    )


def other_number(topic: Topic, known: int) -> str:
    """The setting is not what the topics were made with."""
    return (
        f"{topic.name} was made with {known} partitions and {topic.partitions} are declared, so state would be looked "
        f"for in the wrong ones: set `partitions = {known}` again."
    )


def too_few(topic: Topic, number: int, of_inner_topics: Collection[int]) -> str:
    """It has fewer partitions than declared. of_inner_topics: the numbers that inner topics have."""
    said = f"{topic.name} has {number} partitions and {topic.partitions} are declared"
    if topic.sharded and set(of_inner_topics) == {number}:
        return f"{said}: set `partitions = {number}`, as all inner topics have."
    return (
        f"{said}: give it {topic.partitions} with Kafka's own tools (kafka-topics.sh --alter --partitions)."
    )
