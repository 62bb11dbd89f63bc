"""The views of subscriptions and invoices on a real broker: look-ups, newest states, waiting."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import msgspec
import pytest
from confluent_kafka import Producer

from pipeline.local.kafka import Kafka
from pipeline.records import BillDocument
from pipeline.settings import Settings
from pipeline.stores.kafka import client as cluster
from pipeline.stores.kafka.bills import TOPICS, BillsView, DocumentKind, document_key
from tests.fixtures.broker import reset_topics
from tests.fixtures.patience import PATIENCE_S


@pytest.fixture(scope="module")
def settings(kafka: Kafka) -> Settings:
    settings = Settings.model_construct(kafka=kafka.address)
    reset_topics(settings)
    return settings


@pytest.fixture(scope="module")
def producer(settings: Settings) -> Producer:
    return Producer(cluster.producer_config(settings) | {"linger.ms": 0, "log_level": 0})


@pytest.fixture
def view(settings: Settings) -> Iterator[BillsView]:
    with BillsView(settings) as found:
        yield found


def document(
    customer: str,
    id: str,
    revision: int,
    namespace: str = "default",
    state: str = "draft.created",
    issues: Sequence[object] = (),
    number: str = "DRAFT",
) -> BillDocument:
    """What the head of an invoice needs is in its body."""
    content = {"id": id, "customer": {"id": customer, "name": "N"}, "createdAt": "a", "updatedAt": "b"}
    content |= {"number": number} | ({"validationIssues": issues} if issues else {})
    body = msgspec.json.encode({"content": content, "progress": {"state": state}})
    return BillDocument(namespace, customer, id, revision, 0, msgspec.Raw(body))


def write(producer: Producer, kind: DocumentKind, *documents: BillDocument) -> None:
    for one in documents:
        key = document_key(one.namespace, one.customer, one.id)
        producer.produce(TOPICS[kind], msgspec.json.encode(one), key, len(one.customer) % 4)
    assert producer.flush(PATIENCE_S) == 0


def names(found: list[BillDocument]) -> list[tuple[str, str, int]]:
    return [(one.customer, one.id, one.revision) for one in found]


def test_documents_are_found_by_id_customer_and_namespace_in_their_newest_state(
    settings: Settings, producer: Producer, view: BillsView
) -> None:
    write(
        producer, "invoice",
        document("ann", "i2", 3), document("bobby", "i1", 4), document("ann", "i1a", 5),
        document("ann", "i2", 6, state="paid"), document("ann", "i9", 7, "other", issues=[{"code": "c"}]),
    )  # fmt: skip
    write(producer, "subscription", document("ann", "s1", 1))
    producer.produce(TOPICS["invoice"], b"{}", "default/ann/broken", 3)
    no_invoice = BillDocument("default", "ann", "none", 8, 0, msgspec.Raw(b"{}"))
    producer.produce(TOPICS["invoice"], msgspec.json.encode(no_invoice), "default/ann/none", 3)
    producer.flush(30)
    view.wait_loaded()
    found = view.invoice("default", "i2")
    assert found == document("ann", "i2", 6, state="paid")
    assert names(view.invoices_of("default", "ann")) == [("ann", "i1a", 5), ("ann", "i2", 6)]
    heads = [(one.id, one.progress.state) for one in view.invoice_heads("default")]
    assert heads == [("i1", "draft.created"), ("i1a", "draft.created"), ("i2", "paid")]
    assert [one.id for one in view.invoice_heads_of("default", "ann")] == ["i1a", "i2"]
    assert [one.id for one in view.invoice_heads("other")] == ["i9"]
    assert view.customers("default") == {"ann", "bobby"}
    assert names(view.subscriptions_of("default", "ann")) == [("ann", "s1", 1)]
    assert view.invoice("other", "i2") is None
    assert view.subscription("default", "i2") is None
    assert names(view.invoices_with_issues()) == [("ann", "i9", 7)]
    assert view.invoices_of("default", "cy") == view.all_subscriptions("other") == []
    assert view.invoice_heads_of("default", "cy") == []

    producer.produce(TOPICS["invoice"], None, document_key("default", "ann", "i1a"), 3)
    write(producer, "invoice", document("ann", "i9", 8, "other", number='"validationIssues":['))
    write(producer, "invoice", document("dan", "last", 9))
    assert view.wait("invoice", "default", "last", 9, PATIENCE_S)
    assert view.invoice("default", "i1a") is None
    assert view.wait("invoice", "other", "i9", 8, PATIENCE_S)
    assert view.invoices_with_issues() == []
    assert names(view.invoices_of("default", "ann")) == [("ann", "i2", 6)]
    with BillsView(settings) as restarted:
        restarted.wait_loaded()
        assert restarted.invoice_heads("default") == view.invoice_heads("default")
        for id in ("i1", "i2", "last"):
            assert restarted.invoice("default", id) == view.invoice("default", id)


def test_a_wait_ends_with_the_revision_and_not_before_it(producer: Producer, view: BillsView) -> None:
    write(producer, "subscription", document("ann", "wait", 10))
    view.wait_loaded()
    assert view.wait("subscription", "default", "wait", 10, PATIENCE_S)
    assert view.wait("subscription", "default", "wait", 9, 0)
    assert not view.wait("subscription", "default", "wait", 11, 0.05)
    assert not view.wait("invoice", "default", "wait", 10, 0.05)
    newer = threading.Thread(target=write, args=(producer, "subscription", document("ann", "wait", 12)))
    newer.start()
    assert view.wait("subscription", "default", "wait", 11, PATIENCE_S)
    newer.join()
