"""A partition's protocol on the real broker: what a commit makes visible, what an owner finds, who is fenced."""

from __future__ import annotations

import dataclasses
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import NewTopic

from pipeline.engine.changelog import Changelog
from pipeline.engine.chunk import Position
from pipeline.engine.lineage import LineageRefused
from pipeline.engine.partition import Cluster, Commit, Output, Partition, Spec
from pipeline.engine.producer import group_metadata
from pipeline.errors import Broken, Unavailable
from pipeline.settings import Settings
from pipeline.stores.kafka import client as cluster


class World:
    """Topics with names of their own, and partitions of a stage over them."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings = settings
        self.folder = folder
        self.group = f"g-{uuid.uuid4().hex[:8]}"
        self.names = {name: f"{name}-{self.group}" for name in ("in", "out", "meta", "counts", "log")}
        self.config = cluster.client_config(settings)
        self.create(*self.names.values())

    def create(self, *names: str) -> None:
        admin = cluster.admin(self.settings)
        for future in admin.create_topics([NewTopic(name, 1, 1) for name in names]).values():
            future.result()

    def ids(self) -> dict[str, str]:
        return cluster.topic_ids(self.settings, self.names.values())

    def remake(self, name: str) -> dict[str, list[str]]:
        """Delete a topic and recreate it; returns the ids that an operator has to give up to continue."""
        topic = self.names[name]
        lost = self.ids()[topic]
        admin = cluster.admin(self.settings)
        for future in admin.delete_topics([topic], operation_timeout=30).values():
            future.result()
        self.create(topic)
        return {topic: [lost]}

    def partition(
        self,
        disk: str = "disk",
        replaced: Mapping[str, list[str]] | None = None,
        followed: int | Callable[[], int] = 0,
        stateless: bool = False,
        state_version: int = 1,
    ) -> Partition:
        newest = followed if callable(followed) else lambda: followed
        metadata = group_metadata(self.config, self.group)
        one = Cluster(self.config, self.group, metadata, self.ids(), replaced or {}, newest, 0.1)
        names = self.names
        spec = Spec(
            "stage", (names["in"],), names["meta"], Changelog(names["log"]), names["counts"],
            state_version=state_version,
        )  # fmt: skip
        if stateless:
            spec = dataclasses.replace(spec, stateless=spec.inputs)
        return Partition(spec, one, Position(names["in"], 0), self.folder / disk)

    def opened(
        self, disk: str = "disk", replaced: Mapping[str, list[str]] | None = None, followed: int = 0
    ) -> Partition:
        partition = self.partition(disk, replaced, followed)
        partition.fence()
        partition.open()
        return partition

    def read(self, topic: str, end: int | None = None) -> list[tuple[bytes | None, bytes | None]]:
        """All committed records of a topic."""
        consumer = Consumer(
            {
                **self.config,
                "group.id": uuid.uuid4().hex,
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
            }
        )
        consumer.assign([TopicPartition(self.names[topic], 0, 0)])
        found = []
        while (message := consumer.poll(10)) is not None and message.error() is None:
            found.append((message.key(), message.value()))
        consumer.close()
        return found


@pytest.fixture
def world(settings: Settings, tmp_path: Path) -> Iterator[World]:
    made = World(settings, tmp_path)
    producer = Producer(made.config)
    for number in range(20):
        producer.produce(made.names["in"], str(number))
    producer.flush()
    yield made


def commit(next_offset: int, **changes: bytes | None) -> Commit:
    return Commit(
        next_offset,
        next_offset - 1,
        changes={key.encode(): value for key, value in changes.items()},
        counts={"default": {"read": 1}},
    )


def with_output(world: World, made: Commit, *values: bytes) -> Commit:
    made.outputs.extend(Output(world.names["out"], value, partition=0) for value in values)
    return made


def state(partition: Partition) -> dict[bytes, bytes]:
    assert partition.table is not None
    return dict(partition.table.items())


def test_a_commit_makes_outputs_state_counts_and_position_true_together(world: World) -> None:
    first = world.opened()
    assert first.next_offset == 0
    first.commit(with_output(world, commit(5, a=b"1"), b"x", b"y"))
    first.commit(with_output(world, commit(9, a=b"2", b=b"3"), b"z"))
    assert [value for _, value in world.read("out")] == [b"x", b"y", b"z"]
    assert state(first) == {b"a": b"2", b"b": b"3"}
    first.close()
    second = world.opened()
    assert second.next_offset == 9
    assert second.counted_offset == 8
    assert second.counts.counts == {"default": {"read": 2}}
    assert state(second) == {b"a": b"2", b"b": b"3"}


def test_state_of_a_newer_version_is_refused_and_one_of_an_older_version_is_read(world: World) -> None:
    older = world.opened()
    older.commit(commit(3, a=b"1"))
    older.close()
    for version in (1, 2):
        newer = world.partition(state_version=2)
        newer.fence()
        newer.open()
        assert newer.counts.state_version == version
        newer.commit(commit(3 + 3 * version, a=b"2"))
        newer.close()
    sentence = f"The state of stage in {world.names['in']}/0 has version 2, but this release"
    with pytest.raises(LineageRefused, match=sentence):
        world.opened()
    with pytest.raises(LineageRefused, match=sentence):
        world.opened("a new disk")


def test_state_comes_back_from_the_changelog_alone(world: World) -> None:
    first = world.opened()
    first.commit(commit(3, a=b"1", b=b"2"))
    first.commit(commit(6, a=None, c=b"3"))
    first.close()
    second = world.opened("another disk")
    assert state(second) == {b"b": b"2", b"c": b"3"}
    assert second.restored_records == 4
    assert second.next_offset == 6


def test_a_disk_that_missed_commits_gets_only_the_tail(world: World) -> None:
    first = world.opened("one")
    first.commit(commit(3, a=b"1"))
    first.close()
    other = world.opened("two")
    other.commit(commit(5, a=b"2"))
    other.commit(commit(7, b=b"3"))
    other.close()
    again = world.opened("one")
    assert state(again) == {b"a": b"2", b"b": b"3"}
    assert again.restored_records == 2


def test_a_crash_between_commit_and_disk_is_mended_from_the_changelog(world: World) -> None:
    """The disk is as it was before the commit."""
    world.opened().close()
    shutil.copytree(world.folder / "disk", world.folder / "before")
    first = world.opened()
    first.commit(commit(4, a=b"1"))
    first.close()
    second = world.opened("before")
    assert state(second) == {b"a": b"1"}
    assert second.next_offset == 4


def test_a_damaged_disk_is_restored_from_the_changelog_and_logged(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    first = world.opened()
    first.commit(commit(4, a=b"1"))
    first.close()
    (world.folder / "disk" / f"{world.names['in']}-0" / "CURRENT").write_bytes(b"nonsense\n")
    assert state(world.opened()) == {b"a": b"1"}
    assert "is damaged: Corruption: CURRENT file" in caplog.text
    assert "removing it and restoring the state from its changelog" in caplog.text


def test_a_new_owner_fences_the_old_one(world: World) -> None:
    zombie = world.opened("one")
    zombie.commit(with_output(world, commit(2, a=b"1"), b"before"))
    owner = world.opened("two")
    with pytest.raises(Unavailable):
        zombie.commit(with_output(world, commit(4, a=b"zombie"), b"zombie"))
    owner.commit(with_output(world, commit(4, a=b"2"), b"owner"))
    assert [value for _, value in world.read("out")] == [b"before", b"owner"]
    assert state(world.opened("three")) == {b"a": b"2"}


def test_a_worker_that_was_frozen_while_another_one_took_over_gives_way(world: World) -> None:
    """Its counts were read before the other one's commit, the committed offset after it: no record is lost."""
    first = world.opened()
    first.commit(commit(3, a=b"1"))
    first.close()
    others: list[Partition] = []

    def freeze() -> int:
        others.append(world.opened("other"))
        others[0].commit(commit(5, a=b"2"))
        return 0

    frozen = world.partition(followed=freeze)
    frozen.fence()
    with pytest.raises(Unavailable, match="another worker took over"):
        frozen.open()
    others[0].commit(commit(7, a=b"3"))
    assert len(others) == 1


def test_an_open_transaction_of_a_dead_owner_is_settled_before_state_is_read(world: World) -> None:
    dead = world.opened("one")
    dead.commit(commit(2, a=b"1"))
    producer: Any = dead._producer
    producer.begin()
    producer.produce(world.names["log"], b"never", b"a", 0)
    producer.produce(world.names["out"], b"never", None, 0)
    producer._producer.flush(10)
    owner = world.opened("two")
    assert state(owner) == {b"a": b"1"}
    assert owner.next_offset == 2
    owner.commit(with_output(world, commit(3), b"owner"))
    assert [value for _, value in world.read("out")] == [b"owner"]


def test_a_recreated_input_topic_is_refused(world: World) -> None:
    first = world.opened()
    first.commit(commit(4, a=b"1"))
    first.close()
    admin = cluster.admin(world.settings)
    for future in admin.delete_topics([world.names["in"]], operation_timeout=30).values():
        future.result()
    world.create(world.names["in"])
    with pytest.raises(Broken, match="was recreated"):
        world.opened()


def test_records_that_retention_took_before_they_were_read_are_an_error(world: World) -> None:
    first = world.opened()
    first.commit(commit(4))
    first.close()
    admin = cluster.admin(world.settings)
    deleted = admin.delete_records([TopicPartition(world.names["in"], 0, 12)])
    for future in deleted.values():
        future.result()
    with pytest.raises(Broken, match="were deleted before they were counted"):
        world.opened()


def test_without_a_committed_offset_the_counts_say_where_to_read_on(world: World) -> None:
    first = world.opened()
    first.commit(commit(4, a=b"1"))
    first.close()
    admin = cluster.admin(world.settings)
    for future in admin.delete_consumer_groups([world.group]).values():
        future.result()
    assert world.opened().next_offset == 4


def test_a_table_that_another_process_holds_is_never_removed(world: World) -> None:
    holder = world.opened()
    holder.commit(commit(4, a=b"1"))
    with pytest.raises(Broken, match="is open in another process"):
        world.opened()
    assert state(holder) == {b"a": b"1"}


def test_an_input_without_a_table_restores_none_and_keeps_its_offset(world: World) -> None:
    keeper = world.opened("one")
    keeper.commit(commit(3, a=b"1"))
    keeper.close()
    bare = world.partition("two", stateless=True)
    bare.fence()
    bare.open()
    assert bare.table is None and bare.restored_records == 0
    bare.commit(with_output(world, commit(5), b"x"))
    assert [value for _, value in world.read("out")] == [b"x"]
    assert world.opened("three").next_offset == 5
