"""Subjects: what is known of an event's subject beside its events. An event needs no such entry.

Owns: a subject's rules, deciding subject.*. Does not own: which customer it belongs to (customer).
"""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.core.definitions.body import BodyReader
from pipeline.core.definitions.context import Body, Change, Outcome, Wish
from pipeline.core.definitions.kinds import SUBJECT_KEY
from pipeline.errors import Rejected

KIND = "subject"
MAX_KEY = 1024
MAX_LIST = 1000

_MEMBERS = ("key", "displayName", "metadata", "stripeCustomerId")
_OURS = ("id", "createdAt", "updatedAt", "deletedAt", "currentPeriodStart", "currentPeriodEnd")


def upsert(wish: Wish) -> Outcome:
    """subject.upsert: one or a list, all or none. An absent member stays as it is, null clears it."""
    sent = wish.body.get("subjects", [wish.body])
    if not isinstance(sent, list) or len(sent) > MAX_LIST or not all(isinstance(one, dict) for one in sent):
        raise Rejected("bad-subject", f"`subjects` must be a list of at most {MAX_LIST} subjects.")
    changes: list[Change] = []
    now: list[Body] = []
    keys: set[str] = set()
    for number, one in enumerate(sent):
        old, new = _merge(wish, one, number)
        if str(new["key"]) in keys:
            raise Rejected("bad-subject", f"the list holds the subject {new['key']} twice")
        keys.add(str(new["key"]))
        if old is not None and {**new, "updatedAt": old["updatedAt"]} == old:
            new = old
        else:
            changes.append(Change(KIND, str(new["id"]), new))
        now.append(new)
    return Outcome(changes, {"subjects": now})


def delete(wish: Wish) -> Outcome:
    """subject.delete: its events and its customer stay."""
    wanted = BodyReader(KIND, wish.body, ("id",)).required("id", MAX_KEY)
    for id in (wanted, wish.catalog.one(wish.namespace, SUBJECT_KEY, wanted)):
        if id is not None and wish.catalog.body(wish.namespace, KIND, id) is not None:
            return Outcome([Change(KIND, id, None)])
    raise Rejected("not-found", f"There is no subject with the id or key {wanted}.")


def _merge(wish: Wish, one: Mapping[str, object], number: int) -> tuple[Body | None, Body]:
    """The subject as it was, if it was, and as it will be."""
    sent = BodyReader(KIND, one, _MEMBERS, _OURS)
    key = sent.required("key", MAX_KEY)
    id = wish.catalog.one(wish.namespace, SUBJECT_KEY, key)
    old = wish.catalog.body(wish.namespace, KIND, id) if id is not None else None
    sent.check_written(old)
    first = old or {"id": wish.id(number), "key": key, "createdAt": wish.now}
    found = {
        "displayName": sent.text("displayName", 256),
        "metadata": sent.json("metadata"),
        "stripeCustomerId": sent.text("stripeCustomerId", 256),
    }
    body = first | {name: value for name, value in found.items() if name in sent}
    body["updatedAt"] = wish.now
    return old, {name: value for name, value in body.items() if value is not None}
