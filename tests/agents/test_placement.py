"""Records in a partition to which their customer does not belong any more."""

from __future__ import annotations

import msgspec

from pipeline.agents.placement import EVERYTHING, Placement
from pipeline.core.metering.identity import customer_hash
from pipeline.core.metering.partition_splits import EventPartitions
from pipeline.records import CustomerWindow
from tests.core.notifications.test_record_owners import window
from tests.fixtures.fake_transaction import FakeRecord, FakeTransactions, chunk_of

SPLIT = Placement(EventPartitions(4, ((2, 0, 100), (3, 1, 50))))
NAMES = [f"c{n}" for n in range(40)]
HERE = next(one for one in NAMES if customer_hash("acme", one) % 4 == 0)
MOVED = next(one for one in NAMES if customer_hash("acme", one) % 4 == 2)


def working() -> FakeTransactions:
    return FakeTransactions(chunk_of("billing-work", [b"{}"], 0))


def test_what_was_copied_is_left_out_and_what_came_later_is_sent_on() -> None:
    windows = [window(HERE), window(MOVED)]
    for offset, sent_on in ((99, []), (100, windows[1:])):
        made = working()
        assert SPLIT.windows(made.transaction, FakeRecord(offset, b""), windows) == windows[:1]
        found = [
            (one.partition, one.key, msgspec.json.decode(one.value or b"", type=list[CustomerWindow]))
            for one in made.to("billing-work")
        ]
        assert found == ([(2, None, sent_on)] if sent_on else [])
        record = FakeRecord(offset, b"work", key=b"command")
        made, moved = working(), customer_hash("acme", MOVED)
        assert not SPLIT.keeps(made.transaction, record, moved)
        assert [(one.partition, one.key, one.value) for one in made.sent] == [
            (2, b"command", b"work")
        ] * bool(sent_on)


def test_everything_else_stays() -> None:
    made, record = working(), FakeRecord(100, b"")
    assert SPLIT.keeps(made.transaction, record, None)
    assert SPLIT.keeps(made.transaction, record, customer_hash("acme", HERE))
    assert EVERYTHING.keeps(made.transaction, record, customer_hash("acme", MOVED))
    assert EVERYTHING.windows(made.transaction, record, [window(MOVED)]) == [window(MOVED)]
    assert made.sent == []


def test_what_concerns_everybody_is_sent_to_partitions_that_its_writer_may_not_know() -> None:
    for offset, partitions in ((99, []), (100, [2])):
        made = working()
        SPLIT.spread(made.transaction, FakeRecord(offset, b"report", key=b"reported"))
        assert [(one.partition, one.key, one.value) for one in made.sent] == [
            (one, b"reported", b"report") for one in partitions
        ]
