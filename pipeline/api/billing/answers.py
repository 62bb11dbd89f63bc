"""Answers about the marketplace, apps, customers in them and mappings, as OpenAPI shows them.

Owns: members, forms, meaning. Does not own: how they are made (core.billing).
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from pipeline.api.http.members import Instant, Metadata, Ulid, page_of
from pipeline.core.billing.marketplace import AppType

Capability = Literal["reportUsage", "reportEvents", "calculateTax", "invoiceCustomers", "collectPayments"]
WebhookEvents = Annotated[list[str], Meta(description="the types of events that it is to send")]


class CapabilityAnswer(msgspec.Struct, forbid_unknown_fields=True):
    type: Capability
    key: str
    name: str
    description: str


class ListingAnswer(msgspec.Struct, forbid_unknown_fields=True):
    """What can be connected, and for what."""

    type: Annotated[AppType, Meta(description="its name in paths")]
    name: str
    description: str
    capabilities: list[CapabilityAnswer]
    installMethods: list[Literal["with_api_key", "no_credentials_required"]]


AppStatusText = Annotated[
    Literal["ready", "unauthorized"],
    Meta(description="unauthorized: Stripe refused the key, and nothing is sent until another is set"),
]


class SandboxAppAnswer(msgspec.Struct, tag_field="type", tag="sandbox", forbid_unknown_fields=True):
    """Every namespace has one from the beginning; its instants are then those of 1970."""

    id: Ulid
    name: str
    status: AppStatusText
    listing: ListingAnswer
    createdAt: Instant
    updatedAt: Instant
    description: str | UnsetType = UNSET
    metadata: Metadata | UnsetType = UNSET
    deletedAt: Instant | UnsetType = UNSET


class StripeAppAnswer(msgspec.Struct, tag_field="type", tag="stripe", forbid_unknown_fields=True):
    id: Ulid
    name: str
    status: AppStatusText
    stripeAccountId: str
    livemode: Annotated[bool, Meta(description="whether the key moves real money")]
    maskedAPIKey: Annotated[str, Meta(description="the first 8 and the last 3 characters of the key")]
    hasWebhookSecret: Annotated[bool, Meta(description="whether error reports of Stripe can be checked")]
    listing: ListingAnswer
    createdAt: Instant
    updatedAt: Instant
    statusReason: Annotated[str, Meta(description="what Stripe answered")] | UnsetType = UNSET
    description: str | UnsetType = UNSET
    metadata: Metadata | UnsetType = UNSET
    deletedAt: Instant | UnsetType = UNSET


class CustomInvoicingAppAnswer(
    msgspec.Struct, tag_field="type", tag="custom_invoicing", forbid_unknown_fields=True
):
    id: Ulid
    name: str
    status: AppStatusText
    enableDraftSyncHook: Annotated[
        bool,
        Meta(description="whether a draft waits for `/apps/custom-invoicing/{invoiceId}/draft/synchronized`"),
    ]
    enableIssuingSyncHook: Annotated[
        bool, Meta(description="whether an invoice waits for `.../issuing/synchronized` before it is issued")
    ]
    listing: ListingAnswer
    createdAt: Instant
    updatedAt: Instant
    description: str | UnsetType = UNSET
    metadata: Metadata | UnsetType = UNSET
    deletedAt: Instant | UnsetType = UNSET


AppAnswer = SandboxAppAnswer | StripeAppAnswer | CustomInvoicingAppAnswer


class AppPage(msgspec.Struct, forbid_unknown_fields=True):
    totalCount: Annotated[int, Meta(ge=0, description="items of all pages")]
    page: Annotated[int, Meta(ge=1, description="from 1")]
    pageSize: Annotated[int, Meta(ge=1, description="most items of a page")]
    items: list[AppAnswer]


class WebhookSetupAnswer(msgspec.Struct, forbid_unknown_fields=True):
    """The endpoint by which Stripe reports usage that it did not count.

    It is created at Stripe where the setting `public_url` is set, else in Stripe's dashboard.
    """

    url: Annotated[str, Meta(description="a path where the setting `public_url` is empty")]
    events: WebhookEvents
    hint: Annotated[str, Meta(description="what is to be done")]


class AppInstalledAnswer(msgspec.Struct, forbid_unknown_fields=True):
    app: StripeAppAnswer
    defaultForCapabilityTypes: Annotated[
        list[Capability], Meta(description="empty: no billing profile is made for Stripe")
    ]
    webhook: WebhookSetupAnswer


class KeylessAppInstalledAnswer(msgspec.Struct, forbid_unknown_fields=True):
    app: SandboxAppAnswer | CustomInvoicingAppAnswer
    defaultForCapabilityTypes: Annotated[
        list[Capability], Meta(description="what the app does for customers without an override")
    ]


class CustomerAppAnswer(msgspec.Struct, forbid_unknown_fields=True):
    type: Literal["stripe"]
    id: Annotated[Ulid, Meta(description="of the app")]
    stripeCustomerId: str
    app: StripeAppAnswer
    stripeDefaultPaymentMethodId: str | UnsetType = UNSET


class StripeMeterAnswer(msgspec.Struct, forbid_unknown_fields=True):
    id: Ulid
    appId: Ulid
    meterSlug: str
    meterId: Annotated[str, Meta(description="of the meter")]
    eventName: str
    stripeMeterId: str
    customerKey: str
    valueKey: str
    window: Literal["HOUR", "DAY"]
    multiplier: Annotated[str, Meta(description="a decimal")]
    from_: Instant = msgspec.field(name="from")
    createdAt: Instant
    updatedAt: Instant
    dimensions: dict[str, str] | UnsetType = UNSET
    metadata: Metadata | UnsetType = UNSET
    deletedAt: Annotated[Instant, Meta(description="the mapping has ended")] | UnsetType = UNSET


ListingPage = page_of(ListingAnswer)
CustomerAppPage = page_of(CustomerAppAnswer)
StripeMeterPage = page_of(StripeMeterAnswer)
