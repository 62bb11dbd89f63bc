"""Calls for invoices by the dispatcher: the bytes of an order, what an answer becomes, what is asked of Stripe."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from types import SimpleNamespace
from typing import cast

import pytest
import stripe

from pipeline.agents.stripe_invoice_calls import StripeInvoiceCalls
from pipeline.core.billing.stripe_bills import BillFlight
from pipeline.core.billing.stripe_request import key_of, params_of
from pipeline.core.billing.stripe_window import PAUSE_MS, SURE_MS
from pipeline.local.stripe_sandbox.call import StripeSandbox
from pipeline.local.stripe_sandbox.clock import SandboxClock
from pipeline.local.stripe_sandbox.faults import FaultRule, Faults
from pipeline.records import StripeFound, StripeWork
from pipeline.stores.stripe_api import StripeApi
from pipeline.stores.stripe_sessions import StripeSessions
from tests.core.billing.bill_stripe import BillStripe, order
from tests.core.billing.stripe_world import FROM_MS
from tests.local.stripe_sandbox.sandbox_server import KEY, ServedSandbox, account

CALLS = StripeInvoiceCalls()
TIMEOUT_S = 60.0  # for a machine that is busy; no fault here keeps a call open


class Bench:
    """A world of orders whose calls go to the sandbox."""

    def __init__(self, served: ServedSandbox) -> None:
        self.world, self.served = BillStripe(), served
        self.world.order(order())

    @property
    def flight(self) -> BillFlight:
        (found,) = self.world.flights()
        return found

    def ask(self, looks: bool = False, may_write: bool = True, key: str = KEY) -> StripeWork | None:
        async def run() -> StripeWork | None:
            api = StripeApi(key, self.served.url, TIMEOUT_S)
            try:
                if looks:
                    return await CALLS.look(api, self.flight)
                return await CALLS.send(api, self.flight, lambda: may_write)
            finally:
                await api.close()

        return asyncio.run(run())

    def done(self) -> str:
        """Make the next call and record its outcome. Returns its name."""
        name, work = self.flight.call.name, self.ask()
        assert work is not None and work.outcome == "done", work
        self.world.record(work)
        return name


def test_what_was_asked_again_too_early_is_a_later_state_so_its_lane_goes_on() -> None:
    """The records of the table may be behind the clock of the dispatcher."""
    world = BillStripe()
    world.order(order())
    world.now_ms += SURE_MS
    world.call()
    (before,) = world.flights()
    target = before.target
    world.now_ms = before.next_at_ms - 1
    world.record(
        StripeWork(
            "found", namespace=before.namespace, customer=target.customer, mapping=target.app,
            invoice=target.invoice, identifier=before.key,
        )
    )  # fmt: skip
    (now,) = world.flights()
    assert CALLS.is_later(now, before) and now.next_at_ms == world.now_ms + PAUSE_MS


@pytest.mark.parametrize(
    ("status", "code", "has_none"),
    [(404, None, True), (400, "resource_missing", True), (408, None, False), (400, None, False),
     (429, None, False), (500, None, False)],
)  # fmt: skip
def test_only_a_missing_object_is_an_answer_that_stripe_has_none(
    status: int, code: str | None, has_none: bool
) -> None:
    async def listed(**_: object) -> None:
        raise stripe.InvalidRequestError("no", None, code, http_status=status)

    world = BillStripe()
    world.order(order())
    (flight,) = world.flights()
    api = SimpleNamespace(
        client=SimpleNamespace(v1=SimpleNamespace(customers=SimpleNamespace(list_async=listed)))
    )
    work = asyncio.run(CALLS.look(cast(StripeApi, api), flight))
    assert (work is not None) == has_none
    assert work is None or (work.kind, work.outcome, work.found) == ("found", "", StripeFound())


@pytest.fixture
def bench() -> Iterator[Bench]:
    with ServedSandbox(StripeSandbox(account(), SandboxClock(FROM_MS // 1_000)), lost_s=0.1) as served:
        yield Bench(served)


def test_an_order_becomes_an_invoice_at_stripe(bench: Bench) -> None:
    assert [bench.done() for _ in range(4)] == ["customer", "create", "lines", "finalize"]
    (made,) = bench.served.sandbox.invoices.invoices.values()
    assert (made.status, made.total, made.number) == ("open", 500, "INV-1")
    (answer,) = bench.world.answers.values()
    assert answer.stripe is not None and answer.stripe.found is not None
    assert answer.stripe.found.hosted_url and answer.stripe.found.status == "open"


def test_a_checkout_and_an_order_at_once_create_one_customer_with_its_details(bench: Bench) -> None:
    """The checkout session is the first, and its command has not arrived when the order is made."""
    flight = bench.flight
    params = params_of("customer", flight.target, order(name="As it was then"))

    async def create() -> str:
        api = StripeApi(KEY, bench.served.url, TIMEOUT_S)
        try:
            return await StripeSessions(api).create_customer(
                params, key_of("customer", flight.target, order(), 1)
            )
        finally:
            await api.close()

    created = asyncio.run(create())
    assert bench.done() == "customer"
    assert bench.flight.target.stripe_customer == created
    (customer,) = bench.served.sandbox.account.customers.values()
    assert (customer.name, customer.metadata["tm_customer_id"]) == ("Acme", "01CUSTOMER")
    assert {len(bodies) for bodies in bench.served.sandbox.bodies.values()} == {1}


def test_a_customer_whose_details_are_lost_is_known(bench: Bench) -> None:
    rule = FaultRule(["unavailable"], path="/v1/customers/", times=1)
    bench.served.sandbox.faults = Faults([rule])
    work = bench.ask()
    assert work is not None and work.found is not None
    assert (work.outcome, bool(work.found.id)) == ("unknown", True)
    bench.world.record(work)
    bench.world.now_ms = bench.flight.next_at_ms
    assert bench.done() == "customer"
    (customer,) = bench.served.sandbox.account.customers.values()
    assert (bench.flight.target.stripe_customer, customer.name) == (customer.id, "Acme")


def test_a_call_that_may_not_be_written_is_not_made(bench: Bench) -> None:
    assert bench.ask(may_write=False) is None and not bench.served.sandbox.account.customers


@pytest.mark.parametrize("calls", [0, 1])
def test_what_a_lost_call_has_made_is_found_by_its_metadata(bench: Bench, calls: int) -> None:
    for _ in range(calls):
        bench.done()
    nothing = bench.ask(looks=True)
    assert nothing is not None and nothing.found is not None and not nothing.found.id
    bench.served.sandbox.faults = Faults([FaultRule(["reset-after"], times=1)])
    lost = bench.ask()
    assert lost is not None and (lost.outcome, lost.stored) == ("unknown", False)
    work = bench.ask(looks=True)
    assert work is not None and work.found is not None and work.found.id


def test_a_500_that_stripe_keeps_is_seen_as_such(bench: Bench) -> None:
    bench.served.sandbox.faults = Faults([FaultRule(["error-stored"], times=1)])
    first, again = bench.ask(), bench.ask()
    assert first is not None and again is not None
    assert [(one.outcome, one.stored) for one in (first, again)] == [("unknown", False), ("unknown", True)]


def test_refusals_a_wrong_key_and_a_limit_are_different(bench: Bench) -> None:
    wrong = bench.ask(key="sk_test_wrong")
    assert wrong is not None and wrong.outcome == "unauthorized"
    asked = bench.ask(looks=True, key="sk_test_wrong")
    assert asked is not None and (asked.kind, asked.outcome) == ("called", "unauthorized")
    bench.served.sandbox.faults = Faults([FaultRule(["rate-limited"], times=1)])
    later = bench.ask()
    assert later is not None and later.outcome == "later"
    bench.done()
    for one in bench.served.sandbox.account.customers.values():
        one.deleted = True
    refused = bench.ask()
    assert refused is not None and refused.outcome == "refused" and "No such customer" in refused.message
