"""Sessions at Stripe: each member that is sent acts or is refused."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.core.billing.stripe_session import (
    checkout_answer,
    checkout_params,
    portal_answer,
    portal_params,
)
from pipeline.errors import Rejected

# Every member of the options, each with another value than its default.
OPTIONS: dict[str, Any] = {
    "billingAddressCollection": "required", "cancelURL": "https://us/cancel", "clientReferenceID": "ref",
    "customerUpdate": {"address": "auto", "name": "never", "shipping": "auto"},
    "consentCollection": {
        "paymentMethodReuseAgreement": {"position": "hidden"}, "promotions": "none", "termsOfService": "required",
    },
    "currency": "USD",
    "customText": {name: {"message": name} for name in ("afterSubmit", "shippingAddress", "submit",
                                                         "termsOfServiceAcceptance")},
    "expiresAt": 1_900_000_000, "locale": "de", "metadata": {"a": "b"}, "successURL": "https://us/done",
    "uiMode": "hosted", "paymentMethodTypes": ["card"], "taxIdCollection": {"enabled": True, "required": "never"},
}  # fmt: skip
PORTAL = {"configurationId": "bpc_1", "locale": "de", "returnUrl": "https://us"}


def test_every_option_reaches_stripe() -> None:
    found = checkout_params(OPTIONS | {"returnURL": "https://us/r", "redirectOnCompletion": "never"}, "cus_1")
    assert len(found) == len(OPTIONS) + 4  # with mode and customer
    assert (found["mode"], found["customer"], found["ui_mode"], found["currency"]) == (
        "setup", "cus_1", "hosted_page", "usd",
    )  # fmt: skip
    assert found["consent_collection"] == {
        "payment_method_reuse_agreement": {"position": "hidden"}, "promotions": "none", "terms_of_service": "required",
    }  # fmt: skip
    assert found["custom_text"] == {
        "after_submit": {"message": "afterSubmit"}, "shipping_address": {"message": "shippingAddress"},
        "submit": {"message": "submit"},
        "terms_of_service_acceptance": {"message": "termsOfServiceAcceptance"},
    }  # fmt: skip
    assert found["tax_id_collection"] == {"enabled": True, "required": "never"}


def test_an_embedded_page_needs_no_url_for_success() -> None:
    assert checkout_params({"uiMode": "embedded"}, "cus_1") == {
        "mode": "setup", "customer": "cus_1", "ui_mode": "embedded_page",
    }  # fmt: skip


@pytest.mark.parametrize(
    "options",
    [
        {}, {"successURL": 7}, {"successURL": "https://us", "mode": "payment"},
        {"successURL": "https://us", "uiMode": "custom"}, {"successURL": "https://us", "taxIdCollection": {}},
        {"successURL": "https://us", "customText": {"submit": {}}},
        {"successURL": "https://us", "customText": {"submit": {"message": "x" * 1_201}}},
        {"successURL": "https://us", "consentCollection": {"promotions": "all"}},
        {"successURL": "https://us", "expiresAt": "soon"},
    ],
)  # fmt: skip
def test_other_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(Rejected) as refusal:
        checkout_params(options, "cus_1")
    assert refusal.value.reason == "bad-stripe-session"


def test_a_portal_session_has_its_three_members() -> None:
    assert portal_params(PORTAL, "cus_1") == {
        "customer": "cus_1", "configuration": "bpc_1", "locale": "de", "return_url": "https://us",
    }  # fmt: skip
    with pytest.raises(Rejected):
        portal_params({"flow": "x"}, "cus_1")


def test_answers_have_openmeters_names_and_instants() -> None:
    shown = {"id": "cs_1", "customer": "cus_1", "mode": "setup", "created": 1_800_000_000, "url": "https://p",
             "client_secret": None, "status": "open", "other": 1}  # fmt: skip
    assert checkout_answer(shown, "01C") == {
        "customerId": "01C", "stripeCustomerId": "cus_1", "sessionId": "cs_1", "mode": "setup", "status": "open",
        "url": "https://p", "createdAt": "2027-01-15T08:00:00.000Z",
    }  # fmt: skip
    portal = {"id": "bps_1", "customer": "cus_1", "configuration": "bpc_1", "livemode": False, "created": 0,
              "return_url": None, "locale": None, "url": "https://p"}  # fmt: skip
    assert portal_answer(portal) == {
        "id": "bps_1", "stripeCustomerId": "cus_1", "configurationId": "bpc_1", "livemode": False, "returnUrl": None,
        "locale": None, "url": "https://p", "createdAt": "1970-01-01T00:00:00.000Z",
    }  # fmt: skip
