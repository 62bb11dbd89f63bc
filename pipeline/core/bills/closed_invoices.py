"""Invoices that are final, as rows: their state, and nothing of what they bill.

Owns: keys and bytes of these rows, what is kept of an invoice. Does not own: when one is closed (customer_invoices),
its document, which stays on `invoices` as it was published.

    f<customer><id>         ClosedInvoice
    e<customer><hash>       InvoiceSettings, which the invoices of a customer share; the hash is that of its bytes

A command or a number that comes for a closed invoice finds its state, and is refused as for any other one. Corrections
need the groups of its lines (group_rows), which are kept for as long as usage is.
"""

from __future__ import annotations

from base64 import b64encode
from hashlib import blake2b
from typing import Final

import msgspec

from pipeline.core.invoices.invoice import InvoiceContent, InvoiceCustomer, InvoiceWorkflow
from pipeline.core.invoices.numbering import NumberedKind
from pipeline.core.invoices.payment_fact import PaymentFact
from pipeline.core.invoices.profile import Supplier
from pipeline.core.invoices.progress import DraftTerms, InvoiceProgress
from pipeline.core.invoices.state_table import Effect, InvoiceState
from pipeline.core.invoices.stored_invoice import StoredInvoice
from pipeline.core.invoices.totals import InvoiceTotals
from pipeline.core.values import timestamp
from pipeline.core.values.cached_rows import encode_json, json_rows
from pipeline.core.values.table import ScannedBytes
from pipeline.errors import Broken

CLOSED, SETTINGS = b"f", b"e"
_NAME_BYTES: Final = 9


class InvoiceSettings(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What the invoices of a customer have in common. terms: with no instants."""

    supplier: Supplier
    customer: InvoiceCustomer
    workflow: InvoiceWorkflow
    terms: DraftTerms


class ClosedInvoice(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What is kept of an invoice: members of its content, of its progress and of the terms of that."""

    settings: str
    type: NumberedKind
    draft: str
    currency: str
    created_ms: int
    updated_ms: int
    state: InvoiceState
    sequence: int
    entered_at_s: int
    collection_at_s: int
    draft_until_s: int | None
    number: str | None
    issued_at_s: int | None
    dunning_made: int = 0
    approved: bool = False
    number_requested: bool = False
    was_overdue: bool = False
    waiting: tuple[Effect, ...] = ()
    paid_by: PaymentFact | None = None
    held: PaymentFact | None = None


class ClosedInvoices:
    """The closed invoices of a partition within a chunk."""

    def __init__(self, table: ScannedBytes) -> None:
        self._invoices = json_rows(table, ClosedInvoice)
        self._settings = json_rows(table, InvoiceSettings)

    def get(self, customer: bytes, id: str) -> StoredInvoice | None:
        """A closed invoice, without lines and amounts; None: it is not closed. customer: `customer_key`."""
        row = self._invoices.get(CLOSED + customer + id.encode())
        if row is None:
            return None
        settings = self._settings.get(SETTINGS + customer + row.settings.encode())
        if settings is None:
            raise Broken(f"The settings of the invoice {id} are missing.")
        content = InvoiceContent(
            id=id,
            type=row.type,
            number=row.draft,
            currency=row.currency,
            supplier=settings.supplier,
            customer=settings.customer,
            totals=InvoiceTotals(),
            workflow=settings.workflow,
            created_at=timestamp.text_of(row.created_ms),
            updated_at=timestamp.text_of(row.updated_ms),
        )
        progress = InvoiceProgress(
            invoice_id=id,
            state=row.state,
            sequence=row.sequence,
            entered_at_s=row.entered_at_s,
            terms=_terms(settings.terms, row.collection_at_s, row.draft_until_s),
            waiting=row.waiting,
            approved=row.approved,
            number_requested=row.number_requested,
            number=row.number,
            issued_at_s=row.issued_at_s,
            was_overdue=row.was_overdue,
            paid_by=row.paid_by,
            held=row.held,
        )
        return StoredInvoice(content=content, progress=progress, dunning_made=row.dunning_made)

    def put(self, customer: bytes, stored: StoredInvoice) -> None:
        """Close an invoice. customer: `customer_key`."""
        content, progress = stored.content, stored.progress
        settings = InvoiceSettings(
            content.supplier, content.customer, content.workflow, _terms(progress.terms, 0, None)
        )
        row = ClosedInvoice(
            self._name(customer, settings),
            content.type,
            content.number,
            content.currency,
            timestamp.ms_of(content.created_at),
            timestamp.ms_of(content.updated_at),
            progress.state,
            progress.sequence,
            progress.entered_at_s,
            progress.terms.collection_at_s,
            progress.terms.draft_until_s,
            progress.number,
            progress.issued_at_s,
            stored.dunning_made,
            progress.approved,
            progress.number_requested,
            progress.was_overdue,
            progress.waiting,
            progress.paid_by,
            progress.held,
        )
        self._invoices.put(CLOSED + customer + content.id.encode(), row)

    def _name(self, customer: bytes, settings: InvoiceSettings) -> str:
        name = b64encode(blake2b(encode_json(settings), digest_size=_NAME_BYTES).digest()).decode()
        key = SETTINGS + customer + name.encode()
        known = self._settings.get(key)
        if known is None:
            self._settings.put(key, settings)
        elif known != settings:
            raise Broken(f"Two settings of invoices have the name {name}.")
        return name

    def flush(self) -> None:
        """Write what has changed to the table."""
        self._invoices.flush()
        self._settings.flush()


def _terms(terms: DraftTerms, collection_at_s: int, draft_until_s: int | None) -> DraftTerms:
    changed: DraftTerms = msgspec.structs.replace(
        terms, collection_at_s=collection_at_s, draft_until_s=draft_until_s
    )
    return changed
