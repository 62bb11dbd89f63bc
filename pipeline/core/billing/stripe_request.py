"""The calls that bring an invoice to Stripe: what each sends, and under which idempotency key.

Owns: names of calls, parameters, keys. Does not own: when a call is made (stripe_invoice), making it
(stores.stripe_invoices). Source: Stripe's API reference, "Create a customer", "Create an invoice", "Bulk add invoice
line items", "Finalize an invoice", "Pay an invoice", "Void an invoice", "Idempotent requests".

A key is a pure function of what is sent: a repeat has the same key and the same bytes, and no key ever has two bodies.

A customer is created with our ids alone, so that its key belongs to the app and the customer, be it an order or
a checkout session that is the first to create it. What else is known of it follows by a call that changes it
(`details_of`), which may be repeated.
"""

from __future__ import annotations

from base64 import b32encode
from collections.abc import Mapping
from hashlib import blake2b
from typing import Final, Literal, NamedTuple

import msgspec

from pipeline.core.customers.customer import BillingAddress
from pipeline.records import StripeItem, StripeOrder

CallName = Literal["customer", "create", "lines", "finalize", "pay", "void", "delete"]
CallParams = dict[str, object]
INVOICE, APP, CUSTOMER, LINE, KIND = (
    "tm_invoice_id", "tm_app_id", "tm_customer_id", "tm_line_id", "tm_line_type",
)  # fmt: skip
_HASH_BYTES: Final = 10


class StripeTarget(NamedTuple):
    """Whose invoice a call is about. Ids are ours, but for `stripe_customer` and `stripe_invoice`."""

    app: str
    customer: str
    invoice: str
    stripe_customer: str = ""
    stripe_invoice: str = ""


def params_of(call: CallName, target: StripeTarget, order: StripeOrder) -> CallParams:
    """The parameters of a call, as the official client takes them."""
    match call:
        case "customer":
            return {"metadata": {CUSTOMER: target.customer, APP: target.app}}
        case "create":
            return _create(target, order)
        case "lines":
            return {"lines": [_line(item) for item in order.items]}
        case "finalize":
            return {"auto_advance": True}
        case "pay" | "void" | "delete":
            return {}


def details_of(order: StripeOrder) -> CallParams:
    """What a customer has beside our ids; empty: nothing is known."""
    members = {"name": order.name, "email": order.email, "address": order.address}
    return {name: value for name, value in members.items() if value}


def details_key(target: StripeTarget, details: CallParams) -> str:
    """The idempotency key of the call that gives a customer its details."""
    return f"tm-cus-{target.app}-{target.customer}-details-{_digest((target.stripe_customer, details))}"


def key_of(call: CallName, target: StripeTarget, order: StripeOrder, attempt: int) -> str:
    """The idempotency key of a call.

    Args:
        call: its name.
        target: of the call.
        order: what it sends.
        attempt: from 1; another one is made only where the one before is known to have done nothing.
    """
    if call == "customer":
        return f"tm-cus-{target.app}-{target.customer}-{attempt}"
    sequence = order.sequence if call == "pay" else 0
    digest = _digest((call, target, sequence, params_of(call, target, order)))
    return f"tm-inv-{target.invoice}-{call}-{attempt}-{digest}"


def _digest(sent: object) -> str:
    body = msgspec.json.encode(sent, order="deterministic")
    return b32encode(blake2b(body, digest_size=_HASH_BYTES).digest()).decode().lower()


def address_of(address: BillingAddress | None) -> dict[str, str]:
    """An address as Stripe has it; members that are not known are left out."""
    if address is None:
        return {}
    members = {
        "line1": address.line1,
        "line2": address.line2,
        "city": address.city,
        "state": address.state,
        "postal_code": address.postal_code,
        "country": address.country,
    }
    return {name: value for name, value in members.items() if value}


def _create(target: StripeTarget, order: StripeOrder) -> CallParams:
    params: CallParams = {
        "customer": target.stripe_customer,
        "currency": order.currency.lower(),
        "auto_advance": False,
        "collection_method": "send_invoice" if order.sends else "charge_automatically",
        "pending_invoice_items_behavior": "exclude",
        "metadata": {INVOICE: target.invoice, APP: target.app, CUSTOMER: target.customer},
    }
    if order.sends:
        params["days_until_due"] = order.due_days
    if order.number:
        params["number"] = order.number
    if order.description:
        params["description"] = order.description
    return params


def _line(item: StripeItem) -> Mapping[str, object]:
    line: CallParams = {
        "amount": item.amount,
        "description": item.description,
        "discountable": False,
        "metadata": {LINE: item.line, KIND: item.kind},
        "period": {"start": item.start_s, "end": item.end_s},
    }
    if item.taxes:
        line["tax_amounts"] = [
            {
                "amount": tax.amount,
                "taxable_amount": tax.taxable,
                "tax_rate_data": {
                    "display_name": tax.name,
                    "inclusive": tax.inclusive,
                    "percentage": tax.percent,
                },
            }
            for tax in item.taxes
        ]
    return line
