"""Commands about meters: which of them may be made, changed or go.

Owns: deciding meter.*. Does not own: what a definition may say and how it may change (meter).
A meter's `meterId` is the revision at which its slug was made, so a slug that was deleted and made anew is another
meter.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from pipeline.core.catalog import feature
from pipeline.core.definitions.context import Body, Change, Outcome, Wish
from pipeline.core.definitions.kinds import FEATURE_METER
from pipeline.core.metering.meter import (
    EARLIER,
    METER_ID,
    STORED,
    Meter,
    change,
    define,
    meter_of,
    with_update,
)
from pipeline.errors import Rejected

KIND = "meter"
MAX_LIST = 1000
REVISION = "revision"  # what a reply's meter has beside the stored one: that of its definition


def apply(wish: Wish) -> Outcome:
    """meter.apply: one meter or a list, all or none; what exists is changed."""
    return _apply(wish, only_new=False)


def create(wish: Wish) -> Outcome:
    """meter.create: as apply, but 409 where the slug is taken."""
    return _apply(wish, only_new=True)


def update(wish: Wish) -> Outcome:
    """meter.update: name, description, groupBy and metadata, as a whole."""
    slug = wish.body.get("slug")
    old = _stored(wish, slug)
    _check_written(wish, old.slug)
    meter = with_update(old, wish.body, wish.catalog.revision + 1)
    body = _body(wish, old, meter, 0)
    changes = [Change(KIND, meter.slug, body)] if meter != old else []
    return Outcome(changes, {**body, REVISION: _revision(wish, slug, len(changes))})


def delete(wish: Wish) -> Outcome:
    """meter.delete: its usage stays stored but is no longer to be had."""
    old = _stored(wish, wish.body.get("slug"))
    for key, _ in _users(wish, old.slug):
        raise Rejected(
            "meter-conflict", f"meter {old.slug} is used by the feature {key}: archive the feature first"
        )
    return Outcome([Change(KIND, old.slug, None)])


def _apply(wish: Wish, only_new: bool) -> Outcome:
    changes: list[Change] = []
    now: list[Body] = []
    slugs: set[str] = set()
    wishes = _wishes(wish.body)
    for number, one in enumerate(wishes):
        following = wish.catalog.revision + len(changes) + 1
        wanted = _define(one, following, wish.namespace, name_it=len(wishes) > 1)
        if wanted.slug in slugs:
            raise Rejected("meter-conflict", f"The list holds the meter {wanted.slug} twice.")
        slugs.add(wanted.slug)
        old = meter_of(wish.catalog.get(wish.namespace, KIND, wanted.slug))
        if only_new and old is not None:
            raise Rejected("meter-conflict", f"A meter with the slug {wanted.slug} exists already.")
        meter = wanted if old is None else change(old, wanted, following)
        body = _body(wish, old, meter, number)
        if meter != old:
            changes.append(Change(KIND, meter.slug, body))
        changed = len(changes) if meter != old else 0
        now.append({**body, REVISION: _revision(wish, meter.slug, changed)})
    return Outcome(changes, {"meters": now})


def _check_written(wish: Wish, slug: str) -> None:
    """Members that only the server writes may be sent back as they are."""
    stored: Body = {
        **(wish.catalog.body(wish.namespace, KIND, slug) or {}),
        REVISION: _revision(wish, slug, 0),
    }
    for member in (*STORED, "deletedAt", REVISION):
        value = wish.body.get(member)
        if value is not None and stored.get(member) != value:
            raise Rejected(
                "bad-meter",
                f"meter {member} is written by the server: leave it out, or send it back as it is",
            )


def _revision(wish: Wish, slug: object, changed: int) -> int:
    """The revision of a meter's definition. changed: its place among the changes, from 1; 0: it does not change."""
    stored = wish.catalog.get(wish.namespace, KIND, str(slug))
    return stored.revision if stored is not None and not changed else wish.catalog.revision + changed


def _body(wish: Wish, old: Meter | None, meter: Meter, number: int) -> Body:
    """The meter as it is stored. Raises Rejected if a feature needs what goes."""
    before = wish.catalog.body(wish.namespace, KIND, meter.slug)
    if old is None or before is None:
        ours: Body = {METER_ID: meter.meter_id, "id": wish.id(number), "createdAt": wish.now}
        return {**meter.body(), **ours, "updatedAt": wish.now}
    if meter == old:
        return before
    if gone := old.group_by.keys() - meter.group_by.keys():
        _check_unused(wish, meter.slug, gone)
    kept = {name: before[name] for name in STORED if name in before and name != EARLIER}
    earlier = {EARLIER: msgspec.to_builtins(list(meter.earlier))} if meter.earlier else {}
    return {**meter.body(), **kept, **earlier, "updatedAt": wish.now}


def _check_unused(wish: Wish, slug: str, gone: Iterable[str]) -> None:
    for key, columns in _users(wish, slug):
        if used := columns & set(gone):
            raise Rejected(
                "meter-conflict",
                f"meter group by key {min(used)} cannot be removed: the feature {key} needs it",
            )


def _users(wish: Wish, slug: str) -> Iterable[tuple[str, set[str]]]:
    """The key of each feature in force with the meter, and the group-by keys that it needs."""
    for id in wish.catalog.many(wish.namespace, FEATURE_METER, slug):
        if (body := wish.catalog.body(wish.namespace, feature.KIND, id)) is not None:
            yield str(body["key"]), feature.columns_used(body)


def _define(wish: Body, meter_id: int, namespace: str, name_it: bool) -> Meter:
    """As `define`; in a list the refusal has to name the meter."""
    try:
        return define(wish, meter_id, namespace)
    except Rejected as refusal:
        slug = wish.get("slug")
        if not name_it:
            raise
        raise Rejected(refusal.reason, f"meter {str(slug)[:64]}: {refusal.detail}") from None


def _wishes(body: Mapping[str, object]) -> list[Body]:
    wishes = body.get("meters", [body])
    if not isinstance(wishes, list) or not all(isinstance(wish, dict) for wish in wishes):
        raise Rejected("bad-meter", "`meters` is not a list of meter definitions.")
    if len(wishes) > MAX_LIST:
        raise Rejected("bad-meter", f"`meters` must be a list of at most {MAX_LIST} meter definitions.")
    return wishes


def _stored(wish: Wish, slug: object) -> Meter:
    found = meter_of(wish.catalog.get(wish.namespace, KIND, slug)) if isinstance(slug, str) else None
    if found is None:
        raise Rejected("not-found", f"There is no meter with the slug {str(slug)[:64]}.")
    return found
