"""`/api/v3/openmeter/credit-notes`: reading credit notes as JSON and as pages.

Owns: the routes. Does not own: when one is made (core.bills.credit_notes), forms (credit_note_json, page).
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Query, Request, Response

from pipeline.api.credits.credit_json import listed
from pipeline.api.credits.credit_note_answers import CreditNoteAnswer, CreditNoteList
from pipeline.api.credits.credit_note_json import credit_note_json
from pipeline.api.credits.credits import CreditPageNumber, CreditPageSize
from pipeline.api.http.auth import namespace_of, needs
from pipeline.api.http.described import HTML, described
from pipeline.api.http.json_response import answer
from pipeline.api.http.paths import Router
from pipeline.api.http.submit_billing import bills
from pipeline.api.invoices.invoice_json import read_invoice
from pipeline.api.invoices.invoices import printed_page
from pipeline.api.invoices.lookup import credit_notes_of
from pipeline.core.invoices.credit_note import original_id
from pipeline.core.invoices.stored_invoice import StoredInvoice
from pipeline.errors import Rejected

router = Router(prefix="/credit-notes", tags=["invoices"])
READ = [Depends(needs("query"))]


@router.get(
    "",
    summary="Credit notes",
    dependencies=READ,
    **described(answer=CreditNoteList, reasons=["bad-query"]),
)
def list_credit_notes(
    request: Request,
    number: CreditPageNumber = 1,
    size: CreditPageSize = 100,
    customer: Annotated[
        str | None, Query(alias="filter[customer_id]", description="absent: of all customers")
    ] = None,
    invoice: Annotated[
        str | None, Query(alias="filter[invoice_id]", description="only those that correct this invoice")
    ] = None,
) -> Response:
    """One page, oldest first. A correction below 0 becomes one if no invoice follows that can be lower by it."""
    notes = credit_notes_of(request, customer)
    kept = [one for one in notes if invoice in (None, original_id(one.content))]
    return answer(listed([credit_note_json(one) for one in kept], number, size))


@router.get(
    "/{creditNoteId}.html",
    summary="A credit note as a page",
    dependencies=READ,
    **described(answer=str, media_type=HTML, reasons=["not-found"]),
)
def get_credit_note_page(request: Request, creditNoteId: str) -> Response:
    """A page that a browser shows and prints on A4; it has no script and loads nothing."""
    _note(request, creditNoteId)
    return printed_page(request, creditNoteId)


@router.get(
    "/{creditNoteId}",
    summary="One credit note",
    dependencies=READ,
    **described(answer=CreditNoteAnswer, reasons=["not-found"]),
)
def get_credit_note(request: Request, creditNoteId: str) -> Response:
    """With its lines, each with the line of the invoice that it corrects."""
    return answer(credit_note_json(_note(request, creditNoteId)))


def _note(request: Request, id: str) -> StoredInvoice:
    document = bills(request).invoice(namespace_of(request), id)
    found = None if document is None else read_invoice(document.body)
    if found is None or found.content.type != "credit_note":
        raise Rejected("not-found", f"There is no credit note {id[:64]}.")
    return found
