"""The listings of the marketplace: which outside systems can be connected, and what each is used for.

Owns: their JSON. Does not own: connecting one (app_commands).
Source: openmeterio/openmeter at 7e57a394, `api/openapi.yaml` MarketplaceListing, AppCapabilityType. A listing has only
the capabilities that act here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

AppType = Literal["sandbox", "stripe", "custom_invoicing"]
CapabilityType = Literal["reportUsage", "calculateTax", "invoiceCustomers", "collectPayments"]
NO_CREDENTIALS: Final = "no_credentials_required"
# What an app does for a billing profile.
INVOICING: Final[tuple[CapabilityType, ...]] = ("calculateTax", "invoiceCustomers", "collectPayments")


def _capability(type: CapabilityType, key: str, name: str, description: str) -> dict[str, object]:
    return {"type": type, "key": key, "name": name, "description": description}


LISTINGS: Mapping[str, dict[str, object]] = {
    "sandbox": {
        "type": "sandbox",
        "name": "Sandbox",
        "description": "Invoices are issued and paid at once, without an account of any outside system.",
        "capabilities": [
            _capability(
                "calculateTax", "sandbox_calculate_tax", "Calculate taxes", "By the rates of the profile."
            ),
            _capability(
                "invoiceCustomers", "sandbox_invoice_customer", "Invoice customers", "Nothing is sent."
            ),
            _capability(
                "collectPayments",
                "sandbox_collect_payment",
                "Collect payments",
                "Each payment succeeds, unless the invoice's metadata asks for another end.",
            ),
        ],
        "installMethods": [NO_CREDENTIALS],
    },
    "stripe": {
        "type": "stripe",
        "name": "Stripe",
        "description": "Stripe sends our invoices and collects their payments, or bills the usage of its own meters.",
        "capabilities": [
            _capability(
                "reportUsage",
                "stripe_report_usage",
                "Report usage",
                "Send the usage of mapped meters to meters of Stripe.",
            ),
            _capability(
                "calculateTax", "stripe_calculate_tax", "Calculate taxes", "By the rates of the profile."
            ),
            _capability(
                "invoiceCustomers",
                "stripe_invoice_customer",
                "Invoice customers",
                "Each invoice that is issued is one of Stripe, with our number and our amounts.",
            ),
            _capability(
                "collectPayments",
                "stripe_collect_payment",
                "Collect payments",
                "Stripe collects them, and reports them by its webhooks.",
            ),
        ],
        "installMethods": ["with_api_key"],
    },
    "custom_invoicing": {
        "type": "custom_invoicing",
        "name": "Custom Invoicing",
        "description": "Your own system sends the invoices and collects the payments: it reads them and calls back.",
        "capabilities": [
            _capability(
                "calculateTax",
                "custom_invoicing_calculate_tax",
                "Calculate taxes",
                "By the rates of the profile.",
            ),
            _capability(
                "invoiceCustomers",
                "custom_invoicing_invoice_customer",
                "Invoice customers",
                "With the hooks, a draft and an issued invoice wait for a call of your system.",
            ),
            _capability(
                "collectPayments",
                "custom_invoicing_collect_payment",
                "Collect payments",
                "Your system reports each payment.",
            ),
        ],
        "installMethods": [NO_CREDENTIALS],
    },
}


def install_methods(listing: Mapping[str, object]) -> list[str]:
    """The ways in which an app of a listing is installed."""
    listed = listing["installMethods"]
    return list(listed) if isinstance(listed, list) else []
