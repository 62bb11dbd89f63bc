"""The number of partitions raised on a real broker: state, counts and offsets continue, or nothing changes."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path

import msgspec
import pytest
from confluent_kafka import Consumer, Producer

from pipeline.agents import attribute
from pipeline.agents.aggregate import CHANGELOG as WINDOWS
from pipeline.agents.dedupe import CHANGELOG as IDENTITIES
from pipeline.agents.lost_topics import recreate
from pipeline.agents.raise_partitions import (
    COUNTING,
    WRITERS,
    RaisedPartitions,
    input_places,
    lacks_changelog,
    raise_partitions,
)
from pipeline.core.metering.dedupe import dedupe
from pipeline.core.metering.identity import identity_hash
from pipeline.core.metering.partition_splits import EventPartitions
from pipeline.engine.chunk import Position
from pipeline.engine.ledger import NOTHING_YET, Kept
from pipeline.engine.lineage import Lineage, LineageRefused
from pipeline.engine.partition import Cluster, Commit, Partition, Spec
from pipeline.engine.producer import group_metadata
from pipeline.errors import Rejected, Unavailable
from pipeline.records import KEY, AcceptedBatch, Backfill, Counts
from pipeline.settings import Settings
from pipeline.stores.kafka import client as cluster
from pipeline.stores.kafka import topic_ids, topics
from pipeline.stores.kafka.consumer_groups import group_of
from tests.fixtures.fake_transaction import DictTable
from tests.fixtures.patience import PATIENCE_S, until

pytestmark = pytest.mark.own_broker  # it enlarges topics
BEFORE = 2
RECORDS = 3  # in each input partition
CHANGELOGS = {"dedupe": IDENTITIES, "aggregate": WINDOWS, "attribute": attribute.CHANGELOG}


class World:
    """An installation with two partitions, of which each stage has read RECORDS."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings, self._folder, self._opened = settings, folder, 0
        self.config = cluster.client_config(settings) | {"log_level": 0}
        for stage, topic in COUNTING.items():
            for partition in range(BEFORE):
                self.publish(topic, partition, RECORDS)
                with self.owned(stage, partition) as owner:
                    owner.commit(self.commit(stage, partition, RECORDS))

    def publish(
        self, topic: str, partition: int, records: int, key: bytes | None = None, value: bytes = b"[]"
    ) -> None:
        producer = Producer(self.config)
        for _ in range(records):
            producer.produce(topic, value, key, partition)
        assert producer.flush(PATIENCE_S) == 0

    def commit(self, stage: str, partition: int, next_offset: int) -> Commit:
        """What the partition's records change: 20 identities, or one value of each of two keys."""
        changes: dict[bytes, bytes | None] = {b"key": b"%d" % next_offset, b"of-%d" % partition: b"1"}
        if stage == "dedupe":
            changes = dict(identities(partition))
        return Commit(next_offset, next_offset - 1, changes=changes, counts={"default": {"read": 7}})

    @contextmanager
    def owned(self, stage: str, partition: int, number: int = BEFORE) -> Iterator[Partition]:
        """A partition, taken over with an empty folder."""
        owner = self.taken_over(stage, partition, number)
        try:
            yield owner
        finally:
            owner.close()

    def taken_over(self, stage: str, partition: int, number: int = BEFORE) -> Partition:
        self._opened += 1
        declared = topics.load(self.settings.model_copy(update={"event_partitions": number}))
        lineage = topic_ids.read(self.settings, declared).lineage(topics.of_stage(declared, stage))
        group = group_of(stage)
        known = Cluster(self.config, group, group_metadata(self.config, group), lineage.ids)
        spec = Spec(stage, (COUNTING[stage],), f"{stage}-meta", CHANGELOGS[stage], shards=number)
        owner = Partition(spec, known, Position(COUNTING[stage], partition), self._folder / str(self._opened))
        owner.fence()
        owner.open()
        return owner

    def items(self, stage: str, partition: int, number: int) -> dict[bytes, bytes]:
        with self.owned(stage, partition, number) as owner:
            assert owner.table is not None
            return dict(owner.table.items())

    def number(self) -> int:
        """The number that is valid."""
        return topic_ids.known(self.settings, also_while_raising=True)["events-unique"].partitions


def identities(partition: int) -> list[tuple[bytes, bytes]]:
    """The entries of 20 identities of a partition."""
    names = (blake2b(bytes([partition, number]), digest_size=16).digest() for number in range(200))
    mine = [one for one in names if identity_hash(one) % BEFORE == partition][:20]
    keys = b"".join(struct.pack(KEY, one, b"content!", 1, 0) for one in mine)
    return dedupe(AcceptedBatch(keys, [msgspec.Raw(b'["default",1]')] * len(mine)), 0, DictTable(), 1).entries


@pytest.fixture
def world(settings: Settings, reset: Callable[[Settings], None], tmp_path: Path) -> World:
    chosen = settings.model_copy(update={"partitions": BEFORE})
    reset(chosen)
    return World(chosen, tmp_path)


def test_a_new_partition_continues_the_old_one_with_its_state_and_its_offsets(world: World) -> None:
    before = {(stage, one): world.items(stage, one, BEFORE) for stage in COUNTING for one in range(BEFORE)}
    seen: list[tuple[int, int]] = []
    done = raise_partitions(world.settings, 6, lambda *so_far: seen.append(so_far))
    assert (done.before, done.now, len(done.topics)) == (2, 6, 15) and done.records > 0
    assert seen == sorted(seen) and seen[-1][0] == seen[-1][1]
    for stage in COUNTING:
        for partition in range(BEFORE, 6):
            parent = partition % BEFORE
            with world.owned(stage, parent, 6) as old, world.owned(stage, partition, 6) as new:
                assert old.counts.counts == {"default": {"read": 7}} and new.counts.counts == {}
                assert (new.next_offset, new.counts.base) == (0, old.next_offset)
                assert new.counts.offset == new.counts.base - 1 >= old.counts.offset
            found = world.items(stage, partition, 6)
            if stage == "dedupe":
                assert found and {identity_hash(one) % 6 for one in found} == {partition}
            else:
                assert found == before[stage, parent]
    owned = [one for partition in range(0, 6, BEFORE) for one in world.items("dedupe", partition, 6)]
    assert set(owned) == set(before["dedupe", 0])
    assert raise_partitions(world.settings, 6) == RaisedPartitions(6, 6, done.topics)


def test_what_a_new_partition_writes_is_kept(world: World) -> None:
    raise_partitions(world.settings, 4)
    world.publish("events-unique", 3, 2)
    with world.owned("aggregate", 3, 4) as owner:
        owner.commit(Commit(2, owner.counts.base + 1, changes={b"key": b"new"}))
    with world.owned("aggregate", 3, 4) as owner:
        assert owner.next_offset == 2 and owner.table is not None
        assert dict(owner.table.items())[b"key"] == b"new"
    assert world.items("aggregate", 1, 4)[b"key"] == b"3"


def test_an_interrupted_run_changes_nothing_and_can_be_repeated(world: World) -> None:
    def killed(done: int, of: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        raise_partitions(world.settings, 4, killed)
    assert world.number() == BEFORE and topics.check(world.settings) == []
    with pytest.raises(LineageRefused, match="Partitions are being raised"):  # as a worker reads it
        topic_ids.known(world.settings)
    raise_partitions(world.settings, BEFORE)
    assert topic_ids.known(world.settings)["events-unique"].partitions == BEFORE
    world.publish("events-unique", 1, 1)
    with world.owned("aggregate", 1) as owner:
        owner.commit(world.commit("aggregate", 1, owner.next_offset + 1))
    raise_partitions(world.settings, 4)
    assert topic_ids.known(world.settings)["events-unique"].partitions == 4
    assert world.items("aggregate", 3, 4) == {b"key": b"%d" % (RECORDS + 1), b"of-1": b"1"}


def test_what_runs_meanwhile_is_noticed(world: World) -> None:
    def works(done: int, of: int) -> None:
        world.publish("usage", 0, 1)

    with pytest.raises(Unavailable, match="ran meanwhile"):
        raise_partitions(world.settings, 4, works)
    assert world.number() == BEFORE


def test_a_frozen_owner_cannot_commit_any_more(world: World) -> None:
    frozen = world.taken_over("aggregate", 0)
    raise_partitions(world.settings, 4)
    with pytest.raises(Unavailable):
        frozen.commit(world.commit("aggregate", 0, RECORDS + 1))


def test_a_number_may_be_raised_again(world: World) -> None:
    raise_partitions(world.settings, 4)
    world.publish("events-unique", 3, 5)
    with world.owned("aggregate", 3, 4) as owner:
        base = owner.counts.base
        owner.commit(Commit(5, base + 4, changes={b"key": b"new"}))
    raise_partitions(world.settings.model_copy(update={"event_partitions": 4}), 8)
    splits = topic_ids.event_partitions(world.settings, 8).splits
    assert [split[:2] for split in splits] == [(2, 0), (3, 1), (4, 0), (5, 1), (6, 2), (7, 3)]
    assert dict(EventPartitions(8, splits).before(7)) == {3: splits[5][2] - 1, 1: base - 1}
    assert splits[5][2] > base + 4
    assert world.items("aggregate", 7, 8)[b"key"] == b"new" != world.items("aggregate", 5, 8)[b"key"]


def test_what_could_count_wrongly_is_refused(world: World) -> None:
    for number in (1, 3):
        with pytest.raises(Rejected, match=f"{number} is not a multiple of it.*for example into 4 in total"):
            raise_partitions(world.settings, number)
    with working(world), pytest.raises(Rejected, match="1 workers run, such as sink-here-1"):
        raise_partitions(world.settings, 4)
    step = Backfill("default", "tokens", 9, {}, 1, 2, state="copying")
    world.publish("backfill-work", 1, 1, b"9/1", msgspec.json.encode(step))
    with pytest.raises(Rejected, match="backfill of the meter tokens is in progress"):
        raise_partitions(world.settings, 4)
    done = msgspec.structs.replace(step, state="done")
    world.publish("backfill-work", 1, 1, b"9/1", msgspec.json.encode(done))
    world.publish("usage", 1, 1)
    with pytest.raises(Rejected, match=r"attribute 1.*but ingest"):
        raise_partitions(world.settings, 4)
    assert topic_ids.known(world.settings)["events-unique"].partitions == BEFORE
    with world.owned("attribute", 1) as owner:
        owner.commit(world.commit("attribute", 1, RECORDS + 1))
    assert raise_partitions(world.settings, 4).now == 4


@contextmanager
def working(world: World) -> Iterator[None]:
    """A worker of the sink."""
    worker = Consumer(world.config | {"group.id": group_of("sink"), "client.id": "sink-here-1"})
    worker.subscribe(["duplicates"])
    until(lambda: worker.poll(0.1) or worker.assignment())
    try:
        yield
    finally:
        worker.close()


def test_a_repetition_after_the_commit_fences_a_worker_that_has_read_the_old_number(world: World) -> None:
    raise_partitions(world.settings, 4)
    late = world.taken_over("aggregate", 0)
    with working(world):
        assert raise_partitions(world.settings, 4).records == 0
    assert raise_partitions(world.settings, 4).records == 0
    with pytest.raises(Unavailable):
        late.commit(world.commit("aggregate", 0, RECORDS + 1))


def test_lost_ids_are_not_made_again_with_a_number_from_before(world: World) -> None:
    raise_partitions(world.settings, 4)
    client = cluster.admin(world.settings)
    (deleted,) = client.delete_topics([topic_ids.TOPIC], operation_timeout=30).values()
    deleted.result()
    until(lambda: topic_ids.TOPIC not in cluster.cluster(world.settings).topics)
    with pytest.raises(Rejected, match=r"at least 4 partitions, but 2 are declared: set `event_partitions`"):
        recreate(world.settings, [topic_ids.TOPIC])
    recreate(world.settings.model_copy(update={"event_partitions": 4}), [topic_ids.TOPIC])
    assert world.number() == 4


def test_every_stage_that_writes_to_these_topics_is_fenced_in_each_partition_that_it_reads() -> None:
    declared = topics.load(Settings.model_construct(partitions=4, event_partitions=8))
    writers = {one for topic in declared.values() if topic.raisable for one in topic.producers}
    assert writers - {"alert", "stripe-sync", "billing"} == set(WRITERS), (
        "these write barriers, which are empty"
    )
    existing = {"commands": 1, "events": 5, "events-unique": 16, "customer-usage": 4}
    found = Counter(place.topic for place in input_places(list(existing), declared, existing))
    assert found == {"commands": 1, "events": 5, "events-unique": 8, "customer-usage": 4}


def test_a_changelog_that_was_recreated_must_be_written_again_first() -> None:
    lineage = Lineage({"usage": "u", "attribute-changelog": "new"}, {"attribute-changelog": ["old"]})
    counts = Counts("attribute", "usage", 0, 7, "u", {})
    assert lacks_changelog("attribute", Kept(counts, {"attribute-changelog": "old"}), lineage)
    assert not lacks_changelog("attribute", Kept(counts, {"attribute-changelog": "new"}), lineage)
    nothing = msgspec.structs.replace(counts, offset=NOTHING_YET)
    assert not lacks_changelog("attribute", Kept(nothing, {"attribute-changelog": "old"}), lineage)


def test_another_number_than_the_valid_one_is_refused(world: World) -> None:
    raise_partitions(world.settings, 4)
    declared = topics.load(world.settings)
    sentence = topics.other_numbers(declared, topic_ids.known(world.settings))
    assert "aggregate-changelog uses 4 partitions, but 2 are declared" in sentence
    assert "set `event_partitions = 4` again" in sentence
    raised = world.settings.model_copy(update={"event_partitions": 4})
    assert topics.other_numbers(topics.load(raised), topic_ids.known(raised)) == ""
    assert topics.check(raised) == []
    with pytest.raises(Rejected, match="event_partitions = 4"):
        topics.apply(world.settings)
