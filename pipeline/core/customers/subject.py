"""Subjects: what is known of an event's subject beside its events. An event needs no such entry.

Owns: a subject's rules, deciding subject.*. Does not own: which customer it belongs to (customer).
"""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.core.definitions.body import BodyReader
from pipeline.core.definitions.context import Body, CommandContext, Decided, DefinitionChange
from pipeline.core.definitions.kinds import SUBJECT_KEY
from pipeline.errors import Rejected

KIND = "subject"
MAX_KEY = 1024
MAX_LIST = 1000

_MEMBERS = ("key", "displayName", "metadata", "stripeCustomerId")
_WRITTEN = ("id", "createdAt", "updatedAt", "deletedAt", "currentPeriodStart", "currentPeriodEnd")


def upsert(context: CommandContext) -> Decided:
    """subject.upsert: one or a list, all or none. An absent member stays as it is, null clears it."""
    sent = context.body.get("subjects", [context.body])
    if not isinstance(sent, list) or len(sent) > MAX_LIST or not all(isinstance(one, dict) for one in sent):
        raise Rejected("bad-subject", f"`subjects` must be a list of at most {MAX_LIST} subjects.")
    changes: list[DefinitionChange] = []
    now: list[Body] = []
    keys: set[str] = set()
    for number, one in enumerate(sent):
        old, new = _merge(context, one, number)
        if str(new["key"]) in keys:
            raise Rejected("bad-subject", f"the list holds the subject {new['key']} twice")
        keys.add(str(new["key"]))
        if old is not None and {**new, "updatedAt": old["updatedAt"]} == old:
            new = old
        else:
            changes.append(DefinitionChange(KIND, str(new["id"]), new))
        now.append(new)
    return Decided(changes, {"subjects": now})


def delete(context: CommandContext) -> Decided:
    """subject.delete: its events and its customer stay."""
    wanted = BodyReader(KIND, context.body, ("id",)).required("id", MAX_KEY)
    for id in (wanted, context.index.one(context.namespace, SUBJECT_KEY, wanted)):
        if id is not None and context.index.body(context.namespace, KIND, id) is not None:
            return Decided([DefinitionChange(KIND, id, None)])
    raise Rejected("not-found", f"There is no subject with the id or key {wanted}.")


def _merge(context: CommandContext, one: Mapping[str, object], number: int) -> tuple[Body | None, Body]:
    """The subject as it was, if it was, and as it will be."""
    key = BodyReader(KIND, {"key": one.get("key")}, ("key",)).required("key", MAX_KEY)
    id = context.index.one(context.namespace, SUBJECT_KEY, key)
    old = context.index.body(context.namespace, KIND, id) if id is not None else None
    sent = BodyReader(KIND, one, _MEMBERS, _WRITTEN, old)
    first = old or {"id": context.id(number), "key": key, "createdAt": context.now}
    found = {
        "displayName": sent.text("displayName", 256),
        "metadata": sent.json("metadata"),
        "stripeCustomerId": sent.text("stripeCustomerId", 256),
    }
    body = first | {name: value for name, value in found.items() if name in sent}
    body["updatedAt"] = context.now
    return old, {name: value for name, value in body.items() if value is not None}
