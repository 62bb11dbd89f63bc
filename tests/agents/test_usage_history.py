"""Historical usage is loaded once of each followed meter, and later that of new customers."""

from __future__ import annotations

import msgspec
import pytest

from pipeline.agents.alert_seeding import Job
from pipeline.agents.usage_history import FollowedMeter, SubjectLog, UsageHistory
from pipeline.core.customers.attribution import Holding
from pipeline.core.definitions.changes import Changes
from pipeline.core.metering.identity import customer_hash
from pipeline.records import Definition

PARTITIONS, FROM_S = 4, 1_800_000_000
METER = FollowedMeter("default", "7", 7, FROM_S)
MINE = {name: customer_hash("default", name) % PARTITIONS for name in ("ann", "bob", "cy", "dan")}


class World:
    """The history of partitions whose state is `seeded`, and its jobs."""

    def __init__(self) -> None:
        self.subjects = SubjectLog(PARTITIONS)
        self.jobs: list[Job] = []
        self.covered: list[tuple[int, bytes]] = []
        self.seeded = -1
        self.history = UsageHistory(
            self.subjects, self.jobs.append, lambda partition, item: self.covered.append((partition, item))
        )

    def define(self, revision: int, *names: str) -> None:
        """Each name is a customer with a subject of that name."""
        bodies: dict[str, dict[str, object]] = {
            name: {"subject": name, "holders": [Holding(0, name)]} for name in names
        }
        self.subjects.update(
            Changes(
                {
                    name: Definition(revision, "attribution", "default", name, "test", 1, body)
                    for name, body in bodies.items()
                }
            )
        )

    def look(self, revision: int) -> None:
        for partition in range(PARTITIONS):
            self.history.look(partition, METER, self.seeded, revision)


@pytest.fixture
def world() -> World:
    made = World()
    made.define(9, "ann", "bob", "cy")
    return made


def test_the_history_of_a_meter_is_loaded_once(world: World) -> None:
    world.look(20)
    world.look(20)
    of = {MINE[name] for name in ("ann", "bob", "cy")}
    assert {job.partition: set(job.subjects) for job in world.jobs} == {
        partition: {name for name in ("ann", "bob", "cy") if MINE[name] == partition} for partition in of
    }
    assert {partition for partition, _ in world.covered} == set(range(PARTITIONS)) - of
    assert all((job.since_s, job.meter_id, job.revision) == (FROM_S, 7, 20) for job in world.jobs)
    assert {msgspec.json.decode(job.done_record)[3] for job in world.jobs} == {"20"}


def test_that_of_a_new_customer_follows(world: World) -> None:
    world.seeded = 20
    world.define(30, "dan")
    world.look(31)
    world.look(31)
    assert [(job.subjects, job.partition) for job in world.jobs] == [(("dan",), MINE["dan"])]
    world.history.forget()  # another owner had it, and its job may be lost
    world.look(31)
    assert len(world.jobs) == 2


def test_a_partition_is_loading_until_its_state_has_what_was_missing(world: World) -> None:
    assert not world.history.is_loading(MINE["ann"])
    world.look(20)
    assert world.history.is_loading(MINE["ann"])
    world.seeded = 20
    world.define(30, "dan")
    world.look(31)
    assert [partition for partition in range(PARTITIONS) if world.history.is_loading(partition)] == [
        MINE["dan"]
    ]
    world.seeded = 31
    world.look(31)
    assert not any(map(world.history.is_loading, range(PARTITIONS)))
    world.look(40)
    assert not any(map(world.history.is_loading, range(PARTITIONS)))
