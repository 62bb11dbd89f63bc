"""`/billing/customers/{customerIdOrKey}/invoices`: lines to be billed, and an invoice as it would be.

Owns: the routes. Does not own: which lines may be sent (core.invoices.pending_line), a simulated invoice
(core.invoices.simulation).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

from fastapi import Depends, Request, Response

from pipeline.api.customers.lookup import customer_named
from pipeline.api.http.auth import namespace_of, needs, request_id
from pipeline.api.http.described import described
from pipeline.api.http.json_response import answer
from pipeline.api.http.paths import ChangesBills, Router
from pipeline.api.http.submit import body_of, definitions
from pipeline.api.http.submit_billing import submit_billing
from pipeline.api.invoices.answers import BilledInvoiceAnswer, PendingLinesAnswer
from pipeline.api.invoices.bodies import PendingLinesBody, SimulationBody
from pipeline.api.invoices.changes import SentJson
from pipeline.api.invoices.invoice_json import WITH_LINES, answered_json
from pipeline.api.invoices.lookup import app_of, changed_invoice, shown_invoice
from pipeline.core.catalog.catalog_now import CatalogNow
from pipeline.core.definitions.index import DefinitionIndex
from pipeline.core.invoices.pending_line import PendingContext
from pipeline.core.invoices.profile import BillingProfile
from pipeline.core.invoices.profiles_now import ProfilesNow
from pipeline.core.invoices.simulation import simulate

router = Router(
    prefix="/billing/customers/{customerIdOrKey}/invoices", tags=["invoices"], route_class=ChangesBills
)
READ, WRITE = [Depends(needs("query"))], [Depends(needs("billing:write"))]
LINES = [
    "bad-invoice-line", "bad-currency", "customer_deleted", "invoice_create_no_lines",
    "invoice_too_many_lines",
    "invoice_create_ubp_line_customer_has_no_subjects", "invoice_create_ubp_line_period_is_empty",
    "invoice_line_currency_mismatch", "invoice_line_feature_has_no_meters", "invoice_line_zero_amount_create",
]  # fmt: skip

SPLIT = "invoice_line_graduated_split_not_supported"


@router.post(
    "/pending-lines",
    status_code=201,
    summary="Create pending lines",
    dependencies=WRITE,
    **described(
        PendingLinesBody,
        PendingLinesAnswer,
        status=201,
        reasons=[*LINES, "bad-invoice", "invoice_too_many_lines"],
    ),
)
def create_pending_lines(request: Request, customerIdOrKey: str, lines: SentJson) -> Response:
    """All or none. They wait on the gathering invoice of the customer and currency until they are due."""
    customer = customer_named(request, customerIdOrKey)
    made = body_of(submit_billing(request, "invoice.pending-lines", customer.id, {"sent": lines}))
    ids = made["lines"]
    assert isinstance(ids, list)
    invoice = shown_invoice(request, changed_invoice(request, made["invoice"]))
    by_id = {line["id"]: line for line in invoice.get("lines", ())}
    body = {
        "lines": [by_id[id] for id in ids if id in by_id],
        "invoice": {name: value for name, value in invoice.items() if name != "lines"},
        "isInvoiceNew": made["isInvoiceNew"],
    }
    return answer(body, 201)


@router.post(
    "/simulate",
    summary="Simulate an invoice",
    dependencies=READ,
    **described(SimulationBody, BilledInvoiceAnswer, reasons=[*LINES, "bad-invoice-simulation", SPLIT]),
)
def simulate_invoice(request: Request, customerIdOrKey: str, simulated: SentJson) -> Response:
    """The invoice that the customer would get for lines with quantities that are made up. Nothing is kept."""
    customer, namespace = customer_named(request, customerIdOrKey), namespace_of(request)
    now_ms = time.time_ns() // 1_000_000

    def decided_on(index: DefinitionIndex) -> tuple[BillingProfile, dict[str, bool]]:
        catalog = CatalogNow(index, namespace, now_ms)
        features = {key: catalog.feature(key, None) for key in _feature_keys(simulated)}
        metered = {key: one is not None and catalog.has_meter(one) for key, one in features.items()}
        return ProfilesNow(index, namespace).in_force(customer.id), metered

    profile, has_meter = definitions(request).look_up(decided_on)
    context = PendingContext(customer, "", has_meter, request_id(request), now_ms)
    invoice = simulate(simulated, profile, context)
    return answer(answered_json(invoice, WITH_LINES, lambda id: app_of(request, id)))


def _feature_keys(sent: Mapping[str, Any]) -> Iterator[str]:
    """The features that lines name, in either form; lines of another form are refused later."""
    lines = sent.get("lines")
    for line in lines if isinstance(lines, list) else ():
        card = line.get("rateCard") if isinstance(line, dict) else None
        for part in (line, card):
            key = part.get("featureKey") if isinstance(part, dict) else None
            if isinstance(key, str):
                yield key
