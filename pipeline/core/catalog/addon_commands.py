"""The commands about add-ons.

Owns: reading an add-on, deciding addon.*: from which status each is allowed, and what it changes. Does not own: what is
wrong with an add-on (addon_validation), what plans do in the same way (version_commands), add-ons of plans
(plan_addon_commands).
"""

from __future__ import annotations

import msgspec

from pipeline.core.catalog.addon import Addon
from pipeline.core.catalog.addon_validation import addon_issues
from pipeline.core.catalog.catalog_issue import ROOT, issue, member, refuse_all, refuse_critical
from pipeline.core.catalog.catalog_now import CatalogNow
from pipeline.core.catalog.plan_reading import DEFAULT_CURRENCY
from pipeline.core.catalog.rate_card_reading import MOST_DESCRIPTION, MOST_NAME, read_rate_cards
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
from pipeline.core.catalog.version_json import addon_json
from pipeline.core.definitions.body import BodyReader
from pipeline.core.definitions.context import CommandContext, Decided, DefinitionChange
from pipeline.core.definitions.kinds import ADDON

_MEMBERS = ("name", "description", "metadata", "instanceType", "rateCards")


def create(context: CommandContext) -> Decided:
    """addon.create: a draft: version 1 of its key, or the one after the newest.

    Raises:
        Rejected: `bad-addon`, with all critical issues; while the key has a draft.
    """
    sent = BodyReader(ADDON, context.body, ("key", "currency", *_MEMBERS), ("id", *WRITTEN))
    catalog = catalog_of(context)
    base = _empty(context, key_of(sent), sent.text("currency", 64) or DEFAULT_CURRENCY)
    addon = _read(sent, catalog, base)
    refuse_critical(ADDON, addon_issues(addon, catalog))
    addon = addon.changed(version=next_version(catalog, Addon, addon.key))
    return Decided([DefinitionChange(ADDON, addon.id, addon)], addon_json(addon, catalog))


def update(context: CommandContext) -> Decided:
    """addon.update: replaces a draft but for its key and currency. The same again changes nothing.

    Raises:
        Rejected: `bad-addon`, with all critical issues, and for an add-on that was published; `not-found`.
    """
    old, catalog = version_named(context, Addon), catalog_of(context)
    stored = addon_json(old, catalog)
    sent = BodyReader(ADDON, context.asked("id"), _MEMBERS, ("key", "currency", *WRITTEN), stored)
    check_status(context, old, "draft")
    new = _read(sent, catalog, old)
    refuse_critical(ADDON, addon_issues(new, catalog))
    if new == old:
        return Decided([], stored)
    new = new.in_place_of(old).changed(updated_at=context.now)
    return Decided([DefinitionChange(ADDON, old.id, new)], addon_json(new, catalog))


def publish(context: CommandContext) -> Decided:
    """addon.publish: sold from now on; the version that was sold before ends at the same instant.

    Raises:
        Rejected: `bad-addon`, with all that is wrong with it; `not-found`.
    """
    addon, catalog = only_named(context, Addon), catalog_of(context)
    if addon.status_at(context.at_ms) != "draft":
        refuse_all(ADDON, [issue("addon_invalid_status_for_publish", member(ROOT, "status"))])
    if found := addon_issues(addon, catalog):
        refuse_all(ADDON, found)
    now, changes = published(context, addon)
    return Decided(changes, addon_json(now, catalog))


def archive(context: CommandContext) -> Decided:
    """addon.archive: sold until now. A key names its active version.

    Raises:
        Rejected: `bad-addon` unless it is active; `not-found`.
    """
    addon = only_named(context, Addon, "active")
    check_status(context, addon, "active")
    ended = archived(context, addon)
    return Decided([DefinitionChange(ADDON, addon.id, ended)], addon_json(ended, catalog_of(context)))


def delete(context: CommandContext) -> Decided:
    """addon.delete: the version stays readable by its id.

    Raises:
        Rejected: `bad-addon` if it is active or assigned to a plan; `not-found`.
    """
    addon = only_named(context, Addon)
    check_status(context, addon, "draft", "archived")
    if assigned := catalog_of(context).assignments_of(addon.id):
        plans = ", ".join(one.plan_id for one in assigned[:3])
        BodyReader(ADDON, {}, ()).refuse(
            f"addon {addon.key} is assigned to {len(assigned)} plans, such as {plans}"
        )
    gone = deleted(context, addon)
    return Decided([DefinitionChange(ADDON, addon.id, gone)])


def _read(sent: BodyReader, catalog: CatalogNow, base: Addon) -> Addon:
    """An add-on with what a client sent in place of all that a client can change."""
    return msgspec.structs.replace(
        base,
        name=sent.text_or_empty("name", MOST_NAME),
        description=sent.text("description", MOST_DESCRIPTION, multiline=True),
        metadata=sent.metadata(),
        instance_type=sent.text_or_empty("instanceType", 64),
        rate_cards=read_rate_cards(sent, ADDON, "", catalog),
    )


def _empty(context: CommandContext, key: str, currency: str) -> Addon:
    return Addon(
        id=context.id(),
        key=key,
        version=1,
        name="",
        currency=currency,
        created_at=context.now,
        updated_at=context.now,
        instance_type="",
        rate_cards=(),
    )
