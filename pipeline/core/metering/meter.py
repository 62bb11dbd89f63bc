"""Meters: what a definition may say, and how it may change.

Owns: the definition's rules and texts, which change of a live meter is allowed, the dimensions that were in force at a
control revision. Does not own: what a meter reads from an event (extract), paths (values.jsonpath), totals (aggregate).
Source of rules and texts: OpenMeter's MeterCreate and event parsing.

An event keeps the dimensions that were in force when it was counted: its minute's window has them, and whoever reads
the event again asks the meter for its dimensions at the revision by which the event was decided.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, NoReturn, cast, get_args

import msgspec

from pipeline.core.definitions.kinds import METER
from pipeline.core.values import jsonpath, timestamp
from pipeline.errors import Broken, Rejected
from pipeline.records import Definition

Aggregation = Literal["SUM", "COUNT", "AVG", "MIN", "MAX", "UNIQUE_COUNT", "LATEST"]
AGGREGATIONS: tuple[str, ...] = get_args(Aggregation)

MAX_SLUG = 64
MAX_NAME = 256
MAX_DESCRIPTION = 1024
MAX_EVENT_TYPE = 1024
MAX_DIMENSIONS = 50
MAX_METADATA = 50
MAX_DIMENSIONS_CHARACTERS = 4096  # all together: they are part of a state key, which must fit a Kafka record
MAX_EARLIER = 200  # changes of the dimensions, which a definition holds for ever
MAX_EARLIER_CHARACTERS = 262_144  # of all their paths and names: a definition must fit a Kafka record
METER_ID = "meterId"
EARLIER = "earlierGroupBy"
STORED = (METER_ID, "id", "createdAt", "updatedAt", EARLIER)  # what a stored meter has beside its definition
REVISION = "revision"  # what answers show beside the stored meter: that of its definition
WRITTEN = (*STORED, "deletedAt", REVISION)  # members that only the server writes
RESERVED_DIMENSIONS = frozenset({"subject", "time", "value"})

_SLUG = re.compile(r"[a-z0-9]+(?:_[a-z0-9]+)*")
_DIMENSION = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_MEMBERS = (
    "slug", "eventType", "aggregation", "valueProperty", "groupBy",
    "name", "description", "eventFrom", "metadata",
)  # fmt: skip
_CHANGEABLE = ("name", "description", "groupBy", "metadata")
_ALWAYS_NS = -(10**30)


class Earlier(msgspec.Struct, frozen=True, rename="camel"):
    """Dimensions that events decided below the control revision `until` were counted with."""

    until: int
    group_by: dict[str, str]


class Meter(msgspec.Struct, frozen=True, rename="camel"):
    """A meter in force. `meter_id` is the control revision at which its slug was made; it never changes.

    earlier: dimensions before the ones in force, oldest first.
    """

    slug: str
    event_type: str
    aggregation: Aggregation
    value_property: str | None
    group_by: dict[str, str]  # sorted by name
    name: str
    description: str
    event_from: str | None  # RFC 3339; earlier events are not for this meter
    metadata: dict[str, str]
    meter_id: int
    namespace: str
    earlier: tuple[Earlier, ...] = ()

    def group_by_at(self, revision: int) -> dict[str, str]:
        """The dimensions with which an event is counted that was decided at a control revision.

        A backfill counts by the meter as it was made, and its events were decided before that: they get the first.
        """
        return next((one.group_by for one in self.earlier if revision < one.until), self.group_by)

    def as_of(self, revision: int) -> Meter:
        """The meter with the dimensions in force at a control revision."""
        return msgspec.structs.replace(self, group_by=self.group_by_at(revision), earlier=())

    def body(self) -> dict[str, object]:
        """The definition as JSON members, with defaults filled in and absent ones left out."""
        members = cast(dict[str, object], msgspec.to_builtins(self))
        return {name: members[name] for name in _MEMBERS if members[name] not in (None, "", {})}


def meter_of(definition: Definition | None) -> Meter | None:
    """The meter that a definition on the log holds; None for a deleted one, another kind, or none at all."""
    if definition is None or definition.kind != METER or definition.body is None:
        return None
    meter_id = definition.body.get(METER_ID)
    if not isinstance(meter_id, int):
        raise Broken(f"The definition of the meter {definition.name} has no {METER_ID}.")
    members = {name: value for name, value in definition.body.items() if name not in STORED}
    earlier = msgspec.convert(definition.body.get(EARLIER, ()), tuple[Earlier, ...])
    return define(members, meter_id, definition.namespace, earlier)


def define(
    body: Mapping[str, object], meter_id: int, namespace: str = "default", earlier: tuple[Earlier, ...] = ()
) -> Meter:
    """The meter that `body` (JSON members) defines. Raises Rejected `bad-meter` with OpenMeter's text."""
    for member in body:
        if member not in _MEMBERS:
            _refuse(f"meter has an unknown member {_shown(member)}: it may have {', '.join(_MEMBERS)}")
    aggregation = _text(body, "aggregation", "meter aggregation", MAX_NAME)
    slug = _slug(body)
    event_type = _text(body, "eventType", "meter event type", MAX_EVENT_TYPE)
    if not event_type:
        _refuse("meter event type is required")
    if not aggregation:
        _refuse("meter aggregation is required")
    if aggregation not in AGGREGATIONS:
        _refuse(f"meter aggregation must be one of {' '.join(AGGREGATIONS)}")
    value_property = _value_property(body, aggregation)
    event_from = _text(body, "eventFrom", "meter event from", MAX_NAME) or None
    if event_from is not None:
        _check_instant(event_from)
    return Meter(
        slug=slug,
        event_type=event_type,
        aggregation=cast(Aggregation, aggregation),
        value_property=value_property,
        group_by=_group_by(body, value_property),
        name=_text(body, "name", "meter name", MAX_NAME) or slug,
        description=_text(body, "description", "meter description", MAX_DESCRIPTION),
        event_from=event_from,
        metadata=_metadata(body),
        meter_id=meter_id,
        namespace=namespace,
        earlier=earlier,
    )


def change(old: Meter, new: Meter, revision: int) -> Meter:
    """`new` under the identity of `old`, in force from a control revision on.

    Events that are decided before it keep the dimensions that `old` has. Raises Rejected `meter-conflict` if the
    change would alter what is counted, or if the dimensions have changed too often.
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
    return msgspec.structs.replace(new, meter_id=old.meter_id, earlier=_earlier(old, new, revision))


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


def with_update(old: Meter, wish: Mapping[str, object], revision: int) -> Meter:
    """`old` with the `name`, `description`, `groupBy` and `metadata` of `wish`: all that an update may say.

    An absent name stays, the others are cleared. Other members may stand there as they are: clients send back what
    they got. revision: as for `change`. Raises Rejected `bad-meter`, or `meter-conflict` if one of them differs.
    """
    kept = {member: value for member, value in old.body().items() if member not in _CHANGEABLE}
    sent = {member: value for member, value in wish.items() if member not in WRITTEN and value is not None}
    sent.setdefault("name", old.name)
    return change(old, define({**kept, **sent}, old.meter_id, old.namespace), revision)


def event_from_ns(meter: Meter) -> int:
    """The instant from which the meter counts, in ns since 1970; below every instant if it has none."""
    return _ALWAYS_NS if meter.event_from is None else timestamp.parse_ns(meter.event_from)


def _refuse(detail: str) -> NoReturn:
    raise Rejected("bad-meter", detail)


def _shown(text: object) -> str:
    return ascii(text)[:MAX_SLUG]


def _text(body: Mapping[str, object], member: str, label: str, most: int) -> str:
    value = body.get(member)
    if value is None:
        return ""
    if not isinstance(value, str):
        _refuse(f"{label} must be a string")
    if len(value) > most:
        _refuse(f"{label} must have at most {most} characters")
    if not value.isprintable() and member != "description":
        _refuse(f"{label} must not contain control characters")
    return value


def _slug(body: Mapping[str, object]) -> str:
    slug = body.get("slug")
    if slug is None or slug == "":
        _refuse("meter slug is required")
    if not isinstance(slug, str) or len(slug) > MAX_SLUG or not _SLUG.fullmatch(slug):
        _refuse(
            f"meter slug must have 1 to {MAX_SLUG} characters: lower-case letters, digits, single _ between"
        )
    return slug


def _value_property(body: Mapping[str, object], aggregation: str) -> str | None:
    value = body.get("valueProperty")
    if aggregation == "COUNT":
        if value is not None:
            _refuse("meter value property is not allowed when the aggregation is count")
        return None
    if value is None:
        _refuse("meter value property is required when the aggregation is not count")
    if value == "":
        _refuse("meter value property cannot be empty when the aggregation is not count")
    if not isinstance(value, str) or not value.startswith("$"):
        _refuse("meter value property must start with $")
    _path(value, "meter value property")
    return value


def _group_by(body: Mapping[str, object], value_property: str | None) -> dict[str, str]:
    group_by = body.get("groupBy")
    if group_by is None:
        return {}
    if not isinstance(group_by, Mapping):
        _refuse("meter group by must be an object of names and JSONPaths")
    if len(group_by) > MAX_DIMENSIONS:
        _refuse(f"meter group by must have at most {MAX_DIMENSIONS} keys")
    taken = {} if value_property is None else {jsonpath.parse(value_property): ""}
    for key, path in group_by.items():
        _dimension_name(key)
        if not isinstance(path, str) or not path.startswith("$"):
            _refuse(f"meter group by value must start with $ for key {key}")
        steps = _path(path, f"meter group by value {key}")
        if steps in taken:
            other = taken[steps]
            same = f"that of {other}" if other else "value property"
            _refuse(f"meter group by value {key} cannot be the same as {same}")
        taken[steps] = key
    return dict(sorted(group_by.items()))


def _dimension_name(key: object) -> None:
    if not isinstance(key, str) or not key.strip():
        _refuse("meter group by key cannot be empty")
    if len(key) > MAX_SLUG:
        _refuse(f"meter group by key must have at most {MAX_SLUG} characters")
    if not _DIMENSION.fullmatch(key):
        allowed = "only alphanumeric and underscore characters are allowed"
        _refuse(f"meter group by key {key if key.isprintable() else ascii(key)} is invalid, {allowed}")
    if key in RESERVED_DIMENSIONS:
        _refuse(f"meter group by key {key} is reserved")


def _path(text: str, label: str) -> jsonpath.Path:
    try:
        return jsonpath.parse(text)
    except Rejected as refusal:
        _refuse(f"{label} is not valid: {refusal.detail}")


def _metadata(body: Mapping[str, object]) -> dict[str, str]:
    metadata = body.get("metadata")
    if metadata is None:
        return {}
    if not isinstance(metadata, Mapping) or len(metadata) > MAX_METADATA:
        _refuse(f"meter metadata must be an object of at most {MAX_METADATA} strings")
    for key, value in metadata.items():
        if not isinstance(key, str) or not isinstance(value, str):
            _refuse("meter metadata must be an object of strings")
        if len(key) > MAX_NAME or len(value) > MAX_DESCRIPTION:
            _refuse(f"meter metadata keys must have at most {MAX_NAME} characters, values {MAX_DESCRIPTION}")
    return dict(metadata)


def _check_instant(text: str) -> None:
    try:
        timestamp.parse_ns(text)
    except Rejected as refusal:
        _refuse(f"meter event from is not valid: {refusal.detail}")
