"""Invoices of a Stripe app: ordered once they are numbered, paid and voided as Stripe reports, in whatever order."""

from __future__ import annotations

from itertools import permutations
from random import Random

import msgspec
import pytest

from pipeline.core.billing.stripe_amount import stripe_amount
from pipeline.core.billing.stripe_invoice import COLLECTED, NOT_THERE
from pipeline.core.bills.closed_invoices import CLOSED
from pipeline.core.invoices.open_issues import open_issues
from pipeline.core.invoices.status_details import ActionDetails
from pipeline.core.invoices.stored_invoice import StoredInvoice, stored_answer
from pipeline.records import StripeFound, StripeWork
from tests.core.bills.bill_world import HOUR_S, at
from tests.core.bills.stripe_bill_world import StripeBillWorld
from tests.fixtures.examples import examples

LATER_S = at("2026-01-11")
VOID = {"reason": "wrong", "action": {"percentage": 100, "action": {"type": "discard"}}, "overrides": None}


def test_an_invoice_is_numbered_then_ordered_and_issued_once_stripe_has_finalized_it() -> None:
    world = StripeBillWorld()
    world.subscribe()
    world.until(world.now_s)
    (first,) = world.billed()
    assert (first.progress.state, first.progress.number) == ("issuing.syncing", "INV-CU0-1")
    assert not first.content.validation_issues
    (order,) = world.orders
    assert order.order is not None
    assert (order.order.action, order.order.number, order.order.total, order.order.currency) == (
        "issue", "INV-CU0-1", 2000, "EUR",
    )  # fmt: skip
    world.exchange()
    (first,) = world.billed()
    assert first.progress.state == "payment_processing.pending"
    assert first.content.external_ids is not None and first.content.external_ids.invoicing == "in_0"
    assert world.stripe.stripe.invoices["in_0"][1] == StripeFound(
        id="in_0", status="open", total=2000, items=1
    )


def test_a_refused_invoice_shows_why_and_a_retry_orders_it_again() -> None:
    world = StripeBillWorld()
    world.subscribe()
    world.until(world.now_s)
    world.send_orders()
    (flight,) = world.stripe.flights()
    refused = StripeWork(
        "called", namespace="default", customer=world.customer, mapping=world.app, invoice=flight.target.invoice,
        identifier=flight.call.key, outcome="refused", message="No such currency",
    )  # fmt: skip
    world.stripe.record(refused)
    world.read_answers()
    (first,) = world.billed()
    assert first.progress.state == "issuing.failed"
    assert [(one.component, one.message) for one in first.content.validation_issues] == [
        ("stripe", "No such currency")
    ]
    world.do("invoice.retry", {}, id=first.content.id)
    world.exchange()
    (first,) = world.billed()
    assert (first.progress.state, first.content.validation_issues) == ("payment_processing.pending", ())
    assert len(world.stripe.stripe.invoices) == 1 and first.progress.number == "INV-CU0-1"


EVENTS = {
    "finalized": (1, ""), "payment_failed": (2, ""), "payment_action_required": (3, ""), "paid": (4, ""),
}  # fmt: skip


@pytest.mark.parametrize("order", list(permutations(EVENTS)))
def test_events_lead_to_the_same_state_in_any_order_and_however_often(order: tuple[str, ...]) -> None:
    world = StripeBillWorld()
    world.issued()
    for type in (*order, *order):
        shown = StripeFound(
            id="in_0", status="open", number="INV-CU0-1", hosted_url=f"https://h/{type}", total=2000
        )
        world.event(type, LATER_S + EVENTS[type][0], found=shown)
    (first,) = world.billed()
    assert first.progress.state == "paid"
    assert first.stripe is not None and first.stripe.hosted_url == "https://h/paid"


@pytest.mark.parametrize("type", ["paid", "voided", "finalized"])
@pytest.mark.parametrize("found", [StripeFound(id="in_COPY", total=2000), StripeFound(id="in_0", total=1)])
def test_an_event_of_another_invoice_or_total_shows_an_issue_and_does_not_count(
    type: str, found: StripeFound
) -> None:
    world = StripeBillWorld()
    first = world.issued()
    world.event(type, LATER_S, found=found)
    (now,) = world.billed()
    if found.id == "in_0" and type != "paid":
        assert not now.content.validation_issues  # only a payment needs the total
        return
    (issue,) = now.content.validation_issues
    assert (issue.severity, issue.component) == ("critical", "stripe")
    assert (now.progress, now.content.external_ids) == (first.progress, first.content.external_ids)


def test_a_payment_that_overtakes_the_answer_is_held() -> None:
    world = StripeBillWorld()
    world.subscribe()
    world.until(world.now_s)
    world.send_orders()
    while world.stripe.call():
        pass
    world.event("paid", LATER_S)
    assert world.billed()[0].progress.state == "issuing.syncing"
    world.read_answers()
    assert world.billed()[0].progress.state == "paid"


@pytest.mark.parametrize(
    ("type", "state"),
    [
        ("payment_failed", "payment_processing.failed"),
        ("payment_action_required", "payment_processing.action_required"),
        ("overdue", "overdue"),
        ("marked_uncollectible", "uncollectible"),
        ("voided", "voided"),
        ("payment_succeeded", "paid"),
        ("created", "payment_processing.pending"),
    ],
)
def test_each_event_has_its_state(type: str, state: str) -> None:
    world = StripeBillWorld()
    world.issued()
    world.event(type, LATER_S)
    assert world.billed()[0].progress.state == state


def test_an_overdue_invoice_that_stripe_has_voided_is_voided() -> None:
    world = StripeBillWorld()
    world.issued()
    world.event("overdue", LATER_S)
    world.event("voided", LATER_S + 5)
    assert world.billed()[0].progress.state == "voided"


def test_a_void_is_ordered_and_an_unpaid_invoice_is_tried_again() -> None:
    world = StripeBillWorld()
    first = world.issued()
    world.event("payment_failed", LATER_S)
    world.do("invoice.retry", {}, id=first.content.id)
    assert [one.order.action for one in world.orders if one.order] == ["pay"]
    world.exchange()
    assert world.billed()[0].progress.state == "paid"


def test_a_payment_of_an_invoice_that_stripe_no_longer_has_fails() -> None:
    world = StripeBillWorld()
    first = world.issued()
    world.event("payment_failed", LATER_S)
    world.stripe.stripe.invoices.clear()
    world.do("invoice.retry", {}, id=first.content.id)
    world.exchange()
    (first,) = world.billed()
    (issue,) = first.content.validation_issues
    assert (first.progress.state, issue.message) == ("payment_processing.failed", NOT_THERE)


def test_a_void_is_taken_back_at_stripe() -> None:
    world = StripeBillWorld()
    first = world.issued()
    world.do("invoice.void", VOID, id=first.content.id)
    world.exchange()
    assert world.billed()[0].progress.state == "voided"
    assert world.stripe.stripe.invoices["in_0"][1].status == "void"


def test_a_void_of_what_stripe_has_collected_shows_that_it_failed() -> None:
    world = StripeBillWorld()
    first = world.issued()
    world.show("in_0", status="paid")
    world.do("invoice.void", VOID, id=first.content.id)
    world.exchange()
    (first,) = world.billed()
    (issue,) = first.content.validation_issues
    assert first.progress.state == "voided" and issue.message == COLLECTED


def test_a_void_that_stripe_refuses_late_stays_open_until_stripe_has_given_the_payment_back() -> None:
    world = StripeBillWorld()
    first = world.issued()
    world.show("in_0", status="paid")
    world.do("invoice.void", VOID, id=first.content.id)
    world.until(world.now_s + 26 * HOUR_S)  # longer than an invoice that ended is kept whole
    assert open_issues("default", document(world, first)) == []
    assert world.refused("invoice.retry", {}, id=first.content.id) == "invoice_action_not_available"
    world.exchange()
    (issue,) = open_issues("default", document(world, first))
    assert (issue.status, issue.message) == ("voided", COLLECTED)
    offered = stored_answer(document(world, first), world.now_s).status_details.available_actions
    assert offered.retry == ActionDetails("voided")
    world.do("invoice.retry", {}, id=first.content.id)
    world.exchange()
    world.until(world.now_s + 26 * HOUR_S)
    assert len(open_issues("default", document(world, first))) == 1
    world.show("in_0", status="paid", credited=2000)
    world.do("invoice.retry", {}, id=first.content.id)
    world.exchange()
    assert open_issues("default", document(world, first)) == []
    assert not document(world, first).content.validation_issues
    assert stored_answer(document(world, first), world.now_s).status_details.available_actions.retry is None
    world.until(world.now_s + 26 * HOUR_S)
    assert len([key for key in world.table.rows if key.startswith(CLOSED)]) == 1


def test_a_void_that_a_user_makes_at_stripe_ends_the_issue() -> None:
    world = StripeBillWorld()
    first = world.issued()
    world.show("in_0", status="paid")
    world.do("invoice.void", VOID, id=first.content.id)
    world.exchange()
    assert document(world, first).awaits_void
    world.event("voided", LATER_S, found=StripeFound(id="in_0", status="void", total=2000))
    assert not document(world, first).awaits_void
    assert not document(world, first).content.validation_issues


def document(world: StripeBillWorld, stored: StoredInvoice) -> StoredInvoice:
    """An invoice as it was published last."""
    return msgspec.json.decode(bytes(world.published.invoices[stored.content.id].body), type=StoredInvoice)


def test_a_fact_of_another_app_or_of_an_invoice_that_is_not_there_changes_nothing() -> None:
    world = StripeBillWorld()
    first = world.issued()
    world.event("paid", LATER_S, "01NOTHERE")
    world.app = "01OTHER"
    world.event("paid", LATER_S)
    assert world.billed()[0] == first


@pytest.mark.parametrize("seed", range(examples(6)))
def test_each_invoice_is_at_stripe_once_with_our_total_whatever_is_lost(seed: int) -> None:
    random, world = Random(seed), StripeBillWorld(3)
    for customer in world.definitions.customers:
        world.subscribe(customer)
    for month in range(2, 5):
        for customer in world.definitions.customers:
            world.use(at(f"2026-0{month - 1}-15"), str(random.randrange(100_000)), customer, subject=customer)
        world.until(at(f"2026-0{month}-12"))
        world.send_orders()
        for _ in range(random.randrange(30)):
            world.stripe.shake(random)
    world.stripe.settle()
    world.read_answers()
    ours = [
        (one.content.id, stripe_amount(one.content.totals.total, "USD"))
        for customer in world.definitions.customers
        for one in world.billed(customer)
    ]
    there = [(id, found.total) for id, found in world.stripe.stripe.invoices.values()]
    assert sorted(ours) == sorted(there) and len(ours) == 12
    assert {one.progress.state for one in world.billed()} <= {"payment_processing.pending", "paid"}


@pytest.mark.parametrize(("credit", "total", "state"), [("5", 1500, "open"), ("50", 0, "paid")])
def test_what_credits_pay_is_an_item_below_zero(credit: str, total: int, state: str) -> None:
    world = StripeBillWorld()
    world.do("credit.grant", {"name": "Pack", "currency": "EUR", "amount": credit})
    first = world.issued()
    found = world.stripe.stripe.invoices["in_0"][1]
    assert (found.total, found.status) == (total, state)
    assert first.progress.state == ("payment_processing.pending" if total else "paid")
