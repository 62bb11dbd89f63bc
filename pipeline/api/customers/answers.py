"""Answers about customers and subjects, as OpenAPI shows them.

Owns: members, forms, meaning. Does not own: how they are made (core.customers).
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from pipeline.api.customers.bodies import Address, UsageAttributionBody, ZoneText
from pipeline.api.http.members import Instant, Metadata, Ulid, page_of


class CustomerAnswer(msgspec.Struct, forbid_unknown_fields=True):
    id: Ulid
    name: str
    createdAt: Instant
    updatedAt: Instant
    usageAttribution: UsageAttributionBody
    key: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    primaryEmail: str | UnsetType = UNSET
    currency: Annotated[str, Meta(description="ISO 4217")] | UnsetType = UNSET
    billingAddress: Address | UnsetType = UNSET
    timeZone: ZoneText | UnsetType = UNSET
    metadata: Metadata | UnsetType = UNSET
    deletedAt: Instant | UnsetType = UNSET


class SubjectAnswer(msgspec.Struct, forbid_unknown_fields=True):
    id: Ulid
    key: Annotated[str, Meta(description="`subject` of its events")]
    createdAt: Instant
    updatedAt: Instant
    displayName: str | UnsetType = UNSET
    metadata: dict[str, Any] | UnsetType = UNSET
    stripeCustomerId: str | UnsetType = UNSET


CustomerPage = page_of(CustomerAnswer)
