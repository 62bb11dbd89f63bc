"""Every member of every body about invoices that OpenAPI shows acts or is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from pipeline.core.bills.bill_index import BillIndex
from pipeline.core.bills.bill_table import BillTable
from pipeline.core.invoices.invoice import shown
from pipeline.core.invoices.pending_line import PendingContext
from pipeline.core.invoices.simulation import simulate
from pipeline.errors import Rejected
from pipeline.records import BillingWork, Command
from tests.api.test_input_contract import MEMBERS, at
from tests.core.bills.bill_world import NAMESPACE, BillWorld
from tests.core.bills.bill_world import at as at_s
from tests.core.bills.invoices_made import JANUARY, draft, of_own_system, pending, unpaid
from tests.core.inputs import Body
from tests.core.invoices.invoices import billing_profile, customer
from tests.core.test_inputs import REMOVED, changed, others
from tests.fixtures.billing_bodies import ADDRESS
from tests.fixtures.catalog_bodies import PRICES
from tests.fixtures.fake_transaction import DictTable

BY_EVENTS = (
    "fixedAmount",
    "freeEvents",
    "eventMinimum",
    "eventMaximum",
)  # what only the amount of each event decides
FLAT = {"type": "flat", "amount": "20", "paymentTerm": "in_arrears"}
USAGE = [{name: value for name, value in price.items() if name not in BY_EVENTS}
         for price in PRICES if price["type"] != "flat"]  # fmt: skip
TAX = {"behavior": "inclusive", "stripe": {"code": "txcd_10000000"}, "customInvoicing": {"code": "x"},
       "taxCodeId": "vat"}  # fmt: skip
CALLBACKS = "/api/v1/apps/custom-invoicing/{invoiceId}"
ONE, OF_CUSTOMER = (
    "/api/v1/billing/invoices/{invoiceId}",
    "/api/v1/billing/customers/{customerIdOrKey}/invoices",
)


def _line(price: Body, nested: bool = True, **more: Any) -> Body:
    of_flat = price["type"] == "flat"
    discounts = {"percentage": {"percentage": 5}, **({} if of_flat else {"usage": {"quantity": "5"}})}
    card = {
        "price": price,
        "taxConfig": TAX,
        "discounts": discounts,
        **({} if of_flat else {"featureKey": "tokens"}),
    }
    usual = {
        "name": "n", "description": "d", "metadata": {"a": "b"}, "period": JANUARY, "invoiceAt": "2026-01-15T00:00:00Z",
        "currency": "EUR",
    }  # fmt: skip
    return {**usual, **({"rateCard": card} if nested else card), **more}


LINES = [_line(price, nested) for nested in (True, False) for price in (FLAT, *USAGE)]
PARTY = {"name": "n", "taxId": {"code": "DE1"}, "addresses": [ADDRESS]}
UPDATE = {
    "description": "d", "metadata": {"a": "b"}, "supplier": {"key": "k", **PARTY}, "customer": PARTY,
    "workflow": {"workflow": {
        "invoicing": {"autoAdvance": False, "draftPeriod": "P1D", "dueAfter": "P14D", "progressiveBilling": False,
                      "subscriptionEndProrationMode": "bill_full_period"},
        "payment": {"collectionMethod": "send_invoice"}}},
}  # fmt: skip
DISCARD = {"percentage": 100, "action": {"type": "discard"}}
AGAIN = {"percentage": 100, "action": {"type": "pending", "nextInvoiceAt": "2026-03-01T00:00:00Z"}}


class Place(NamedTuple):
    """A world, the members of a command that the path names, and the bodies to send."""

    world: BillWorld
    named: Body
    bodies: list[Body]


def _pending() -> Place:
    return Place(BillWorld(), {}, [{"currency": "EUR", "lines": [line]} for line in LINES])


def _now() -> Place:
    world = BillWorld()
    world.use(at_s("2026-01-02"), "50", subject="c0")
    ids = pending(world, _line(FLAT), _line(USAGE[0], invoiceAt="2026-02-01T00:00:00Z"))
    world.now_s = at_s("2026-01-20")
    sent = {"customerId": "c0", "asOf": "2026-01-18T00:00:00Z", "progressiveBillingOverride": True}
    return Place(world, {}, [{**sent, "filters": {"lineIds": [id]}} for id in ids] + [sent])


def _update() -> Place:
    world = BillWorld()
    id = draft(world)
    known = world.invoice(id).content.lines[0].id
    old = {**_line(FLAT), "id": known}
    bodies = [{**UPDATE, "lines": [line, old]} for line in LINES] + [{**UPDATE, "lines": [old]}]
    return Place(world, {"id": id}, bodies)


def _void() -> Place:
    world = BillWorld()
    id = unpaid(world)
    line = world.invoice(id).content.lines[0].id
    return Place(world, {"id": id}, [
        {"reason": "r", "action": DISCARD}, {"reason": "r", "action": AGAIN},
        *({"reason": "r", "action": other, "overrides": [{"lineId": line, "action": one}]}
          for one, other in ((DISCARD, AGAIN), (AGAIN, DISCARD))),
    ])  # fmt: skip


def _draft_synchronized() -> Place:
    world = BillWorld()
    id = of_own_system(world)
    line = world.invoice(id).content.lines[0].id
    sent = {
        "invoiceNumber": "A-1", "externalId": "e", "lineExternalIds": [{"lineId": line, "externalId": "e-1"}],
        "lineDiscountExternalIds": [],
    }  # fmt: skip
    return Place(world, {"id": id}, [{"invoicing": sent}])


def _issuing_synchronized() -> Place:
    world = BillWorld()
    id = of_own_system(world)
    world.do("invoice.draft-synchronized", {}, id=id)
    world.until(at_s("2026-01-02"))
    sent = {"invoiceNumber": "A-1", "sentToCustomerAt": "2026-01-02T00:00:00Z"}
    return Place(world, {"id": id}, [{"invoicing": sent, "payment": {"externalId": "p"}}])


def _payment_status() -> Place:
    place = _issuing_synchronized()
    place.world.do("invoice.issuing-synchronized", place.bodies[0], **place.named)
    return Place(place.world, place.named, [{"trigger": "paid"}])


PLACES: dict[str, tuple[str, Callable[[], Place]]] = {
    f"POST {OF_CUSTOMER}/pending-lines": ("invoice.pending-lines", _pending),
    "POST /api/v1/billing/invoices/invoice": ("invoice.now", _now),
    f"PUT {ONE}": ("invoice.update", _update),
    f"POST {ONE}/void": ("invoice.void", _void),
    f"POST {CALLBACKS}/draft/synchronized": ("invoice.draft-synchronized", _draft_synchronized),
    f"POST {CALLBACKS}/issuing/synchronized": ("invoice.issuing-synchronized", _issuing_synchronized),
    f"POST {CALLBACKS}/payment/status": ("invoice.payment-status", _payment_status),
}
SIMULATE = f"POST {OF_CUSTOMER}/simulate"
# Which customer is meant is what the route finds out; the lines of discounts that a draft has are tried by the core.
OF_ROUTE = {("POST /api/v1/billing/invoices/invoice", ("customerId",))}
OF_CORE = {  # see tests/core/invoices/test_custom_invoicing.py
    (f"POST {CALLBACKS}/draft/synchronized", ("invoicing", "lineDiscountExternalIds", 0, name))
    for name in ("lineDiscountId", "externalId")
} | {(f"POST {CALLBACKS}/draft/synchronized", ("invoicing", "lineDiscountExternalIds"))}


def decider(kind: str, place: Place) -> Callable[[Body], Any]:
    """What a body does to the same state: the documents and the reply, or the refusal."""
    world, rows = place.world, dict(place.world.table.rows)

    def decide(body: Body) -> Any:
        table, index = DictTable(dict(rows)), BillIndex()
        index.load(table)
        bills = BillTable(table, index, world.definitions.billing, world.terms)
        sent = {"customer": world.customer, "sent": body, **place.named}
        command = Command("c", kind, NAMESPACE, "ann", 1, sent, attempt="a")
        bills.apply(
            BillingWork("command", customer=world.customer, command=command),
            len(world.log),
            world.now_s * 1000,
        )
        output = bills.flush()
        (reply,) = output.replies
        if reply.error:
            return f"{reply.error} {reply.detail}"
        return [output.invoices, output.credits, output.ledger, reply.body]

    return decide


def simulated(body: Body) -> Any:
    context = PendingContext(customer(), "", {"tokens": True}, "c", 1_800_000_000_000)
    try:
        return shown(simulate(body, billing_profile(), context))
    except Rejected as refusal:
        return f"{refusal.reason} {refusal.detail}"


def idle_members(operation: str, decide: Callable[[Body], Any], bodies: list[Body]) -> list[str]:
    """The members that no body has, or that are accepted and change nothing."""
    found, wrong = [decide(body) for body in bodies], []
    assert [one for one in found if isinstance(one, str)] == []
    for of, path in MEMBERS:
        if of != operation or (of, path) in OF_ROUTE | OF_CORE or path[-1] in BY_EVENTS:
            continue
        acting = [
            any(decide(changed(body, path, value)) != base for value in (REMOVED, *others(at(body, path))))
            for body, base in zip(bodies, found, strict=True)
            if at(body, path) is not REMOVED
        ]
        if not any(acting):
            wrong.append(f"{path} {'is accepted and changes nothing' if acting else 'is in no body'}")
    return wrong


@pytest.mark.parametrize("operation", PLACES)
def test_every_member_of_a_change_acts_or_is_refused(operation: str) -> None:
    kind, made = PLACES[operation]
    place = made()
    assert idle_members(operation, decider(kind, place), place.bodies) == []


def test_every_member_of_a_simulation_acts_or_is_refused() -> None:
    more = {"id": "01J0000000000000000000000A", "quantity": "50"}
    lines = [{**line, **more} for line in LINES]
    for line in lines:
        card = line.get("rateCard", line)
        if card["price"]["type"] == "flat":
            line["quantity"] = "1"
        elif card["price"].get("mode") != "volume":
            line["preLinePeriodQuantity"] = "10"
    bodies = [{"number": "X-1", "currency": "EUR", "lines": [line]} for line in lines]
    assert idle_members(SIMULATE, simulated, bodies) == []


@pytest.mark.parametrize("member", BY_EVENTS)
def test_a_price_that_needs_single_events_is_refused(member: str) -> None:
    price = {"type": "percentage", "rate": "2.9", member: 1}
    for nested in (True, False):
        body = {"currency": "EUR", "lines": [{**_line(price, nested), "quantity": "5"}]}
        assert "needs the amount of each event" in simulated(body)
