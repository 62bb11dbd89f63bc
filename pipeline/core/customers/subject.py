"""Subjects: a name and metadata for the subject of events. An event needs no such entry.

Owns: what the definition of a subject holds, deciding subject.*. Does not own: which customer it belongs to (customer).

Source: openmeterio/openmeter at 7e57a394, `api/openapi.yaml` SubjectUpsert.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from pipeline.core.definitions.body import BodyReader
from pipeline.core.definitions.context import Body, CommandContext, Decided, DefinitionChange
from pipeline.core.definitions.definition_body import DefinitionBody
from pipeline.core.definitions.kinds import SUBJECT, SUBJECT_KEY
from pipeline.errors import Rejected

MAX_KEY = 1024
MAX_LIST = 1000

_MEMBERS = ("key", "displayName", "metadata", "stripeCustomerId")
_WRITTEN = ("id", "createdAt", "updatedAt", "deletedAt", "currentPeriodStart", "currentPeriodEnd")


class Subject(DefinitionBody, frozen=True, kw_only=True):
    """A subject. id: a ULID; key: the `subject` of its events. Instants are RFC 3339 in UTC with milliseconds."""

    kind = SUBJECT

    id: str
    key: str
    created_at: str
    display_name: str | None = None
    metadata: Mapping[str, object] | None = None
    stripe_customer_id: str | None = None
    updated_at: str


def upsert(context: CommandContext) -> Decided:
    """subject.upsert: one or a list, all or none. An absent member keeps its value, null clears it.

    Raises:
        Rejected: `bad-subject`.
    """
    sent = context.body.get("subjects", [context.body])
    if not isinstance(sent, list) or len(sent) > MAX_LIST or not all(isinstance(one, dict) for one in sent):
        raise Rejected("bad-subject", f"`subjects` must be a list of at most {MAX_LIST} subjects.")
    changes: list[DefinitionChange] = []
    subjects: dict[str, Body] = {}
    for number, one in enumerate(sent):
        old, subject = _merge(context, one, number)
        if subject.key in subjects:
            raise Rejected("bad-subject", f"the list holds the subject {subject.key} twice")
        if subject != old:
            subject = subject.changed(updated_at=context.now)
            changes.append(DefinitionChange(SUBJECT, subject.id, subject))
        subjects[subject.key] = subject.members
    return Decided(changes, {"subjects": list(subjects.values())})


def delete(context: CommandContext) -> Decided:
    """subject.delete: its events and its customer stay.

    Raises:
        Rejected: `not-found`.
    """
    wanted = BodyReader(SUBJECT, context.body, ("id",)).required("id", MAX_KEY)
    subject = context.index.find_by(Subject, context.namespace, SUBJECT_KEY, wanted)
    if subject is None:
        raise Rejected("not-found", f"There is no subject with the id or key {wanted}.")
    return Decided([DefinitionChange(SUBJECT, subject.id, None)])


def _merge(context: CommandContext, one: Mapping[str, object], number: int) -> tuple[Subject | None, Subject]:
    """The subject as it is stored, if it is, and with what was sent."""
    key = BodyReader(SUBJECT, {"key": one.get("key")}, ("key",)).required("key", MAX_KEY)
    id = context.index.one(context.namespace, SUBJECT_KEY, key)
    old = None if id is None else context.index.find(Subject, context.namespace, id)
    sent = BodyReader(SUBJECT, one, _MEMBERS, _WRITTEN, None if old is None else old.members)
    values: dict[str, object] = {
        "display_name": sent.text("displayName", 256),
        "metadata": sent.json("metadata"),
        "stripe_customer_id": sent.text("stripeCustomerId", 256),
    }
    if old is not None:
        names = dict(zip(Subject.__struct_fields__, Subject.__struct_encode_fields__, strict=True))
        return old, old.changed(**{field: value for field, value in values.items() if names[field] in sent})
    made = Subject(id=context.id(number), key=key, created_at=context.now, updated_at=context.now)
    return None, msgspec.structs.replace(made, **values)
