"""How invoices are collected, issued and paid, as OpenAPI shows it: the settings of a profile and of an invoice.

Owns: members, forms, meaning. Does not own: the settings and their defaults (core.invoices.workflow).
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from pipeline.api.billing.answers import AppStatusText, ListingAnswer
from pipeline.api.catalog.rate_card_bodies import TaxConfigBody
from pipeline.api.http.members import Instant, Metadata, Ulid
from pipeline.core.billing.marketplace import AppType

WorkflowDuration = Annotated[str, Meta(description="ISO 8601 duration", examples=["P30D"])]


class AlignmentPeriodAnswer(msgspec.Struct, forbid_unknown_fields=True):
    """At `anchor` and each `interval` after and before it."""

    interval: WorkflowDuration
    anchor: Instant


class SubscriptionAlignmentAnswer(
    msgspec.Struct, tag_field="type", tag="subscription", forbid_unknown_fields=True
):
    """Lines are collected when they are due."""


class AnchoredAlignmentAnswer(msgspec.Struct, tag_field="type", tag="anchored", forbid_unknown_fields=True):
    """Lines that are due wait for the next tick of a period."""

    recurringPeriod: AlignmentPeriodAnswer


class CollectionSettingsAnswer(msgspec.Struct, forbid_unknown_fields=True):
    alignment: SubscriptionAlignmentAnswer | AnchoredAlignmentAnswer
    interval: Annotated[WorkflowDuration, Meta(description="for how long late usage is awaited")]


class InvoicingSettingsAnswer(msgspec.Struct, forbid_unknown_fields=True):
    autoAdvance: Annotated[bool, Meta(description="it is issued without an approval")]
    draftPeriod: Annotated[WorkflowDuration, Meta(description="how long it is a draft then")]
    dueAfter: WorkflowDuration
    progressiveBilling: Annotated[bool, Meta(description="whether usage of a running period may be invoiced")]
    subscriptionEndProrationMode: Literal["bill_actual_period", "bill_full_period"]
    defaultTaxConfig: Annotated[TaxConfigBody, Meta(description="of lines that have none")] | UnsetType = (
        UNSET
    )


class PaymentSettingsAnswer(msgspec.Struct, forbid_unknown_fields=True):
    collectionMethod: Literal["charge_automatically", "send_invoice"]


class TaxSettingsAnswer(msgspec.Struct, forbid_unknown_fields=True):
    enabled: bool
    enforced: Annotated[bool, Meta(description="without a tax that can be computed nothing is issued")]


class DunningStepAnswer(msgspec.Struct, forbid_unknown_fields=True):
    after: Annotated[WorkflowDuration, Meta(description="from the due date")]
    action: Literal["notify", "retry_payment"]


class DunningSettingsAnswer(msgspec.Struct, forbid_unknown_fields=True):
    """The reminders of an unpaid invoice."""

    steps: list[DunningStepAnswer] | UnsetType = UNSET
    giveUpAfter: Annotated[WorkflowDuration, Meta(description="from the due date")] | UnsetType = UNSET
    then: Literal["uncollectible", "nothing"] | UnsetType = UNSET


class WorkflowAnswer(msgspec.Struct, forbid_unknown_fields=True):
    collection: CollectionSettingsAnswer
    invoicing: InvoicingSettingsAnswer
    payment: PaymentSettingsAnswer
    tax: TaxSettingsAnswer
    dunning: DunningSettingsAnswer


class WorkflowAppAnswer(msgspec.Struct, forbid_unknown_fields=True):
    """An app by its id; where apps are expanded, all of it, with the members that its type has."""

    id: Ulid
    type: AppType | UnsetType = UNSET
    name: str | UnsetType = UNSET
    status: AppStatusText | UnsetType = UNSET
    listing: ListingAnswer | UnsetType = UNSET
    createdAt: Instant | UnsetType = UNSET
    updatedAt: Instant | UnsetType = UNSET
    statusReason: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    metadata: Metadata | UnsetType = UNSET
    deletedAt: Instant | UnsetType = UNSET
    enableDraftSyncHook: bool | UnsetType = UNSET
    enableIssuingSyncHook: bool | UnsetType = UNSET


class WorkflowAppsAnswer(msgspec.Struct, forbid_unknown_fields=True):
    """The apps that compute taxes, send invoices and collect payments: by id, or whole where they are expanded."""

    tax: WorkflowAppAnswer
    invoicing: WorkflowAppAnswer
    payment: WorkflowAppAnswer


class WorkflowTaxRateAnswer(msgspec.Struct, forbid_unknown_fields=True):
    code: Annotated[str, Meta(description="that lines name")]
    percent: Annotated[str, Meta(description="a decimal, 0 to 100")]
    behavior: Literal["inclusive", "exclusive"]
