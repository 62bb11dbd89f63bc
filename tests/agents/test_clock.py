"""The agenda: a due partition gets one clock record, and another only if it is not processed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.agents.clock import ASK_AGAIN_S, KEY, NEVER_MS, Agenda, Clock
from pipeline.errors import Unavailable
from pipeline.stores.kafka.writer import KafkaWriter, WrittenRecord

AGAIN_MS = int(ASK_AGAIN_S * 1000)


def test_a_new_partition_is_asked_at_once_and_then_when_it_is_due() -> None:
    agenda = Agenda()
    agenda.own([1, 2])
    assert agenda.take(1000) == {1: [], 2: []}
    assert agenda.take(1001) == {}
    agenda.due(1, 5000)
    agenda.due(2, NEVER_MS)
    assert agenda.take(4999) == {}
    assert agenda.take(5000) == {1: []}
    assert agenda.take(5001) == {}
    assert agenda.take(5000 + AGAIN_MS) == {1: []}, "no answer came"


def test_an_item_makes_a_partition_due() -> None:
    agenda = Agenda()
    agenda.own([3])
    agenda.take(0)
    agenda.due(3, NEVER_MS)
    agenda.add(3, b"x")
    agenda.add(3, b"y")
    agenda.add(3, b"x")
    agenda.add(4, b"z")  # not ours
    taken = agenda.take(1)
    assert taken == {3: [b"x", b"y"]}
    agenda.put_back(taken)
    agenda.add(3, b"w")
    assert {item for item in agenda.take(2)[3]} == {b"w", b"x", b"y"}
    assert agenda.take(3) == {}


def test_items_of_an_earlier_owner_are_dropped() -> None:
    agenda = Agenda()
    agenda.own([1])
    agenda.add(1, b"x")
    agenda.own([2])
    assert agenda.take(0) == {2: []}


@given(
    st.lists(
        st.one_of(st.tuples(st.just("add"), st.integers(0, 2)), st.tuples(st.just("take"), st.booleans())),
        max_size=40,
    )
)
def test_every_item_is_published_once_unless_it_was_put_back(acts: list[tuple[str, int | bool]]) -> None:
    agenda = Agenda()
    agenda.own(range(3))
    published: list[bytes] = []
    added: list[bytes] = []
    for number, (act, value) in enumerate(acts):
        if act == "add":
            added.append(b"%d" % number)
            agenda.add(int(value), added[-1])
        else:
            taken = agenda.take(number)
            if value:
                published += [item for items in taken.values() for item in items]
            else:
                agenda.put_back(taken)
    published += [item for items in agenda.take(len(acts)).values() for item in items]
    assert sorted(published) == sorted(added)


class Writer:
    """Kafka, which may be `away`."""

    def __init__(self) -> None:
        self.away = False
        self.records: list[WrittenRecord] = []

    def write(self, records: Iterable[WrittenRecord]) -> None:
        found = list(records)
        if self.away:
            raise Unavailable("Kafka does not answer.")
        self.records += found


def test_the_clock_writes_what_is_due_and_asks_again_after_a_failure(
    caplog: pytest.LogCaptureFixture,
) -> None:
    agenda, writer = Agenda(), Writer()
    clock = Clock(
        cast(KafkaWriter, writer), "t", agenda, lambda now_ms, items: b"%d:" % now_ms + b",".join(items)
    )
    agenda.own([1])
    agenda.add(1, b"x")
    writer.away = True
    clock.tick(1000)
    assert "cannot write clock records, retrying in 0.2 s: Kafka does not answer." in caplog.text
    writer.away = False
    clock.tick(1001)
    clock.tick(1002)
    assert writer.records == [WrittenRecord("t", b"1001:x", KEY, 1)]
