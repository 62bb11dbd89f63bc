"""The invoice, the customer and the apps that a request names.

Owns: finding them in the namespace of the request, 404 for what it does not have, the JSON answers of invoices. Does
not own: their forms (invoice_json), the views (stores.kafka).
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping

from fastapi import Request

from pipeline.api.http.auth import namespace_of
from pipeline.api.http.submit import definitions
from pipeline.api.http.submit_billing import bills
from pipeline.api.invoices.invoice_json import (
    WITH_LINES,
    InvoiceJson,
    InvoicePart,
    invoice_json,
    read_invoice,
)
from pipeline.core.billing.apps_now import AppsNow
from pipeline.core.invoices.stored_invoice import StoredInvoice
from pipeline.errors import Broken, Rejected


def now_s() -> int:
    """Seconds since 1970."""
    return time.time_ns() // 1_000_000_000


def invoice_of(request: Request, id: str) -> StoredInvoice:
    """An invoice of the request's namespace, deleted ones too. Raises Rejected `not-found`."""
    found = bills(request).invoice(namespace_of(request), id)
    if found is None:
        raise Rejected("not-found", f"There is no invoice {id[:64]}.")
    return read_invoice(found.body)


def changed_invoice(request: Request, id: object) -> StoredInvoice:
    """An invoice that a reply or a list names. Raises Broken if there is none."""
    found = bills(request).invoice(namespace_of(request), str(id))
    if found is None:
        raise Broken(f"A reply or a list names the invoice {id}, which does not exist.")
    return read_invoice(found.body)


def credit_notes_of(request: Request, customer: str | None = None) -> list[StoredInvoice]:
    """The credit notes of the request's namespace, oldest first. customer: id; None: of all."""
    view, namespace = bills(request), namespace_of(request)
    heads = view.invoice_heads(namespace) if customer is None else view.invoice_heads_of(namespace, customer)
    ids = sorted(one.id for one in heads if one.content.type == "credit_note")
    return [changed_invoice(request, id) for id in ids]


def shown_invoice(
    request: Request,
    stored: StoredInvoice,
    expand: Collection[InvoicePart] = WITH_LINES,
    deleted_lines: bool = False,
) -> InvoiceJson:
    """The JSON of an invoice now."""
    return invoice_json(stored, now_s(), expand, lambda id: app_of(request, id), deleted_lines)


def app_of(request: Request, id: str) -> InvoiceJson:
    """The JSON of an app, an uninstalled one too."""
    namespace = namespace_of(request)
    found = definitions(request).look_up(lambda index: AppsNow(index, namespace).find(id))
    if found is None:
        raise Broken(f"An invoice has the app {id}, which does not exist.")
    return dict(found.shown)


def numbers_of(request: Request, ids: Collection[str]) -> Mapping[str, str]:
    """The numbers of those invoices that have one, by id."""
    view, namespace = bills(request), namespace_of(request)
    documents = ((id, view.invoice(namespace, id)) for id in ids)
    stored = ((id, read_invoice(one.body)) for id, one in documents if one is not None)
    return {id: one.progress.number for id, one in stored if one.progress.number is not None}
