"""Seeding: when stored usage is read, what is published of it, and that no job is lost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

import msgspec
import pytest

from pipeline.agents import alert_seeding as module
from pipeline.agents.alert_seeding import Job, Seeding
from pipeline.agents.barriers import barrier_revision
from pipeline.core.customers.attribution import Holders
from pipeline.core.metering.identity import customer_hash
from pipeline.errors import Unavailable
from pipeline.records import CustomerWindow, Window
from pipeline.stores.clickhouse.client import ClickHouse
from pipeline.stores.kafka.writer import KafkaWriter, WrittenRecord
from tests.fixtures.alert_desk import AT_S, METERED, MINUTE_S, Usage, desk

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


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    usage = Usage(1)
    for subject, minute in (("a", 0), ("b", 1), ("x", 1), ("a", 3)):
        usage.event(subject, AT_S + minute * MINUTE_S, 5)
    found = Store(usage.stored())

    def landed(store: Store, _: bytes) -> int:
        store.landed += 1
        return store.landed

    def stored(store: Store, _: str, __: int, subjects: Sequence[str], from_s: int, to_s: int) -> Any:
        assert store.landed >= PARTITIONS  # not before all that came before the marks is there
        store.reads.append((tuple(subjects), from_s, to_s))
        mine = [one for one in store.windows if one.subject in subjects and from_s <= one.start_s < to_s]
        yield mine[:1]
        yield mine[1:]

    monkeypatch.setattr(module, "landed", landed)
    monkeypatch.setattr(module, "stored_windows", stored)
    monkeypatch.setattr(module, "LOOK_S", 0)
    return found


def make(store: Store, holders: Holders) -> tuple[Seeding, Writer, list[tuple[int, bytes]]]:
    done: list[tuple[int, bytes]] = []
    writer = Writer()
    made = Seeding(
        cast(KafkaWriter, writer),
        cast(ClickHouse, store),
        holders,
        PARTITIONS,
        lambda partition, record: done.append((partition, record)),
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


def test_an_error_that_is_no_absence_ends_the_worker(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    made, _, _ = make(store, Holders())

    def broken(*_: Any) -> int:
        raise ValueError("no such column")

    monkeypatch.setattr(module, "landed", broken)
    failed: list[BaseException] = []
    made.add(job("c"))
    made.start(failed.append)
    made._thread.join(10)
    assert [type(error) for error in failed] == [ValueError]


def test_the_job_that_an_entitlement_needs_brings_all_of_its_usage(store: Store) -> None:
    """The agent's job is done, and the published records are read by the agent."""
    desk_, customer, _ = desk()
    desk_.do("entitlement.create", METERED)
    made, writer, done = make(store, desk_.known.holders)
    made.add(desk_.jobs[-1])
    made.look()
    desk_.use([one.window for _, one in windows(writer)], AT_S + 300, customer)
    ((_, done_record),) = done
    desk_.known.agenda._items[0][done_record] = None
    desk_.clock(AT_S + 301)
    desk_.clock(AT_S + 302)
    assert desk_.balance(customer).usage == "15" and len(desk_.jobs) == 1
