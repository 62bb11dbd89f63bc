"""Plans, add-ons and assignments as replies and answers show them: with their status and what is wrong with them.

Owns: these members. Does not own: what is stored (plan, addon, plan_addon), the rules (the validation modules), the
form of numbers (api/catalog). Both are derived from the definitions as they are: a feature that was archived after a
plan was published shows in the plan's `validationErrors`.
"""

from __future__ import annotations

from pipeline.core.catalog.addon import Addon
from pipeline.core.catalog.addon_validation import addon_issues
from pipeline.core.catalog.catalog_issue import shown
from pipeline.core.catalog.catalog_now import CatalogNow
from pipeline.core.catalog.plan import Plan
from pipeline.core.catalog.plan_addon import PlanAddon
from pipeline.core.catalog.plan_addon_validation import assignment_issues
from pipeline.core.catalog.plan_validation import plan_issues
from pipeline.core.definitions.context import Body


def plan_json(plan: Plan, catalog: CatalogNow) -> Body:
    """A version of a plan."""
    return {
        **plan.members,
        "status": plan.status_at(catalog.at_ms),
        "validationErrors": shown(plan_issues(plan, catalog)),
    }


def addon_json(addon: Addon, catalog: CatalogNow) -> Body:
    """A version of an add-on."""
    return {
        **addon.members,
        "status": addon.status_at(catalog.at_ms),
        "validationErrors": shown(addon_issues(addon, catalog)),
    }


def plan_addon_json(assignment: PlanAddon, plan: Plan, addon: Addon, catalog: CatalogNow) -> Body:
    """An add-on of a plan, with the add-on."""
    members = {name: value for name, value in assignment.members.items() if name not in ("planId", "addonId")}
    found = assignment_issues(plan, addon, assignment, catalog, plan.status_at(catalog.at_ms))
    return {**members, "addon": addon_json(addon, catalog), "validationErrors": shown(found)}
