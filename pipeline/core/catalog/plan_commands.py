"""The commands about plans.

Owns: deciding plan.*: from which status each is allowed, and what it changes. Does not own: what is wrong with a plan
(plan_validation), what add-ons do in the same way (version_commands).
"""

from __future__ import annotations

from pipeline.core.catalog.catalog_issue import refuse_all, refuse_critical
from pipeline.core.catalog.plan import Plan, ProRatingConfig
from pipeline.core.catalog.plan_reading import DEFAULT_CURRENCY, MEMBERS, read_plan
from pipeline.core.catalog.plan_validation import plan_issues
from pipeline.core.catalog.version_commands import (
    WRITTEN,
    archived,
    catalog_of,
    check_status,
    deleted,
    key_of,
    next_version,
    only_named,
    published,
    version_named,
)
from pipeline.core.catalog.version_json import plan_json
from pipeline.core.definitions.body import BodyReader
from pipeline.core.definitions.context import CommandContext, Decided, DefinitionChange
from pipeline.core.definitions.kinds import PLAN, PLAN_ADDON


def create(context: CommandContext) -> Decided:
    """plan.create: a draft: version 1 of its key, or the one after the newest.

    Raises:
        Rejected: `bad-plan`, with all critical issues; while the key has a draft.
    """
    sent = BodyReader(PLAN, context.body, ("key", "currency", *MEMBERS), ("id", *WRITTEN))
    catalog = catalog_of(context)
    base = _empty(context, key_of(sent), sent.text("currency", 64) or DEFAULT_CURRENCY)
    plan = read_plan(sent, catalog, base)
    refuse_critical(PLAN, plan_issues(plan, catalog))
    plan = plan.changed(version=next_version(catalog, Plan, plan.key))
    return Decided([DefinitionChange(PLAN, plan.id, plan)], plan_json(plan, catalog))


def update(context: CommandContext) -> Decided:
    """plan.update: replaces a draft but for its key and currency. The same again changes nothing.

    Raises:
        Rejected: `bad-plan`, with all critical issues, and for a plan that was published; `not-found`.
    """
    old, catalog = version_named(context, Plan), catalog_of(context)
    stored = plan_json(old, catalog)
    sent = BodyReader(PLAN, context.asked("id"), MEMBERS, ("key", "currency", *WRITTEN), stored)
    check_status(context, old, "draft", "scheduled")
    new = read_plan(sent, catalog, old)
    refuse_critical(PLAN, plan_issues(new, catalog))
    if new == old:
        return Decided([], stored)
    new = new.in_place_of(old).changed(updated_at=context.now)
    return Decided([DefinitionChange(PLAN, old.id, new)], plan_json(new, catalog))


def publish(context: CommandContext) -> Decided:
    """plan.publish: sold from now on; the version that was sold before ends at the same instant.

    Raises:
        Rejected: `bad-plan`, with all that is wrong with it and with its add-ons; `not-found`.
    """
    plan, catalog = only_named(context, Plan), catalog_of(context)
    check_status(context, plan, "draft", "scheduled")
    if found := plan_issues(plan, catalog, "active"):
        refuse_all(PLAN, found)
    now, changes = published(context, plan)
    return Decided(changes, plan_json(now, catalog))


def archive(context: CommandContext) -> Decided:
    """plan.archive: sold until now. A key names its active version.

    Raises:
        Rejected: `bad-plan` unless it is active; `not-found`.
    """
    plan = only_named(context, Plan, "active")
    check_status(context, plan, "active")
    ended = archived(context, plan)
    return Decided([DefinitionChange(PLAN, plan.id, ended)], plan_json(ended, catalog_of(context)))


def delete(context: CommandContext) -> Decided:
    """plan.delete: the version stays readable by its id; its add-ons are no longer assigned to it.

    Raises:
        Rejected: `bad-plan` if it is active; `not-found`.
    """
    plan = only_named(context, Plan)
    check_status(context, plan, "draft", "scheduled", "archived")
    gone = deleted(context, plan)
    assigned = [
        DefinitionChange(PLAN_ADDON, one.id, one.changed(deleted_at=context.now, updated_at=context.now))
        for one in catalog_of(context).assignments(plan.id)
    ]
    return Decided([DefinitionChange(PLAN, plan.id, gone), *assigned])


def next_draft(context: CommandContext) -> Decided:
    """plan.next: a draft that is a copy of the newest version, without its add-ons.

    It is made even if a feature was archived since, so that an update can take it out.

    Raises:
        Rejected: `bad-plan` while the key has a draft; `not-found`.
    """
    named, catalog = only_named(context, Plan), catalog_of(context)
    newest = catalog.newest(Plan, named.key) or named
    plan = newest.changed(
        id=context.id(),
        version=next_version(catalog, Plan, named.key),
        effective_from=None,
        effective_to=None,
        created_at=context.now,
        updated_at=context.now,
    )
    return Decided([DefinitionChange(PLAN, plan.id, plan)], plan_json(plan, catalog))


def _empty(context: CommandContext, key: str, currency: str) -> Plan:
    return Plan(
        id=context.id(),
        key=key,
        version=1,
        name="",
        currency=currency,
        created_at=context.now,
        updated_at=context.now,
        billing_cadence="",
        pro_rating_config=ProRatingConfig(),
        settlement_mode="credit_then_invoice",
        phases=(),
    )
