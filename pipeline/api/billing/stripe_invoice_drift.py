"""`GET /billing/stripe/drift/invoices`: our invoices of a Stripe app against those that Stripe has.

Owns: the parameters, which invoices are compared, the form of an item. Does not own: the causes
(core.invoices.stripe_invoice_drift), the calls (stores.stripe_invoices), the drift of usage (stripe_drift).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Any

import msgspec
from fastapi import Depends, Query, Request
from msgspec import Meta

from pipeline.api.billing.stripe_calls import app_of
from pipeline.api.billing.stripe_drift import DriftTime, span_of
from pipeline.api.billing.stripe_reads import opened
from pipeline.api.http.auth import namespace_of, needs
from pipeline.api.http.bulkheads import loaded
from pipeline.api.http.described import described
from pipeline.api.http.members import Instant, Ulid
from pipeline.api.http.paths import Router
from pipeline.api.http.services import services_of
from pipeline.api.http.submit_billing import bills
from pipeline.core.billing.stripe_found import owner_of
from pipeline.core.invoices.stored_invoice import StoredInvoice
from pipeline.core.invoices.stripe_invoice_drift import (
    EXPLAINED,
    InvoiceDifference,
    InvoiceDrift,
    compare_invoices,
)
from pipeline.core.values import timestamp
from pipeline.errors import Rejected
from pipeline.stores.stripe_invoices import AT_ONCE, StripeInvoices

MOST_READ = 10_000  # invoices of Stripe that one request reads
BEFORE_S = 86_400  # the order of an invoice is older than the invoice at Stripe by so much at most

router = Router(prefix="/billing/stripe", tags=["billing"], dependencies=[Depends(needs("query"))])
_stored = msgspec.json.Decoder(StoredInvoice).decode


class InvoiceDriftItem(msgspec.Struct, forbid_unknown_fields=True):
    """An invoice that differs."""

    invoiceId: Ulid
    customerId: Annotated[str, Meta(description="our id")]
    number: str
    stripeInvoiceId: Annotated[str | None, Meta(description="null: Stripe does not have it")]
    ours: Annotated[str, Meta(description="what we have: a state, an amount or a number")]
    stripe: Annotated[str, Meta(description="what Stripe has")]
    cause: InvoiceDrift


class InvoiceDriftAnswer(msgspec.Struct, forbid_unknown_fields=True):
    """The invoices that differ. ok: each difference goes away by itself, or by a retry."""

    ok: bool
    from_: Instant = msgspec.field(name="from")
    to: Instant
    appId: Ulid
    invoices: Annotated[int, Meta(ge=0, description="of ours that were compared")]
    causes: Annotated[dict[str, int], Meta(description="number of differences by cause")]
    items: list[InvoiceDriftItem]


@router.get(
    "/drift/invoices",
    summary="Invoices that differ from Stripe's",
    **described(
        answer=InvoiceDriftAnswer,
        reasons=[
            "bad-query",
            "not-found",
            "app-conflict",
            "stripe-key-refused",
            "stripe-refused",
            "unavailable",
        ],
    ),
)
async def drift_of_invoices(
    request: Request,
    *,
    app: Annotated[str | None, Query(description="id; absent: the only Stripe app")] = None,
    from_: Annotated[DriftTime, Query(alias="from")] = None,
    to: DriftTime = None,
) -> dict[str, Any]:
    """Invoices that were issued in a span are compared with Stripe's: missing, twice, another total, changed there.

    Without `from` and `to` those of the last 7 days are compared; at most 40 days and 10,000 invoices can be.
    """
    services, namespace = services_of(request), namespace_of(request)
    await loaded(services.definitions)
    from_s, to_s = span_of(from_, to, time.time_ns() // 1_000_000_000)
    found = app_of(request, app)
    theirs: list[dict[str, object]] = []
    async with opened(services, namespace, found) as api:
        await services.stripe_pace.turn(found.stripe_account_id)
        listed = {"created": {"gte": from_s - BEFORE_S}, "limit": AT_ONCE}
        async for one in StripeInvoices(api).listed(listed):
            theirs.append(one)
            if len(theirs) > MOST_READ:
                raise Rejected(
                    "bad-query", f"Stripe has more than {MOST_READ} invoices since then: ask for less"
                )
            if len(theirs) % AT_ONCE == 0:
                await services.stripe_pace.turn(found.stripe_account_id)
    named = {owner_of(one).invoice for one in theirs}
    ours = await services.bulkheads.kafka.run(lambda: list(_ours(request, found.id, named, from_s, to_s)))
    differences = compare_invoices(found.id, ours, theirs)
    causes = Counter(one.cause for one in differences)
    return {
        "ok": set(causes) <= EXPLAINED,
        "from": timestamp.text_of(from_s * 1_000),
        "to": timestamp.text_of(to_s * 1_000),
        "appId": found.id,
        "invoices": len(ours),
        "causes": dict(sorted(causes.items())),
        "items": [_item(one) for one in differences],
    }


def _ours(
    request: Request,
    app: str,
    named: Iterable[str],
    from_s: int,
    to_s: int,
) -> Iterable[StoredInvoice]:
    """The invoices of an app that were issued in [from, to), and those that Stripe's name."""
    view, namespace, wanted = bills(request), namespace_of(request), set(named)
    for head in view.invoice_heads(namespace):
        issued_s = head.progress.issued_at_s
        if head.id not in wanted and (issued_s is None or not from_s <= issued_s < to_s):
            continue
        document = view.invoice(namespace, head.id)
        stored = None if document is None else _stored(document.body)
        if stored is not None and stored.content.workflow.apps.invoicing == app:
            yield stored


def _item(one: InvoiceDifference) -> dict[str, Any]:
    return {
        "invoiceId": one.invoice,
        "customerId": one.customer,
        "number": one.number,
        "stripeInvoiceId": one.stripe_id or None,
        "ours": one.ours,
        "stripe": one.stripe,
        "cause": one.cause,
    }
