"""A subscription as it is stored: phases that follow one another, and the versions of the items in each.

Owns: the Structs. Does not own: when each part is in force (timeline), answers to clients (subscription_json).

The end of a subscription is kept beside its phases and never cuts them, so that a cancelation can be undone without
loss; `timeline` cuts. A phase is stored by its length and an item follows its phase where it has no instant of its own,
so a phase that begins later moves as a whole. Rate cards are copies: a plan that changes does not change them.
Instants are seconds since 1970.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from pipeline.core.catalog.plan import PlanAlignment, ProRatingConfig, SettlementMode
from pipeline.core.catalog.rate_card import RateCard
from pipeline.core.values.calendar import Interval
from pipeline.core.values.zone import UTC

CostBasisMode = Literal["dynamic", "pinned"]
AddonInstances = Literal["single", "multiple"]


class PlanReference(msgspec.Struct, frozen=True):
    """The version of a plan that a subscription was made from."""

    id: str
    key: str
    version: int


class SubscriptionItem(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One version of an item.

    Args:
        card: what the item costs and which entitlement it gives.
        from_s: None: from the start of its phase.
        to_s: None: to the end of its phase.
    """

    id: str
    card: RateCard
    from_s: int | None = None
    to_s: int | None = None


class SubscriptionPhase(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A phase.

    Args:
        duration: None: without an end, for the last phase.
        timelines: the versions of each item by its key, from version 0 on.
    """

    id: str
    key: str
    name: str
    description: str | None = None
    metadata: dict[str, str] | None = None
    duration: Interval | None
    timelines: dict[str, tuple[SubscriptionItem, ...]]


class QuantityChange(msgspec.Struct, frozen=True, rename="camel"):
    """From an instant on, an add-on is bought so many times."""

    at_s: int
    quantity: int


class SubscriptionAddon(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """An add-on that was bought, with all its quantities.

    Args:
        addon_id, addon_key, addon_version: of the add-on in the catalog.
        rate_cards: copies of the add-on's.
        from_phase: key of the phase from which the plan offers it.
        changes: in the order of their instants.
    """

    id: str
    addon_id: str
    addon_key: str
    addon_version: int
    instance_type: AddonInstances
    name: str
    description: str | None = None
    metadata: dict[str, str] | None = None
    rate_cards: tuple[RateCard, ...]
    from_phase: str
    max_quantity: int | None = None
    changes: tuple[QuantityChange, ...]


class Subscription(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A subscription, deleted ones too.

    Args:
        plan: None: made from a custom plan.
        currency: ISO 4217, of its invoices.
        billing_cadence: an ISO 8601 duration.
        billing_anchor_s: from which billing periods are counted; before or after the start.
        zone: in which months and days are counted.
        active_from_s, active_to_s: [from, to); None: without an end.
    """

    id: str
    customer_id: str
    name: str
    description: str | None = None
    metadata: dict[str, str] | None = None
    plan: PlanReference | None = None
    currency: str
    billing_cadence: str
    billing_anchor_s: int
    zone: str = UTC
    pro_rating_config: ProRatingConfig
    settlement_mode: SettlementMode
    cost_basis_mode: CostBasisMode = "dynamic"
    alignment: PlanAlignment | None = None
    active_from_s: int
    active_to_s: int | None = None
    phases: tuple[SubscriptionPhase, ...]
    addons: tuple[SubscriptionAddon, ...] = ()
    created_at_s: int
    updated_at_s: int
    deleted_at_s: int | None = None

    @property
    def is_deleted(self) -> bool:
        return self.deleted_at_s is not None
