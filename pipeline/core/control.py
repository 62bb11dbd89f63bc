"""Decides commands: the one place where a definition comes into being, changes or goes.

Owns: uniqueness, all-or-nothing, revisions, the reply. Does not own: what makes a meter valid and what may
change (core.meter), the log, or the clock. The state is the `control` log itself, by `key_of`.
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
