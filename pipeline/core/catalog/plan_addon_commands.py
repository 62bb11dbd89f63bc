"""The commands about add-ons of plans.

Owns: deciding plan-addon.*. Does not own: what is wrong with an assignment (plan_addon_validation), plans
(plan_commands), add-ons (addon_commands).

While a plan is a draft, warnings are kept and refuse its publishing. An active plan is not published again, so that its
assignments must have no issue at all.
"""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.core.catalog.addon import Addon
from pipeline.core.catalog.catalog_issue import refuse_all
from pipeline.core.catalog.plan import Plan
from pipeline.core.catalog.plan_addon import PlanAddon
from pipeline.core.catalog.plan_addon_validation import assignment_issues
from pipeline.core.catalog.rate_card_reading import MOST_KEY
from pipeline.core.catalog.version_commands import MOST_REFERENCE, catalog_of, version_named
from pipeline.core.catalog.version_json import plan_addon_json
from pipeline.core.definitions.body import BodyReader
from pipeline.core.definitions.context import CommandContext, Decided, DefinitionChange
from pipeline.core.definitions.kinds import PLAN_ADDON
from pipeline.errors import Rejected

MOST_OF_A_PLAN = 100
MOST_QUANTITY = 2**31 - 1
_MEMBERS = ("fromPlanPhase", "maxQuantity", "metadata")
_WRITTEN = ("createdAt", "updatedAt", "deletedAt", "annotations", "addon", "validationErrors")


def create(context: CommandContext) -> Decided:
    """plan-addon.create: customers of the plan can buy the add-on.

    Raises:
        Rejected: `bad-plan-addon`; `plan-addon-conflict` if the add-on is assigned already; `not-found`.
    """
    plan, catalog = version_named(context, Plan, "planId"), catalog_of(context)
    sent = BodyReader(PLAN_ADDON, context.asked("planId"), ("addonId", *_MEMBERS), _WRITTEN)
    sent.required("addonId", MOST_REFERENCE)
    addon = version_named(context, Addon, "addonId", "active if any")
    assigned = catalog.assignments(plan.id)
    if any(one.addon_id == addon.id for one in assigned):
        raise Rejected(
            "plan-addon-conflict", f"add-on {addon.key} is assigned to the plan {plan.key} already"
        )
    if len(assigned) >= MOST_OF_A_PLAN:
        sent.refuse(f"a plan must have at most {MOST_OF_A_PLAN} add-ons")
    base = PlanAddon(
        id=context.id(),
        plan_id=plan.id,
        addon_id=addon.id,
        from_plan_phase="",
        created_at=context.now,
        updated_at="",
    )
    assignment = _read(sent, base).changed(updated_at=context.now)
    return _decided(context, plan, addon, assignment)


def update(context: CommandContext) -> Decided:
    """plan-addon.update: replaces what a client can change of it. The same again changes nothing.

    Raises:
        Rejected: `bad-plan-addon`; `not-found`.
    """
    plan, addon, old = _existing(context)
    stored = plan_addon_json(old, plan, addon, catalog_of(context))
    asked = context.asked("planId", "id")
    shown = asked.get("addon")
    if isinstance(shown, Mapping) and shown.get("id") == addon.id:
        asked["addon"] = stored["addon"]  # answers write some of its amounts as numbers
    sent = BodyReader(PLAN_ADDON, asked, _MEMBERS, ("addonId", *_WRITTEN), stored)
    new = _read(sent, old)
    if new == old:
        return Decided([], stored)
    return _decided(context, plan, addon, new.in_place_of(old).changed(updated_at=context.now))


def delete(context: CommandContext) -> Decided:
    """plan-addon.delete: it can be bought no longer; customers who bought it keep it.

    Raises:
        Rejected: `not-found`.
    """
    BodyReader(PLAN_ADDON, context.body, ("planId", "id"))
    _, _, old = _existing(context)
    gone = old.changed(deleted_at=context.now, updated_at=context.now)
    return Decided([DefinitionChange(PLAN_ADDON, old.id, gone)])


def _existing(context: CommandContext) -> tuple[Plan, Addon, PlanAddon]:
    """The assignment that `id` names within a plan: by its own id, or by the id or key of its add-on."""
    plan, catalog = version_named(context, Plan, "planId"), catalog_of(context)
    wanted = BodyReader(PLAN_ADDON, {"id": context.body.get("id")}, ("id",)).required("id", MOST_REFERENCE)
    found = catalog.assigned(plan.id, wanted)
    if found is None:
        raise Rejected("not-found", f"The plan {plan.key} has no add-on with the id or key {wanted}.")
    return plan, found[1], found[0]


def _decided(context: CommandContext, plan: Plan, addon: Addon, assignment: PlanAddon) -> Decided:
    catalog = catalog_of(context)
    status = plan.status_at(context.at_ms)
    found = list(assignment_issues(plan, addon, assignment, catalog, status))
    if found and status in ("active", "archived"):
        refuse_all(PLAN_ADDON, found)
    shown = plan_addon_json(assignment, plan, addon, catalog)
    return Decided([DefinitionChange(PLAN_ADDON, assignment.id, assignment)], shown)


def _read(sent: BodyReader, base: PlanAddon) -> PlanAddon:
    return PlanAddon(
        id=base.id,
        plan_id=base.plan_id,
        addon_id=base.addon_id,
        from_plan_phase=sent.required("fromPlanPhase", MOST_KEY),
        max_quantity=sent.integer("maxQuantity", -MOST_QUANTITY, MOST_QUANTITY),
        metadata=sent.metadata(),
        created_at=base.created_at,
        updated_at=base.updated_at,
    )
