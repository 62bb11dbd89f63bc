"""Decides commands: the one place where a definition comes into being, changes or goes.

Owns: dispatch by kind, all-or-nothing, revisions, the reply. Does not own: the rules of a kind (core.meter_command,
core.customer, core.subject, core.feature, core.key, core.portal_token), the log, or the clock.

Commands: kind, body -> the reply's body. Members with `?` may be absent. `id` is an id or a key, where there are both.

    meter.apply            one meter | {meters: [meter]}                 -> {meters: [meter]}
    meter.create           the same; 409 if the slug is taken            -> {meters: [meter]}
    meter.update           {slug, name?, description?, groupBy?, metadata?}; what is absent is cleared,
                           the name stays; 409 if a feature filters by a key that goes      -> meter
    meter.delete           {slug}; 409 while an active feature uses it   -> null
    customer.create        {key?, name, description?, usageAttribution?: {subjectKeys}, primaryEmail?, currency?,
                           billingAddress?, metadata?}                   -> customer
    customer.update        {id, as for create}; replaces all of it       -> customer
    customer.delete        {id}                                          -> null
    subject.upsert         one subject | {subjects: [subject]}; subject = {key, displayName?, metadata?,
                           stripeCustomerId?}; absent stays, null clears -> {subjects: [subject]}
    subject.delete         {id}                                          -> null
    feature.create         {key, name, meterSlug?, meterGroupByFilters?: {key: value}, advancedMeterGroupByFilters?:
                           {key: FilterString}, metadata?, unitCost?}    -> feature
    feature.archive        {id}                                          -> feature
    key.create             {id, hash, last4, name, scopes: [..], expiresAt?}          -> key
    key.rotate             {id, newId, hash, last4, overlapS?}           -> {key: new, old: old}
    key.revoke             {id}                                          -> key
    portal-token.create    {subject, allowedMeterSlugs?: [..], expiresAt?: <= 1 h, the default} -> portal token
    portal-token.invalidate {id} | {subject}                             -> {invalidated: n}

Definition.name, and Definition.body (the API's JSON; instants RFC 3339 with ms, `Z`). All but meters made before
there were such members have createdAt and updatedAt:

    meter         slug     {slug, eventType, aggregation, ..., meterId: int, id: ULID, createdAt, updatedAt};
                           deleted: body null
    customer      ULID     {id, key?, name, ..., usageAttribution: {subjectKeys}}; deleted: + deletedAt
    subject       ULID     {id, key, displayName?, metadata?, stripeCustomerId?}; deleted: body null
    feature       ULID     {id, key, name, meterSlug?, ...}; archived: + archivedAt
    key           public   {id, namespace, name, scopes, hash, last4, expiresAt?}; revoked: + revokedAt, hash "";
                           rotated: + rotatedTo. Replies and audit leave `hash` out.
    portal-token  ULID=jti {id, subject, allowedMeterSlugs?, expiresAt}; invalidated: + invalidatedAt;
                           a day after expiresAt it is forgotten

Reasons: `bad-command`, `bad-<kind>` (400), `not-found` (404), `<kind>-conflict` (409: meter-conflict,
customer-conflict for its key, subject-conflict for a subject of another customer, feature-conflict, key-conflict,
portal-token-conflict).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from pipeline.core.meter import Meter, change, define
from pipeline.errors import Broken, Rejected
from pipeline.records import Command, Definition, Reply

METER = "meter"
METER_ID = "meterId"  # the member that a stored meter has beside its definition
Body = dict[str, object]


class Decision(NamedTuple):
    """What the control agent writes in one transaction: `definitions` to `control`, `reply` to `replies`."""

    definitions: list[Definition]
    reply: Reply
    revision: int  # of the log, after this decision


def key_of(definition: Definition) -> str:
    """The record key on `control`."""
    return key(definition.namespace, definition.kind, definition.name)


def key(namespace: str, kind: str, name: str) -> str:
    """The record key on `control`: namespace/kind/name. A slug holds no slash, so no two keys collide."""
    return f"{namespace}/{kind}/{name}"


def meter_of(definition: Definition | None) -> Meter | None:
    """The meter that a definition on the log holds; None for a deleted one, another kind, or none at all."""
    if definition is None or definition.kind != METER or definition.body is None:
        return None
    members = dict(definition.body)
    meter_id = members.pop(METER_ID)
    if not isinstance(meter_id, int):
        raise Broken(f"The definition of the meter {definition.name} has no {METER_ID}.")
    return define(members, meter_id, definition.namespace)


def decide(
    state: Mapping[str, Definition],
    command: Command,
    revision: int,
    at_ms: int,
    replies: Mapping[str, Reply] | None = None,
) -> Decision:
    """Decides one command against the definitions in force.

    state: `control` by key, deleted definitions too. revision: the log's newest. at_ms: the broker's time of
    the command's record, so that a replay decides alike. replies: earlier replies by command id, as read back
    from `replies`: a command answered before, be it sent or read twice, gets that answer and changes nothing.
    A refusal is a reply with `error` (bad-meter, meter-conflict, not-found, bad-command), never an exception.
    """
    if replies is not None and (before := replies.get(command.id)) is not None:
        return Decision([], before, revision)
    try:
        if command.kind == "meter.apply":
            return _apply(state, command, revision, at_ms, only_new=False)
        if command.kind == "meter.create":
            return _apply(state, command, revision, at_ms, only_new=True)
        if command.kind == "meter.delete":
            return _delete(state, command, revision, at_ms)
        raise Rejected("bad-command", f"There is no command {command.kind!r}.")
    except Rejected as refusal:
        return Decision([], Reply(command.id, revision, refusal.reason, refusal.detail), revision)


def _apply(
    state: Mapping[str, Definition], command: Command, revision: int, at_ms: int, only_new: bool
) -> Decision:
    """Body: one meter, or {"meters": [...]}. The reply's body is {"meters": [...]}, as they are now.

    A meter's id is the revision at which its slug was created, so a slug made anew is another meter.
    """
    changed: list[Definition] = []
    now: list[Body] = []
    slugs: set[str] = set()
    wishes = _wishes(command.body)
    for wish in wishes:
        following = revision + len(changed) + 1
        wanted = _define(wish, following, command.namespace, name_it=len(wishes) > 1)
        if wanted.slug in slugs:
            raise Rejected("meter-conflict", f"The list holds the meter {wanted.slug} twice.")
        slugs.add(wanted.slug)
        old = meter_of(state.get(key(command.namespace, METER, wanted.slug)))
        if only_new and old is not None:
            raise Rejected("meter-conflict", f"A meter with the slug {wanted.slug} exists already.")
        meter = wanted if old is None else change(old, wanted)
        body = {**meter.body(), METER_ID: meter.meter_id}
        if meter != old:
            changed.append(_definition(command, meter.slug, body, following, at_ms))
        now.append(body)
    revision += len(changed)
    return Decision(changed, Reply(command.id, revision, body={"meters": now}), revision)


def _define(wish: Body, meter_id: int, namespace: str, name_it: bool) -> Meter:
    """As `define`; in a list the refusal has to name the meter."""
    try:
        return define(wish, meter_id, namespace)
    except Rejected as refusal:
        slug = wish.get("slug")
        if not name_it:
            raise
        raise Rejected(refusal.reason, f"meter {str(slug)[:64]}: {refusal.detail}") from None


def _wishes(body: Body) -> list[Body]:
    wishes = body.get("meters", [body])
    if not isinstance(wishes, list) or not all(isinstance(wish, dict) for wish in wishes):
        raise Rejected("bad-meter", "`meters` is not a list of meter definitions.")
    return wishes


def _delete(state: Mapping[str, Definition], command: Command, revision: int, at_ms: int) -> Decision:
    """Body: {"slug": ...}. The reply's body is null."""
    slug = command.body.get("slug")
    old = state.get(key(command.namespace, METER, slug)) if isinstance(slug, str) else None
    if not isinstance(slug, str) or old is None or old.body is None:
        raise Rejected("not-found", f"There is no meter with the slug {slug}.")
    deleted = _definition(command, slug, None, revision + 1, at_ms)
    return Decision([deleted], Reply(command.id, revision + 1), revision + 1)


def _definition(command: Command, slug: str, body: Body | None, revision: int, at_ms: int) -> Definition:
    return Definition(revision, METER, command.namespace, slug, command.actor, at_ms, body)
