"""Bodies of requests about plans, add-ons and add-ons of plans, as OpenAPI shows them.

Owns: members, forms, meaning. Does not own: the rules (core.catalog), rate cards (rate_card_bodies). What answers show
and only the server writes may be sent back as it was read.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from pipeline.api.catalog.rate_card_bodies import (
    CatalogKey,
    Description,
    DisplayName,
    DurationText,
    RateCards,
)
from pipeline.api.http.members import Metadata, Written

PlanCadence = Literal["P1W", "P2W", "P4W", "P1M", "P3M", "P6M", "P12M", "P1Y"]
CurrencyCode = Annotated[str, Meta(pattern="^[A-Z]{3}$", description="ISO 4217; USD by default")]
InstanceType = Annotated[
    Literal["single", "multiple"],
    Meta(description="whether a subscription can have it once or several times"),
]
_SENT_BACK = Meta(
    description="written by the server: absent, or as it was read", extra_json_schema={"readOnly": True}
)
WrittenVersion = Annotated[int | None, _SENT_BACK]
WrittenErrors = Annotated[list[Any] | None, _SENT_BACK]
WrittenAddon = Annotated[dict[str, Any] | None, _SENT_BACK]


class AlignmentBody(msgspec.Struct, forbid_unknown_fields=True):
    """Deprecated in OpenMeter; kept and shown."""

    billablesMustAlign: bool | UnsetType | None = UNSET


class ProRatingBody(msgspec.Struct, forbid_unknown_fields=True):
    """Whether a flat price of a part of a period is the part's share. By default it is."""

    enabled: bool | UnsetType | None = UNSET
    mode: Literal["prorate_prices"] | UnsetType | None = UNSET


class PhaseBody(msgspec.Struct, forbid_unknown_fields=True):
    key: CatalogKey
    name: DisplayName
    rateCards: RateCards
    duration: Annotated[DurationText | None, Meta(description="null for the last phase only")] | UnsetType = (
        UNSET
    )
    description: Description | UnsetType | None = UNSET
    metadata: Metadata | UnsetType | None = UNSET


SETTLEMENT: Final = (
    "credit_only: there is no invoice; fees and usage are taken from credits when their lines are due, on a statement "
    "by which nothing is due; what credits do not cover makes the balance negative, until the next credits cover it"
)


class _VersionMembers(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What every version has."""

    name: DisplayName
    description: Description | UnsetType | None = UNSET
    metadata: Metadata | UnsetType | None = UNSET
    id: Written | UnsetType = UNSET
    version: WrittenVersion | UnsetType = UNSET
    createdAt: Written | UnsetType = UNSET
    updatedAt: Written | UnsetType = UNSET
    deletedAt: Written | UnsetType = UNSET
    effectiveFrom: Written | UnsetType = UNSET
    effectiveTo: Written | UnsetType = UNSET
    status: Written | UnsetType = UNSET
    validationErrors: WrittenErrors | UnsetType = UNSET


class _PlanMembers(_VersionMembers, forbid_unknown_fields=True, kw_only=True):
    billingCadence: Annotated[PlanCadence, Meta(description="how often its customers are billed")]
    phases: Annotated[list[PhaseBody], Meta(max_length=50)]
    alignment: AlignmentBody | UnsetType | None = UNSET
    proRatingConfig: ProRatingBody | UnsetType | None = UNSET
    settlementMode: (
        Annotated[
            Literal["credit_then_invoice", "credit_only"] | None,
            Meta(description=SETTLEMENT),
        ]
        | UnsetType
    ) = UNSET


class PlanBody(_PlanMembers, forbid_unknown_fields=True, kw_only=True):
    """A draft of a plan."""

    key: Annotated[CatalogKey, Meta(description="versions of a plan share it")]
    currency: CurrencyCode | UnsetType | None = UNSET


class PlanUpdateBody(_PlanMembers, forbid_unknown_fields=True, kw_only=True):
    """All of a draft but its key and currency."""

    key: Written | UnsetType = UNSET
    currency: Written | UnsetType = UNSET


class _AddonMembers(_VersionMembers, forbid_unknown_fields=True, kw_only=True):
    instanceType: InstanceType
    rateCards: RateCards


class AddonBody(_AddonMembers, forbid_unknown_fields=True, kw_only=True):
    """A draft of an add-on. `multiple`: all prices are flat or free."""

    key: Annotated[CatalogKey, Meta(description="versions of an add-on share it")]
    currency: CurrencyCode | UnsetType | None = UNSET


class AddonUpdateBody(_AddonMembers, forbid_unknown_fields=True, kw_only=True):
    """All of a draft but its key and currency."""

    key: Written | UnsetType = UNSET
    currency: Written | UnsetType = UNSET


class _PlanAddonMembers(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    fromPlanPhase: Annotated[str, Meta(description="key of the phase from which on it can be bought")]
    maxQuantity: (
        Annotated[
            int, Meta(description="for add-ons of instance type `multiple` only; any number by default")
        ]
        | UnsetType
        | None
    ) = UNSET
    metadata: Metadata | UnsetType | None = UNSET
    createdAt: Written | UnsetType = UNSET
    updatedAt: Written | UnsetType = UNSET
    deletedAt: Written | UnsetType = UNSET
    addon: WrittenAddon | UnsetType = UNSET
    validationErrors: WrittenErrors | UnsetType = UNSET


class PlanAddonBody(_PlanAddonMembers, forbid_unknown_fields=True, kw_only=True):
    """An add-on that customers of the plan can buy."""

    addonId: Annotated[
        str, Meta(description="id of a version of the add-on, or its key: the active version, if any")
    ]
    id: Written | UnsetType = UNSET


class PlanAddonUpdateBody(_PlanAddonMembers, forbid_unknown_fields=True, kw_only=True):
    addonId: Written | UnsetType = UNSET
    id: Written | UnsetType = UNSET
