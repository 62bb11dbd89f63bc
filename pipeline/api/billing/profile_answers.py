"""Answers about billing profiles and overrides, as OpenAPI shows them.

Owns: members, forms, meaning. Does not own: how they are made (core.invoices.profile_json), the settings' own form
(workflow_answers).
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from pipeline.api.billing.workflow_answers import WorkflowAnswer, WorkflowAppsAnswer, WorkflowTaxRateAnswer
from pipeline.api.customers.answers import CustomerAnswer
from pipeline.api.customers.bodies import Address, ZoneText
from pipeline.api.http.members import Instant, Metadata, Ulid, page_of


class PartyTaxIdAnswer(msgspec.Struct, forbid_unknown_fields=True):
    code: str


class SupplierAnswer(msgspec.Struct, forbid_unknown_fields=True):
    """Who sends the invoices."""

    key: str | UnsetType = UNSET
    name: str | UnsetType = UNSET
    taxId: PartyTaxIdAnswer | UnsetType = UNSET
    addresses: list[Address] | UnsetType = UNSET


class NumberingAnswer(msgspec.Struct, forbid_unknown_fields=True):
    """Numbers of issued invoices: PREFIX-CUSTOMER-n, without a gap or a repeat in a series."""

    prefix: str
    scope: Annotated[
        Literal["namespace", "customer", "profile"], Meta(description="what has a series of its own")
    ]
    start: Annotated[int, Meta(description="the first number of each series")]


class BillingProfileAnswer(msgspec.Struct, forbid_unknown_fields=True):
    """How customers are billed. Every namespace has one from the beginning; its instants are then those of 1970."""

    id: Ulid
    name: str
    supplier: SupplierAnswer
    default: Annotated[bool, Meta(description="it is in force for customers without an override")]
    workflow: WorkflowAnswer
    apps: WorkflowAppsAnswer
    timeZone: Annotated[ZoneText, Meta(description="in which days and months are counted")]
    numbering: NumberingAnswer
    taxRates: Annotated[list[WorkflowTaxRateAnswer], Meta(description="with which invoices are taxed")]
    createdAt: Instant
    updatedAt: Instant
    description: str | UnsetType = UNSET
    metadata: Metadata | UnsetType = UNSET
    deletedAt: Instant | UnsetType = UNSET


class CustomerOverrideAnswer(msgspec.Struct, forbid_unknown_fields=True):
    customerId: Ulid
    createdAt: Instant
    updatedAt: Instant
    billingProfileId: (
        Annotated[Ulid, Meta(description="absent: the default profile, whichever it is")] | UnsetType
    ) = UNSET


class CustomerProfileAnswer(msgspec.Struct, forbid_unknown_fields=True):
    """What is in force for a customer."""

    supplier: SupplierAnswer
    workflow: WorkflowAnswer
    apps: WorkflowAppsAnswer
    timeZone: ZoneText
    numbering: NumberingAnswer
    taxRates: list[WorkflowTaxRateAnswer]


class BillingOverrideAnswer(msgspec.Struct, forbid_unknown_fields=True):
    """A customer's override, and the profile that is in force for the customer."""

    baseBillingProfileId: Annotated[Ulid, Meta(description="of the profile in force")]
    customerProfile: CustomerProfileAnswer
    customerOverride: (
        Annotated[CustomerOverrideAnswer, Meta(description="absent: the customer has no override")]
        | UnsetType
    ) = UNSET
    customer: Annotated[CustomerAnswer, Meta(description="where it is expanded")] | UnsetType = UNSET


BillingProfilePage = page_of(BillingProfileAnswer)
BillingOverridePage = page_of(BillingOverrideAnswer)
