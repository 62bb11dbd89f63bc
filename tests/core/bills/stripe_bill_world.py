"""A partition of billing with a Stripe app, and a partition of stripe-sync that answers its orders.

Owns: exchanging orders and answers, events as the API takes them. Does not own: any test.
"""

from __future__ import annotations

import msgspec

from pipeline.core.bills.bill_rows import BillOutput
from pipeline.core.definitions.changes import Changes
from pipeline.core.invoices.stored_invoice import StoredInvoice
from pipeline.records import BillingWork, StripeFound, StripeInvoiceFact, StripeWork
from tests.core.billing.bill_stripe import BillStripe
from tests.core.billing.stripe_log import install
from tests.core.bills.bill_world import NAMESPACE, BillWorld, Body, Definitions, Logged, at

SEND = {"workflow": {"payment": {"collectionMethod": "send_invoice"}, "invoicing": {"dueAfter": "P14D"}}}


class StripeDefinitions(Definitions):
    """The default profile has a Stripe app."""

    stripe_app = ""

    def _app(self, hooks: Body) -> str:
        self.stripe_app = install(self.log, **hooks)
        return self.stripe_app


class StripeBillWorld(BillWorld):
    """orders: that billing made and stripe-sync has not read."""

    def __init__(self, customers: int = 1, profile: Body | None = None) -> None:
        made = StripeDefinitions(customers, app={}, profile=profile)
        super().__init__(made)
        self.app = made.stripe_app
        self.stripe = BillStripe()
        self.stripe.definitions.update(Changes(dict(made.log.state)))
        self.orders: list[StripeWork] = []
        self._answered: set[tuple[str, int]] = set()
        self.now_s = at("2026-01-10T10:00:00Z")

    def play(self, chunk: list[Logged]) -> BillOutput:
        output = super().play(chunk)
        self.orders += output.stripe
        return output

    def send_orders(self) -> None:
        """Stripe-sync reads what billing has ordered."""
        orders, self.orders = self.orders, []
        for one in orders:
            self.stripe.record(one)

    def read_answers(self) -> None:
        """Billing reads what stripe-sync has answered."""
        for place, answer in list(self.stripe.answers.items()):
            if place not in self._answered:
                self._answered.add(place)
                self.record(answer)

    def exchange(self) -> None:
        """Orders and answers, until there is none."""
        self.send_orders()
        while self.stripe.call():
            pass
        self.read_answers()

    def issued(self) -> StoredInvoice:
        """The first invoice, which Stripe has finalized."""
        self.subscribe()
        self.until(self.now_s)
        self.exchange()
        return self.billed()[0]

    def show(self, stripe_id: str, **changed: object) -> None:
        """An invoice has changed at Stripe."""
        ours, shown = self.stripe.stripe.invoices[stripe_id]
        self.stripe.stripe.invoices[stripe_id] = ours, msgspec.structs.replace(shown, **changed)

    def event(self, type: str, at_s: int, invoice: str = "", found: StripeFound | None = None) -> None:
        """An event of Stripe about an invoice; the first one where none is named."""
        fact = StripeInvoiceFact(self.app, at_s, type=f"invoice.{type}", found=found)
        id = invoice or self.billed()[0].content.id
        self.record(
            BillingWork("stripe", customer=self.customer, namespace=NAMESPACE, invoice=id, stripe=fact)
        )
