"""`/billing/invoices`: what clients do with invoices, as commands that the billing stage decides.

Owns: the routes. Does not own: the rules and codes (core.invoices, core.bills), reading (invoices), pending lines
(pending_lines).
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Body, Depends, Request, Response

from pipeline.api.customers.lookup import customer_named
from pipeline.api.http.auth import needs
from pipeline.api.http.described import described
from pipeline.api.http.json_response import answer
from pipeline.api.http.paths import ChangesBills, Router
from pipeline.api.http.submit import body_of
from pipeline.api.http.submit_billing import submit_billing
from pipeline.api.invoices.answers import BilledInvoiceAnswer
from pipeline.api.invoices.bodies import InvoiceNowBody, InvoiceUpdateBody, VoidInvoiceBody
from pipeline.api.invoices.lookup import changed_invoice, invoice_of, shown_invoice
from pipeline.errors import Rejected

router = Router(prefix="/billing/invoices", tags=["invoices"], route_class=ChangesBills)
WRITE = [Depends(needs("billing:write"))]
SentJson = Annotated[dict[str, Any], Body()]
UNAVAILABLE = "invoice_action_not_available"
UPDATE = [
    "bad-invoice", "bad-invoice-line", "bad-billing-profile", "invoice_cannot_be_edited", "invoice_line_not_found",
    "invoice_line_sent_twice", "invoice_line_delete_invalid_status", "invoice_line_zero_amount_delete_instead",
    "invoice_line_no_period_change_for_split_line", "invoice_line_no_period_change_for_subscription_managed_line",
    "invoice_line_progressive_billing_usage_discount_update_forbidden", "invoice_line_currency_mismatch",
    "invoice_line_feature_has_no_meters", "invoice_line_zero_amount_create",
    "invoice_create_ubp_line_customer_has_no_subjects", "invoice_create_ubp_line_period_is_empty", "customer_deleted",
    "invoice_line_sells_credits",
]  # fmt: skip
NOW = [
    "not-found", "bad-invoice", "invoice_lines_not_billable", "invoice_as_of_in_future",
    "invoice_progressive_billing_not_supported", "invoice_total_below_zero",
]  # fmt: skip
VOID = [
    UNAVAILABLE, "bad-void-invoice", "invoice_line_not_found", "invoice_void_exceeds_line",
    "invoice_void_without_effect", "invoice_void_share_not_supported", "invoice_has_returned_credits",
    "invoice_has_credit_note",
    "invoice_line_not_billable_again",
]  # fmt: skip


def _changed(*reasons: str) -> dict[str, Any]:
    return described(answer=BilledInvoiceAnswer, reasons=reasons)


@router.post(
    "/invoice",
    status_code=201,
    summary="Invoice pending lines now",
    dependencies=WRITE,
    **described(InvoiceNowBody, list[BilledInvoiceAnswer], status=201, reasons=NOW),
)
def invoice_now(request: Request, asked: SentJson) -> Response:
    """Lines that are due by `asOf` go to a new invoice, one for each currency. 400 if there is none.

    The collection alignment of the profile does not matter. Lines by usage whose period runs are billed up to now where
    progressive billing is on.
    """
    named = asked.get("customerId")
    if not isinstance(named, str):
        raise Rejected("bad-invoice", "invoice customerId is required: the id or key of a customer")
    customer = customer_named(request, named)
    created = body_of(submit_billing(request, "invoice.now", customer.id, {"sent": asked}))["created"]
    assert isinstance(created, list)
    return answer([shown_invoice(request, changed_invoice(request, id)) for id in created], 201)


@router.put(
    "/{invoiceId}",
    summary="Change an invoice",
    dependencies=WRITE,
    **described(InvoiceUpdateBody, BilledInvoiceAnswer, reasons=UPDATE),
)
def update_invoice(request: Request, invoiceId: str, changed: SentJson) -> Response:
    """A draft or a gathering invoice. A line without `id` is new, one that is not sent is deleted.

    A line of a subscription that is changed stays as it is sent, whatever its subscription does.
    """
    return _act(request, "update", invoiceId, changed)


@router.delete(
    "/{invoiceId}",
    status_code=204,
    summary="Delete an invoice",
    dependencies=WRITE,
    **described(
        status=204,
        reasons=[
            UNAVAILABLE,
            "invoice_cannot_delete_gathering",
            "invoice_has_returned_credits",
            "invoice_has_credit_note",
        ],
    ),
)
def delete_invoice(request: Request, invoiceId: str) -> Response:
    """One that has no number of its series yet. An issued invoice can be voided instead."""
    _submit(request, "delete", invoiceId, {})
    return Response(status_code=204)


@router.post(
    "/{invoiceId}/advance",
    summary="Advance an invoice",
    dependencies=WRITE,
    **_changed("invoice_cannot_advance"),
)
def advance_invoice(request: Request, invoiceId: str) -> Response:
    """As far as it can go now, which it also does by itself."""
    return _act(request, "advance", invoiceId)


@router.post(
    "/{invoiceId}/approve", summary="Approve an invoice", dependencies=WRITE, **_changed(UNAVAILABLE)
)
def approve_invoice(request: Request, invoiceId: str) -> Response:
    """It is issued now, and its draft period ends."""
    return _act(request, "approve", invoiceId)


@router.post("/{invoiceId}/retry", summary="Retry a failed step", dependencies=WRITE, **_changed(UNAVAILABLE))
def retry_invoice(request: Request, invoiceId: str) -> Response:
    """Of an invoice whose `statusDetails.failed` is true, or that is invalid."""
    return _act(request, "retry", invoiceId)


@router.post(
    "/{invoiceId}/snapshot-quantities",
    summary="Collect the usage of an invoice now",
    dependencies=WRITE,
    **_changed(UNAVAILABLE),
)
def snapshot_quantities(request: Request, invoiceId: str) -> Response:
    """It does not wait for `collectionAt`. Usage that comes later is billed by a correction."""
    return _act(request, "snapshot", invoiceId)


@router.post(
    "/{invoiceId}/taxes/recalculate",
    summary="Compute the taxes of an invoice again",
    dependencies=WRITE,
    **_changed("invoice_cannot_be_edited"),
)
def recalculate_tax(request: Request, invoiceId: str) -> Response:
    """Of a draft, from the tax configuration that it has. OpenMeter answers 501."""
    return _act(request, "recalculate-tax", invoiceId)


@router.post(
    "/{invoiceId}/void",
    summary="Void an invoice",
    dependencies=WRITE,
    **described(VoidInvoiceBody, BilledInvoiceAnswer, reasons=VOID),
)
def void_invoice(request: Request, invoiceId: str, voided: SentJson) -> Response:
    """Takes an issued invoice back; its number stays used. `pending` lines are billed again, `discard` ones are not.

    OpenMeter answers 501.
    """
    return _act(request, "void", invoiceId, voided)


def _act(request: Request, verb: str, id: str, sent: dict[str, Any] | None = None) -> Response:
    _submit(request, verb, id, sent)
    return answer(shown_invoice(request, changed_invoice(request, id)))


def _submit(request: Request, verb: str, id: str, sent: dict[str, Any] | None = None) -> None:
    customer_id = invoice_of(request, id).content.customer.id
    asked = {"id": id, "sent": sent or {}}
    submit_billing(request, f"invoice.{verb}", customer_id, asked)
