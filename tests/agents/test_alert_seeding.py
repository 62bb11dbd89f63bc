"""Seeding: when stored usage is read, what is published of it, and that no job is lost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from queue import Queue
from typing import Any, cast

import msgspec
import pytest

from pipeline.agents.alert_seeding import Job, Seeding, SeedQueries
from pipeline.agents.barriers import barrier_revision
from pipeline.core.customers.attribution import Holders
from pipeline.core.metering.identity import customer_hash
from pipeline.errors import Unavailable
from pipeline.records import CustomerWindow, Window
from pipeline.stores.clickhouse.client import ClickHouse
from pipeline.stores.kafka.writer import KafkaWriter, WrittenRecord
from tests.fixtures.alert_desk import AT_S, METERED, MINUTE_S, Usage, desk
from tests.fixtures.patience import PATIENCE_S

PARTITIONS = 4
DONE_RECORD = b'["seeded","default","c","gpt","m"]'


class Writer:
    """Kafka, which may be `away`."""

    def __init__(self) -> None:
        self.records: list[WrittenRecord] = []
        self.away = False

    def write(self, records: Iterable[WrittenRecord]) -> None:
        if self.away:
            raise Unavailable("Kafka does not answer.")
        self.records += records


class Store:
    """ClickHouse, where marks land one partition a look and windows are these."""

    def __init__(self, windows: Sequence[Window]) -> None:
        self.windows = list(windows)
        self.landed = 0
        self.reads: list[tuple[tuple[str, ...], int, int]] = []

    def landed_partitions(self, _: object, __: bytes) -> int:
        self.landed += 1
        return self.landed

    def stored(self, _: object, __: str, ___: int, subjects: Sequence[str], from_s: int, to_s: int) -> Any:
        assert self.landed >= PARTITIONS  # not before all that came before the marks is there
        self.reads.append((tuple(subjects), from_s, to_s))
        mine = [one for one in self.windows if one.subject in subjects and from_s <= one.start_s < to_s]
        yield mine[:1]
        yield mine[1:]


@pytest.fixture
def store() -> Store:
    usage = Usage(1)
    for subject, minute in (("a", 0), ("b", 1), ("x", 1), ("a", 3)):
        usage.event(subject, AT_S + minute * MINUTE_S, 5)
    return Store(usage.stored())


def make(store: Store, holders: Holders) -> tuple[Seeding, Writer, list[tuple[int, bytes]]]:
    done: list[tuple[int, bytes]] = []
    writer = Writer()
    made = Seeding(
        cast(KafkaWriter, writer),
        cast(ClickHouse, store),
        holders,
        PARTITIONS,
        lambda partition, record: done.append((partition, record)),
        queries=SeedQueries(store.landed_partitions, store.stored),
        look_s=0,
        usage_partitions=PARTITIONS,
    )
    return made, writer, done


def job(customer: str, **more: Any) -> Job:
    return Job("default", customer, 1, ("a", "b"), AT_S + 30, 17, DONE_RECORD)._replace(**more)


def windows(writer: Writer) -> list[tuple[int, CustomerWindow]]:
    return [
        (partition, one)
        for topic, value, _, partition, _ in writer.records
        if topic == "customer-usage"
        for one in msgspec.json.decode(value or b"", type=list[CustomerWindow])
    ]


def test_barriers_go_first_and_stored_usage_is_published_to_the_customers_partition(store: Store) -> None:
    desk_, customer, _ = desk()
    made, writer, done = make(store, desk_.known.holders)
    made.add(job(customer))
    made.add(job(customer))  # asked for twice, done once
    made.look()
    marks = writer.records[:PARTITIONS]
    assert [(one.topic, one.value, one.partition) for one in marks] == [
        ("usage", b"[]", partition) for partition in range(PARTITIONS)
    ]
    assert {barrier_revision(cast(bytes, one.key)) for one in marks} == {17}
    target = customer_hash("default", customer) % PARTITIONS
    found = windows(writer)
    assert {partition for partition, _ in found} == {target}
    assert [(one.customer, one.window.subject, one.window.value) for _, one in found] == [
        (customer, "a", "5"), (customer, "a", "5"), (customer, "b", "5")
    ]  # fmt: skip
    assert done == [(target, DONE_RECORD)]
    ((subjects, from_s, _),) = store.reads
    assert (subjects, from_s) == (("a", "b"), AT_S)
    made.look()
    assert len(done) == 1


def test_minutes_in_which_another_held_the_subject_are_left_out(store: Store) -> None:
    desk_, customer, _ = desk()
    moved = {"id": "acme", "key": "acme", "name": "Acme", "usageAttribution": {"subjectKeys": ["b"]}}
    desk_.do("customer.update", moved, AT_S + 90)
    made, writer, _ = make(store, desk_.known.holders)
    made.add(job(customer))
    made.look()
    found = [(one.window.subject, one.window.start_s - AT_S) for _, one in windows(writer)]
    assert found == [("a", 0), ("b", MINUTE_S)]


def test_what_could_not_be_done_is_done_at_the_next_look(store: Store) -> None:
    desk_, customer, _ = desk()
    made, writer, done = make(store, desk_.known.holders)
    made.add(job(customer))
    writer.away = True
    with pytest.raises(Unavailable):
        made.look()
    assert not done
    writer.away = False
    made.look()
    assert len(done) == 1 and len(windows(writer)) == 3


def test_partitions_that_need_the_same_have_a_job_each(store: Store) -> None:
    desk_, _, _ = desk()
    made, _, done = make(store, desk_.known.holders)
    for partition in range(PARTITIONS):
        made.add(job("", partition=partition))
    made.look()
    assert done == [(partition, DONE_RECORD) for partition in range(PARTITIONS)]


class BrokenStore(Store):
    def landed_partitions(self, _: object, __: bytes) -> int:
        raise ValueError("no such column")


def test_an_error_that_is_no_absence_ends_the_worker() -> None:
    made, _, _ = make(BrokenStore([]), Holders())
    failed: Queue[BaseException] = Queue()
    made.add(job("c"))
    made.start(failed.put)
    assert isinstance(failed.get(timeout=PATIENCE_S), ValueError)


def test_the_job_that_an_entitlement_needs_brings_all_of_its_usage(store: Store) -> None:
    """The agent's job is done, and the published records are read by the agent."""
    desk_, customer, _ = desk()
    desk_.do("entitlement.create", METERED)
    made, writer, done = make(store, desk_.known.holders)
    made.add(desk_.jobs[-1])
    made.look()
    desk_.use([one.window for _, one in windows(writer)], AT_S + 300, customer)
    ((_, done_record),) = done
    desk_.known.agenda.add(0, done_record)
    desk_.clock(AT_S + 301)
    desk_.clock(AT_S + 302)
    assert desk_.balance(customer).usage == "15" and len(desk_.jobs) == 1


def test_the_usage_of_all_customers_of_a_partition_is_loaded_where_no_customer_is_named(store: Store) -> None:
    desk_, customer, _ = desk()
    made, writer, done = make(store, desk_.known.holders)
    target = customer_hash("default", customer) % PARTITIONS
    for partition in range(PARTITIONS):
        made.add(job("", partition=partition))
    made.look()
    assert {(partition, one.customer) for partition, one in windows(writer)} == {(target, customer)}
    assert sorted(partition for partition, _ in done) == list(range(PARTITIONS))
