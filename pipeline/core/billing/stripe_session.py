"""Sessions at Stripe on which a customer gives a payment method, or sees its invoices: bodies and answers.

Owns: reading OpenMeter's bodies into Stripe's parameters, OpenMeter's answers from Stripe's JSON. Does not own: routes,
calls (stores.stripe_sessions), whose session it is. Source: openmeterio/openmeter at 7e57a394, `api/openapi.yaml`
CreateStripeCheckoutSessionRequestOptions, CreateStripeCheckoutSessionResult, StripeCustomerPortalSession; Stripe's API
reference, "Checkout Sessions", "Customer Portal Session". The mode is always setup.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pipeline.core.billing.stripe_request import CallParams
from pipeline.core.definitions.body import BodyReader
from pipeline.core.values import timestamp

KIND: Final = "stripe-session"
MAX_URL, MAX_TEXT, MAX_MESSAGE = 2_048, 200, 1_200
MOST_METHODS: Final = 50
UI_MODES: Final = {"embedded": "embedded_page", "hosted": "hosted_page"}
_OPTIONS: Final = (
    "billingAddressCollection", "cancelURL", "clientReferenceID", "customerUpdate", "consentCollection", "currency",
    "customText", "expiresAt", "locale", "metadata", "returnURL", "successURL", "uiMode", "paymentMethodTypes",
    "redirectOnCompletion", "taxIdCollection",
)  # fmt: skip
_TEXTS: Final = {
    "afterSubmit": "after_submit",
    "shippingAddress": "shipping_address",
    "submit": "submit",
    "termsOfServiceAcceptance": "terms_of_service_acceptance",
}
_CHECKOUT: Final = {
    "customer": "stripeCustomerId", "id": "sessionId", "setup_intent": "setupIntentId",
    "client_secret": "clientSecret", "client_reference_id": "clientReferenceId", "customer_email": "customerEmail",
    "currency": "currency", "metadata": "metadata", "status": "status", "url": "url", "mode": "mode",
    "cancel_url": "cancelURL", "success_url": "successURL", "return_url": "returnURL",
}  # fmt: skip
_PORTAL: Final = {
    "id": "id", "customer": "stripeCustomerId", "configuration": "configurationId", "livemode": "livemode",
    "return_url": "returnUrl", "locale": "locale", "url": "url",
}  # fmt: skip


def checkout_params(options: Mapping[str, object], stripe_customer: str) -> CallParams:
    """The parameters of a checkout session. Raises Rejected `bad-stripe-session`."""
    sent = BodyReader(KIND, options, _OPTIONS, inside="options")
    mode = sent.one_of("uiMode", tuple(UI_MODES)) or "hosted"
    currency = sent.text("currency", 3)
    params: CallParams = {
        "mode": "setup",
        "customer": stripe_customer,
        "ui_mode": UI_MODES[mode],
        "billing_address_collection": sent.one_of("billingAddressCollection", ("auto", "required")),
        "cancel_url": sent.text("cancelURL", MAX_URL),
        "client_reference_id": sent.text("clientReferenceID", MAX_TEXT),
        "currency": None if currency is None else currency.lower(),
        "expires_at": sent.integer("expiresAt", 1, 1 << 40),
        "locale": sent.text("locale", 32),
        "metadata": sent.strings("metadata", 50, 40, 500),
        "return_url": sent.text("returnURL", MAX_URL),
        "success_url": sent.text("successURL", MAX_URL),
        "payment_method_types": sent.texts("paymentMethodTypes", MOST_METHODS, 64),
        "redirect_on_completion": sent.one_of("redirectOnCompletion", ("always", "if_required", "never")),
        "customer_update": _customer_update(sent),
        "consent_collection": _consent(sent),
        "custom_text": _custom_text(sent),
        "tax_id_collection": _tax_id(sent),
    }
    if mode == "hosted" and params["success_url"] is None:
        sent.refuse(f"{KIND} options successURL is required for the uiMode hosted")
    return _present(params)


def portal_params(body: Mapping[str, object], stripe_customer: str) -> CallParams:
    """The parameters of a portal session. Raises Rejected `bad-stripe-session`."""
    sent = BodyReader(KIND, body, ("configurationId", "locale", "returnUrl"))
    return _present(
        {
            "customer": stripe_customer,
            "configuration": sent.text("configurationId", MAX_TEXT),
            "locale": sent.text("locale", 32),
            "return_url": sent.text("returnUrl", MAX_URL),
        }
    )


def checkout_answer(shown: Mapping[str, object], customer: str) -> dict[str, object]:
    """The answer about a checkout session. customer: our id."""
    found: dict[str, object] = {"customerId": customer}
    found |= {name: shown[member] for member, name in _CHECKOUT.items() if shown.get(member) is not None}
    return found | _instants(shown, {"created": "createdAt", "expires_at": "expiresAt"})


def portal_answer(shown: Mapping[str, object]) -> dict[str, object]:
    """The answer about a portal session."""
    found = {name: shown.get(member) for member, name in _PORTAL.items()}
    if not isinstance(found["configurationId"], str):
        found["configurationId"] = ""
    return found | _instants(shown, {"created": "createdAt"})


def _instants(shown: Mapping[str, object], members: Mapping[str, str]) -> dict[str, object]:
    at = {name: shown.get(member) for member, name in members.items()}
    return {name: timestamp.text_of(value * 1000) for name, value in at.items() if isinstance(value, int)}


def _customer_update(sent: BodyReader) -> CallParams | None:
    names = ("address", "name", "shipping")
    nested = _nested(sent, "customerUpdate", names)
    if nested is None:
        return None
    return _present({name: nested.one_of(name, ("auto", "never")) for name in names})


def _consent(sent: BodyReader) -> CallParams | None:
    nested = _nested(
        sent, "consentCollection", ("paymentMethodReuseAgreement", "promotions", "termsOfService")
    )
    if nested is None:
        return None
    reuse = _nested(nested, "paymentMethodReuseAgreement", ("position",), "consentCollection.")
    return _present(
        {
            "promotions": nested.one_of("promotions", ("auto", "none")),
            "terms_of_service": nested.one_of("termsOfService", ("none", "required")),
            "payment_method_reuse_agreement": None
            if reuse is None
            else {"position": reuse.one_of("position", ("auto", "hidden")) or "auto"},
        }
    )


def _custom_text(sent: BodyReader) -> CallParams | None:
    nested = _nested(sent, "customText", tuple(_TEXTS))
    if nested is None:
        return None
    found: CallParams = {}
    for name, member in _TEXTS.items():
        text = _nested(nested, name, ("message",), "customText.")
        if text is not None:
            found[member] = {"message": text.required("message", MAX_MESSAGE)}
    return found


def _tax_id(sent: BodyReader) -> CallParams | None:
    nested = _nested(sent, "taxIdCollection", ("enabled", "required"))
    if nested is None:
        return None
    enabled = nested.flag("enabled")
    if enabled is None:
        sent.refuse(f"{KIND} options taxIdCollection enabled is required")
    return _present({"enabled": enabled, "required": nested.one_of("required", ("if_supported", "never"))})


def _nested(sent: BodyReader, member: str, known: tuple[str, ...], above: str = "") -> BodyReader | None:
    value = sent.nested(member)
    return None if value is None else BodyReader(KIND, value, known, inside=f"options {above}{member}")


def _present(params: Mapping[str, object]) -> CallParams:
    return {name: value for name, value in params.items() if value is not None}
