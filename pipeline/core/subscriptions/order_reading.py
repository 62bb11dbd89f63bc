"""Orders of subscriptions that clients send: to create one, to change to another plan, to migrate to another version.

Owns: which members each may have, which plan an order names. Does not own: the members of a custom plan
(catalog.plan_reading), what is wrong with one (catalog.plan_validation), when it begins (from_plan).
Source: openmeterio/openmeter at 7e57a394, `api/openapi.yaml` SubscriptionCreate, SubscriptionChange.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple, get_args

from pipeline.core.catalog.catalog_issue import below, refuse_all
from pipeline.core.catalog.catalog_now import CatalogNow
from pipeline.core.catalog.plan import Plan, PlanAlignment, ProRatingConfig, SettlementMode
from pipeline.core.catalog.plan_reading import DEFAULT_CURRENCY, MEMBERS, read_plan
from pipeline.core.catalog.plan_validation import plan_issues
from pipeline.core.catalog.rate_card_reading import MOST_DESCRIPTION, MOST_KEY, MOST_NAME
from pipeline.core.customers.customer import MAX_KEY, Customer
from pipeline.core.definitions.body import BodyReader
from pipeline.core.subscriptions.from_plan import PlanOrigin, SubscriptionOrder
from pipeline.core.subscriptions.subscription import CostBasisMode, Subscription
from pipeline.core.subscriptions.timing import Timing
from pipeline.core.subscriptions.timing_reading import read_second, read_timing
from pipeline.core.values import timestamp
from pipeline.core.values.zone import UTC
from pipeline.errors import Rejected

SUBSCRIPTION: Final = "subscription"
MOST_VERSION: Final = 2**31 - 1
CUSTOM_KEY: Final = "custom"  # of a plan that was sent with the order; it is not stored
_CHOSEN = (
    "plan", "customPlan", "timing", "billingAnchor", "startingPhase", "name", "description", "metadata", "alignment",
    "settlementMode", "costBasisMode",
)  # fmt: skip


class PlacedOrder(NamedTuple):
    """An order and the plan that it names."""

    plan: Plan
    order: SubscriptionOrder


class MigrationOrder(NamedTuple):
    """A migration: to which version, and how. starting_phase, billing_anchor_s: as of a SubscriptionOrder."""

    plan: Plan
    timing: Timing
    starting_phase: str | None
    billing_anchor_s: int | None


def read_create(body: Mapping[str, object], customer: Customer, catalog: CatalogNow) -> PlacedOrder:
    """A subscription that a customer orders.

    Raises:
        Rejected: `bad-subscription`, `bad-plan` for a member of a custom plan; `not-found` without the plan, or if the
            customer has another id or key by now.
    """
    sent = BodyReader(SUBSCRIPTION, body, ("customerId", "customerKey", *_CHOSEN))
    _check_customer(sent, customer)
    return _placed(sent, customer, catalog, read_timing(sent) or "immediate")


def read_change(body: Mapping[str, object], customer: Customer, catalog: CatalogNow) -> PlacedOrder:
    """The subscription that replaces another one. Its timing is required. Raises as `read_create`."""
    sent = BodyReader(SUBSCRIPTION, body, _CHOSEN)
    timing = read_timing(sent)
    if timing is None:
        sent.refuse("subscription timing is required")
    return _placed(sent, customer, catalog, timing)


def read_migration(
    body: Mapping[str, object], subscription: Subscription, catalog: CatalogNow
) -> MigrationOrder:
    """A migration of a subscription; without a version to the one that is sold.

    Raises:
        Rejected: `bad-subscription`, also for a subscription of a custom plan; `not-found` without the version.
    """
    sent = BodyReader(SUBSCRIPTION, body, ("timing", "targetVersion", "startingPhase", "billingAnchor"))
    if subscription.plan is None:
        sent.refuse("a subscription of a custom plan cannot be migrated")
    version = sent.integer("targetVersion", 1, MOST_VERSION)
    return MigrationOrder(
        _plan_of(catalog, subscription.plan.key, version),
        read_timing(sent) or "immediate",
        sent.text("startingPhase", MOST_KEY),
        read_second(sent, "billingAnchor"),
    )


def _check_customer(sent: BodyReader, customer: Customer) -> None:
    id, key = sent.text("customerId", MAX_KEY), sent.text("customerKey", MAX_KEY)
    if id is None and key is None:
        sent.refuse("subscription customerId or customerKey is required")
    if id not in (None, customer.id) or key not in (None, customer.key):
        raise Rejected(
            "not-found", f"There is no customer with the id {str(id)[:64]} and the key {str(key)[:64]}."
        )


def _placed(sent: BodyReader, customer: Customer, catalog: CatalogNow, timing: Timing) -> PlacedOrder:
    plan, origin = read_choice(sent, catalog)
    own = (
        plan if origin == "custom" else None
    )  # of no other subscription, so its texts are the subscription's
    description = sent.text("description", MOST_DESCRIPTION, multiline=True)
    metadata = sent.metadata()
    settlement: SettlementMode | None = sent.one_of("settlementMode", get_args(SettlementMode))
    return PlacedOrder(
        plan,
        SubscriptionOrder(
            customer_id=customer.id,
            origin=origin,
            timing=timing,
            zone=customer.time_zone or UTC,
            billing_anchor_s=read_second(sent, "billingAnchor"),
            starting_phase=sent.text("startingPhase", MOST_KEY),
            name=sent.text("name", MOST_NAME),
            description=own.description if own is not None and description is None else description,
            metadata=own.metadata if own is not None and metadata is None else metadata,
            alignment=_alignment(sent),
            settlement_mode=settlement,
            cost_basis_mode=_cost_basis(sent),
        ),
    )


def read_choice(sent: BodyReader, catalog: CatalogNow) -> tuple[Plan, PlanOrigin]:
    """The plan that a body names, or has in it: `plan` or `customPlan`.

    Raises:
        Rejected: `bad-subscription`; `not-found` without a plan of the name.
    """
    named, custom = sent.nested("plan"), sent.nested("customPlan")
    if (named is None) == (custom is None):
        sent.refuse("subscription must have either plan or customPlan")
    if custom is not None:
        return _custom_plan(custom, catalog), "custom"
    parts = BodyReader(SUBSCRIPTION, named or {}, ("key", "version"), inside="plan")
    version = parts.integer("version", 1, MOST_VERSION)
    return _plan_of(catalog, parts.required("key", MOST_KEY), version), "catalog"


def _plan_of(catalog: CatalogNow, key: str, version: int | None) -> Plan:
    """The version of a plan that an order names: whether it is sold when the subscription begins is checked there."""
    if version is None:
        found = catalog.active(Plan, key)
        label = "active plan"
    else:
        found = next((one for one in catalog.versions(Plan, key) if one.version == version), None)
        label = f"version {version} of a plan"
    if found is None:
        raise Rejected("not-found", f"There is no {label} with the key {key}.")
    return found


def _custom_plan(body: Mapping[str, object], catalog: CatalogNow) -> Plan:
    """A plan that is sent with the order. It must be as one that is published."""
    parts = BodyReader(SUBSCRIPTION, body, ("currency", *MEMBERS), inside="customPlan")
    now = timestamp.text_of(catalog.at_ms)
    empty = Plan(
        id="",
        key=CUSTOM_KEY,
        version=1,
        name="",
        currency=parts.text("currency", 64) or DEFAULT_CURRENCY,
        created_at=now,
        updated_at=now,
        billing_cadence="",
        pro_rating_config=ProRatingConfig(),
        settlement_mode="credit_then_invoice",
        phases=(),
    )
    plan = read_plan(parts, catalog, empty)
    if found := plan_issues(plan, catalog, "active"):
        refuse_all(SUBSCRIPTION, below("$.customPlan", found))
    return plan


def _alignment(sent: BodyReader) -> PlanAlignment | None:
    body = sent.nested("alignment")
    if body is None:
        return None
    parts = BodyReader(SUBSCRIPTION, body, ("billablesMustAlign",), inside="alignment")
    return PlanAlignment(parts.flag("billablesMustAlign"))


def _cost_basis(sent: BodyReader) -> CostBasisMode:
    mode: CostBasisMode | None = sent.one_of("costBasisMode", get_args(CostBasisMode))
    if mode == "pinned":
        sent.refuse("subscription costBasisMode must be dynamic: no cost basis can be pinned")
    return mode or "dynamic"
