"""Invoices on their way to Stripe: each is there once with our total, whatever happens to calls and workers."""

from __future__ import annotations

from random import Random

import msgspec
import pytest

from pipeline.core.billing.stripe_bills import KEPT_MS, NOT_INSTALLED
from pipeline.core.billing.stripe_rows import lane_of
from pipeline.records import StripeFound, StripeInvoiceFact, StripeWork
from tests.core.billing.bill_stripe import DAY_MS, BillStripe, order
from tests.core.billing.stripe_world import APP, NAMESPACE, app, customer_app
from tests.fixtures.examples import examples


def answer(world: BillStripe, invoice: str = "01INVOICE", sequence: int = 9) -> StripeInvoiceFact:
    fact = world.answers[invoice, sequence].stripe
    assert fact is not None
    return fact


def calls(world: BillStripe) -> list[str]:
    """The names of the calls that are made until nothing is due."""
    names = []
    while flights := world.flights():
        names.append(flights[0].call.name)
        assert world.call() == 1
    return names


def test_an_invoice_takes_three_calls_and_its_customer_another_one() -> None:
    world = BillStripe()
    world.order(order(500))
    assert calls(world) == ["customer", "create", "lines", "finalize"]
    found = answer(world)
    assert (found.outcome, found.found) == ("done", StripeFound(id="in_0", status="open", total=500, items=1))
    (command,) = world.commands.values()
    assert command.kind == "customer-app.upsert"
    assert command.body == {
        "customerId": "01CUSTOMER", "data": [{"appId": APP, "stripeCustomerId": "cus_0"}],
    }  # fmt: skip
    world.order(order(700), "01OTHER")
    assert calls(world) == ["create", "lines", "finalize"]


def test_the_customer_of_the_definitions_is_used() -> None:
    world = BillStripe(customer_app(4, "01CUSTOMER", "cus_given"))
    world.order(order())
    (flight,) = world.flights()
    assert (flight.call.name, flight.target.stripe_customer) == ("create", "cus_given")
    assert calls(world) == ["create", "lines", "finalize"] and not world.commands


def test_a_customer_that_was_taken_away_is_created_again_under_another_key() -> None:
    """As after it was deleted at Stripe. Until the definitions name the first one, it is used."""
    world = BillStripe()
    world.order(order())
    calls(world)
    world.order(order(), "01SECOND")
    assert calls(world) == ["create", "lines", "finalize"]
    world.define(customer_app(4, "01CUSTOMER", "cus_0"))
    world.order(order(), "01THIRD")
    assert calls(world) == ["create", "lines", "finalize"]
    world.define(customer_app(5, "01CUSTOMER", "cus_0", deletedAt="2026-01-01T00:00:00.000Z"))
    world.order(order(), "01FOURTH")
    assert calls(world) == ["customer", "create", "lines", "finalize"]
    assert list(world.stripe.customers) == ["cus_0", "cus_1"]
    assert [key for key in world.stripe.bodies if "cus" in key] == [
        f"tm-cus-{APP}-01CUSTOMER-1", f"tm-cus-{APP}-01CUSTOMER-2",
    ]  # fmt: skip


def test_a_customer_whose_details_are_refused_is_not_created_again() -> None:
    world = BillStripe()
    world.order(order())
    (flight,) = world.flights()
    refused = StripeWork(
        "called", namespace=NAMESPACE, customer="01CUSTOMER", mapping=APP, invoice="01INVOICE",
        identifier=flight.call.key, outcome="refused", message="Invalid email", found=StripeFound(id="cus_7"),
    )  # fmt: skip
    world.record(refused)
    assert (answer(world).outcome, answer(world).message) == ("failed", "Invalid email")
    assert [one.body["data"] for one in world.commands.values()] == [
        [{"appId": APP, "stripeCustomerId": "cus_7"}]
    ]
    world.order(order(sequence=11))
    (flight,) = world.flights()
    assert (flight.call.name, flight.target.stripe_customer) == ("create", "cus_7")


def test_an_invoice_of_nothing_has_no_lines_and_is_paid() -> None:
    world = BillStripe()
    world.order(order(0))
    assert calls(world) == ["customer", "create", "finalize"]
    found = answer(world).found
    assert found is not None and found.status == "paid"


def test_a_customer_has_one_call_at_a_time_and_invoices_keep_their_order() -> None:
    world = BillStripe()
    for place in range(5):
        world.order(order(100 + place), f"01INVOICE{place}")
        world.order(order(200 + place), f"01OTHER{place}", f"01CUSTOMER{place}")
    assert len(world.flights()) == 6
    while world.call():
        assert len({one.lane for one in world.flights()}) == len(world.flights())
    mine = [ours for ours, _ in world.stripe.invoices.values() if ours.startswith("01INVOICE")]
    assert mine == [f"01INVOICE{place}" for place in range(5)]


def test_a_refused_call_ends_the_order_and_a_retry_goes_on_from_what_stripe_has() -> None:
    world = BillStripe()
    world.order(order())
    world.call()
    world.call()
    (flight,) = world.flights()
    assert flight.call.name == "lines"
    target = flight.target
    refused = StripeWork(
        "called", namespace=NAMESPACE, customer=target.customer, mapping=APP, invoice=target.invoice,
        identifier=flight.call.key, outcome="refused", message="amount_too_large",
    )  # fmt: skip
    world.record(refused)
    assert (answer(world).outcome, answer(world).message) == ("failed", "amount_too_large")
    assert not world.flights()
    world.order(order(sequence=11))
    assert calls(world) == ["create", "lines", "finalize"]  # the first one is asked
    assert len(world.stripe.invoices) == 1 and answer(world, sequence=11).outcome == "done"
    assert all(len(bodies) == 1 for bodies in world.stripe.bodies.values())


def test_another_total_at_stripe_ends_the_order_before_it_is_finalized() -> None:
    world = BillStripe()
    world.order(order())
    world.call()
    world.call()
    ours, shown = world.stripe.invoices["in_0"]
    world.stripe.invoices["in_0"] = ours, msgspec.structs.replace(shown, total=1)  # changed by hand
    world.call()
    assert answer(world).message == "Stripe's total is 501 where ours is 500, in its smallest unit."
    assert world.stripe.invoices["in_0"][1].status == "draft"


def test_an_app_that_is_not_installed_ends_the_order() -> None:
    world = BillStripe(app(7, deletedAt="2026-01-01T00:00:00.000Z"))
    world.order(order())
    assert answer(world).outcome == "failed" and not world.stripe.calls


@pytest.mark.parametrize("item", [["app", NAMESPACE, APP], ["owned"]])
def test_an_app_that_is_uninstalled_ends_what_waits_and_names_the_call_in_progress(item: list[str]) -> None:
    world = BillStripe()
    world.order(order())
    world.order(order(), "01SECOND")
    world.call("stored-lost")
    world.define(app(7, deletedAt="2026-01-01T00:00:00.000Z"))
    world.record(StripeWork("clock", items=[item]))
    assert not world.flights()
    assert (
        answer(world).message == f"{NOT_INSTALLED} Whether Stripe has executed the call customer is unknown."
    )
    assert (answer(world, "01SECOND").outcome, answer(world, "01SECOND").message) == ("failed", NOT_INSTALLED)
    shown = dict(world.answers)
    world.answers.clear()
    world.crash(1)
    assert world.answers == shown


@pytest.mark.parametrize(
    ("before", "made", "status"),
    [
        (0, [], ""),
        (1, ["create", "delete"], "deleted"),
        (2, ["lines", "delete"], "deleted"),
        (3, ["finalize", "void"], "void"),
        (4, ["create", "void"], "void"),
    ],
)
def test_a_void_takes_back_what_stripe_has(before: int, made: list[str], status: str) -> None:
    """before: calls that were made; one in progress ends first."""
    world = BillStripe()
    if before:
        world.order(order())
        for _ in range(before):
            world.call()
    world.order(order(sequence=12, action="void"))
    assert calls(world) == made
    assert answer(world, sequence=12).outcome == "done"
    found = world.stripe.invoices.get("in_0", ("", StripeFound()))[1]
    assert found.status == status


def test_a_payment_is_tried_again_at_stripe_where_it_is_open() -> None:
    world = BillStripe()
    world.order(order())
    calls(world)
    world.order(order(sequence=12, action="pay"))
    assert calls(world) == ["create", "pay"]
    found = answer(world, sequence=12).found
    assert found is not None and found.status == "paid"
    world.order(order(sequence=13, action="pay"))
    assert calls(world) == ["create"]  # it is asked, and paid already


def test_an_order_that_is_older_or_repeated_is_answered_again_and_changes_nothing() -> None:
    world = BillStripe()
    world.order(order())
    calls(world)
    made = world.stripe.calls
    world.order(order())
    assert not world.flights() and world.stripe.calls == made


def test_a_key_that_was_refused_is_used_again_once_the_app_has_changed() -> None:
    world = BillStripe()
    world.order(order())
    (flight,) = world.flights()
    target = flight.target
    for _ in range(12):
        world.record(
            StripeWork(
                "called",
                namespace=NAMESPACE,
                customer=target.customer,
                mapping=APP,
                invoice=target.invoice,
                identifier=flight.call.key,
                outcome="unauthorized",
            )
        )
    assert not world.call()
    world.record(StripeWork("clock", items=[["app", NAMESPACE, APP]]))
    assert calls(world) == ["customer", "create", "lines", "finalize"]


def test_invoices_that_were_done_are_removed_and_a_void_still_finds_theirs() -> None:
    world = BillStripe()
    world.order(order())
    calls(world)
    world.now_ms += KEPT_MS + DAY_MS
    world.record(StripeWork("clock"))
    lane = lane_of(NAMESPACE, "01CUSTOMER", APP)
    assert b"n" + lane + b"01INVOICE" not in world.table.rows
    world.order(order(0, sequence=12, action="void", stripe_id="in_0"))
    assert calls(world) == ["create", "void"]
    assert world.stripe.invoices["in_0"][1].status == "void"


@pytest.mark.parametrize("seed", range(examples(20)))
def test_each_invoice_is_at_stripe_once_with_our_total_whatever_is_lost(seed: int) -> None:
    random, world = Random(seed), BillStripe()
    for place in range(4):
        world.order(order(place * 100), f"01INVOICE{place}", f"01CUSTOMER{place % 2}")
        for _ in range(random.randrange(12)):
            world.shake(random)
    for _ in range(40):
        world.shake(random)
    world.settle()
    there = [(ours, one.total, one.status) for ours, one in world.stripe.invoices.values()]
    assert sorted(there) == [
        (f"01INVOICE{place}", place * 100, "open" if place else "paid") for place in range(4)
    ]
    assert sorted(world.stripe.customers.values()) == ["01CUSTOMER0", "01CUSTOMER1"]
    assert {one.stripe.outcome for one in world.answers.values() if one.stripe} == {"done"}
    assert all(len(bodies) == 1 for bodies in world.stripe.bodies.values())
