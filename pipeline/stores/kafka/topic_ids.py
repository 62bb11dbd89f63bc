"""Which topics the state of this installation was made with: Kafka's topic ids, kept on the topic `topic-ids`.

Owns: noting the ids when topics are made, and comparing them with the cluster. Does not own: the declarations (topics),
a stage's copy of the ids in its meta topic (engine.partition), making a lost topic anew (agents.lost_topics).

A topic that was deleted and made again has the same name, but another id, no records, and offsets that begin at 0.
State that was made from the earlier one would become wrong without an error. So a topic that is known here is never
made silently, and one with another id is refused.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache

import msgspec
from confluent_kafka.admin import TopicMetadata  # type: ignore[attr-defined]

from pipeline.engine.ledger import IDS_KEY
from pipeline.engine.lineage import Lineage
from pipeline.engine.restore import Reader
from pipeline.errors import Unavailable
from pipeline.records import TopicId
from pipeline.settings import Settings
from pipeline.stores.kafka import client as kafka
from pipeline.stores.kafka.writer import KafkaWriter, WrittenRecord

TOPIC = "topic-ids"
META = "-meta"  # how the names of topics end in which a stage keeps its counts
WRITE_S = 30.0
# Of versions that noted no ids: an installation of theirs that lacks one of these has lost it.
_NAMES = """
aggregate-changelog aggregate-meta alert-changelog alert-meta alerts attribute-changelog
attribute-meta audit backfill-changelog backfill-meta backfill-work balances commands control
control-meta counts customer-usage dedupe-changelog dedupe-meta deliveries duplicates events
events-accepted events-http events-settled events-unique ingest-meta late-usage rejected replies
usage webhook-changelog webhook-meta webhook-work workers
"""
BEFORE_IDS = frozenset(_NAMES.split())
TopicPlace = tuple[str, int]

_decode_ids = msgspec.json.Decoder(dict[str, str]).decode
_decode = msgspec.json.Decoder(TopicId).decode
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True)
class Identity:
    """What `topic-ids` says, beside what the cluster has.

    known: by topic. actual: Kafka's ids of the topics that exist, among those that were asked for.
    """

    known: Mapping[str, TopicId]
    actual: Mapping[str, str]

    def is_lost(self, topic: str) -> bool:
        """Whether the topic does not exist, and state was made with it."""
        return topic in self.known and topic not in self.actual

    def is_another(self, topic: str) -> bool:
        """Whether the topic exists, and state was made with an earlier one of that name."""
        return topic in self.known and topic in self.actual and self.known[topic].id != self.actual[topic]

    def is_unknown(self, topic: str) -> bool:
        """Whether the topic exists, and its id is not noted."""
        return topic in self.actual and topic not in self.known

    def lineage(self, names: Iterable[str]) -> Lineage:
        """What a stage that depends on these topics has to know."""
        found = {name: self.known[name] for name in names if name in self.known}
        return Lineage(
            {name: one.id for name, one in found.items()},
            {name: tuple(one.replaced) for name, one in found.items() if one.replaced},
        )


def read(settings: Settings, names: Iterable[str]) -> Identity:
    """Asks the cluster and reads `topic-ids`, which may be missing. Raises Unavailable."""
    actual = kafka.topic_ids(settings, {*names, TOPIC})
    return Identity(known(settings) if TOPIC in actual else {}, actual)


def identify(
    settings: Settings, partitions: Mapping[str, int], on_cluster: Mapping[str, TopicMetadata]
) -> tuple[Identity, Callable[[], bool]]:
    """What is known of the declared topics, and whether a stage has ever worked with them. Raises Unavailable.

    partitions: how many of each are used. Where `topic-ids` says nothing, what the stages keep holds; where they keep
    nothing either, nothing is known.
    """
    places = [
        (name, partition)
        for name in partitions
        if name.endswith(META) and name in on_cluster
        for partition in on_cluster[name].partitions
    ]
    also = [(name, 0) for name in ("counts", "control") if name in on_cluster]
    is_in_use = cache(lambda: has_records(settings, [*places, *also]))
    identity = read(settings, partitions)
    if not identity.known and is_in_use():
        kept = copies(settings, places, identity.actual)
        found = {
            name: TopicId(name, id, partitions[name], 0) for name, id in kept.items() if name in partitions
        }
        identity = Identity(found, identity.actual)
    return identity, is_in_use


def known(settings: Settings) -> dict[str, TopicId]:
    """What `topic-ids` holds, by topic. Raises Unavailable."""
    found: dict[str, TopicId] = {}
    with Reader(kafka.client_config(settings) | {"log_level": 0}, TOPIC) as reader:
        span = reader.span(TOPIC, 0)
        for batch in reader.read(TOPIC, 0, span.first, span.end):
            for message in batch:
                name, value = (message.key() or b"").decode(), message.value()
                if value is None:
                    found.pop(name, None)
                else:
                    found[name] = _decode(value)
    return found


def has_records(settings: Settings, places: Iterable[TopicPlace]) -> bool:
    """Whether anything was ever written to one of these partitions. Raises Unavailable."""
    with Reader(kafka.client_config(settings) | {"log_level": 0}, TOPIC) as reader:
        return any(reader.span(*place).end > 0 for place in places)


def copies(settings: Settings, places: Iterable[TopicPlace], actual: Mapping[str, str]) -> dict[str, str]:
    """The ids that stages keep in these partitions of their meta topics, by topic. Raises Unavailable.

    Where they differ, the one that the cluster has is right: a stage that has not run since keeps an earlier one.
    """
    found: dict[str, str] = {}
    with Reader(kafka.client_config(settings) | {"log_level": 0}, TOPIC) as reader:
        for topic, partition in places:
            span, kept = reader.span(topic, partition), dict[str, str]()
            for batch in reader.read(topic, partition, span.first, span.end):
                for message in batch:
                    if message.key() == IDS_KEY:
                        kept = _decode_ids(message.value() or b"{}")
            right = {name for name, id in found.items() if id == actual.get(name)}
            found |= {name: id for name, id in kept.items() if name not in right}
    return found


def note(settings: Settings, identity: Identity, partitions: Mapping[str, int]) -> list[str]:
    """Notes the ids of existing topics that are not known yet; gives their names. Raises Unavailable.

    partitions: how many of each topic's are used. Two processes may do it at once: they write the same.
    """
    now_ms = time.time_ns() // 1_000_000
    unknown = sorted(name for name in partitions if identity.is_unknown(name))
    write(settings, [TopicId(name, identity.actual[name], partitions[name], now_ms) for name in unknown])
    return unknown


def give_up(
    settings: Settings, identity: Identity, topic: str, partitions: int, earlier: Iterable[str] = ()
) -> None:
    """From now on the existing topic takes the place of the one that state was made with. Raises Unavailable.

    partitions, earlier: how many are used, and the ids of earlier topics, where nothing is known of it.
    """
    noted = identity.known.get(topic) or TopicId(topic, "", partitions, 0, list(earlier))
    replaced = [*noted.replaced, *([noted.id] if noted.id else [])]
    now_ms = time.time_ns() // 1_000_000
    write(settings, [TopicId(topic, identity.actual[topic], noted.partitions, now_ms, replaced)])


def write(settings: Settings, ids: Iterable[TopicId]) -> None:
    """Returns when the brokers hold these records. Raises Unavailable."""
    with KafkaWriter(settings, "topic ids", WRITE_S) as writer:
        writer.write(WrittenRecord(TOPIC, _encode(one), one.topic.encode(), 0) for one in ids)


class TopicWatch:
    """Whether topics are still the ones that they were when this process began; `look` is called now and then."""

    def __init__(self, settings: Settings, ids: Mapping[str, str]) -> None:
        self._settings = settings
        self._ids = dict(ids)
        self._missing: frozenset[str] = frozenset()

    def look(self) -> str:
        """A sentence on the first topic that is not the same any more; empty: none, or no broker answers.

        A topic counts as deleted when two looks in a row do not find it.
        """
        try:
            actual = kafka.topic_ids(self._settings, self._ids)
        except Unavailable:
            return ""
        missing = frozenset(self._ids.keys() - actual.keys())
        gone, self._missing = missing & self._missing, missing
        for name, id in sorted(self._ids.items()):
            if name in gone:
                return f"The topic {name} was deleted while this process ran."
            if name in actual and actual[name] != id:
                return (
                    f"The topic {name} was made anew while this process ran: {changed_id(id, actual[name])}."
                )
        return ""


def changed_id(known: str, actual: str) -> str:
    """The part of a sentence that names both ids."""
    return f"its id is {actual}, and the state was made with {known}"
