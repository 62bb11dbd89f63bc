"""STRIPE-SYNC as an agent: what a chunk publishes, which definitions wake it, when calls start, what is loaded."""

from __future__ import annotations

import msgspec

from pipeline.agents import stripe_sync
from pipeline.agents.clock import Agenda
from pipeline.agents.stripe_accounts import LIVE_KEY, StripeAccounts
from pipeline.agents.stripe_dispatch import READS_S
from pipeline.agents.stripe_gate import AT_ONCE, FAILURES, StripeGate
from pipeline.api.http.pace import READS
from pipeline.core.billing.app import place
from pipeline.core.billing.stripe_budget import budget
from pipeline.core.billing.stripe_index import StripeIndex
from pipeline.core.billing.stripe_state import StripeTerms, in_progress
from pipeline.core.billing.stripe_sweep import StripeSweeps
from pipeline.core.definitions.changes import Changes
from pipeline.core.metering.identity import customer_hash
from pipeline.core.values.sealed import Seal
from pipeline.records import CustomerWindow, Definition, StripeUsage, StripeWork
from tests.core.billing.stripe_world import (
    APP,
    FROM_MS,
    FROM_S,
    HOUR_MS,
    NAMESPACE,
    app,
    customer_app,
    mapping,
    meter,
    usage_window,
)
from tests.fixtures.fake_transaction import DictTable, FakeRecord, FakeTransactions, chunk_of

PARTITIONS = 4
NOW_MS = FROM_MS + 2 * HOUR_MS


def changes(*definitions: Definition) -> Changes:
    return Changes({f"{one.namespace}/{one.kind}/{one.name}": one for one in definitions})


class StripeDesk:
    """The agent's `fill` over one table."""

    def __init__(self) -> None:
        self.agenda = Agenda()
        self.known = stripe_sync.StripeKnown(self.agenda, StripeAccounts(Seal(), ""), PARTITIONS)
        self.index, self.table, self.offset = StripeIndex(), DictTable(), 0
        self.known.update(changes(meter(), app(), mapping(), customer_app(4, "a", "cus_a")))

    def fill(self, *values: list[CustomerWindow] | StripeWork, again: int = 0) -> FakeTransactions:
        self.offset -= again
        chunk = chunk_of(
            "stripe-work", {self.offset + place: msgspec.json.encode(one) for place, one in enumerate(values)}
        )
        for record, one in zip(chunk.records, values, strict=True):
            assert isinstance(record, FakeRecord)
            record.key = one.kind.encode() if isinstance(one, StripeWork) else None
            record.timestamp = NOW_MS
        working = FakeTransactions(chunk, self.table)
        stripe_sync.fill(working.transaction, self.known, self.index, StripeTerms(), StripeSweeps())
        self.offset += len(values)
        self.table.commit()
        return working


def published(working: FakeTransactions) -> list[StripeUsage]:
    return [
        one
        for sent in working.to("stripe-usage")
        for one in msgspec.json.decode(sent.value or b"", type=list[StripeUsage])
    ]


def test_a_window_that_changes_often_in_a_chunk_is_published_once_and_a_replay_publishes_it_again() -> None:
    desk = StripeDesk()
    seeded = StripeWork("clock", items=[["seeded", NAMESPACE, "01MAP", "3"]])
    usage = [[usage_window("a", FROM_S + 60 * minute, "2", minute)] for minute in range(5)]
    (one,) = published(desk.fill(seeded, *usage))
    assert (one.exact, one.wanted, one.confirmed, one.pending, one.revision) == ("10", 10, 0, 0, 5)
    rows = dict(desk.table.rows)
    assert published(desk.fill(*usage, again=5)) == [one]
    assert desk.table.rows == rows
    (two,) = published(desk.fill(StripeWork("clock", NOW_MS + HOUR_MS)))
    assert (two.pending, two.requests) == (10, 1)
    ((flight,),) = in_progress(desk.table)
    assert (flight.sent.payload, flight.request.units) == (
        {"stripe_customer_id": "cus_a", "value": "10"}, 10,
    )  # fmt: skip


def test_a_changed_definition_wakes_the_partitions_that_it_concerns() -> None:
    desk = StripeDesk()
    desk.agenda.own(range(PARTITIONS))
    for partition in range(PARTITIONS):
        desk.agenda.due(partition, 1 << 60)
    desk.known.update(changes(customer_app(9, "b", "cus_b")))
    taken = desk.agenda.take(0)
    assert taken == {customer_hash(NAMESPACE, "b") % PARTITIONS: [b'["customer","default","b"]']}
    desk.known.update(changes(app(10)))
    assert {partition: items for partition, items in desk.agenda.take(10**9).items() if items} == {
        partition: [b'["app","default","01APP"]'] for partition in range(PARTITIONS)
    }


def test_keys_are_opened_and_a_live_one_is_refused_where_stripe_is_not_stripe() -> None:
    seal = Seal((bytes(32),))
    sealed = seal.close("sk_live_1", place(NAMESPACE), bytes(12))
    sandbox = "http://127.0.0.1:1"
    for address, livemode, key, problem in (
        ("", True, "sk_live_1", ""), (sandbox, True, "", LIVE_KEY), (sandbox, False, "", LIVE_KEY),
    ):  # fmt: skip
        accounts = StripeAccounts(seal, address)
        accounts.update(changes(app(5, sealedApiKey=sealed, livemode=livemode)))
        found = accounts.get(NAMESPACE, APP)
        assert found is not None and (found.key, found.problem) == (key, problem)
        assert "sk_live_1" not in repr(found)
    other = StripeAccounts(Seal((bytes(31) + b"x",)), "")
    other.update(changes(app(5, sealedApiKey=sealed)))
    found = other.get(NAMESPACE, APP)
    assert found is not None and not found.key and "cannot be opened" in found.problem


def test_an_account_that_fails_rests_longer_each_time_and_is_then_tried_by_one_call() -> None:
    gate, now_ms = StripeGate(budget(1_000, 4, 4), budget(25, 4, 4)), 0
    rests = []
    for _ in range(FAILURES + 3):
        gate.note("unknown", 0, now_ms)
        wait_ms = gate.wait_ms(now_ms) or 0
        rests.append(wait_ms)
        now_ms += wait_ms
    assert rests[FAILURES - 1] >= 500 and rests[-1] >= 4_000
    now_ms += 1_000
    assert gate.wait_ms(now_ms) == 0
    gate.running = 1
    assert gate.wait_ms(now_ms) is None
    gate.note("done", 0, now_ms)
    assert gate.wait_ms(now_ms) == 0
    gate.running = AT_ONCE
    assert gate.wait_ms(now_ms) is None


def test_an_account_waits_as_long_as_stripe_asks() -> None:
    gate = StripeGate(budget(1_000, 4, 4), budget(25, 4, 4))
    gate.note("later", 7_000, 0)
    assert gate.wait_ms(6_999) == 1
    gate.wait_ms(7_000)
    assert gate.wait_ms(7_010) == 0


def test_a_read_that_may_not_start_is_counted_in_no_budget() -> None:
    gate, now_ms = StripeGate(budget(1_000, 4, 4), budget(READS_S, 4, 4)), 10_000
    assert gate.wait_ms(now_ms, reads=True)  # a worker that begins has no budget
    gate.wait_ms(now_ms)
    gate.running, now_ms = AT_ONCE, now_ms + 1_000
    for _ in range(100):
        assert gate.wait_ms(now_ms, reads=True) is None
    gate.running = 0
    assert [gate.wait_ms(now_ms, reads=True) for _ in range(3)] == [0, 0, 0]


def test_the_stage_and_an_api_together_read_within_stripes_limit_of_an_endpoint() -> None:
    share = budget(READS_S, 4, 4)
    of_stage = (share.policy.rate + share.policy.burst) / share.cost
    assert of_stage + READS.rate + READS.burst <= 25
