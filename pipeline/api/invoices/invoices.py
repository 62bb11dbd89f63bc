"""`/billing/invoices`: reading invoices as JSON, as a page, as PDF and as a file of lines.

Owns: the parameters of these requests. Does not own: what a list selects (core.invoices.invoice_list), forms
(invoice_json, page, pdf, line_export), changes (changes).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any

from fastapi import Depends, Query, Request, Response

from pipeline.api.http.accept import preferred
from pipeline.api.http.auth import namespace_of, needs
from pipeline.api.http.described import HTML, described
from pipeline.api.http.json_response import answer
from pipeline.api.http.paging import Page, Paged, Several, split
from pipeline.api.http.paths import Router
from pipeline.api.http.services import services_of
from pipeline.api.http.submit_billing import bills
from pipeline.api.invoices.answers import BilledInvoiceAnswer, BilledInvoicePage
from pipeline.api.invoices.invoice_json import PARTS, WITH_LINES, InvoicePart
from pipeline.api.invoices.line_answers import InvoiceLineRowAnswer
from pipeline.api.invoices.line_export import CSV, FORMS, lines_csv, lines_json
from pipeline.api.invoices.lookup import (
    changed_invoice,
    credit_notes_of,
    invoice_of,
    numbers_of,
    shown_invoice,
)
from pipeline.api.invoices.page import page_response
from pipeline.api.invoices.pdf import OFF, PDF, pdf_response
from pipeline.core.invoices.credit_note import credited_total, original_id
from pipeline.core.invoices.invoice_list import (
    INVOICE_ORDERS,
    Between,
    InvoiceHead,
    InvoiceSelection,
    listed_invoices,
)
from pipeline.core.invoices.line_rows import line_rows
from pipeline.core.invoices.printed_invoice import PrintedInvoice, corrected_invoices, printed_invoice
from pipeline.core.invoices.state_table import STATES, short_status
from pipeline.core.invoices.stored_invoice import StoredInvoice
from pipeline.core.values.user_time import instant_ns
from pipeline.errors import Rejected

router = Router(prefix="/billing/invoices", tags=["invoices"])
READ = [Depends(needs("query"))]
STATUSES = tuple(dict.fromkeys(map(short_status, STATES)))
IncludedInstant = Annotated[str | None, Query(description="RFC 3339 or a date; it is included")]
InvoiceParts = Annotated[list[str] | None, Query(description=f"{', '.join(PARTS)}; can be repeated")]
InvoiceOrderBy = Annotated[str | None, Query(description=", ".join(INVOICE_ORDERS))]


@router.get(
    "",
    summary="Invoices",
    dependencies=READ,
    **described(answer=BilledInvoicePage, reasons=["bad-query"]),
)
def list_invoices(
    request: Request,
    page: Paged,
    customers: Several = None,
    statuses: Several = None,
    extendedStatuses: Several = None,
    issuedAfter: IncludedInstant = None,
    issuedBefore: IncludedInstant = None,
    periodStartAfter: IncludedInstant = None,
    periodStartBefore: IncludedInstant = None,
    createdAfter: IncludedInstant = None,
    createdBefore: IncludedInstant = None,
    includeDeleted: bool = False,
    expand: InvoiceParts = None,
    orderBy: InvoiceOrderBy = None,
) -> Response:
    """One page, oldest first, with gathering invoices. `customers` are ids. Lines only where `expand` names them."""
    selection = InvoiceSelection(
        customers=split(customers),
        statuses=one_of("statuses", statuses, STATUSES),
        extended_statuses=one_of("extendedStatuses", extendedStatuses, STATES),
        issued=_between("issued", issuedAfter, issuedBefore),
        period_start=_between("periodStart", periodStartAfter, periodStartBefore),
        created=_between("created", createdAfter, createdBefore),
        include_deleted=includeDeleted,
    )
    parts = expanded(expand, ())
    found = found_invoices(request, selection, orderBy, page)
    rows = [shown_invoice(request, one, parts) for one in part_of(request, found, page)]
    return answer(page_json(found, page, rows))


@router.get(
    "/{invoiceId}.html",
    summary="An invoice as a page",
    dependencies=READ,
    **described(answer=str, media_type=HTML),
)
def get_page(request: Request, invoiceId: str) -> Response:
    """A page that a browser shows and prints on A4; it has no script and loads nothing.

    Its dates are in the time zone of the billing profile that the invoice was created with.
    """
    return printed_page(request, invoiceId)


@router.get(
    "/{invoiceId}.pdf",
    summary="An invoice as PDF",
    dependencies=READ,
    **described(answer=str, media_type=PDF, reasons=[OFF]),
)
def get_pdf(request: Request, invoiceId: str) -> Response:
    """Its page as a file. 501 where the API runs without the library for it: `pip install 'tallymark[pdf]'`."""
    return pdf_response(page_of(request, invoiceId))


@router.get(
    "/{invoiceId}/lines",
    summary="The lines of an invoice as a file",
    dependencies=READ,
    **described(answer=list[InvoiceLineRowAnswer], csv=True),
)
def get_lines(request: Request, invoiceId: str) -> Response:
    """One row for each component of a line, such as a tier; their totals add up to that of the invoice.

    `Accept: text/csv` gives CSV.
    """
    stored = invoice_of(request, invoiceId)
    rows = line_rows(stored)
    form = preferred(", ".join(request.headers.getlist("accept")), FORMS)
    name = stored.progress.number or stored.content.number
    return lines_csv(rows, name) if form == CSV else lines_json(rows)


@router.get(
    "/{invoiceId}",
    summary="One invoice",
    dependencies=READ,
    **described(answer=BilledInvoiceAnswer, reasons=["bad-query"]),
)
def get_invoice(
    request: Request, invoiceId: str, expand: InvoiceParts = None, includeDeletedLines: bool = False
) -> Response:
    """With its lines, unless `expand` names other parts."""
    parts, stored = expanded(expand, WITH_LINES), invoice_of(request, invoiceId)
    found = shown_invoice(request, stored, parts, includeDeletedLines)
    notes = credit_notes_of(request, stored.content.customer.id)
    if named := [_named_note(one) for one in notes if original_id(one.content) == invoiceId]:
        found["creditNotes"] = named
    return answer(found)


def _named_note(note: StoredInvoice) -> dict[str, str]:
    """A credit note as its invoice names it."""
    number, total = note.progress.number, credited_total(note.content)
    named = {"id": note.content.id, "total": total}
    return named if number is None else named | {"number": number}


def printed_page(request: Request, id: str) -> Response:
    """The page of an invoice."""
    return page_response(page_of(request, id))


def page_of(request: Request, id: str) -> PrintedInvoice:
    """The texts of the page of an invoice. Raises Rejected `not-found`."""
    stored = invoice_of(request, id)
    numbers = numbers_of(request, corrected_invoices(stored.content))
    root = services_of(request).invoice_roots.of(namespace_of(request), stored.content.id)
    return printed_invoice(stored, numbers, None if root is None else root.root)


def found_invoices(
    request: Request, selection: InvoiceSelection, by: str | None, page: Page
) -> list[InvoiceHead]:
    """All invoices of a list, in its order. Raises Rejected `bad-query` for another order."""
    order = next((one for one in INVOICE_ORDERS if one == (by or INVOICE_ORDERS[0])), None)
    if order is None:
        raise Rejected("bad-query", f"orderBy must be one of {' '.join(INVOICE_ORDERS)}")
    view, namespace = bills(request), namespace_of(request)
    if selection.customers:
        heads = [one for id in sorted(selection.customers) for one in view.invoice_heads_of(namespace, id)]
    else:
        heads = view.invoice_heads(namespace)
    return listed_invoices(heads, selection, order, page.descending)


def part_of(request: Request, found: Sequence[InvoiceHead], page: Page) -> list[StoredInvoice]:
    """Those of one page, as they are now."""
    begin = (page.number - 1) * page.size
    return [changed_invoice(request, one.id) for one in found[begin : begin + page.size]]


def page_json(found: Sequence[InvoiceHead], page: Page, items: list[dict[str, Any]]) -> dict[str, Any]:
    """One page, whose items are made already."""
    return {"totalCount": len(found), "page": page.number, "pageSize": page.size, "items": items}


def expanded(sent: list[str] | None, usual: tuple[InvoicePart, ...]) -> tuple[InvoicePart, ...]:
    """The parts that a request names; without any the usual ones. Raises Rejected `bad-query`."""
    named = one_of("expand", sent, PARTS)
    return tuple(part for part in PARTS if part in named) if sent is not None else usual


def one_of(name: str, sent: list[str] | None, allowed: Iterable[str]) -> set[str]:
    """The values of a parameter. Raises Rejected `bad-query` for one that is not allowed."""
    known = tuple(allowed)
    values = split(sent)
    if unknown := sorted(values.difference(known)):
        raise Rejected("bad-query", f"{name} must be one of {' '.join(known)}, not {unknown[0][:64]}")
    return values


def _between(name: str, after: str | None, before: str | None) -> Between:
    return Between(instant_ns(f"{name}After", after), instant_ns(f"{name}Before", before))
