"""Bodies and answers of sessions at Stripe, as OpenAPI shows them.

Owns: members, forms, meaning. Does not own: how they are read and made (core.billing.stripe_session).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from pipeline.api.http.members import Instant, Ulid

IdAtStripe = Annotated[str, Meta(description="Stripe's id of the customer, cus_...")]
Url = Annotated[str, Meta(max_length=2_048)]
AutoNever = Literal["auto", "never"]


class CustomerUpdateOption(msgspec.Struct, forbid_unknown_fields=True):
    """What of the customer at Stripe the page may change."""

    address: AutoNever | UnsetType | None = UNSET
    name: AutoNever | UnsetType | None = UNSET
    shipping: AutoNever | UnsetType | None = UNSET


class ReuseAgreementOption(msgspec.Struct, forbid_unknown_fields=True):
    position: Literal["auto", "hidden"] | UnsetType | None = UNSET


class ConsentOption(msgspec.Struct, forbid_unknown_fields=True):
    paymentMethodReuseAgreement: ReuseAgreementOption | UnsetType | None = UNSET
    promotions: Literal["auto", "none"] | UnsetType | None = UNSET
    termsOfService: Literal["none", "required"] | UnsetType | None = UNSET


class MessageOption(msgspec.Struct, forbid_unknown_fields=True):
    message: Annotated[str, Meta(min_length=1, max_length=1_200)]


class CustomTextOption(msgspec.Struct, forbid_unknown_fields=True):
    """Texts on the page."""

    afterSubmit: MessageOption | UnsetType | None = UNSET
    shippingAddress: MessageOption | UnsetType | None = UNSET
    submit: MessageOption | UnsetType | None = UNSET
    termsOfServiceAcceptance: MessageOption | UnsetType | None = UNSET


class TaxIdOption(msgspec.Struct, forbid_unknown_fields=True):
    enabled: bool
    required: Literal["if_supported", "never"] | UnsetType | None = UNSET


class CheckoutOptions(msgspec.Struct, forbid_unknown_fields=True):
    """Passed on to Stripe."""

    billingAddressCollection: Literal["auto", "required"] | UnsetType | None = UNSET
    cancelURL: Url | UnsetType | None = UNSET
    clientReferenceID: Annotated[str, Meta(max_length=200)] | UnsetType | None = UNSET
    customerUpdate: CustomerUpdateOption | UnsetType | None = UNSET
    consentCollection: ConsentOption | UnsetType | None = UNSET
    currency: Annotated[str, Meta(max_length=3)] | UnsetType | None = UNSET
    customText: CustomTextOption | UnsetType | None = UNSET
    expiresAt: Annotated[int, Meta(description="seconds since 1970", ge=1)] | UnsetType | None = UNSET
    locale: Annotated[str, Meta(max_length=32)] | UnsetType | None = UNSET
    metadata: dict[str, str] | UnsetType | None = UNSET
    returnURL: Url | UnsetType | None = UNSET
    successURL: Annotated[Url, Meta(description="required for `hosted`")] | UnsetType | None = UNSET
    uiMode: (
        Annotated[Literal["embedded", "hosted"], Meta(description="hosted by default")] | UnsetType | None
    ) = UNSET
    paymentMethodTypes: list[str] | UnsetType | None = UNSET
    redirectOnCompletion: Literal["always", "if_required", "never"] | UnsetType | None = UNSET
    taxIdCollection: TaxIdOption | UnsetType | None = UNSET


class CheckoutBody(msgspec.Struct, forbid_unknown_fields=True):
    customer: Annotated[
        dict[str, Any], Meta(description="`{id}` or `{key}` of one, or the body of a new customer")
    ]
    options: CheckoutOptions
    appId: Annotated[Ulid, Meta(description="the only Stripe app by default")] | UnsetType | None = UNSET
    stripeCustomerId: (
        Annotated[IdAtStripe, Meta(description="becomes that of the customer")] | UnsetType | None
    ) = UNSET


class CheckoutAnswer(msgspec.Struct, forbid_unknown_fields=True):
    """A page of Stripe on which the customer gives a payment method."""

    customerId: Ulid
    stripeCustomerId: IdAtStripe
    sessionId: str
    mode: Literal["setup"]
    createdAt: Instant
    setupIntentId: str | UnsetType = UNSET
    clientSecret: Annotated[str, Meta(description="of an embedded page")] | UnsetType = UNSET
    clientReferenceId: str | UnsetType = UNSET
    customerEmail: str | UnsetType = UNSET
    currency: str | UnsetType = UNSET
    expiresAt: Instant | UnsetType = UNSET
    metadata: dict[str, str] | UnsetType = UNSET
    status: Literal["open", "complete", "expired"] | UnsetType = UNSET
    url: Annotated[str, Meta(description="of a hosted page")] | UnsetType = UNSET
    cancelURL: str | UnsetType = UNSET
    successURL: str | UnsetType = UNSET
    returnURL: str | UnsetType = UNSET


class PortalSessionBody(msgspec.Struct, forbid_unknown_fields=True):
    configurationId: Annotated[str, Meta(max_length=200)] | UnsetType | None = UNSET
    locale: Annotated[str, Meta(max_length=32)] | UnsetType | None = UNSET
    returnUrl: Url | UnsetType | None = UNSET


class PortalSessionAnswer(msgspec.Struct, forbid_unknown_fields=True):
    """A page of Stripe on which the customer sees its invoices and payment methods."""

    id: str
    stripeCustomerId: IdAtStripe
    configurationId: str
    livemode: bool
    createdAt: Instant
    returnUrl: str | None
    locale: str | None
    url: str
