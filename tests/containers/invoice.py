"""An invoice of the running containers, from a plan to its PDF.

Owns: the customer, its plan, what it must be billed. Does not own: requests (usage).
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from tests.containers.compose import Failed, wait_for
from tests.containers.usage import Usage

CUSTOMER = "acme"
FEE = "19.99"
CARD = {
    "type": "flat_fee",
    "key": "fee",
    "name": "Base fee \u20ac",
    "billingCadence": "P1M",
    "price": {"type": "flat", "amount": FEE, "paymentTerm": "in_advance"},
}
PLAN = {
    "key": "pro",
    "name": "Pro",
    "currency": "EUR",
    "billingCadence": "P1M",
    "phases": [{"key": "paid", "name": "Paid", "duration": None, "rateCards": [CARD]}],
}


def subscribe(usage: Usage) -> None:
    """A customer with a plan whose fee is due at once."""
    (profile,) = usage.ask("billing/profiles")["items"]
    kept = {name: profile[name] for name in ("name", "supplier", "default") if name in profile}
    profile["workflow"]["collection"]["interval"] = "PT0S"
    usage.ask(f"billing/profiles/{profile['id']}", {**kept, "workflow": profile["workflow"]}, method="PUT")
    usage.ask("customers", {"key": CUSTOMER, "name": "ACME", "usageAttribution": {"subjectKeys": ["acme"]}})
    plan = usage.ask("plans", PLAN)
    usage.ask(f"plans/{plan['id']}/publish", method="POST")
    usage.ask("subscriptions", {"customerKey": CUSTOMER, "plan": {"key": PLAN["key"]}})


def expect(usage: Usage) -> None:
    """Return when there is one invoice, paid and with a number, over the fee, and its PDF is one. Raises Failed."""
    wait_for("an invoice is paid", lambda: bool(_paid(usage)))
    (invoice,) = _paid(usage)
    if Decimal(invoice["totals"]["total"]) != Decimal(FEE) or not invoice["number"]:
        raise Failed(f"the invoice is {invoice}")
    pdf = usage.read(f"billing/invoices/{invoice['id']}.pdf")
    if not (pdf.startswith(b"%PDF-") and pdf.rstrip().endswith(b"%%EOF")):
        raise Failed(f"the PDF of the invoice begins with {pdf[:20]!r}")


def _paid(usage: Usage) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = usage.ask("billing/invoices?statuses=paid")["items"]
    return found
