"""NUMBERING as an agent: each answer goes to its customer's partition, and a replay answers alike."""

from __future__ import annotations

import msgspec

from pipeline.agents.numbering import fill
from pipeline.core.metering.identity import customer_hash
from pipeline.records import BillingWork, NumberWork
from tests.fixtures.fake_transaction import DictTable, FakeTransactions, chunk_of

PARTITIONS = 4
REQUESTS = [
    NumberWork("default", f"c{n % 7}", f"i{n}", "default/INV/namespace", "INV-ACME", 1) for n in range(20)
]


def filled(table: DictTable, counted_offset: int = -1) -> FakeTransactions:
    values = [msgspec.json.encode(one) for one in REQUESTS]
    working = FakeTransactions(chunk_of("number-requests", [*values, b"{}"]), table, counted_offset)
    fill(working.transaction, PARTITIONS)
    return working


def test_each_answer_goes_to_the_partition_of_its_customer_and_a_replay_sends_the_same() -> None:
    table = DictTable()
    first = filled(table)
    answers = [msgspec.json.decode(one.value or b"", type=BillingWork) for one in first.to("billing-work")]
    assert [one.number for one in answers] == [f"INV-ACME-{n + 1}" for n in range(20)]
    assert [(one.key, one.partition) for one in first.sent] == [
        (b"number", customer_hash("default", one.customer) % PARTITIONS) for one in REQUESTS
    ]
    assert (first.counts, first.events) == ({"default": {"numbered": 20}}, 20)
    rows = dict(table.rows)
    again = filled(table, counted_offset=20)
    assert (again.sent, again.counts, table.rows) == (first.sent, {}, rows)
