"""Bodies of requests about customers and subjects, as OpenAPI shows them.

Owns: members, forms, meaning. Does not own: the rules (core.customers).
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from pipeline.api.http.members import Metadata, Written

ZoneText = Annotated[str, Meta(description="IANA time zone", examples=["Europe/Berlin"])]


class UsageAttributionBody(msgspec.Struct, forbid_unknown_fields=True):
    """Whose usage is the customer's, beside that of its own key."""

    subjectKeys: Annotated[
        list[Annotated[str, Meta(max_length=1024)]],
        Meta(max_length=1000, description="subjects of events; each belongs to one customer at most"),
    ]


class Address(msgspec.Struct, forbid_unknown_fields=True):
    country: Annotated[str, Meta(pattern="^[A-Z]{2}$", description="ISO 3166-1, two letters")] | UnsetType = (
        UNSET
    )
    postalCode: str | UnsetType = UNSET
    state: str | UnsetType = UNSET
    city: str | UnsetType = UNSET
    line1: str | UnsetType = UNSET
    line2: str | UnsetType = UNSET
    phoneNumber: str | UnsetType = UNSET


class CustomerBody(msgspec.Struct, forbid_unknown_fields=True):
    name: Annotated[str, Meta(min_length=1, max_length=256)]
    key: Annotated[
        str, Meta(max_length=256, description="yours, unique; a subject of the same name is its too")
    ] | (UnsetType | None) = UNSET
    description: str | UnsetType | None = UNSET
    usageAttribution: UsageAttributionBody | UnsetType | None = UNSET
    primaryEmail: str | UnsetType | None = UNSET
    currency: Annotated[str, Meta(pattern="^[A-Z]{3}$", description="ISO 4217")] | UnsetType | None = UNSET
    billingAddress: Address | UnsetType | None = UNSET
    timeZone: ZoneText | UnsetType | None = UNSET
    metadata: Metadata | UnsetType | None = UNSET
    id: Written | UnsetType = UNSET
    createdAt: Written | UnsetType = UNSET
    updatedAt: Written | UnsetType = UNSET
    deletedAt: Written | UnsetType = UNSET


class SubjectBody(msgspec.Struct, forbid_unknown_fields=True):
    """A member that is absent stays as it is; null clears it."""

    key: Annotated[str, Meta(min_length=1, max_length=1024, description="`subject` of its events")]
    displayName: Annotated[str, Meta(max_length=256)] | UnsetType | None = UNSET
    metadata: Annotated[dict[str, Any], Meta(description="any JSON; kept and shown")] | UnsetType | None = (
        UNSET
    )
    stripeCustomerId: str | UnsetType | None = UNSET
    id: Written | UnsetType = UNSET
    createdAt: Written | UnsetType = UNSET
    updatedAt: Written | UnsetType = UNSET
