"""What is wrong with a version of a plan.

Owns: the rules about a plan, its phases, their cadences and the add-ons that are assigned to it. Does not own: rules
about rate cards (rate_card_validation) and about one assignment (plan_addon_validation).
"""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.core.catalog.addon import Addon
from pipeline.core.catalog.catalog_issue import (
    CADENCES,
    ROOT,
    CatalogIssue,
    below,
    issue,
    member,
    of_key,
    of_place,
)
from pipeline.core.catalog.catalog_now import CatalogNow
from pipeline.core.catalog.catalog_version import VersionStatus
from pipeline.core.catalog.iso_duration import are_aligned, exact_duration
from pipeline.core.catalog.plan import Plan, PlanPhase
from pipeline.core.catalog.plan_addon_validation import assignment_issues
from pipeline.core.catalog.rate_card_validation import RATE_CARDS, rate_card_issues
from pipeline.core.catalog.version_validation import version_issues


def plan_issues(plan: Plan, catalog: CatalogNow, status: VersionStatus | None = None) -> list[CatalogIssue]:
    """All that is wrong with a plan, by the definitions as they are.

    Args:
        plan: a version, stored or about to be.
        catalog: where features, meters and assigned add-ons are found.
        status: by which assigned add-ons are checked; None: its own.
    """
    return [
        *_own_issues(plan, catalog),
        *_assigned_issues(plan, catalog, status or plan.status_at(catalog.at_ms)),
    ]


def _own_issues(plan: Plan, catalog: CatalogNow) -> Iterator[CatalogIssue]:
    if not plan.key:
        yield issue("resource_key_empty", member(ROOT, "key"))
    if not plan.name:
        yield issue("resource_name_empty", member(ROOT, "name"))
    yield from version_issues(plan)
    if plan.billing_cadence not in CADENCES:
        yield issue("plan_billing_cadence_invalid", member(ROOT, "billingCadence"))
    yield from _cadence_issues(plan)
    if not plan.phases:
        yield issue("plan_with_no_phases", member(ROOT, "phases"))
    keys = set[str]()
    for place, phase in enumerate(plan.phases):
        path = of_key(ROOT, "phases", phase.key)
        if phase.key in keys:
            yield issue("plan_phase_duplicated_key", member(path, "key"))
        keys.add(phase.key)
        is_last = place == len(plan.phases) - 1
        yield from below(path, _phase_issues(plan, phase, is_last, catalog))


def _phase_issues(plan: Plan, phase: PlanPhase, is_last: bool, catalog: CatalogNow) -> Iterator[CatalogIssue]:
    path = member(ROOT, "duration")
    if phase.duration is None and not is_last:
        yield issue("plan_has_non_last_phase_with_no_duration", path)
    if phase.duration is not None:
        if is_last:
            yield issue("plan_has_last_phase_with_duration", path)
        duration = exact_duration(phase.duration)
        if duration.is_negative:
            yield issue("plan_phase_with_negative_duration", path)
        elif duration.is_below_an_hour:
            yield issue("plan_phase_duration_less_then_an_hour", path)
    if not phase.rate_cards:
        yield issue("plan_phase_has_no_rate_cards", member(ROOT, "rateCards"))
    yield from rate_card_issues(phase.rate_cards, catalog)
    for place, card in enumerate(phase.rate_cards):
        if card.currency is not None and card.currency != plan.currency:
            path = member(of_place(ROOT, RATE_CARDS, place), "currency")
            yield issue("plan_multiple_fiat_currencies", path)


def _cadence_issues(plan: Plan) -> Iterator[CatalogIssue]:
    """Each card whose cadence does not go with the plan's, and the plan's cadence if there is such a card."""
    unaligned = [
        member(of_place(of_key(ROOT, "phases", phase.key), RATE_CARDS, place), "billingCadence")
        for phase in plan.phases
        for place, card in enumerate(phase.rate_cards)
        if card.recurring_cadence is not None
        and not are_aligned(plan.billing_cadence, card.recurring_cadence)
    ]
    if unaligned:
        yield issue("plan_billing_cadence_not_compatible", member(ROOT, "billingCadence"))
    yield from (issue("rate_card_billing_cadence_unaligned", path) for path in unaligned)


def _assigned_issues(plan: Plan, catalog: CatalogNow, status: VersionStatus) -> Iterator[CatalogIssue]:
    for assignment in catalog.assignments(plan.id):
        addon = catalog.index.find(Addon, catalog.namespace, assignment.addon_id)
        if addon is None:
            continue
        found = list(assignment_issues(plan, addon, assignment, catalog, status))
        if found:
            path = of_key(ROOT, "addons", addon.key)
            yield issue("plan_has_incompatible_addon", path)
            yield from below(path, found)
