"""`/customers/.../billing/upcoming`: what the next invoices of a customer have on them now, and what is expected.

Owns: the route, the form of its answer. Does not own: forecasts (core.invoices.forecast), the usage on the gathering
invoice (core.bills), the route for portal tokens (portal). It reads nothing but memory.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import msgspec
from fastapi import Depends, Request, Response

from pipeline.api.customers.lookup import customer_named
from pipeline.api.http.auth import namespace_of, needs
from pipeline.api.http.described import described
from pipeline.api.http.json_response import answer
from pipeline.api.http.paths import Router
from pipeline.api.http.submit import definitions
from pipeline.api.http.submit_billing import bills
from pipeline.api.invoices.invoice_json import read_invoice
from pipeline.api.invoices.upcoming_answers import CustomerUpcomingAnswer
from pipeline.core.catalog.feature import Feature
from pipeline.core.definitions.index import DefinitionIndex
from pipeline.core.definitions.kinds import FEATURE_KEY
from pipeline.core.invoices.forecast import UpcomingInvoice, UpcomingLine, upcoming_invoices
from pipeline.core.invoices.line import InvoiceLine
from pipeline.core.invoices.stored_invoice import StoredInvoice
from pipeline.core.metering.meter import Meter
from pipeline.core.values import timestamp
from pipeline.records import BillDocument

router = Router(prefix="/customers/{customerIdOrKey}/billing", tags=["invoices"])
READ = [Depends(needs("query"))]
UpcomingJson = dict[str, Any]


@router.get(
    "/upcoming", summary="A customer's next invoices", dependencies=READ,
    **described(answer=CustomerUpcomingAnswer),
)  # fmt: skip
def get_upcoming(request: Request, customerIdOrKey: str) -> Response:
    """What waits to be invoiced: with the usage until now, and as it will be if usage continues.

    One item for each currency and instant at which lines are invoiced. `totals` are exact for the usage that has
    arrived; the usage on a line is a few seconds old. `forecast` is an estimate. Nothing is changed or promised: lines
    can be added or removed, and prices of a subscription can change until then.
    """
    return answer(upcoming_json(request, customer_named(request, customerIdOrKey).id))


def upcoming_json(request: Request, customer: str) -> UpcomingJson:
    """The next invoices of a customer (id) now."""
    now_ms = time.time_ns() // 1_000_000
    items = [
        _shown(found, document)
        for document, stored in _gathering(request, customer)
        for found in upcoming_invoices(stored, _aggregations(request, stored), now_ms)
    ]
    items.sort(key=lambda one: (one["currency"], one["collectionAt"], one["invoice"]["id"]))
    return {"customer": {"id": customer}, "asOf": timestamp.text_of(now_ms), "items": items}


def _gathering(request: Request, customer: str) -> Iterator[tuple[BillDocument, StoredInvoice]]:
    view, namespace = bills(request), namespace_of(request)
    for head in view.invoice_heads_of(namespace, customer):
        document = view.invoice(namespace, head.id) if head.progress.state == "gathering" else None
        if document is not None:
            yield document, read_invoice(document.body)


def _aggregations(request: Request, stored: StoredInvoice) -> dict[str, str]:
    """The aggregation of each feature on the lines, by its key."""
    namespace = namespace_of(request)
    keys = {line.rate_card.feature_key for line in stored.content.lines} - {None}

    def look(index: DefinitionIndex) -> dict[str, str]:
        found = {key: _aggregation(index, namespace, key) for key in keys if key is not None}
        return {key: aggregation for key, aggregation in found.items() if aggregation is not None}

    return definitions(request).look_up(look)


def _aggregation(index: DefinitionIndex, namespace: str, key: str) -> str | None:
    id = index.one(namespace, FEATURE_KEY, key)
    feature = None if id is None else index.find(Feature, namespace, id)
    if feature is None or feature.meter_slug is None or feature.meter_aggregation is not None:
        return None if feature is None else feature.meter_aggregation
    meter = index.find(Meter, namespace, feature.meter_slug)
    return None if meter is None else meter.aggregation


def _shown(found: UpcomingInvoice, document: BillDocument) -> UpcomingJson:
    return {
        "invoice": {"id": found.gathering_id},
        "currency": found.currency,
        "collectionAt": timestamp.text_of(found.collection_at_s * 1000),
        "updatedAt": timestamp.text_of(document.at_ms),
        "totals": msgspec.to_builtins(found.totals),
        "forecast": {"totals": msgspec.to_builtins(found.forecast)},
        "lines": [_line(one) for one in found.lines],
    }


def _line(one: UpcomingLine) -> UpcomingJson:
    line = one.now
    shown = {
        "id": line.id,
        "name": line.name,
        "period": msgspec.to_builtins(line.period),
        "invoiceAt": line.invoice_at,
        "forecast": {"extrapolated": one.is_extrapolated, **_amounts(one.forecast)},
        **_amounts(line),
    }
    if line.rate_card.feature_key is not None:
        shown["featureKey"] = line.rate_card.feature_key
    return shown


def _amounts(line: InvoiceLine) -> UpcomingJson:
    totals = {"totals": msgspec.to_builtins(line.totals)}
    return totals if line.quantity is None else totals | {"quantity": line.quantity}
