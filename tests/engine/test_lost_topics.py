"""Lost, recreated and truncated topics are refused with a sentence, until an operator accepts the loss."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer, TopicPartition

from pipeline.engine.lineage import LineageRefused
from pipeline.engine.table import Restored, Table
from pipeline.settings import Settings
from pipeline.stores.kafka import client as cluster
from tests.engine.test_partition import World, commit, state, with_output

pytestmark = pytest.mark.own_broker  # it deletes topics
COUNTED = 4


@pytest.fixture
def world(settings: Settings, tmp_path: Path) -> Iterator[World]:
    """One owner has counted the input up to COUNTED and has left."""
    made = World(settings, tmp_path)
    feed(made, 20)
    first = made.opened(followed=7)
    first.commit(commit(2, a=b"1"))
    first.commit(commit(COUNTED, b=b"2"))
    first.close()
    yield made


def feed(world: World, records: int) -> None:
    producer = Producer(world.config)
    for number in range(records):
        producer.produce(world.names["in"], str(number))
    assert producer.flush(20) == 0


def empty(world: World, name: str) -> None:
    """Takes all records of a topic away; its id and its offsets stay."""
    admin = cluster.admin(world.settings)
    for future in admin.delete_records([TopicPartition(world.names[name], 0, -1)]).values():
        future.result()


@pytest.mark.parametrize("name", ["in", "meta", "log", "counts"])
def test_a_recreated_topic_is_refused_whichever_it_is(world: World, name: str) -> None:
    world.remake(name)
    with pytest.raises(LineageRefused):
        world.opened(followed=7)


def test_the_refusal_names_the_topic_and_both_ids(world: World) -> None:
    given_up = world.remake("counts")
    topic, (lost,) = next(iter(given_up.items()))
    sentence = (
        f"{topic} was recreated: its id is {world.ids()[topic]}, but the state of stage was built with {lost}"
    )
    with pytest.raises(LineageRefused, match=re.escape(sentence)):
        world.opened(followed=7)


def test_counts_that_went_from_meta_are_missed(world: World) -> None:
    empty(world, "meta")
    with pytest.raises(LineageRefused, match="holds state without counts"):
        world.opened(followed=7)


def test_newer_counts_that_went_from_meta_are_missed(world: World) -> None:
    """Meta as it was before the last commit: the committed offset is ahead of it, with a record between."""
    kept = world.read("meta")
    owner = world.opened(followed=7)
    owner.commit(commit(9))
    owner.close()
    world.remake("meta")
    producer = Producer(world.config)
    for key, value in kept:
        if key != b"topic-ids":
            producer.produce(world.names["meta"], value, key, 0)
    assert producer.flush(20) == 0
    with pytest.raises(LineageRefused, match=f"up to offset 9, but its counts end at {COUNTED}"):
        world.opened(followed=7)


def test_a_changelog_that_ends_before_what_the_counts_know_is_refused(world: World) -> None:
    given_up = world.remake("log")
    world.opened(replaced=given_up, followed=7).close()  # gone on with from the table
    table = Table(world.folder / "disk" / f"{world.names['in']}-0")
    at = table.restored()
    assert at is not None
    table.write((), Restored(at.changelog_id, at.next_offset + 100))
    table.close()
    with pytest.raises(LineageRefused, match="has read it up to"):
        world.opened(followed=7)


def test_definitions_that_are_older_than_the_state_are_refused(world: World) -> None:
    with pytest.raises(
        LineageRefused, match="has used revision 7 of the definitions, but the topic holds only 6"
    ):
        world.opened(followed=6)
    assert world.opened(followed=8).next_offset == COUNTED


def test_an_input_that_is_given_up_is_read_from_its_beginning_and_offsets_go_on(world: World) -> None:
    given_up = world.remake("in")
    feed(world, 3)
    owner = world.opened(replaced=given_up, followed=7)
    assert owner.next_offset == 0
    assert owner.counts.base == COUNTED, "an offset in state is larger than every one before"
    assert state(owner) == {b"a": b"1", b"b": b"2"}
    made = commit(2, c=b"3")
    made.last_offset = 1 + owner.counts.base
    owner.commit(made)
    owner.close()
    again = world.opened(replaced=given_up, followed=7)
    assert again.next_offset == 2
    assert again.counted_offset == COUNTED + 1
    assert again.counts.counts == {"default": {"read": 3}}


def test_without_a_committed_offset_a_new_input_continues_after_the_counts(world: World) -> None:
    given_up = world.remake("in")
    feed(world, 3)
    owner = world.opened(replaced=given_up, followed=7)
    made = commit(2)
    made.last_offset = 1 + owner.counts.base
    owner.commit(made)
    owner.close()
    admin = cluster.admin(world.settings)
    for future in admin.delete_consumer_groups([world.group]).values():
        future.result()
    assert world.opened(replaced=given_up, followed=7).next_offset == 2


def test_a_changelog_that_is_given_up_is_written_again_from_the_whole_table(world: World) -> None:
    given_up = world.remake("log")
    world.opened(replaced=given_up, followed=7).close()
    other = world.opened("another disk", given_up, 7)
    assert state(other) == {b"a": b"1", b"b": b"2"}
    other.commit(with_output(world, commit(6, c=b"3"), b"x"))
    other.close()
    assert state(world.opened(replaced=given_up, followed=7)) == {b"a": b"1", b"b": b"2", b"c": b"3"}


def behind(world: World) -> None:
    """Another machine has counted further."""
    other = world.opened("another disk", followed=7)
    other.commit(commit(6, c=b"3"))
    other.close()


def absent(world: World) -> None:
    Table.remove(world.folder / "disk" / f"{world.names['in']}-0")


@pytest.mark.parametrize("spoil", [behind, absent])
def test_a_changelog_is_not_written_from_a_table_that_lacks_something(
    world: World, spoil: Callable[[World], None]
) -> None:
    spoil(world)
    given_up = world.remake("log")
    with pytest.raises(LineageRefused, match="does not hold the whole state"):
        world.opened(replaced=given_up, followed=7)


def test_a_table_of_another_cluster_is_refused_where_nothing_is_known(
    settings: Settings, tmp_path: Path
) -> None:
    world = World(settings, tmp_path)
    table = Table(tmp_path / "disk" / f"{world.names['in']}-0")
    table.write([(b"a", b"1")], Restored("another-changelog", 5))
    table.close()
    with pytest.raises(LineageRefused, match="Is this the right cluster"):
        world.opened()


def test_a_table_of_an_earlier_changelog_is_removed_with_a_word(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.opened("other disk", followed=7).close()
    table = Table(world.folder / "disk" / f"{world.names['in']}-0")
    table.write([(b"stale", b"1")], Restored("earlier-changelog", 5))
    table.close()
    assert state(world.opened(followed=7)) == {b"a": b"1", b"b": b"2"}
    assert "belongs to an earlier" in caplog.text
