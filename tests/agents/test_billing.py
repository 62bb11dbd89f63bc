"""BILLING as an agent: what a chunk publishes and where, which definitions it waits for, which partitions they wake."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from pipeline.agents import billing
from pipeline.agents.clock import NEVER_MS, Agenda
from pipeline.core.bills.bill_index import BillIndex
from pipeline.core.bills.terms import BillTerms
from pipeline.core.definitions.changes import Changes
from pipeline.core.metering.identity import customer_hash
from pipeline.records import BillDocument, BillingWork, Command, CustomerWindow, NumberWork, Reply, Window
from tests.core.bills.bill_world import NAMESPACE, Definitions, at
from tests.fixtures.fake_transaction import DictTable, FakeRecord, FakeTransactions, Sent, chunk_of

PARTITIONS = 4
PARTITION = 2
Value = BillingWork | list[CustomerWindow]


class BillDesk:
    """The agent's `fill` over one table, with the definitions of one customer."""

    def __init__(self) -> None:
        self.agenda = Agenda()
        self.known = billing.BillingKnown(self.agenda, PARTITIONS)
        self.definitions = Definitions()
        self.customer = str(self.definitions.customers[0])
        self.index, self.table, self.offset = BillIndex(), DictTable(), 0
        self.known.update(Changes(dict(self.definitions.log.state)))

    def working(self, values: Sequence[tuple[Value, int]], counted: int = -1) -> FakeTransactions:
        """A chunk of values, each with the time of its record in seconds."""
        encoded = {self.offset + place: msgspec.json.encode(one) for place, (one, _) in enumerate(values)}
        chunk = chunk_of("billing-work", encoded, PARTITION)
        for record, (one, at_s) in zip(chunk.records, values, strict=True):
            assert isinstance(record, FakeRecord)
            record.key = one.kind.encode() if isinstance(one, BillingWork) else None
            record.timestamp = at_s * 1_000
        return FakeTransactions(chunk, self.table, counted)

    def fill(self, *values: tuple[Value, int], again: int = 0) -> FakeTransactions:
        self.offset -= again
        working = self.working(list(values), self.offset + again - 1)
        billing.fill(working.transaction, self.known, self.index, BillTerms())
        self.offset += len(values)
        self.table.commit()
        return working

    def create(self) -> BillingWork:
        sent = {"customerId": self.customer, "plan": {"key": "simple"}, "timing": "immediate"}
        body: dict[str, object] = {"customer": self.customer, "sent": sent}
        command = Command("new", "subscription.create", NAMESPACE, "ann", 0, body, attempt="try")
        return BillingWork("command", customer=self.customer, command=command)

    def windows(self, minute_s: int) -> list[CustomerWindow]:
        window = Window(
            NAMESPACE, "tokens", self.definitions.meter_id, "s", {}, minute_s, "7", 1, "7", "", [], 1, 0
        )  # fmt: skip
        return [CustomerWindow(self.customer, window)]


def decoded(sent: list[Sent], shape: Any) -> list[Any]:
    return [msgspec.json.decode(one.value or b"", type=shape) for one in sent]


START_S = at("2026-01-01")


def test_a_command_publishes_documents_and_a_reply_and_a_replay_publishes_the_same() -> None:
    desk = BillDesk()
    records: list[tuple[Value, int]] = [
        (desk.create(), START_S),
        (desk.windows(START_S + 600), START_S + 700),
    ]
    first = desk.fill(*records)
    (subscription,) = decoded(first.to("subscriptions"), BillDocument)
    (reply,) = decoded(first.to("replies"), Reply)
    assert reply.body is not None and reply.body["subscriptions"] == [subscription.id]
    assert (reply.id, reply.attempt, reply.revision, subscription.revision) == ("new", "try", 0, 0)
    for sent in (*first.to("subscriptions"), *first.to("invoices")):
        document = msgspec.json.decode(sent.value or b"", type=BillDocument)
        key = f"{NAMESPACE}/{desk.customer}/{document.id}".encode()
        assert (sent.key, sent.partition) == (key, PARTITION)
    assert [(one.key, one.partition) for one in first.to("replies")] == [(b"try", 0)]
    assert first.counts == {NAMESPACE: {"command": 1}}
    rows = dict(desk.table.rows)
    again = desk.fill(*records, again=2)
    assert (again.sent, again.counts, desk.table.rows) == (first.sent, {}, rows)


def test_usage_that_comes_too_late_is_counted_once() -> None:
    desk = BillDesk()
    desk.fill((desk.create(), START_S))
    late: tuple[Value, int] = (desk.windows(START_S + 600), START_S + 500 * 86_400)
    assert desk.fill((desk.windows(START_S + 660), START_S + 700)).counts == {}
    desk.fill(*((BillingWork("clock"), START_S + days * 86_400) for days in range(40, 500, 20)))
    assert desk.fill(late).counts == {NAMESPACE: {"late-unbilled": 1}}
    assert desk.fill(late, again=1).counts == {}


def test_a_month_later_an_invoice_asks_for_its_number_and_is_issued_with_it() -> None:
    desk = BillDesk()
    desk.fill((desk.create(), START_S))
    asked: list[NumberWork] = []
    for after_s in range(0, 4 * 3_600, 1_800):
        working = desk.fill((BillingWork("clock"), at("2026-02-01") + after_s))
        asked += decoded(working.to("number-requests"), NumberWork)
        assert all(one.key == asked[-1].invoice.encode() for one in working.to("number-requests"))
    numbered = [
        BillingWork(
            "number", customer=one.customer, namespace=NAMESPACE, invoice=one.invoice, number=f"INV-A-{n}"
        )
        for n, one in enumerate(asked)
    ]
    assert numbered
    working = desk.fill(*((one, at("2026-02-01") + 5 * 3_600) for one in numbered))
    states = [
        msgspec.json.decode(one.body)["progress"] for one in decoded(working.to("invoices"), BillDocument)
    ]
    assert {state.get("number") for state in states} >= {one.number for one in numbered}


def test_a_chunk_waits_for_the_definitions_that_its_commands_require() -> None:
    desk = BillDesk()
    now = desk.known.revision
    command = msgspec.structs.replace(desk.create(), revision=now + 3)
    working = desk.working([(command, START_S), (BillingWork("clock"), START_S)])
    assert billing.required_revision(working.transaction) == now + 3
    desk.fill((desk.create(), START_S))
    later = desk.working([(BillingWork("clock"), START_S)])
    assert billing.required_revision(later.transaction) == now


def test_a_changed_customer_wakes_its_partition_and_what_concerns_all_wakes_all() -> None:
    desk = BillDesk()
    desk.agenda.own(range(PARTITIONS))
    for partition in range(PARTITIONS):
        desk.agenda.due(partition, NEVER_MS)
    desk.definitions.log.do("customer.update", {"id": desk.customer, "name": "Other"})
    desk.known.update(Changes(dict(desk.definitions.log.state)))
    woken = {partition: items for partition, items in desk.agenda.take(0).items() if items}
    target = customer_hash(NAMESPACE, desk.customer) % PARTITIONS
    item = msgspec.json.encode(["customer", NAMESPACE, desk.customer])
    assert item in woken[target]
    assert all(item not in items for partition, items in woken.items() if partition != target)
    record = msgspec.json.decode(billing.clock_value(0, woken[target]), type=BillingWork)
    assert record.kind == "clock" and ["customer", NAMESPACE, desk.customer] in record.items


@pytest.mark.parametrize(("next_ms", "late_s"), [(NEVER_MS, 0.0), (0, 0.0), (5_000, 0.0), (1_000, 1.5)])
def test_what_is_due_is_late_by_the_time_of_the_records(next_ms: int, late_s: float) -> None:
    assert billing.late_s(next_ms, 2_500) == late_s


def test_usage_is_asked_for_once_a_draft_waits_for_it() -> None:
    """The agent: after the commit, the watcher gets what the partition waits for."""
    asked: list[tuple[int, int, int]] = []
    desk = BillDesk()
    agents: list[Any] = []
    stage = SimpleNamespace(
        agent=lambda topic: agents.append,
        app=SimpleNamespace(timer=lambda *_, **__: lambda call: call),
        partitions={},
    )
    watcher = SimpleNamespace(request=lambda *named: asked.append(named), forget=lambda: None)
    history = SimpleNamespace(forget=lambda: None)
    billing.create(cast(Any, stage), desk.known, cast(Any, history), cast(Any, watcher), BillTerms())

    def play(*values: tuple[Value, int]) -> None:
        working = desk.working(list(values))
        stage.partitions = {working.chunk.position: SimpleNamespace(table=desk.table)}
        stage.begin = working_of(working)
        asyncio.run(agents[0](one(working)))
        for call in working.committed:
            call()
        desk.offset += len(values)

    async def one(working: FakeTransactions) -> Any:
        yield working.chunk

    play((desk.create(), START_S), (desk.windows(START_S + 600), START_S + 700))
    assert asked == []
    play((BillingWork("clock"), at("2026-02-01")), (BillingWork("clock"), at("2026-02-01") + 3_600))
    assert [(partition, needed <= now) for partition, needed, now in asked] == [(PARTITION, True)]


def working_of(working: FakeTransactions) -> Any:
    async def begin(_: Any) -> Any:
        working.commit = lambda: None  # type: ignore[attr-defined]
        return working.transaction

    return begin
