"""Bodies of requests about billing profiles and overrides, as OpenAPI shows them.

Owns: members, forms, meaning. Does not own: the rules (core.invoices), which decide.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from pipeline.api.billing.bodies import Name, WrittenObject
from pipeline.api.catalog.rate_card_bodies import TaxConfigBody
from pipeline.api.customers.bodies import Address, ZoneText
from pipeline.api.http.members import Metadata, Written

Duration = Annotated[str, Meta(description="ISO 8601 duration, of 0 or more", examples=["P30D"])]
AppId = Annotated[str, Meta(description="id of an installed app that sends invoices")]


class TaxIdBody(msgspec.Struct, forbid_unknown_fields=True):
    code: Annotated[str, Meta(min_length=1, max_length=32)] | UnsetType | None = UNSET


class SupplierBody(msgspec.Struct, forbid_unknown_fields=True):
    """Who sends the invoices."""

    key: Name | UnsetType | None = UNSET
    name: Name | UnsetType | None = UNSET
    taxId: TaxIdBody | UnsetType | None = UNSET
    addresses: Annotated[list[Address], Meta(max_length=1)] | UnsetType | None = UNSET


class AlignmentPeriodBody(msgspec.Struct, forbid_unknown_fields=True):
    """Invoices are collected at `anchor` and each `interval` before and after it."""

    interval: Annotated[str, Meta(description="DAY, WEEK, MONTH, YEAR or an ISO 8601 duration")]
    anchor: Annotated[str, Meta(description="RFC 3339", extra_json_schema={"format": "date-time"})]
    intervalISO: Annotated[str, Meta(description="the interval in ISO 8601")] | UnsetType | None = UNSET


class SubscriptionAlignmentBody(
    msgspec.Struct, tag_field="type", tag="subscription", forbid_unknown_fields=True
):
    """Lines are collected when they are due."""


class AnchoredAlignmentBody(msgspec.Struct, tag_field="type", tag="anchored", forbid_unknown_fields=True):
    """Lines that are due wait for the next tick of a period."""

    recurringPeriod: AlignmentPeriodBody


class CollectionBody(msgspec.Struct, forbid_unknown_fields=True):
    alignment: SubscriptionAlignmentBody | AnchoredAlignmentBody | UnsetType | None = UNSET
    interval: (
        Annotated[Duration, Meta(description="for how long late usage is awaited; PT1H by default")]
        | UnsetType
        | None
    ) = UNSET


class InvoicingBody(msgspec.Struct, forbid_unknown_fields=True):
    autoAdvance: (
        Annotated[bool, Meta(description="a draft is issued without an approval; true by default")]
        | UnsetType
        | None
    ) = UNSET
    draftPeriod: (
        Annotated[Duration, Meta(description="how long it is a draft then; P0D by default")]
        | UnsetType
        | None
    ) = UNSET
    dueAfter: (
        Annotated[Duration, Meta(description="when an issued invoice is due; P30D by default")]
        | UnsetType
        | None
    ) = UNSET
    progressiveBilling: (
        Annotated[bool, Meta(description="usage of a running period may be invoiced; true by default")]
        | UnsetType
        | None
    ) = UNSET
    subscriptionEndProrationMode: (
        Annotated[
            Literal["bill_actual_period", "bill_full_period"],
            Meta(
                description="what a fee costs whose subscription ends within its period; bill_actual_period by default"
            ),
        ]
        | UnsetType
        | None
    ) = UNSET
    defaultTaxConfig: (
        Annotated[TaxConfigBody, Meta(description="how lines are taxed that have no tax configuration")]
        | UnsetType
        | None
    ) = UNSET


class PaymentBody(msgspec.Struct, forbid_unknown_fields=True):
    collectionMethod: (
        Annotated[
            Literal["charge_automatically", "send_invoice"],
            Meta(
                description="whether the app collects the payment of an issued invoice, or awaits it; the sandbox then "
                "leaves it unpaid; charge_automatically by default"
            ),
        ]
        | UnsetType
        | None
    ) = UNSET


class TaxBody(msgspec.Struct, forbid_unknown_fields=True):
    enabled: Annotated[bool, Meta(description="true by default")] | UnsetType | None = UNSET
    enforced: (
        Annotated[
            bool,
            Meta(description="without a tax that can be computed nothing is issued; false by default"),
        ]
        | UnsetType
        | None
    ) = UNSET


class DunningStepBody(msgspec.Struct, forbid_unknown_fields=True):
    after: Annotated[Duration, Meta(description="from the due date")]
    action: Literal["notify", "retry_payment"]


class DunningBody(msgspec.Struct, forbid_unknown_fields=True):
    """The reminders of an unpaid invoice, each made once."""

    steps: (
        Annotated[list[DunningStepBody], Meta(max_length=20, description="in the order of their time")]
        | UnsetType
        | None
    ) = UNSET
    giveUpAfter: (
        Annotated[Duration, Meta(description="from the due date; never by default")] | UnsetType | None
    ) = UNSET
    then: (
        Annotated[
            Literal["uncollectible", "nothing"],
            Meta(description="what happens at `giveUpAfter`; nothing by default"),
        ]
        | UnsetType
        | None
    ) = UNSET


class WorkflowBody(msgspec.Struct, forbid_unknown_fields=True):
    """How invoices are collected, issued and paid. An invoice keeps the settings that it was created with."""

    collection: CollectionBody | UnsetType | None = UNSET
    invoicing: InvoicingBody | UnsetType | None = UNSET
    payment: PaymentBody | UnsetType | None = UNSET
    tax: TaxBody | UnsetType | None = UNSET
    dunning: DunningBody | UnsetType | None = UNSET


class ProfileAppsBody(msgspec.Struct, forbid_unknown_fields=True):
    """The same app for all three."""

    tax: AppId
    invoicing: AppId
    payment: AppId


class NumberingBody(msgspec.Struct, forbid_unknown_fields=True):
    """Numbers of issued invoices: PREFIX-CUSTOMER-n, with n from `start` on, without a gap or a repeat in a series."""

    prefix: (
        Annotated[
            str,
            Meta(
                pattern="^[A-Z0-9]{1,6}$",
                description="INV by default; it cannot be DRAFT or GATHER, or begin with CN. Profiles may share a "
                "prefix only with the same scope, and not with the scope profile",
            ),
        ]
        | UnsetType
        | None
    ) = UNSET
    scope: (
        Annotated[
            Literal["namespace", "customer", "profile"],
            Meta(description="what has a series of its own; namespace by default"),
        ]
        | UnsetType
        | None
    ) = UNSET
    start: (
        Annotated[int, Meta(ge=1, le=999, description="the first number of each series; 1 by default")]
        | UnsetType
        | None
    ) = UNSET


class TaxRateBody(msgspec.Struct, forbid_unknown_fields=True):
    code: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=64,
            description="that lines name in their tax configuration; `default` is for lines that name none",
        ),
    ]
    percent: Annotated[int | float | str, Meta(description="a decimal from 0 to 100")]
    behavior: (
        Annotated[
            Literal["inclusive", "exclusive"],
            Meta(description="whether prices include it; exclusive by default"),
        ]
        | UnsetType
        | None
    ) = UNSET


class ProfileMembersBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What a client can change of a profile."""

    name: Name
    supplier: SupplierBody
    default: Annotated[
        bool,
        Meta(
            description="it is in force for customers without an override; true takes it from the profile before"
        ),
    ]
    workflow: WorkflowBody
    description: Annotated[str, Meta(min_length=1, max_length=1024)] | UnsetType | None = UNSET
    metadata: Metadata | UnsetType | None = UNSET
    timeZone: (
        Annotated[ZoneText, Meta(description="in which days and months are counted; UTC by default")]
        | UnsetType
        | None
    ) = UNSET
    numbering: NumberingBody | UnsetType | None = UNSET
    taxRates: (
        Annotated[
            list[TaxRateBody],
            Meta(max_length=50, description="with which invoices are taxed; none by default"),
        ]
        | UnsetType
        | None
    ) = UNSET


class ProfileBody(ProfileMembersBody, forbid_unknown_fields=True, kw_only=True):
    apps: ProfileAppsBody


class ProfileUpdateBody(ProfileMembersBody, forbid_unknown_fields=True, kw_only=True):
    id: Written | UnsetType = UNSET
    apps: WrittenObject | UnsetType = UNSET
    createdAt: Written | UnsetType = UNSET
    updatedAt: Written | UnsetType = UNSET
    deletedAt: Written | UnsetType = UNSET


class OverrideBody(msgspec.Struct, forbid_unknown_fields=True):
    billingProfileId: (
        Annotated[str, Meta(description="id of the profile; by default the default profile, whichever it is")]
        | UnsetType
        | None
    ) = UNSET
