"""What commands about plans and about add-ons do in the same way.

Owns: finding the version that a command names, which status it must have, the number of a new one, publishing,
archiving, deleting. Does not own: the members of plans and add-ons, and what is wrong with them (plan_commands,
addon_commands).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeVar

from pipeline.core.catalog.catalog_issue import ROOT, issue, member, refuse_all, refuse_critical
from pipeline.core.catalog.catalog_now import CatalogNow
from pipeline.core.catalog.catalog_version import CatalogVersion, VersionStatus
from pipeline.core.catalog.version_validation import reference_issues
from pipeline.core.definitions.body import BodyReader
from pipeline.core.definitions.context import CommandContext, DefinitionChange
from pipeline.core.values import ulid
from pipeline.errors import Rejected

V = TypeVar("V", bound=CatalogVersion)
KeyMeaning = Literal["newest", "active", "active if any"]
MOST_REFERENCE = 256
MOST_KEY = 64
LABELS: Mapping[str, str] = {"plan": "Plan", "addon": "Addon"}  # as OpenMeter's sentences name them
DERIVED = ("version", "effectiveFrom", "effectiveTo", "status", "validationErrors", "annotations")
WRITTEN = ("createdAt", "updatedAt", "deletedAt", *DERIVED)


def catalog_of(context: CommandContext) -> CatalogNow:
    """The catalog on which a command is decided."""
    return CatalogNow(context.index, context.namespace, context.at_ms)


def version_named(
    context: CommandContext, kind: type[V], member: str = "id", meaning: KeyMeaning = "newest"
) -> V:
    """The version that a command is about: by its id, else by its key.

    Args:
        context: of the command.
        kind: of the version.
        member: that names it.
        meaning: which version a key means: the newest; the active one; or the active one, if there is one.

    Raises:
        Rejected: `bad-<kind>` without a name; `not-found`, also for a deleted version.
    """
    wanted = context.body.get(member)
    refuse_critical(kind.kind, reference_issues(context.namespace, wanted))
    name = BodyReader(kind.kind, {member: wanted}, (member,)).required(member, MOST_REFERENCE)
    catalog = catalog_of(context)
    by_id = context.index.find(kind, context.namespace, name)
    by_key = catalog.newest(kind, name) if meaning == "newest" else catalog.active(kind, name)
    if by_key is None and meaning == "active if any":
        by_key = catalog.newest(kind, name)
    found = by_key if by_id is None else by_id
    if found is None or found.is_deleted:
        label = f"{'active ' if meaning == 'active' else ''}{kind.kind}"
        raise Rejected("not-found", f"There is no {label} with the id or key {name}.")
    return found


def only_named(context: CommandContext, kind: type[V], meaning: KeyMeaning = "newest") -> V:
    """The version that a command names, which has no other member. Raises as `version_named`."""
    BodyReader(kind.kind, context.body, ("id",))
    return version_named(context, kind, meaning=meaning)


def check_status(context: CommandContext, version: CatalogVersion, *allowed: VersionStatus) -> None:
    """Raises Rejected `bad-<kind>` with the code `<kind>_invalid_status` for a version in another status."""
    kind, status = version.kind, version.status_at(context.at_ms)
    if status not in allowed:
        found = issue(f"{kind}_invalid_status", member(ROOT, "status"))
        must = " or ".join(allowed)
        sentence = f"version {version.version} of the {kind} {version.key} is {status}, but must be {must}"
        refuse_all(kind, [found], sentence)


def key_of(sent: BodyReader) -> str:
    """The key of a new version; "" where it was left empty, which has a code."""
    if sent.text_or_empty("key", MOST_KEY) == "":
        return ""
    key = sent.slug("key", MOST_KEY)
    if ulid.is_ulid(key):
        sent.refuse(f"{sent.kind} key cannot be a valid ULID")
    return key


def next_version(catalog: CatalogNow, kind: type[V], key: str) -> int:
    """The number of a new version of a key: no number is used twice, not even after a version was deleted.

    Raises:
        Rejected: `bad-<kind>` while the key has a draft.
    """
    versions = catalog.versions(kind, key)
    if any(catalog.status(one) in ("draft", "scheduled") and not one.is_deleted for one in versions):
        label = LABELS[kind.kind]
        raise Rejected(
            f"bad-{kind.kind}", f"only a single draft version is allowed for {label} with the key {key}"
        )
    return versions[-1].version + 1 if versions else 1


def published(context: CommandContext, version: V) -> tuple[V, list[DefinitionChange]]:
    """A version that is sold from now on, with all changes: the version that was sold ends at the same instant."""
    kind = type(version)
    now = version.changed(effective_from=context.now, effective_to=None, updated_at=context.now)
    changes = [DefinitionChange(kind.kind, now.id, now)]
    for one in catalog_of(context).versions(kind, version.key):
        if one.id != version.id and not one.is_deleted and _is_sold_after(one, context.at_ms):
            ended = one.changed(effective_to=context.now, updated_at=context.now)
            changes.append(DefinitionChange(kind.kind, one.id, ended))
    return now, changes


def _is_sold_after(version: CatalogVersion, at_ms: int) -> bool:
    return version.status_at(at_ms) == "active"


def archived(context: CommandContext, version: V) -> V:
    """A version that is sold until now."""
    return version.changed(effective_to=context.now, updated_at=context.now)


def deleted(context: CommandContext, version: V) -> V:
    """A version that is deleted, and stays readable by its id."""
    return version.changed(deleted_at=context.now, updated_at=context.now)
