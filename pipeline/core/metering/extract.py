"""What meters read from an event's data: the value and the dimensions.

Owns: the index from (namespace, event type) to meters, compiled for speed; a dimension's and a member's text.
Does not own: definitions (meter), what a number is (values.number), what becomes of the values (aggregate).
Only those members of the data are decoded that some meter names; fractions stay the digits that were sent.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from enum import Enum
from operator import attrgetter
from typing import Any

import msgspec
from msgspec import UNSET, Raw

from pipeline.core.metering.meter import Meter, event_from_ns
from pipeline.core.values import jsonpath, number
from pipeline.errors import Rejected


class _NoData(Enum):
    """Stands at every place of an event whose data is null or absent."""

    VALUE = 0


_NO_DATA = _NoData.VALUE
_COMPACT = msgspec.json.Encoder(order="deterministic")  # the order of members says nothing

Place = Callable[[Any], object]
Value = int | str
Data = list[object]  # decoded data, an event each
Column = tuple[list[Value | None], dict[int, str]]  # None where refused, and why by row


class Reader:
    """One meter, compiled to read columns: the data of many events at once, decoded by its Plan.

    values(data): atto, or text for UNIQUE_COUNT, and who is refused; None for COUNT. Readers of the same value share
    it. dimensions(data): of each event, in the order of `names`. from_ns: None if the meter counts from ever.
    """

    __slots__ = ("dimensions", "from_ns", "meter", "names", "needs_data", "slug", "values", "watched")

    def __init__(self, meter: Meter, fields: dict[str, str], values: Callable[[Data], Column] | None) -> None:
        self.meter = meter
        self.slug = meter.slug
        self.watched = False  # whether windows name their events
        self.names = tuple(meter.group_by)
        self.from_ns = None if meter.event_from is None else event_from_ns(meter)
        self.needs_data = meter.aggregation != "COUNT" or bool(meter.group_by)
        self.values = values
        self.dimensions = _dimensions([jsonpath.parse(path) for path in meter.group_by.values()], fields)


class Plan:
    """All meters of one event type. `decode(data)` gives what their readers take, None if data is null."""

    __slots__ = ("decode", "empty", "readers")

    def __init__(self, meters: Iterable[Meter]) -> None:
        meters = sorted(meters, key=lambda meter: (meter.slug, meter.meter_id))
        paths = [
            path for meter in meters for path in (meter.value_property, *meter.group_by.values()) if path
        ]
        members = sorted({str(jsonpath.parse(path)[0]) for path in paths})
        fields = {member: f"m{number_}" for number_, member in enumerate(members)}
        shape = msgspec.defstruct(
            "Data",
            [(field, Any, UNSET) for field in fields.values()],
            rename={field: member for member, field in fields.items()},
            gc=False,
        )
        columns: dict[tuple[str, bool], Callable[[Data], Column]] = {}
        readers = []
        for meter in meters:
            values = None
            if meter.value_property is not None:
                kind = (meter.value_property, meter.aggregation == "UNIQUE_COUNT")
                values = columns[kind] = columns.get(kind) or _values(*kind, fields)
            readers.append(Reader(meter, fields, values))
        self.readers = tuple(readers)
        self.empty: object = shape(**dict.fromkeys(fields.values(), _NO_DATA))
        decoder = msgspec.json.Decoder(shape | None, float_hook=Raw)
        self.decode: Callable[[Raw | bytes], object] | None = decoder.decode if members else None


class MeterIndex:
    """Meters in force, by namespace and event type. Immutable: changed definitions make a new one.

    watched: (namespace, slug) of meters whose windows name the events that they took.
    """

    def __init__(self, meters: Iterable[Meter], watched: Collection[tuple[str, str]] = ()) -> None:
        kinds: dict[tuple[str, str], list[Meter]] = {}
        for meter in meters:
            kinds.setdefault((meter.namespace, meter.event_type), []).append(meter)
        self._plans = {kind: Plan(found) for kind, found in kinds.items()}
        for plan in self._plans.values():
            for reader in plan.readers:
                reader.watched = (reader.meter.namespace, reader.slug) in watched

    def get(self, namespace: str, event_type: str) -> Plan | None:
        """The meters that want such events, or None."""
        return self._plans.get((namespace, event_type))


def unreadable(error: Exception) -> str:
    """The refusal text for data that does not decode (say, a number of 5,000 digits)."""
    return f"failed to parse event data: {error}"


def measure(meter: Meter, data: Raw | bytes) -> tuple[Value | None, dict[str, str]]:
    """Value and dimensions of one event for one meter, from the JSON text of its data.

    The value is 1 for COUNT, text for UNIQUE_COUNT, else atto. Raises Rejected if the meter cannot take it.
    """
    plan = Plan([meter])
    value, dimensions = measure_by(plan, data)
    return value, dict(zip(plan.readers[0].names, dimensions, strict=True))


def measure_by(plan: Plan, data: Raw | bytes) -> tuple[Value | None, tuple[str, ...]]:
    """As `measure`, with the plan of a single meter made before; dimensions in order of its names."""
    reader = plan.readers[0]
    try:
        found = (plan.decode(data) if plan.decode else None) or plan.empty
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Rejected("bad-value", unreadable(error)) from None
    value: Value | None = 1
    if reader.values is not None:
        (value,), refused = reader.values([found])
        if value is None:
            raise Rejected("bad-value", refused[0])
    (dimensions,) = reader.dimensions([found])
    return value, dimensions


def plain(value: object) -> str:
    """A JSON value as the text of a dimension; "" for null and for what is missing.

    A string as it is, a number by its digits, true or false, compact JSON of an array or object.
    """
    if isinstance(value, str):
        return value
    if value is None or value is UNSET or value is _NO_DATA:
        return ""
    if isinstance(value, Raw):
        return str(value, "utf-8")
    return _COMPACT.encode(value).decode()


def _place(path: jsonpath.Path, fields: dict[str, str]) -> Place:
    top: Place = attrgetter(fields[str(path[0])])
    rest = path[1:]
    if not rest:
        return top

    def deep(data: object) -> object:
        value = top(data)
        return value if value is _NO_DATA else jsonpath.get(rest, value)

    return deep


def _values(value_property: str, text: bool, fields: dict[str, str]) -> Callable[[Data], Column]:
    place = _place(jsonpath.parse(value_property), fields)
    missing = f"missing value property: {msgspec.json.encode(value_property).decode()}"
    limit, scale, parse = number.WHOLE_LIMIT, number.SCALE, number.parse

    def other(value: object) -> Value:
        if value is UNSET:
            number.refuse(missing)
        if value is _NO_DATA:
            number.refuse("null and missing value property")
        if value is None:
            number.refuse("value cannot be null")
        return plain(value) if text else number.atto(value)

    def read(data: Data) -> Column:
        found: list[Value | None] = []
        refused: dict[int, str] = {}
        add = found.append
        for value in map(place, data):
            try:
                if text:
                    add(value if type(value) is str else other(value))
                elif type(value) is int and -limit < value < limit:
                    add(value * scale)
                elif type(value) is Raw:
                    add(parse(str(value, "utf-8")))
                else:
                    add(other(value))
            except Rejected as refusal:
                refused[len(found)] = refusal.detail
                add(None)
        return found, refused

    return read


def _dimensions(
    paths: list[jsonpath.Path], fields: dict[str, str]
) -> Callable[[Data], Iterable[tuple[str, ...]]]:
    if not paths:
        return lambda data: [()] * len(data)
    places = [_place(path, fields) for path in paths]

    def read(data: Data) -> Iterable[tuple[str, ...]]:
        return zip(*[_texts(map(place, data)) for place in places], strict=True)

    return read


def _texts(values: Iterable[object]) -> list[str]:
    return [value if type(value) is str else plain(value) for value in values]
