"""BACKFILL's agent: where each output goes, what is counted once, what a chunk looks up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import msgspec
import pytest

from pipeline.agents.backfill import PAGES, BackfillQueries, fill, look
from pipeline.core.metering.backfill import BackfillEvent, BackfillInput, BackfillPage, seeds
from pipeline.core.metering.extract import MeterIndex
from pipeline.core.metering.identity import subject_hash
from pipeline.core.metering.meter import define
from pipeline.records import Backfill, Definition, Event, Settled, Window
from pipeline.stores.clickhouse.client import ClickHouse
from tests.fixtures.fake_transaction import DictTable, FakeTransactions, chunk_of

BODY: dict[str, object] = {"slug": "m", "eventType": "t", "aggregation": "COUNT"}
INDEX = MeterIndex([define(BODY, 5)])
START_S = 1_704_067_200
PARTITIONS = 4
KNOWN = BackfillInput(known=True)
COUNTED = "/meter/m/5/counted"


def seed(state: str = "new", meter_id: int = 5, **more: Any) -> Backfill:
    definition = Definition(meter_id, "meter", "default", "m", "", 1, {**BODY, "meterId": meter_id})
    return msgspec.structs.replace(seeds(definition, PARTITIONS)[1], state=state, **more)


def stored(place: int, subject: str = "a", fate: Any = "unmetered") -> BackfillEvent:
    event = Event(
        "default", "s", str(place), "t", subject, START_S * 10**9, 1, "events", 0, place, msgspec.Raw(b"{}")
    )
    return BackfillEvent(event, fate, "", [], 2, 2, "", [], [], 0, [])


def run(
    works: Mapping[int, Backfill],
    found: list[BackfillInput],
    table: DictTable | None = None,
    counted_offset: int = -1,
) -> FakeTransactions:
    values = {offset: msgspec.json.encode(work) for offset, work in works.items()}
    working = FakeTransactions(chunk_of("backfill-work", values, partition=1), table, counted_offset)
    fill(working.transaction, found, PARTITIONS)
    return working


def following(working: FakeTransactions) -> list[Backfill]:
    return [msgspec.json.decode(one.value or b"", type=Backfill) for one in working.to("backfill-work")]


def test_a_new_meter_is_marked_in_the_partition_of_its_shard() -> None:
    working = run({0: seed()}, [KNOWN])
    (mark,) = working.to("events-unique")
    assert (mark.key, mark.value, mark.partition) == (b"meter/5/start", b"[]", 1)
    (following_,) = working.to("backfill-work")
    assert (following_.key, following_.partition) == (b"5/1", 1)
    assert [work.state for work in following(working)] == ["waiting"]


def test_what_a_page_becomes_goes_where_its_subjects_live() -> None:
    subjects = [f"subject-{place}" for place in range(20)]
    page = BackfillPage(
        [stored(place, subject) for place, subject in enumerate(subjects)], (START_S + 60, "", 0, 0), 60, 99
    )
    working = run({3: seed("copying")}, [KNOWN._replace(page=page)])
    windows = {
        one.partition: [window.subject for window in msgspec.json.decode(one.value or b"", type=list[Window])]
        for one in working.to("usage")
    }
    events = {
        one.partition: [
            msgspec.json.decode(msgspec.json.encode(settled.event), type=Event).subject
            for settled in msgspec.json.decode(one.value or b"", type=list[Settled])
        ]
        for one in working.to("events-settled")
    }
    for found in (windows, events):
        assert set().union(*found.values()) == set(subjects)
        for partition, held in found.items():
            assert {subject_hash("default", subject) % PARTITIONS for subject in held} == {partition}
    assert working.counts == {"default": {"read": 20, "unmetered>counted": 20, COUNTED: 20}}
    assert working.events == 20
    (work,) = following(working)
    assert (work.state, work.read, work.counted, work.events) == ("copying", 20, 20, 99)


def test_a_replay_says_the_same_and_counts_only_what_is_not_counted() -> None:
    table, page = DictTable(), BackfillPage([stored(0), stored(1)], None, 60, 2)
    first = run({3: seed("copying")}, [KNOWN._replace(page=page)], table)
    again = run({3: seed("copying")}, [KNOWN._replace(page=page)], table, counted_offset=3)
    assert again.sent == first.sent
    assert (first.counts, again.counts) == ({"default": {"read": 2, "unmetered>counted": 2, COUNTED: 2}}, {})
    second = run({4: seed("copying")}, [KNOWN._replace(page=page)], table)
    assert (second.sent, second.counts) == ([], {})


def test_the_end_is_marked_everywhere() -> None:
    working = run({3: seed("copying")}, [KNOWN._replace(page=BackfillPage([], None, 60, 0))])
    for topic in ("events-settled", "usage"):
        assert [(one.partition, one.key) for one in working.to(topic)] == [
            (partition, b"meter/5/end/1") for partition in range(PARTITIONS)
        ]
    assert [work.state for work in following(working)] == ["landing"]
    over = run({4: following(working)[0]}, [KNOWN._replace(landed=True)], working.table)
    assert [work.state for work in following(over)] == ["done"]
    assert run({5: following(over)[0]}, [BackfillInput()], working.table).sent == []


class Asked:
    """In place of ClickHouse: what was asked for."""

    def __init__(self, marks: int = 0) -> None:
        self.pages = 0
        self.marks: list[bytes] = []
        self._stored = marks

    def page(self, _: object, work: Backfill) -> BackfillPage:
        self.pages += 1
        return BackfillPage([], None, 60, 0)

    def landed(self, _: object, mark: bytes) -> int:
        self.marks.append(mark)
        return self._stored

    def look(self, *works: Backfill, index: MeterIndex = INDEX, revision: int = 9) -> list[BackfillInput]:
        queries = BackfillQueries(self.page, self.landed)
        return look(works, cast(ClickHouse, self), index, revision, queries)


@pytest.mark.parametrize(
    ("state", "marks", "mark", "landed"),
    [
        ("waiting", PARTITIONS, b"meter/5/start", True),
        ("waiting", PARTITIONS - 1, b"meter/5/start", False),
        ("landing", 2 * PARTITIONS, b"meter/5/end/1", True),
        ("landing", PARTITIONS, b"meter/5/end/1", False),
    ],
)
def test_it_waits_for_the_mark_of_every_partition(state: str, marks: int, mark: bytes, landed: bool) -> None:
    asked = Asked(marks)
    (found,) = asked.look(seed(state))
    assert (found.landed, asked.marks) == (landed, [mark])


def test_one_chunk_reads_few_pages_and_puts_off_the_rest() -> None:
    asked = Asked()
    found = asked.look(*[seed("copying", step=place) for place in range(PAGES + 3)])
    assert [one.page is not None for one in found] == [True] * PAGES + [False] * 3
    put_off = run({0: seed("copying")}, [found[-1]])
    assert [work.state for work in following(put_off)] == ["copying"]


def test_only_a_meter_that_is_known_can_have_been_deleted() -> None:
    asked, empty = Asked(), MeterIndex([])
    assert asked.look(seed(), index=empty, revision=4)[0] == BackfillInput()
    assert asked.look(seed("copying"), index=empty, revision=6)[0] == BackfillInput(known=True, deleted=True)
    assert not asked.look(seed("copying"))[0].deleted
    assert asked.pages == 1


def test_a_finished_one_is_not_asked_for() -> None:
    asked = Asked()
    assert asked.look(seed("done"), seed("stopped")) == [BackfillInput(), BackfillInput()]
    assert (asked.pages, asked.marks) == (0, [])
