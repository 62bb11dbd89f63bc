"""Recreates a lost topic when an operator asks for it: `tallymark topics apply --recreate-lost NAME`.

Owns: which lost topics can be refilled and from what, and that their new ids are valid only after that. Does not own:
detecting a loss (topics), its cost (the declarations' `if_lost`), a changelog that a worker rewrites from its table
(engine.local_state).
An interrupted run leaves a topic whose id is not recorded, which every stage refuses; the next run starts over.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec
from confluent_kafka import Message

from pipeline.agents.decided_again import COMMANDS, decided_again
from pipeline.engine.ledger import IDS_KEY, key_of
from pipeline.engine.restore import Reader
from pipeline.errors import Rejected, Unavailable
from pipeline.records import Counts, TopicId
from pipeline.settings import Settings
from pipeline.stores.kafka import client as kafka
from pipeline.stores.kafka import topic_ids, topics
from pipeline.stores.kafka.topic import Topic
from pipeline.stores.kafka.topic_ids import META, Identity
from pipeline.stores.kafka.topic_sentences import recovery
from pipeline.stores.kafka.writer import KafkaWriter, WrittenRecord

WRITE_S = 60.0

_decode = msgspec.json.Decoder(Counts).decode
_decode_ids = msgspec.json.Decoder(dict[str, str]).decode
_encode = msgspec.json.Encoder().encode

LostRecord = tuple[str, int, bytes, bytes]  # topic, partition, key, value


def recreate(settings: Settings, names: Sequence[str]) -> list[str]:
    """Recreate these lost topics; returns a sentence for each. Raises Rejected, Unavailable."""
    declared = topics.load(settings)
    for name in names:
        if name not in declared:
            raise Rejected("unknown-topic", f"There is no topic {name!r} in topics/.")
        if not declared[name].if_lost:
            raise Rejected("topic-lost", f"{name} cannot be recreated on its own. {recovery(declared[name])}")
    # Topics from which others are refilled come first.
    order = [topic_ids.TOPIC, "counts"]
    ordered = sorted(set(names), key=lambda name: (order.index(name) if name in order else len(order), name))
    return [_recreate(settings, declared, name) for name in ordered]


def _recreate(settings: Settings, declared: Mapping[str, Topic], name: str) -> str:
    topic = declared[name]
    identity = _identity(settings, declared, name)
    if identity.is_lost(topic_ids.TOPIC) or identity.is_another(topic_ids.TOPIC):
        if name != topic_ids.TOPIC:
            raise Rejected(
                "topic-lost", f"{topic_ids.TOPIC} is lost too: use --recreate-lost {topic_ids.TOPIC} first."
            )
    elif topic_ids.TOPIC not in identity.actual:
        topics.create(settings, [declared[topic_ids.TOPIC]])  # created by a version that recorded no ids
        _until_there(settings, topic_ids.TOPIC, identity)
    written = list(_content(settings, declared, name, identity))
    earlier = _incarnations(settings, name, identity)
    topics.create(settings, [topic] if name not in identity.actual else [])
    now = _until_there(settings, name, identity)
    if name == topic_ids.TOPIC:
        _write(settings, _ids(identity, now))
    else:
        _write(settings, written)
        if name == "control":
            _write(settings, _without_end(settings, now))
        topic_ids.give_up(settings, now, name, topic.partitions, earlier)
    return f"recreated {name}: its id is {now.actual[name]}."


def _identity(settings: Settings, declared: Mapping[str, Topic], name: str) -> Identity:
    """The recorded and actual ids. Raises Rejected unless this topic is lost, or was recreated by another program."""
    partitions = {topic.name: topic.partitions for topic in declared.values()}
    identity, is_in_use = topic_ids.identify(settings, partitions, kafka.cluster(settings).topics)
    was_never_recorded = name not in identity.actual and name in topic_ids.BEFORE_IDS and is_in_use()
    if not (identity.is_lost(name) or identity.is_another(name) or was_never_recorded):
        raise Rejected(
            "not-lost", f"{name} is not lost: it is the topic with which state was built, or no state exists."
        )
    return identity


def _incarnations(settings: Settings, name: str, identity: Identity) -> set[str]:
    """The ids of earlier topics of this name in the counts, if no id was recorded."""
    if name in identity.known or name in ("counts", topic_ids.TOPIC):
        return set()
    return {one.incarnation for one in _kept(settings, "counts", identity) if one.topic == name}


def _content(
    settings: Settings, declared: Mapping[str, Topic], name: str, identity: Identity
) -> Iterator[LostRecord]:
    """The records with which the recreated topic starts."""
    if name == "control":
        for key, value in decided_again(settings).items():
            if value is not None:
                yield name, 0, key, value
    elif name == "counts":
        for meta in (one for one in declared if one.endswith(META) and one in identity.actual):
            for counts in _kept(settings, meta, identity):
                yield name, 0, _name_on_counts(counts), _encode(counts)
    elif name.endswith(META):
        for counts in _kept(settings, "counts", identity):
            if counts.stage == name.removesuffix(META):
                partition = counts.partition % declared[name].partitions
                yield name, partition, f"{counts.topic}/{counts.partition}".encode(), _encode(counts)


def _name_on_counts(counts: Counts) -> bytes:
    return f"{counts.stage}/{counts.topic}/{counts.partition}".encode()


def _kept(settings: Settings, source: str, identity: Identity) -> Iterable[Counts]:
    """The newest counts of each partition, from a topic that is not lost itself."""
    if identity.is_another(source) or source not in identity.actual:
        raise Rejected("topic-lost", f"It can only be refilled from {source}, which is lost too.")
    found: dict[bytes, Counts] = {}
    for message in _records(settings, source):
        key, value = message.key() or b"", message.value()
        if key != IDS_KEY and value:
            found[key] = _decode(value)
    return found.values()


def _records(settings: Settings, topic: str) -> Iterator[Message]:
    partitions = kafka.cluster(settings).topics[topic].partitions
    with Reader(kafka.client_config(settings) | {"log_level": 0}, "tallymark-lost-topics") as reader:
        for partition in sorted(partitions):
            span = reader.span(topic, partition)
            for batch in reader.read(topic, partition, span.first, span.end):
                yield from batch


def _ids(identity: Identity, now: Identity) -> Iterator[LostRecord]:
    """The records of `topic-ids` from the stages' copies, with its own new id."""
    now_ms = time.time_ns() // 1_000_000
    own = identity.known.get(topic_ids.TOPIC)
    replaced = [own.id] if own is not None else []
    made = {
        **identity.known,
        topic_ids.TOPIC: TopicId(topic_ids.TOPIC, now.actual[topic_ids.TOPIC], 1, 0, replaced),
    }
    for name, one in made.items():
        yield topic_ids.TOPIC, 0, name.encode(), _encode(msgspec.structs.replace(one, at_ms=now_ms))


def _without_end(settings: Settings, now: Identity) -> Iterator[LostRecord]:
    """The records of the control stage that refer to the lost `control`: its end, and its id."""
    ids: dict[str, str] = {}
    for message in _records(settings, "control-meta"):
        if message.key() == IDS_KEY:
            ids = _decode_ids(message.value() or b"{}")
        elif message.key() == key_of(COMMANDS):
            value = _encode(msgspec.structs.replace(_decode(message.value() or b""), changelog_end=0))
    yield "control-meta", 0, key_of(COMMANDS), value
    yield "counts", 0, b"control/" + key_of(COMMANDS), value
    yield "control-meta", 0, IDS_KEY, _encode(ids | {"control": now.actual["control"]})


def _until_there(settings: Settings, name: str, identity: Identity) -> Identity:
    """Wait until the topic exists and has leaders; returns the ids then."""
    deadline = time.monotonic() + topics.TIMEOUT_S
    while True:
        found = kafka.cluster(settings).topics.get(name)
        ids = kafka.topic_ids(settings, [name])
        if (
            found is not None
            and found.partitions
            and all(one.leader >= 0 for one in found.partitions.values())
            and ids
        ):
            return Identity(identity.known, {**identity.actual, **ids})
        if time.monotonic() > deadline:
            raise Unavailable(f"{name} was created, but has no leader after {topics.TIMEOUT_S:g} s.")
        time.sleep(0.05)


def _write(settings: Settings, records: Iterable[LostRecord]) -> None:
    with KafkaWriter(settings, "records of lost topics", WRITE_S) as writer:
        writer.write(WrittenRecord(topic, value, key, partition) for topic, partition, key, value in records)
