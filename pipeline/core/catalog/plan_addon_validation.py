"""What is wrong with an add-on of a plan.

Owns: the rules about an assignment, and how a rate card of the add-on has to match the plan's card with its key. Does
not own: rules about the plan or the add-on alone (plan_validation, addon_validation), what the two cards are together
(subscriptions).
"""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.core.catalog.addon import Addon
from pipeline.core.catalog.catalog_issue import ROOT, CatalogIssue, below, issue, member, of_key, of_place
from pipeline.core.catalog.catalog_now import CatalogNow
from pipeline.core.catalog.catalog_version import VersionStatus
from pipeline.core.catalog.entitlement_template import MeteredTemplate, StaticTemplate
from pipeline.core.catalog.iso_duration import are_equal
from pipeline.core.catalog.plan import Plan
from pipeline.core.catalog.plan_addon import PlanAddon
from pipeline.core.catalog.price import FlatPrice
from pipeline.core.catalog.rate_card import RateCard
from pipeline.core.catalog.rate_card_validation import RATE_CARDS

# By the status of the plan, those that its add-ons may have.
_COMPATIBLE = {"draft": ("draft", "active"), "scheduled": ("draft", "active"), "active": ("active",)}


def assignment_issues(
    plan: Plan, addon: Addon, assignment: PlanAddon, catalog: CatalogNow, status: VersionStatus
) -> Iterator[CatalogIssue]:
    """What is wrong with an assignment.

    Args:
        plan: that offers the add-on.
        addon: the add-on.
        assignment: of the two, stored or about to be.
        catalog: the instant.
        status: of the plan.
    """
    if addon.is_deleted or catalog.status(addon) not in _COMPATIBLE.get(status, ()):
        yield issue("plan_addon_incompatible_status", member(ROOT, "status"))
    most, path = assignment.max_quantity, member(ROOT, "maxQuantity")
    if addon.instance_type == "single" and most is not None:
        yield issue("plan_addon_max_quantity_must_not_be_set", path)
    if addon.instance_type == "multiple" and most is not None and most < 1:
        yield issue("plan_addon_max_quantity_must_be_set", path)
    if addon.currency != plan.currency:
        yield issue("plan_addon_currency_mismatch", member(ROOT, "currency"))
    keys = [phase.key for phase in plan.phases]
    if assignment.from_plan_phase not in keys:
        yield issue("plan_addon_unknown_plan_phase_key", member(ROOT, "fromPlanPhase"))
        return
    for phase in plan.phases[keys.index(assignment.from_plan_phase) :]:
        for place, card in enumerate(phase.rate_cards):
            for other in addon.rate_cards:
                if other.key == card.key:
                    path = of_place(of_key(ROOT, "phases", phase.key), RATE_CARDS, place)
                    yield from below(path, match_issues(card, other))


def match_issues(card: RateCard, other: RateCard) -> Iterator[CatalogIssue]:
    """Why a rate card of an add-on cannot extend one of a plan.

    Args:
        card: the plan's.
        other: the add-on's.
    """
    if card.key != other.key:
        yield issue("rate_card_key_mismatch", member(ROOT, "key"))
    yield from _price_issues(card, other)
    if None not in (card.feature_key, other.feature_key) and card.feature_key != other.feature_key:
        yield issue("rate_card_feature_key_mismatch", member(ROOT, "featureKey"))
    if None not in (card.feature_id, other.feature_id) and card.feature_id != other.feature_id:
        yield issue("rate_card_feature_id_mismatch", member(ROOT, "featureId"))
    if _differ(card.billing_cadence, other.billing_cadence):
        yield issue("rate_card_billing_cadence_mismatch", member(ROOT, "billingCadence"))
    yield from _template_issues(card, other)
    if all(one.discounts is not None and one.discounts.percentage is not None for one in (card, other)):
        yield issue("rate_card_percentage_discount_not_allowed", member(ROOT, "discounts.percentage"))


def _price_issues(card: RateCard, other: RateCard) -> Iterator[CatalogIssue]:
    one, two, path = card.price, other.price, member(ROOT, "price")
    if one is None or two is None:
        return
    if type(one) is not type(two):
        yield issue("rate_card_price_type_mismatch", path)
    if not isinstance(one, FlatPrice):
        yield issue("rate_card_only_flat_price_allowed", path)
    elif isinstance(two, FlatPrice) and one.payment_term != two.payment_term:
        yield issue("rate_card_price_payment_term_mismatch", path)


def _template_issues(card: RateCard, other: RateCard) -> Iterator[CatalogIssue]:
    one, two, path = (
        card.entitlement_template,
        other.entitlement_template,
        member(ROOT, "entitlementTemplate"),
    )
    if one is None or two is None:
        return
    if type(one) is not type(two):
        yield issue("rate_card_entitlement_template_type_mismatch", member(path, "type"))
    elif isinstance(one, StaticTemplate):
        yield issue("rate_card_static_entitlement_template_not_allowed", member(path, "type"))
    elif isinstance(one, MeteredTemplate) and isinstance(two, MeteredTemplate):
        periods = (one.usage_period or card.billing_cadence, two.usage_period or other.billing_cadence)
        if _differ(*periods):
            name = member(path, "usagePeriod")
            yield issue("rate_card_metered_entitlement_template_usage_period_mismatch", name)


def _differ(one: str | None, two: str | None) -> bool:
    """Whether both durations are there and are not equally long."""
    return one is not None and two is not None and not are_equal(one, two)
