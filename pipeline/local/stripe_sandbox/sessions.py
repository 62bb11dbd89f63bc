"""Sessions of the sandbox: pages of Stripe on which a customer gives a payment method or sees its invoices.

Owns: what Stripe answers to a request for one. There is no page behind it. Source: Stripe's API reference, "Checkout
Sessions", "Customer Portal Session".
"""

from __future__ import annotations

from typing import Final

from pipeline.local.stripe_sandbox.account import SandboxAccount
from pipeline.local.stripe_sandbox.errors import invalid
from pipeline.local.stripe_sandbox.form import Form, integer, only, text, texts

LIFE_S: Final = 86_400
_CHECKOUT: Final = (
    "mode", "customer", "billing_address_collection", "cancel_url", "client_reference_id", "consent_collection",
    "currency", "custom_text", "customer_update", "expires_at", "locale", "metadata", "payment_method_types",
    "redirect_on_completion", "return_url", "success_url", "tax_id_collection", "ui_mode", "setup_intent_data",
)  # fmt: skip


class SandboxSessions:
    """Counts the sessions of an account, so that each has an id of its own."""

    def __init__(self, account: SandboxAccount) -> None:
        self._account = account
        self._made = 0

    def checkout(self, form: Form, now_s: int) -> dict[str, object]:
        """A session of the mode setup."""
        only(form, *_CHECKOUT)
        if text(form, "mode") != "setup":
            raise invalid("The sandbox has sessions of the mode setup only.", param="mode")
        customer = self._account.customer(text(form, "customer"))
        mode = str(form.get("ui_mode", "hosted_page"))
        hosted = mode.startswith("hosted")
        if hosted and "success_url" not in form:
            raise invalid("Missing required param: success_url.", "parameter_missing", "success_url")
        id = self._id("cs_test")
        return {
            "id": id, "object": "checkout.session", "mode": "setup", "customer": customer.id, "created": now_s,
            "expires_at": integer(form, "expires_at", now_s + LIFE_S), "livemode": False, "status": "open",
            "setup_intent": self._id("seti"), "url": f"https://checkout.invalid/c/{id}" if hosted else None,
            "client_secret": None if hosted else f"{id}_secret", "metadata": texts(form, "metadata"),
            "client_reference_id": form.get("client_reference_id"), "currency": form.get("currency"),
            "cancel_url": form.get("cancel_url"), "success_url": form.get("success_url"),
            "return_url": form.get("return_url"), "customer_email": None, "ui_mode": mode,
        }  # fmt: skip

    def portal(self, form: Form, now_s: int) -> dict[str, object]:
        """A session of the customer portal."""
        only(form, "customer", "configuration", "return_url", "locale")
        customer = self._account.customer(text(form, "customer"))
        id = self._id("bps")
        return {
            "id": id, "object": "billing_portal.session", "configuration": form.get("configuration", "bpc_sandbox"),
            "created": now_s, "customer": customer.id, "livemode": False, "locale": form.get("locale"),
            "return_url": form.get("return_url"), "url": f"https://billing.invalid/p/{id}",
        }  # fmt: skip

    def _id(self, prefix: str) -> str:
        self._made += 1
        return f"{prefix}_sandbox{self._made:08d}"
