"""Meters: what a definition may say, and how it may change.

Owns: the definition's rules and texts, which change of a live meter is allowed, the dimensions that were in force at a
control revision. Does not own: what a meter reads from an event (extract), paths (values.jsonpath), totals (aggregate).

Source: openmeterio/openmeter at 7e57a394, `api/openapi.yaml` MeterCreate, `openmeter/meter/meter.go` for rules and
sentences, `openmeter/meter/parse.go` for reading an event.

An event keeps the dimensions that were in force when it was counted: its minute's window has them, and a stage that
reads the event again asks the meter for its dimensions at the revision by which the event was decided.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, get_args

import msgspec

from pipeline.core.definitions.body import BodyReader
from pipeline.core.definitions.definition_body import DefinitionBody
from pipeline.core.definitions.kinds import METER
from pipeline.core.values import jsonpath, timestamp
from pipeline.errors import Rejected

Aggregation = Literal["SUM", "COUNT", "AVG", "MIN", "MAX", "UNIQUE_COUNT", "LATEST"]
AGGREGATIONS: tuple[Aggregation, ...] = get_args(Aggregation)

MAX_SLUG = 64
MAX_NAME = 256
MAX_DESCRIPTION = 1024
MAX_EVENT_TYPE = 1024
MAX_DIMENSIONS = 50
MAX_DIMENSIONS_CHARACTERS = 4096  # all together: they are part of a state key, which must fit a Kafka record
MAX_EARLIER = 200  # changes of the dimensions, which a definition holds for ever
MAX_EARLIER_CHARACTERS = 262_144  # of all their paths and names: a definition must fit a Kafka record
METER_ID = "meterId"
EARLIER = "earlierGroupBy"
STORED = (METER_ID, "id", "createdAt", "updatedAt", EARLIER)  # what a stored meter has beside its definition
REVISION = "revision"  # what answers show beside the stored meter: that of its definition
WRITTEN = (*STORED, "deletedAt", REVISION)  # members that only the server writes
RESERVED_DIMENSIONS = frozenset({"subject", "time", "value"})

_DIMENSION = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_MEMBERS = (
    "slug", "eventType", "aggregation", "valueProperty", "groupBy",
    "name", "description", "eventFrom", "metadata",
)  # fmt: skip
_WORDS = {
    "eventType": "event type", "valueProperty": "value property", "groupBy": "group by", "eventFrom": "event from",
}  # fmt: skip
_CHANGEABLE = ("name", "description", "groupBy", "metadata")
_MAY_BE_EMPTY = ("name", "description", "eventFrom")  # an empty text is the same as none
_ALWAYS_NS = -(10**30)


class Earlier(msgspec.Struct, frozen=True, rename="camel"):
    """Dimensions that events decided below the control revision `until` were counted with."""

    until: int
    group_by: dict[str, str]


class Meter(DefinitionBody, frozen=True, kw_only=True):
    """A meter in force. Instants are RFC 3339; `created_at` and `updated_at` in UTC with milliseconds.

    group_by: dimension -> JSONPath, sorted by name. event_from: earlier events are not for this meter. meter_id: the
    control revision at which its slug was made; it never changes. id: a ULID; absent, as the two instants, in meters
    that are older than these members. earlier: dimensions before the ones in force, oldest first. namespace: of the
    definition, it is not in the body.
    """

    kind = METER
    outside = ("namespace",)

    slug: str
    event_type: str
    aggregation: Aggregation
    value_property: str | None = None
    group_by: dict[str, str] = msgspec.field(default_factory=dict)
    name: str = ""  # a stored meter without one has its slug
    description: str = ""
    event_from: str | None = None
    metadata: dict[str, str] = msgspec.field(default_factory=dict)
    meter_id: int
    id: str | None = None
    created_at: str | None = None
    updated_at: str | None = None
    earlier: tuple[Earlier, ...] = msgspec.field(default=(), name=EARLIER)
    namespace: str

    def __post_init__(self) -> None:
        if not self.name:
            msgspec.structs.force_setattr(self, "name", self.slug)

    def group_by_at(self, revision: int) -> dict[str, str]:
        """The dimensions with which an event is counted that was decided at a control revision.

        A backfill counts by the meter as it was made, and its events were decided before that: they get the first.

        >>> tokens = Meter(
        ...     slug="tokens", event_type="prompt", aggregation="COUNT", group_by={"model": "$.model"}, meter_id=3,
        ...     namespace="default",
        ... )
        >>> by_kind = msgspec.structs.replace(tokens, group_by={"kind": "$.kind"})
        >>> changed = change(tokens, by_kind, revision=8)
        >>> changed.group_by_at(7), changed.group_by_at(8)
        ({'model': '$.model'}, {'kind': '$.kind'})
        """
        return next((one.group_by for one in self.earlier if revision < one.until), self.group_by)

    def as_of(self, revision: int) -> Meter:
        """The meter with the dimensions in force at a control revision."""
        return msgspec.structs.replace(self, group_by=self.group_by_at(revision), earlier=())

    def body(self) -> dict[str, object]:
        """The members that a client may send, as they are stored: absent and empty ones are left out."""
        return {name: self.members[name] for name in _MEMBERS if name in self.members} | {"name": self.name}


def define(
    body: Mapping[str, object], meter_id: int, namespace: str = "default", earlier: tuple[Earlier, ...] = ()
) -> Meter:
    """The meter that a client defines.

    Args:
        body: JSON members as sent.
        meter_id: the control revision at which the slug is made.
        namespace: of the definition.
        earlier: dimensions before those of `body`.

    Raises:
        Rejected: `bad-meter`, in OpenMeter's words where it has some.
    """
    given = {member: value for member, value in body.items() if value != "" or member not in _MAY_BE_EMPTY}
    sent = BodyReader(METER, given, _MEMBERS, words=_WORDS)
    slug = sent.slug("slug", MAX_SLUG)
    event_type = sent.required("eventType", MAX_EVENT_TYPE)
    sent.required("aggregation", MAX_NAME)
    aggregation = sent.one_of("aggregation", AGGREGATIONS) or sent.refuse("meter aggregation is required")
    value_property = _value_property(sent, body.get("valueProperty"), aggregation)
    sent.instant_ms("eventFrom")
    return Meter(
        slug=slug,
        event_type=event_type,
        aggregation=aggregation,
        value_property=value_property,
        group_by=_group_by(sent, body.get("groupBy"), value_property),
        name=sent.text("name", MAX_NAME) or slug,
        description=sent.text("description", MAX_DESCRIPTION, multiline=True) or "",
        event_from=sent.text("eventFrom", MAX_NAME),
        metadata=sent.metadata() or {},
        meter_id=meter_id,
        namespace=namespace,
        earlier=earlier,
    )


def change(old: Meter, new: Meter, revision: int) -> Meter:
    """`new` under the identity of `old`.

    Args:
        old: the meter in force.
        new: as defined.
        revision: the control revision from which the change is in force: events that are decided before it keep the
            dimensions that `old` has.

    Raises:
        Rejected: `meter-conflict` if the change would alter what is counted, or if the dimensions have changed too
            often.
    """
    for label, field in (
        ("slug", "slug"),
        ("namespace", "namespace"),
        ("event type", "event_type"),
        ("aggregation", "aggregation"),
        ("value property", "value_property"),
        ("event from", "event_from"),
    ):
        if getattr(old, field) != getattr(new, field):
            raise Rejected(
                "meter-conflict",
                f"the {label} of meter {old.slug} cannot be changed: create a new meter instead",
            )
    return msgspec.structs.replace(
        new,
        meter_id=old.meter_id,
        id=old.id,
        created_at=old.created_at,
        updated_at=old.updated_at,
        earlier=_earlier(old, new, revision),
    )


def _earlier(old: Meter, new: Meter, revision: int) -> tuple[Earlier, ...]:
    if old.group_by == new.group_by:
        return old.earlier
    found = (*old.earlier, Earlier(revision, old.group_by))
    characters = sum(len(name) + len(path) for one in found for name, path in one.group_by.items())
    if len(found) > MAX_EARLIER or characters > MAX_EARLIER_CHARACTERS:
        raise Rejected(
            "meter-conflict",
            f"the dimensions of meter {old.slug} have changed {len(old.earlier)} times, which is as often as "
            "they may: create a new meter instead",
        )
    return found


def with_update(old: Meter, sent: Mapping[str, object], revision: int) -> Meter:
    """`old` with the `name`, `description`, `groupBy` and `metadata` that were sent: all that an update may change.

    An absent name stays, the others are cleared. Other members may be sent as they are: clients send back what they
    got.

    Args:
        old: the meter in force.
        sent: JSON members.
        revision: as for `change`.

    Raises:
        Rejected: `bad-meter`, or `meter-conflict` if one of the other members differs.
    """
    kept = {member: value for member, value in old.body().items() if member not in _CHANGEABLE}
    named = {member: value for member, value in sent.items() if member not in WRITTEN and value is not None}
    named.setdefault("name", old.name)
    return change(old, define({**kept, **named}, old.meter_id, old.namespace), revision)


def event_from_ns(meter: Meter) -> int:
    """The instant from which the meter counts, in ns since 1970; before every instant if it has none."""
    return _ALWAYS_NS if meter.event_from is None else timestamp.parse_ns(meter.event_from)


def _value_property(sent: BodyReader, value: object, aggregation: str) -> str | None:
    if aggregation == "COUNT":
        if value is not None:
            sent.refuse("meter value property is not allowed when the aggregation is count")
        return None
    if value is None:
        sent.refuse("meter value property is required when the aggregation is not count")
    if value == "":
        sent.refuse("meter value property cannot be empty when the aggregation is not count")
    if not isinstance(value, str) or not value.startswith("$"):
        sent.refuse("meter value property must start with $")
    _path(sent, value, "meter value property")
    return value


def _group_by(sent: BodyReader, group_by: object, value_property: str | None) -> dict[str, str]:
    if group_by is None:
        return {}
    if not isinstance(group_by, Mapping):
        sent.refuse("meter group by must be an object of names and JSONPaths")
    if len(group_by) > MAX_DIMENSIONS:
        sent.refuse(f"meter group by must have at most {MAX_DIMENSIONS} keys")
    taken = {} if value_property is None else {jsonpath.parse(value_property): ""}
    for key, path in group_by.items():
        _check_dimension_name(sent, key)
        if not isinstance(path, str) or not path.startswith("$"):
            sent.refuse(f"meter group by value must start with $ for key {key}")
        steps = _path(sent, path, f"meter group by value {key}")
        if steps in taken:
            other = taken[steps]
            same = f"that of {other}" if other else "value property"
            sent.refuse(f"meter group by value {key} cannot be the same as {same}")
        taken[steps] = key
    return dict(sorted(group_by.items()))


def _check_dimension_name(sent: BodyReader, key: object) -> None:
    if not isinstance(key, str) or not key.strip():
        sent.refuse("meter group by key cannot be empty")
    if len(key) > MAX_SLUG:
        sent.refuse(f"meter group by key must have at most {MAX_SLUG} characters")
    if not _DIMENSION.fullmatch(key):
        allowed = "only alphanumeric and underscore characters are allowed"
        sent.refuse(f"meter group by key {key if key.isprintable() else ascii(key)} is invalid, {allowed}")
    if key in RESERVED_DIMENSIONS:
        sent.refuse(f"meter group by key {key} is reserved")


def _path(sent: BodyReader, text: str, label: str) -> jsonpath.Path:
    try:
        return jsonpath.parse(text)
    except Rejected as refusal:
        sent.refuse(f"{label} is not valid: {refusal.detail}")
