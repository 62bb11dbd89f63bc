"""`/apps/custom-invoicing`: calls of a client's own invoicing system, when it has taken an invoice over.

Owns: the routes. Does not own: what a call does to an invoice (core.invoices.custom_invoicing).
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Body, Depends, Request, Response

from pipeline.api.http.auth import needs
from pipeline.api.http.described import described
from pipeline.api.http.paths import ChangesBills, Router
from pipeline.api.http.submit_billing import submit_billing
from pipeline.api.invoices.bodies import DraftSynchronizedBody, IssuingSynchronizedBody, PaymentStatusBody
from pipeline.api.invoices.lookup import invoice_of

router = Router(prefix="/apps/custom-invoicing/{invoiceId}", tags=["invoices"], route_class=ChangesBills)
WRITE = [Depends(needs("billing:write"))]
REASONS = ["bad-custom-invoicing", "invoice_action_not_available"]
MaybeSent = Annotated[dict[str, Any] | None, Body()]


@router.post(
    "/draft/synchronized",
    status_code=204,
    summary="A draft is synchronized",
    dependencies=WRITE,
    **described(
        DraftSynchronizedBody, status=204, reasons=[*REASONS, "invoice_line_not_found"], optional=True
    ),
)
def draft_synchronized(request: Request, invoiceId: str, synchronized: MaybeSent = None) -> Response:
    """Your system has the draft. 400 if the invoice does not wait for that."""
    return _called(request, "draft-synchronized", invoiceId, synchronized)


@router.post(
    "/issuing/synchronized",
    status_code=204,
    summary="An invoice is issued by your system",
    dependencies=WRITE,
    **described(
        IssuingSynchronizedBody, status=204, reasons=[*REASONS, "invoice_number_is_fixed"], optional=True
    ),
)
def issuing_synchronized(request: Request, invoiceId: str, synchronized: MaybeSent = None) -> Response:
    """400 if the invoice does not wait for that."""
    return _called(request, "issuing-synchronized", invoiceId, synchronized)


@router.post(
    "/payment/status",
    status_code=204,
    summary="A payment has a new status",
    dependencies=WRITE,
    **described(PaymentStatusBody, status=204, reasons=REASONS),
)
def payment_status(request: Request, invoiceId: str, payment: Annotated[dict[str, Any], Body()]) -> Response:
    """The status that it has already is no change. 400 if the state of the invoice has no way for it."""
    return _called(request, "payment-status", invoiceId, payment)


def _called(request: Request, verb: str, id: str, sent: dict[str, Any] | None) -> Response:
    customer_id = invoice_of(request, id).content.customer.id
    submit_billing(request, f"invoice.{verb}", customer_id, {"id": id, "sent": sent or {}})
    return Response(status_code=204)
