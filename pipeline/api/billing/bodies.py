"""Bodies of requests about apps, customers in them and mappings, as OpenAPI shows them.

Owns: members, forms, meaning. Does not own: the rules (core.billing), which decide.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from pipeline.api.http.members import Metadata, Written
from pipeline.core.billing.marketplace import AppType

Name = Annotated[str, Meta(min_length=1, max_length=256)]
StripeKey = Annotated[
    str,
    Meta(
        description="a secret or restricted key of Stripe: `sk_test_...`, `rk_test_...`, `sk_live_...` or "
        "`rk_live_...`; it is tried at once, stored encrypted and never shown",
        extra_json_schema={"format": "password"},
    ),
]
WebhookSecret = Annotated[
    str,
    Meta(
        description="`whsec_...`: the signing secret of the endpoint at Stripe that sends error reports here, or "
        "two of them with a space between while one replaces the other; stored encrypted and never shown",
        extra_json_schema={"format": "password"},
    ),
]
StripeCustomerId = Annotated[str, Meta(pattern="^cus_", max_length=255, description="must exist at Stripe")]
PaymentMethodId = Annotated[str, Meta(min_length=1, max_length=255, description="kept and shown")]
WrittenObject = Annotated[
    dict[str, Any] | None,
    Meta(
        description="written by the server: absent, or as it was read", extra_json_schema={"readOnly": True}
    ),
]
WrittenFlag = Annotated[
    bool | None,
    Meta(
        description="written by the server: absent, or as it was read", extra_json_schema={"readOnly": True}
    ),
]


class AppInstallBody(msgspec.Struct, forbid_unknown_fields=True):
    apiKey: StripeKey
    name: Annotated[Name, Meta(description="`Stripe` by default")] | UnsetType | None = UNSET
    webhookSecret: WebhookSecret | UnsetType | None = UNSET
    createBillingProfile: (
        Annotated[
            Literal[False],
            Meta(description="OpenMeter's default, true, is refused: create the profile that has the app"),
        ]
        | UnsetType
        | None
    ) = UNSET


class KeylessAppInstallBody(msgspec.Struct, forbid_unknown_fields=True):
    name: Annotated[Name, Meta(description="that of the listing by default")] | UnsetType | None = UNSET
    createBillingProfile: (
        Annotated[bool, Meta(description="whether a billing profile with the app is made; true by default")]
        | UnsetType
        | None
    ) = UNSET


class AppBody(msgspec.Struct, forbid_unknown_fields=True):
    """`secretAPIKey` and `webhookSecret` belong to the type stripe, the hooks to the type custom_invoicing."""

    name: Name
    type: AppType | UnsetType | None = UNSET
    description: Annotated[str, Meta(min_length=1, max_length=1024)] | UnsetType | None = UNSET
    metadata: Metadata | UnsetType | None = UNSET
    secretAPIKey: StripeKey | UnsetType | None = UNSET
    webhookSecret: WebhookSecret | UnsetType | None = UNSET
    enableDraftSyncHook: (
        Annotated[bool, Meta(description="a draft waits until your system has taken it over; required")]
        | UnsetType
        | None
    ) = UNSET
    enableIssuingSyncHook: (
        Annotated[bool, Meta(description="an invoice waits until your system has issued it; required")]
        | UnsetType
        | None
    ) = UNSET
    id: Written | UnsetType = UNSET
    createdAt: Written | UnsetType = UNSET
    updatedAt: Written | UnsetType = UNSET
    deletedAt: Written | UnsetType = UNSET
    listing: WrittenObject | UnsetType = UNSET
    status: Written | UnsetType = UNSET
    statusReason: Written | UnsetType = UNSET
    stripeAccountId: Written | UnsetType = UNSET
    livemode: WrittenFlag | UnsetType = UNSET
    maskedAPIKey: Written | UnsetType = UNSET
    hasWebhookSecret: WrittenFlag | UnsetType = UNSET


class AppKeyBody(msgspec.Struct, forbid_unknown_fields=True):
    secretAPIKey: StripeKey


class StripeCustomerBody(msgspec.Struct, forbid_unknown_fields=True):
    stripeCustomerId: StripeCustomerId
    stripeDefaultPaymentMethodId: PaymentMethodId | UnsetType | None = UNSET


class CustomerAppBody(msgspec.Struct, forbid_unknown_fields=True):
    type: Literal["stripe"]
    stripeCustomerId: StripeCustomerId
    stripeDefaultPaymentMethodId: PaymentMethodId | UnsetType | None = UNSET
    id: (
        Annotated[str, Meta(description="of the app; by default the only one that is installed")]
        | UnsetType
        | None
    ) = UNSET
    app: WrittenObject | UnsetType = UNSET


class StripeMeterBody(msgspec.Struct, forbid_unknown_fields=True):
    """Usage of `meterSlug` goes to the meter of Stripe for `eventName`, window by window."""

    meterSlug: Annotated[str, Meta(description="slug or id of a meter that adds up (SUM or COUNT)")]
    eventName: Annotated[
        str,
        Meta(min_length=1, max_length=100, description="of a meter at Stripe: active, with the formula sum"),
    ]
    appId: (
        Annotated[str, Meta(description="by default the only app that is installed")] | UnsetType | None
    ) = UNSET
    window: (
        Annotated[
            Literal["HOUR", "DAY"],
            Meta(description="of UTC, HOUR by default: the usage of a window is one sum at Stripe"),
        ]
        | UnsetType
        | None
    ) = UNSET
    multiplier: (
        Annotated[
            int | float | str,
            Meta(
                description="units of Stripe for one unit of usage, above 0, exact; 1 by default. Whole units are "
                "sent, and what is left is carried to the next"
            ),
        ]
        | UnsetType
        | None
    ) = UNSET
    dimensions: (
        Annotated[
            dict[str, str],
            Meta(
                description="{group-by key of the meter: member of the payload}; usage is sent separately for "
                "each combination of their values; none by default"
            ),
        ]
        | UnsetType
        | None
    ) = UNSET
    from_: (
        Annotated[
            str,
            Meta(
                description="the start of the first window that is sent, at most 35 days ago; by default the window in "
                "progress",
                extra_json_schema={"format": "date-time"},
            ),
        ]
        | UnsetType
        | None
    ) = msgspec.field(name="from", default=UNSET)
    customerKey: (
        Annotated[str, Meta(description="member of the payload: as the meter at Stripe has it")]
        | UnsetType
        | None
    ) = UNSET
    valueKey: (
        Annotated[str, Meta(description="member of the payload: as the meter at Stripe has it")]
        | UnsetType
        | None
    ) = UNSET
    metadata: Metadata | UnsetType | None = UNSET
    id: Written | UnsetType = UNSET
    meterId: Written | UnsetType = UNSET
    stripeMeterId: Written | UnsetType = UNSET
    createdAt: Written | UnsetType = UNSET
    updatedAt: Written | UnsetType = UNSET
    deletedAt: Written | UnsetType = UNSET


class StripeRetryBody(msgspec.Struct, forbid_unknown_fields=True):
    """What is to be sent to Stripe again."""

    customer: Annotated[str, Meta(min_length=1, description="id or key")]
    meter: (
        Annotated[str, Meta(min_length=1, description="slug; by default all that are mapped")]
        | UnsetType
        | None
    ) = UNSET
    accept: (
        Annotated[
            Literal["stripe"],
            Meta(
                description="`stripe`: for blocked windows, what Stripe has counts as confirmed; by default they stay "
                "blocked"
            ),
        ]
        | UnsetType
        | None
    ) = UNSET
