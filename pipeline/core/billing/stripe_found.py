"""What Stripe's JSON shows of a customer or an invoice.

Owns: which members are read, whose they are. Does not own: reading the JSON (stores.stripe_invoices, api). Source:
Stripe's API reference, "The Invoice object", "The Customer object".
"""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.core.billing.stripe_request import APP, CUSTOMER, INVOICE, StripeTarget
from pipeline.records import StripeFound

StripeJson = Mapping[str, object]


def found_in(shown: StripeJson) -> StripeFound:
    """An invoice or a customer, as Stripe shows it.

    >>> found_in({"id": "in_1", "status": "draft", "total": 500, "lines": {"data": [{}]}}).items
    1
    >>> found_in({"id": "in_1", "deleted": True}).status
    'deleted'
    """
    lines = shown.get("lines")
    data = lines.get("data") if isinstance(lines, Mapping) else None
    return StripeFound(
        id=_text(shown, "id"),
        status="deleted" if shown.get("deleted") is True else _text(shown, "status"),
        total=_number(shown, "total"),
        items=len(data) if isinstance(data, list) else 0,
        number=_text(shown, "number"),
        hosted_url=_text(shown, "hosted_invoice_url"),
        pdf_url=_text(shown, "invoice_pdf"),
        due_s=_number(shown, "due_date"),
        credited=_number(shown, "post_payment_credit_notes_amount"),
    )


def owner_of(shown: StripeJson) -> StripeTarget:
    """Whose object it is, by the metadata that we gave it; members that it does not have are empty."""
    metadata = shown.get("metadata")
    names: StripeJson = metadata if isinstance(metadata, Mapping) else {}
    return StripeTarget(_text(names, APP), _text(names, CUSTOMER), _text(names, INVOICE))


def _text(shown: StripeJson, name: str) -> str:
    value = shown.get(name)
    return value if isinstance(value, str) else ""


def _number(shown: StripeJson, name: str) -> int:
    value = shown.get(name)
    return value if isinstance(value, int) else 0
