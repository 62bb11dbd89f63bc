"""The Kafka topic ids with which the state of this installation was built, stored on the topic `topic-ids`.

Owns: recording the ids when topics are created, and comparing them with the cluster. Does not own: the declarations
(topics), a stage's copy of the ids in its meta topic (engine.partition), recreating a lost topic (agents.lost_topics).

A topic that was deleted and recreated has the same name, but another id, no records, and offsets that start at 0. State
that was built from the earlier topic would become wrong without an error. So a topic that is recorded here is never
created silently, and one with another id is refused.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache

import msgspec
from confluent_kafka.admin import AdminClient, TopicMetadata  # type: ignore[attr-defined]

from pipeline.core.metering.partition_splits import EventPartitions
from pipeline.engine.ledger import IDS_KEY
from pipeline.engine.lineage import Lineage, LineageRefused
from pipeline.engine.restore import Reader
from pipeline.errors import Rejected, Unavailable
from pipeline.records import TopicId
from pipeline.settings import Settings
from pipeline.stores.kafka import client as kafka
from pipeline.stores.kafka.topic import Topic
from pipeline.stores.kafka.writer import KafkaWriter, WrittenRecord

TOPIC = "topic-ids"
GROUP = "tallymark-topic-ids"  # required by the client, never joined
RAISING = "raising"  # the key of the record that exists while `tallymark topics raise` is in progress; never a topic
META = "-meta"  # suffix of the topics in which a stage keeps its counts
WRITE_S = 30.0
# The topics of versions that recorded no ids: an installation of theirs that lacks one of these has lost it.
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
    """The ids that `topic-ids` records, and those of the cluster.

    known: recorded, by topic. actual: Kafka's ids of the existing topics among those that were queried.
    """

    known: Mapping[str, TopicId]
    actual: Mapping[str, str]

    def is_lost(self, topic: str) -> bool:
        """Whether the topic does not exist, but state was built with it."""
        return topic in self.known and topic not in self.actual

    def is_another(self, topic: str) -> bool:
        """Whether the topic exists, but state was built with an earlier one of this name."""
        return topic in self.known and topic in self.actual and self.known[topic].id != self.actual[topic]

    def is_unknown(self, topic: str) -> bool:
        """Whether the topic exists, but its id is not recorded."""
        return topic in self.actual and topic not in self.known

    def version(self, topic: str) -> int:
        """The recorded version of the form of the topic's records."""
        return self.known[topic].record_version if topic in self.known else 1

    def lineage(self, names: Iterable[str]) -> Lineage:
        """The lineage for a stage that depends on these topics."""
        found = {name: self.known[name] for name in names if name in self.known}
        return Lineage(
            {name: one.id for name, one in found.items()},
            {name: tuple(one.replaced) for name, one in found.items() if one.replaced},
        )


def read(settings: Settings, names: Iterable[str]) -> Identity:
    """Query the cluster and read `topic-ids`, which may be missing. Raises Unavailable."""
    actual = kafka.topic_ids(settings, {*names, TOPIC})
    return Identity(known(settings, also_while_raising=True) if TOPIC in actual else {}, actual)


def identify(
    settings: Settings, partitions: Mapping[str, int], on_cluster: Mapping[str, TopicMetadata]
) -> tuple[Identity, Callable[[], bool]]:
    """The ids of the declared topics, and a function: whether a stage has ever used them. Raises Unavailable.

    partitions: how many of each topic are used. If `topic-ids` is empty, the copies of the stages are used; that their
    number was raised is not in these, so it must be declared: raises Rejected if it is not.
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
        _require_raised(settings, places, partitions)
        found = {
            name: TopicId(name, id, partitions[name], 0) for name, id in kept.items() if name in partitions
        }
        identity = Identity(found, identity.actual)
    return identity, is_in_use


def _require_raised(settings: Settings, places: Iterable[TopicPlace], partitions: Mapping[str, int]) -> None:
    """Raise Rejected if a stage keeps ids in a partition that is not declared: their number was raised.

    Partitions alone show nothing, since a run of `tallymark topics raise` that was interrupted leaves empty ones.
    """
    beyond = [place for place in places if place[1] >= partitions[place[0]]]
    used = sorted(place for place in beyond if copies(settings, [place], {}))
    if used:
        name, highest = max(used, key=lambda place: place[1])
        raise Rejected(
            "bad-partitions",
            f"{name} uses at least {highest + 1} partitions, but {partitions[name]} are declared: set "
            "`event_partitions` to the number to which `tallymark topics raise` has raised them.",
        )


def known(settings: Settings, also_while_raising: bool = False) -> dict[str, TopicId]:
    """The contents of `topic-ids`, by topic.

    Raises Unavailable, and unless also_while_raising, LineageRefused while `tallymark topics raise` is in progress.
    """
    found: dict[str, TopicId] = {}
    with Reader(kafka.client_config(settings) | {"log_level": 0}, GROUP) as reader:
        span = reader.span(TOPIC, 0)
        for batch in reader.read(TOPIC, 0, span.first, span.end):
            for message in batch:
                name, value = (message.key() or b"").decode(), message.value()
                if value is None:
                    found.pop(name, None)
                else:
                    found[name] = _decode(value)
    raising = found.pop(RAISING, None)
    if raising is not None and not also_while_raising:
        raise LineageRefused(
            "Partitions are being raised: start workers when `tallymark topics raise --partitions "
            f"{raising.partitions}` has ended. If it was interrupted, run it again."
        )
    return found


def begin_raising(settings: Settings, number: int) -> None:
    """Let workers refuse partitions that are assigned from now on. Raises Unavailable."""
    write(settings, [TopicId(RAISING, "", number, time.time_ns() // 1_000_000)])


def end_raising(settings: Settings) -> None:
    """Let workers start again. Raises Unavailable."""
    with KafkaWriter(settings, "topic ids", WRITE_S) as writer:
        writer.write([WrittenRecord(TOPIC, None, RAISING.encode(), 0)])


def event_partitions(settings: Settings, number: int) -> EventPartitions:
    """The partitions of `events-unique`, with their splits. number: that is declared. Raises Unavailable."""
    noted = known(settings, also_while_raising=True).get("events-unique")
    return EventPartitions(number, () if noted is None else tuple(noted.splits))


def has_records(settings: Settings, places: Iterable[TopicPlace]) -> bool:
    """Whether a record was ever written to one of these partitions. Raises Unavailable."""
    with Reader(kafka.client_config(settings) | {"log_level": 0}, GROUP) as reader:
        return any(reader.span(*place).end > 0 for place in places)


def copies(settings: Settings, places: Iterable[TopicPlace], actual: Mapping[str, str]) -> dict[str, str]:
    """The ids that stages keep in these partitions of their meta topics, by topic. Raises Unavailable.

    If copies differ, the one that equals the cluster's id is right: a stage that has not run since has an earlier one.
    """
    found: dict[str, str] = {}
    with Reader(kafka.client_config(settings) | {"log_level": 0}, GROUP) as reader:
        for topic, partition in places:
            span, kept = reader.span(topic, partition), dict[str, str]()
            for batch in reader.read(topic, partition, span.first, span.end):
                for message in batch:
                    if message.key() == IDS_KEY:
                        kept = _decode_ids(message.value() or b"{}")
            right = {name for name, id in found.items() if id == actual.get(name)}
            found |= {name: id for name, id in kept.items() if name not in right}
    return found


def note(settings: Settings, identity: Identity, declared: Mapping[str, Topic]) -> list[str]:
    """Record the ids of existing topics that are not recorded yet, and newer versions of records; returns the topics.

    Two processes may do it at the same time: they write the same. Raises Unavailable.
    """
    now_ms = time.time_ns() // 1_000_000
    unknown = [
        TopicId(name, identity.actual[name], topic.partitions, now_ms, record_version=topic.record_version)
        for name, topic in sorted(declared.items())
        if identity.is_unknown(name)
    ]
    newer = [
        msgspec.structs.replace(identity.known[name], at_ms=now_ms, record_version=topic.record_version)
        for name, topic in sorted(declared.items())
        if name in identity.known and identity.version(name) < topic.record_version
    ]
    write(settings, [*unknown, *newer])
    return [one.topic for one in (*unknown, *newer)]


def give_up(
    settings: Settings, identity: Identity, topic: str, partitions: int, earlier: Iterable[str] = ()
) -> None:
    """Let the existing topic replace the one with which state was built. Raises Unavailable.

    partitions, earlier: how many are used, and ids of earlier topics, for a topic that is not recorded.
    """
    noted = identity.known.get(topic) or TopicId(topic, "", partitions, 0, list(earlier))
    replaced = [*noted.replaced, *([noted.id] if noted.id else [])]
    now_ms = time.time_ns() // 1_000_000
    given_up = msgspec.structs.replace(noted, id=identity.actual[topic], at_ms=now_ms, replaced=replaced)
    write(settings, [given_up])


def write(settings: Settings, ids: Iterable[TopicId]) -> None:
    """Publish these records. Raises Unavailable."""
    with KafkaWriter(settings, "topic ids", WRITE_S) as writer:
        writer.write(WrittenRecord(TOPIC, _encode(one), one.topic.encode(), 0) for one in ids)


class TopicWatch:
    """Checks that topics are still the same as when this process started; `look` is called regularly."""

    def __init__(self, settings: Settings, ids: Mapping[str, str]) -> None:
        self._settings = settings
        self._ids = dict(ids)
        self._missing: frozenset[str] = frozenset()
        self._client: AdminClient | None = None

    def look(self) -> str:
        """A sentence on the first topic that was replaced; empty if there is none, or if Kafka is unavailable.

        A topic counts as deleted when two checks in a row do not find it.
        """
        try:
            if self._client is None:  # kept, since a new one costs the broker two connections
                self._client = kafka.admin(self._settings)
            actual = kafka.topic_ids(self._settings, self._ids, client=self._client)
        except Unavailable:
            self._client = None
            return ""
        missing = frozenset(self._ids.keys() - actual.keys())
        gone, self._missing = missing & self._missing, missing
        for name, id in sorted(self._ids.items()):
            if name in gone:
                return f"The topic {name} was deleted while this process ran."
            if name in actual and actual[name] != id:
                return (
                    f"The topic {name} was recreated while this process ran: {changed_id(id, actual[name])}."
                )
        return ""


def changed_id(known: str, actual: str) -> str:
    """The part of a sentence that shows both ids."""
    return f"its id is {actual}, but the state was built with {known}"
