"""The callbacks of a client's own invoicing system: their bodies.

Owns: reading them. Does not own: what they do (invoices.custom_invoicing), routes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from pipeline.core.definitions.body import BodyReader
from pipeline.core.invoices import custom_invoicing
from pipeline.core.invoices.custom_invoicing import CUSTOM_TRIGGERS, CalledBack, SyncedIds
from pipeline.core.invoices.stored_invoice import StoredInvoice
from pipeline.core.values import timestamp

KIND: Final = "custom-invoicing"
MOST_IDS: Final = 10_000

Callback = Callable[[StoredInvoice, Mapping[str, object], int], CalledBack]


def draft_synchronized(stored: StoredInvoice, body: Mapping[str, object], now_ms: int) -> CalledBack:
    """The client has taken a draft over. Raises Rejected."""
    sent = BodyReader(KIND, body, ("invoicing",))
    members = ("invoiceNumber", "externalId", "lineExternalIds", "lineDiscountExternalIds")
    parts = BodyReader(KIND, sent.nested("invoicing") or {}, members, inside="invoicing")
    ids = SyncedIds(
        invoice=parts.text("externalId", 256),
        lines=_ids(parts, "lineExternalIds", "lineId"),
        discounts=_ids(parts, "lineDiscountExternalIds", "lineDiscountId"),
    )
    number = parts.text("invoiceNumber", 256)
    return custom_invoicing.draft_synchronized(stored.progress, stored.content, number, ids, now_ms // 1000)


def issuing_synchronized(stored: StoredInvoice, body: Mapping[str, object], now_ms: int) -> CalledBack:
    """The client has issued an invoice. Raises Rejected."""
    sent = BodyReader(KIND, body, ("invoicing", "payment"))
    parts = BodyReader(
        KIND, sent.nested("invoicing") or {}, ("invoiceNumber", "sentToCustomerAt"), inside="invoicing"
    )
    paid = BodyReader(KIND, sent.nested("payment") or {}, ("externalId",), inside="payment")
    sent_ms = parts.instant_ms("sentToCustomerAt")
    return custom_invoicing.issuing_synchronized(
        stored.progress,
        stored.content,
        parts.text("invoiceNumber", 256),
        None if sent_ms is None else timestamp.text_of(sent_ms),
        paid.text("externalId", 256),
        now_ms // 1000,
    )


def payment_status(stored: StoredInvoice, body: Mapping[str, object], now_ms: int) -> CalledBack:
    """The client reports a payment. Raises Rejected."""
    sent = BodyReader(KIND, body, ("trigger",))
    trigger = sent.one_of("trigger", CUSTOM_TRIGGERS)
    if trigger is None:
        sent.refuse(f"{sent.kind} trigger is required")
    return CalledBack(custom_invoicing.payment_status(stored.progress, trigger, now_ms), stored.content)


def _ids(parts: BodyReader, member: str, name: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for place, one in enumerate(parts.objects(member, 0, MOST_IDS) or []):
        reader = BodyReader(KIND, one, (name, "externalId"), inside=f"invoicing {member}[{place}]")
        found[reader.required(name, 64)] = reader.required("externalId", 256)
    return found
