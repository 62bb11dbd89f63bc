"""Hostile records on every topic: the stage and the view that read it continue.

The topics come from their declarations, so that a new one has to be named here.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.agents import (
    aggregate,
    alert,
    attribute,
    backfill,
    billing,
    control,
    dedupe,
    ingest,
    numbering,
    sink_rows,
    stripe_sync,
    webhook,
)
from pipeline.agents.clock import KEY, Agenda
from pipeline.agents.control_memory import Memory
from pipeline.agents.stripe_accounts import StripeAccounts
from pipeline.core.billing.stripe_index import StripeIndex
from pipeline.core.billing.stripe_state import StripeTerms
from pipeline.core.billing.stripe_sweep import StripeSweeps
from pipeline.core.bills.bill_index import BillIndex
from pipeline.core.bills.terms import BillTerms
from pipeline.core.customers.attribution import Holders
from pipeline.core.metering.backfill import BackfillInput
from pipeline.core.metering.extract import MeterIndex
from pipeline.core.values.json_value import reader_of
from pipeline.core.values.sealed import Seal
from pipeline.engine.table import Overlay
from pipeline.engine.unreadable import UNREADABLE, read
from pipeline.errors import Rejected
from pipeline.records import (
    Audit,
    Balance,
    BillDocument,
    Counts,
    Delivery,
    InvoiceRoot,
    LateUsage,
    LedgerTransaction,
    Reply,
    StripeReport,
    Worker,
)
from pipeline.settings import Settings
from pipeline.stores.kafka import topics
from tests.fixtures.alert_desk import Desk
from tests.fixtures.control_log import Log
from tests.fixtures.fake_transaction import FakeTransactions, chunk_of
from tests.fixtures.hostile_json import EMPTY, TEXTS
from tests.fixtures.kafka_record import LIMITS

PARTITIONS = 4
Stage = Callable[[FakeTransactions], object]


def into_ingest(working: FakeTransactions) -> None:
    ingest.fill(working.transaction, "default", PARTITIONS, LIMITS)


def into_ingest_from_http(working: FakeTransactions) -> None:
    for record in working.chunk.records:
        record.headers = [("tallymark_namespace", b"default")]  # type: ignore[misc]
    ingest.fill_from_http(working.transaction, PARTITIONS, LIMITS)


def into_dedupe(working: FakeTransactions) -> None:
    dedupe.fill(working.transaction, PARTITIONS, 1000, dedupe.Sweep(1000))


def into_aggregate(working: FakeTransactions) -> None:
    aggregate.fill(working.transaction, lambda: (MeterIndex([]), 0), aggregate.Closing(1000))


def into_attribute(working: FakeTransactions) -> None:
    watching = SimpleNamespace(watched={("default", "m")})
    attribute.fill(working.transaction, cast(Holders, watching), PARTITIONS)


def into_sink(working: FakeTransactions) -> None:
    chunk = working.chunk
    assert sink_rows.RowBatch().take(chunk.topic, chunk.partition, chunk.records) == 0


def into_alert(working: FakeTransactions) -> None:
    desk = Desk(Log())
    working.table = desk.table
    alert.fill(working.transaction, desk.known, desk.timers)


def into_alert_by_the_clock(working: FakeTransactions) -> None:
    for record in working.chunk.records:
        record.key = KEY  # type: ignore[misc]
    into_alert(working)


def into_webhook(working: FakeTransactions) -> None:
    if working.chunk.topic == "alerts":
        webhook.share_out(working.transaction, PARTITIONS)
    else:
        webhook.fill(working.transaction, [0], webhook.Forgetting(1))


def into_stripe_sync(working: FakeTransactions) -> None:
    known = stripe_sync.StripeKnown(Agenda(), StripeAccounts(Seal(), ""), PARTITIONS)
    stripe_sync.fill(working.transaction, known, StripeIndex(), StripeTerms(), StripeSweeps())


def into_stripe_sync_with_a_key(working: FakeTransactions) -> None:
    for record in working.chunk.records:
        record.key = b"attempt"  # type: ignore[misc]
    into_stripe_sync(working)


def into_billing(working: FakeTransactions) -> None:
    known = billing.BillingKnown(Agenda(), PARTITIONS)
    billing.fill(working.transaction, known, BillIndex(), BillTerms())


def into_billing_with_a_key(working: FakeTransactions) -> None:
    for record in working.chunk.records:
        record.key = billing.COMMAND  # type: ignore[misc]
    billing.required_revision(working.transaction)
    into_billing(working)


def into_numbering(working: FakeTransactions) -> None:
    numbering.fill(working.transaction, PARTITIONS)


def into_backfill(working: FakeTransactions) -> None:
    found = [BackfillInput()] * len(working.chunk.records)
    backfill.fill(working.transaction, found, PARTITIONS)


def into_control(working: FakeTransactions) -> None:
    control.fill(working.transaction, Memory(cast(Overlay, working.table)))


def reading(shape: type) -> Stage:
    """What a view does with each record."""
    reader = reader_of(shape)

    def read_all(working: FakeTransactions) -> None:
        for record in working.chunk.records:
            assert read(working.chunk, record, reader) is None

    return read_all


STAGES: dict[str, list[Stage]] = {
    "events": [into_ingest],
    "events-http": [into_ingest_from_http],
    "events-accepted": [into_dedupe],
    "events-unique": [into_aggregate],
    "events-settled": [into_sink],
    "duplicates": [into_sink],
    "rejected": [into_sink],
    "usage": [into_sink, into_attribute],
    "customer-usage": [into_alert, into_alert_by_the_clock],
    "balances": [reading(Balance)],
    "alerts": [into_webhook],
    "webhook-work": [into_webhook],
    "backfill-work": [into_backfill],
    "commands": [into_control],
    "audit": [reading(Audit)],
    "counts": [reading(Counts)],
    "deliveries": [reading(Delivery)],
    "late-usage": [reading(LateUsage)],
    "replies": [reading(Reply)],
    "stripe-work": [into_stripe_sync, into_stripe_sync_with_a_key],
    "stripe-usage": [into_sink],
    "stripe-reports": [reading(StripeReport)],
    "billing-work": [into_billing, into_billing_with_a_key],
    "number-requests": [into_numbering],
    "subscriptions": [reading(BillDocument)],
    "invoices": [reading(BillDocument)],
    "invoice-roots": [reading(InvoiceRoot)],
    "credit-grants": [reading(BillDocument)],
    "ledger": [reading(LedgerTransaction)],
    "workers": [reading(Worker)],
}
# No process may continue without these: a record there hides a definition, or the state of a partition.
GUARDED = {"control", "topic-ids"}
# What refuses a record with a record of its own.
ANSWERED = {"events": "rejected", "events-http": "rejected", "commands": "replies"}


def test_every_topic_is_tried() -> None:
    declared = {name for name in topics.load(Settings.model_construct())}
    state = {name for name in declared if name.endswith(("-changelog", "-meta"))}
    assert STAGES.keys() | GUARDED == declared - state


@pytest.mark.parametrize("topic", STAGES)
def test_no_stage_stops(topic: str) -> None:
    texts = [*TEXTS.values(), None]
    for stage in STAGES[topic]:
        before = UNREADABLE.labels(topic)._value.get()
        working = FakeTransactions(chunk_of(topic, texts))
        stage(working)
        skipped = UNREADABLE.labels(topic)._value.get() - before
        if topic in ANSWERED:
            assert len(working.to(ANSWERED[topic])) == len(texts)
        else:
            assert {sent.topic for sent in working.sent} <= {"balances"}
            if stage is not into_backfill:  # which looks at a record before
                assert skipped >= len(texts) - len(EMPTY) - 1
    print(f"{topic}: {len(texts) * len(STAGES[topic])} records")


@pytest.mark.parametrize("topic", ["events-unique", "usage", "events-settled"])
def test_a_key_of_a_producer_is_no_mark(topic: str) -> None:
    for stage in (into_aggregate, into_attribute, into_sink):
        working = FakeTransactions(chunk_of(topic, [b'{"specversion":"1.0"}'] * 5))
        for record, key in zip(
            working.chunk.records, (b"ann", b"user/1", b"\xff", b"", b"meter/x/start"), strict=True
        ):
            record.key = key  # type: ignore[misc]
        stage(working)
        assert working.sent == []


@given(
    st.sampled_from(sorted(STAGES.keys() - ANSWERED.keys())), st.binary(max_size=60) | st.text(max_size=60)
)
def test_nothing_else_stops_one(topic: str, content: bytes | str) -> None:
    text = content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass")
    for stage in STAGES[topic]:
        stage(FakeTransactions(chunk_of(topic, [text])))


def test_a_refusal_is_one_sentence() -> None:
    reader = reader_of(list[Worker])
    for text in TEXTS.values():
        with pytest.raises(Rejected) as refusal:
            reader(text)
        assert refusal.value.reason == "bad-record"
        assert 0 < len(refusal.value.detail) < 200 and refusal.value.detail.endswith(".")
