"""Calls for invoices: how one is made, and what Stripe has of it.

Owns: the calls for an order, and their records. Does not own: when a call is made (stripe_dispatch), which one is next
(core.billing.stripe_invoice), the HTTP of it (stores.stripe_invoices).
"""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.core.billing.stripe_bills import BillFlight, bills_in_progress
from pipeline.core.billing.stripe_invoice import must_ask
from pipeline.core.billing.stripe_outcome import outcome_of
from pipeline.core.billing.stripe_request import details_of, params_of
from pipeline.core.values.table import ScannedBytes
from pipeline.errors import Rejected, Unavailable
from pipeline.records import StripeFound, StripeWork
from pipeline.stores.stripe_api import StripeApi, says_missing
from pipeline.stores.stripe_http import MayWrite
from pipeline.stores.stripe_invoices import StripeInvoices

# Calls a second: Stripe takes 25 of one endpoint of an account, and 25 of all in its sandbox, where summaries are read.
INVOICES_LIVE_S, INVOICES_TEST_S = 25, 10
SINCE_S = 86_400  # what a call made is no older than the call, but for clocks that differ


class StripeInvoiceCalls:
    """A stripe_dispatch.CallKind."""

    name = "invoices"

    def in_progress(self, table: ScannedBytes) -> Iterator[list[BillFlight]]:
        """Those of a partition, one by one."""
        for flight in bills_in_progress(table):
            yield [flight]

    def must_look(self, flight: BillFlight, now_ms: int) -> bool:
        """Whether Stripe is asked."""
        return must_ask(flight.call, now_ms)

    def is_later(self, flight: BillFlight, before: BillFlight) -> bool:
        """Whether the outcome of the call of `before` was applied."""
        now, then = flight.call, before.call
        return (now.key, now.attempts, now.asks, now.missed_at_ms, now.next_at_ms) != (
            then.key, then.attempts, then.asks, then.missed_at_ms, then.next_at_ms,
        )  # fmt: skip

    async def send(self, api: StripeApi, flight: BillFlight, may_write: MayWrite) -> StripeWork | None:
        """The outcome; None: it was not made."""
        call, target = flight.call, flight.target
        params = params_of(call.name, target, flight.order)
        invoices = StripeInvoices(api)
        if call.name == "customer":
            details = details_of(flight.order)
            reply = await invoices.create_customer(target, params, details, call.key, may_write)
        else:
            reply = await invoices.call(call.name, target, params, call.key, may_write)
        if reply is None:
            return None
        work = _record(flight, "called")
        work.outcome = outcome_of(reply.answer, call.key)
        work.status, work.found = reply.answer.status, reply.found
        work.message = "" if work.outcome == "done" else reply.answer.message
        work.retry_after_ms, work.stored = reply.answer.retry_after_ms, reply.answer.replayed
        return work

    async def look(self, api: StripeApi, flight: BillFlight) -> StripeWork | None:
        """What Stripe has; None: it did not answer, or refused the question, which says nothing of what it has."""
        work = _record(flight, "found")
        try:
            work.found = await _has(StripeInvoices(api), flight)
        except Unavailable:
            return None
        except Rejected as refusal:
            if refusal.reason == "stripe-key-refused":
                work.kind, work.outcome, work.message = "called", "unauthorized", refusal.detail
            elif says_missing(refusal):
                work.found = StripeFound()
            else:
                return None
        return work


async def _has(invoices: StripeInvoices, flight: BillFlight) -> StripeFound:
    call, target = flight.call, flight.target
    since_s = call.made_at_ms // 1000 - SINCE_S
    if call.name == "customer":
        return await invoices.find_customer(target, since_s)
    if call.name == "create" and not call.resumes:
        return await invoices.find_invoice(target, since_s)
    return await invoices.invoice(target.stripe_invoice)


def _record(flight: BillFlight, kind: str) -> StripeWork:
    target = flight.target
    return StripeWork(
        "found" if kind == "found" else "called",
        namespace=flight.namespace,
        customer=target.customer,
        mapping=target.app,
        invoice=target.invoice,
        identifier=flight.call.key,
    )
