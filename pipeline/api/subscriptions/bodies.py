"""Bodies of requests about subscriptions, as OpenAPI shows them.

Owns: members, forms, meaning. Does not own: the rules (core.subscriptions), phases and rate cards of plans
(api.catalog).
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from pipeline.api.catalog.custom_plan_bodies import CustomPlanBody, PlanChoiceBody, SettlementName
from pipeline.api.catalog.plan_bodies import (
    SETTLEMENT,
    AlignmentBody,
)
from pipeline.api.catalog.rate_card_bodies import (
    CatalogKey,
    Description,
    DisplayName,
    DurationText,
    FlatFeeBody,
    UsageBasedBody,
)
from pipeline.api.http.members import InstantText, Metadata

TIMING = "`immediate`, `next_billing_cycle` or an instant in RFC 3339; a fraction of a second is cut off"
TimingText = Annotated[str, Meta(description=TIMING)]
TimingName = Literal["immediate", "next_billing_cycle"]
AnchorText = Annotated[
    InstantText, Meta(description="a boundary of its billing periods; the start by default")
]
StartingPhase = Annotated[str, Meta(description="key of a phase; those before it are skipped")]
AddonQuantity = Annotated[int, Meta(ge=0, description="at most 1 of instance type `single`")]


class _OrderMembers(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What is ordered: `plan` or `customPlan`."""

    plan: PlanChoiceBody | UnsetType | None = UNSET
    customPlan: CustomPlanBody | UnsetType | None = UNSET
    billingAnchor: AnchorText | UnsetType | None = UNSET
    startingPhase: StartingPhase | UnsetType | None = UNSET
    name: Annotated[DisplayName, Meta(description="the plan's by default")] | UnsetType | None = UNSET
    description: Description | UnsetType | None = UNSET
    metadata: Metadata | UnsetType | None = UNSET
    alignment: AlignmentBody | UnsetType | None = UNSET
    settlementMode: (
        Annotated[SettlementName | None, Meta(description=f"the plan's by default. {SETTLEMENT}")] | UnsetType
    ) = UNSET
    costBasisMode: (
        Annotated[Literal["dynamic"] | None, Meta(description="`pinned` is refused")] | UnsetType
    ) = UNSET


class SubscriptionBody(_OrderMembers, forbid_unknown_fields=True, kw_only=True):
    """A subscription of a customer, to a plan of the catalog or to a custom plan."""

    customerId: Annotated[str, Meta(description="`customerId` or `customerKey`")] | UnsetType | None = UNSET
    customerKey: str | UnsetType | None = UNSET
    timing: (
        Annotated[str, Meta(description=f"when it begins: {TIMING}. `immediate` by default")]
        | UnsetType
        | None
    ) = UNSET


class SubscriptionChangeBody(_OrderMembers, forbid_unknown_fields=True, kw_only=True):
    """The subscription that replaces another one. Without an anchor it keeps the billing periods."""

    timing: TimingText


class MigrationBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """To which version of its plan a subscription moves."""

    timing: Annotated[str, Meta(description=f"{TIMING}. `immediate` by default")] | UnsetType | None = UNSET
    targetVersion: Annotated[int, Meta(ge=1, description="the active one by default")] | UnsetType | None = (
        UNSET
    )
    startingPhase: StartingPhase | UnsetType | None = UNSET
    billingAnchor: AnchorText | UnsetType | None = UNSET


class CancelationBody(msgspec.Struct, forbid_unknown_fields=True):
    timing: (
        Annotated[
            str,
            Meta(
                description="`immediate` (the default), `next_billing_cycle`, or an instant on a boundary of its "
                "billing periods"
            ),
        ]
        | UnsetType
        | None
    ) = UNSET


class AddItemBody(msgspec.Struct, tag_field="op", tag="add_item", forbid_unknown_fields=True):
    """Begin an item. One with the same key ends at that instant."""

    phaseKey: str
    rateCard: FlatFeeBody | UsageBasedBody


class RemoveItemBody(msgspec.Struct, tag_field="op", tag="remove_item", forbid_unknown_fields=True):
    phaseKey: str
    itemKey: str


class AddedPhaseBody(msgspec.Struct, forbid_unknown_fields=True):
    """A phase without items."""

    key: CatalogKey
    name: DisplayName
    description: Description | UnsetType | None = UNSET
    startAfter: (
        Annotated[
            DurationText | None,
            Meta(description="from the start of the subscription; null: when the last phase ends"),
        ]
        | UnsetType
    ) = UNSET
    duration: Annotated[DurationText | None, Meta(description="null for the last phase only")] | UnsetType = (
        UNSET
    )


class AddPhaseBody(msgspec.Struct, tag_field="op", tag="add_phase", forbid_unknown_fields=True):
    phase: AddedPhaseBody


class RemovePhaseBody(msgspec.Struct, tag_field="op", tag="remove_phase", forbid_unknown_fields=True):
    """next: the phases after it begin sooner. prev: the one before it is longer."""

    phaseKey: str
    shift: Literal["next", "prev"]


class StretchPhaseBody(msgspec.Struct, tag_field="op", tag="stretch_phase", forbid_unknown_fields=True):
    phaseKey: str
    extendBy: Annotated[str, Meta(description="ISO 8601 duration; negative to make the phase shorter")]


class UnscheduleEditBody(msgspec.Struct, tag_field="op", tag="unschedule_edit", forbid_unknown_fields=True):
    """Take back the changes of items that are scheduled in the current phase."""


AnyCustomization = (
    AddItemBody | RemoveItemBody | AddPhaseBody | RemovePhaseBody | StretchPhaseBody | UnscheduleEditBody
)


class SubscriptionEditBody(msgspec.Struct, forbid_unknown_fields=True):
    """Customizations in their order, all or none."""

    customizations: Annotated[list[AnyCustomization], Meta(min_length=1, max_length=100)]
    timing: Annotated[TimingName | None, Meta(description="`immediate` by default")] | UnsetType = UNSET


class AddonChoiceBody(msgspec.Struct, forbid_unknown_fields=True):
    id: Annotated[str, Meta(description="id of a version of the add-on, or its key")]


class SubscriptionAddonBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """An add-on to buy. The plan of the subscription has to offer it."""

    addon: AddonChoiceBody
    quantity: Annotated[int, Meta(ge=1, description="1 of instance type `single`")]
    timing: Annotated[str, Meta(description=f"{TIMING}. `immediate` by default")] | UnsetType | None = UNSET
    name: Annotated[DisplayName, Meta(description="the add-on's by default")] | UnsetType | None = UNSET
    description: Description | UnsetType | None = UNSET
    metadata: Metadata | UnsetType | None = UNSET


class SubscriptionAddonChangeBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A member that is absent or null stays as it is."""

    quantity: Annotated[AddonQuantity | None, Meta(description="0 ends it")] | UnsetType = UNSET
    timing: (
        Annotated[
            str, Meta(description=f"of the quantity, without which it is refused: {TIMING}; now by default")
        ]
        | UnsetType
        | None
    ) = UNSET
    name: DisplayName | UnsetType | None = UNSET
    description: Description | UnsetType | None = UNSET
    metadata: Metadata | UnsetType | None = UNSET
