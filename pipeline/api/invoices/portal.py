"""`/portal/invoices`: a customer's own issued invoices, and what its next ones have on them, for its browser.

Owns: which invoices a portal token opens. Does not own: the token (http.auth), the page (page, pdf), the next invoices
(upcoming).

A token is for one subject; it opens the invoices of the customer whose subject it is now. One that is for some meters
only opens none, since an invoice shows the usage of all of them. Drafts are not shown.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from fastapi import Depends, Request, Response

from pipeline.api.http.auth import PORTAL, needs, principal
from pipeline.api.http.described import HTML, described
from pipeline.api.http.json_response import answer
from pipeline.api.http.paging import PagedInOrder
from pipeline.api.http.paths import Router
from pipeline.api.http.submit import definitions
from pipeline.api.invoices.answers import PortalInvoicePage
from pipeline.api.invoices.invoices import found_invoices, page_json, page_of, part_of, printed_page
from pipeline.api.invoices.lookup import invoice_of, now_s
from pipeline.api.invoices.pdf import OFF, PDF, pdf_response
from pipeline.api.invoices.upcoming import upcoming_json
from pipeline.api.invoices.upcoming_answers import CustomerUpcomingAnswer
from pipeline.core.invoices.invoice_list import InvoiceSelection
from pipeline.core.invoices.status_details import status_of
from pipeline.core.invoices.stored_invoice import StoredInvoice, stored_answer
from pipeline.errors import Rejected

router = Router(prefix="/portal/invoices", tags=["portal"])
TOKEN = [Depends(needs(PORTAL))]
SHOWN: Final = frozenset({"issued", "payment_processing", "overdue", "paid", "uncollectible", "voided"})
MEMBERS: Final = (
    "id",
    "type",
    "number",
    "currency",
    "status",
    "issuedAt",
    "dueAt",
    "period",
    "totals",
    "amountDue",
)


@router.get(
    "", summary="Invoices of a portal token's customer", dependencies=TOKEN,
    **described(answer=PortalInvoicePage),
)  # fmt: skip
def list_portal_invoices(request: Request, page: PagedInOrder) -> Response:
    """One page of the issued invoices, newest first."""
    selection = InvoiceSelection(customers={portal_customer(request)}, statuses=SHOWN)
    found = found_invoices(request, selection, "issuedAt", page._replace(descending=True))
    rows = [portal_row(one) for one in part_of(request, found, page)]
    return answer(page_json(found, page, rows))


@router.get(
    "/{invoiceId}.html", summary="An invoice of a portal token's customer", dependencies=TOKEN,
    **described(answer=str, media_type=HTML),
)  # fmt: skip
def get_portal_page(request: Request, invoiceId: str) -> Response:
    """The page of an issued invoice, as `/billing/invoices/{invoiceId}.html`. 404 for those of other customers."""
    _check_own(request, invoiceId)
    return printed_page(request, invoiceId)


@router.get(
    "/{invoiceId}.pdf", summary="An invoice of a portal token's customer as PDF", dependencies=TOKEN,
    **described(answer=str, media_type=PDF, reasons=[OFF]),
)  # fmt: skip
def get_portal_pdf(request: Request, invoiceId: str) -> Response:
    """An issued invoice, as `/billing/invoices/{invoiceId}.pdf`. 404 for those of other customers."""
    _check_own(request, invoiceId)
    return pdf_response(page_of(request, invoiceId))


@router.get(
    "/upcoming", summary="The next invoices of a portal token's customer", dependencies=TOKEN,
    **described(answer=CustomerUpcomingAnswer),
)  # fmt: skip
def get_portal_upcoming(request: Request) -> Response:
    """As `/customers/{customerIdOrKey}/billing/upcoming`. 404 if the subject of the token belongs to no customer."""
    customer = portal_customer(request)
    if not customer:
        raise Rejected("not-found", "The subject of the portal token belongs to no customer.")
    return answer(upcoming_json(request, customer))


def _check_own(request: Request, id: str) -> None:
    """Raises Rejected `not-found` unless the token opens the invoice."""
    customer, stored = portal_customer(request), invoice_of(request, id)
    if stored.content.customer.id != customer or status_of(stored.progress) not in SHOWN:
        raise Rejected("not-found", f"There is no invoice {id[:64]}.")


def portal_customer(request: Request) -> str:
    """The id of the customer whose subject the token is for; an id that no customer has where there is none."""
    who = principal(request)
    if who.subject is None or who.meters is not None:
        raise Rejected("unauthorized", "The portal token is for the usage of some meters, not for invoices.")
    found = definitions(request).customer_of(who.namespace, who.subject)
    return "" if found is None else found.id


def portal_row(stored: StoredInvoice) -> dict[str, Any]:
    """An invoice as its customer sees it in a list."""
    members = msgspec.to_builtins(stored_answer(stored, now_s()))
    row = {name: members[name] for name in MEMBERS if members.get(name) is not None}
    note = stored.stripe
    links = {} if note is None else {"hostedInvoiceUrl": note.hosted_url, "invoicePdf": note.pdf_url}
    return row | {name: url for name, url in links.items() if url is not None}
