"""What meters read from an event's data: the value and the dimensions.

Owns: the index from (namespace, event type) to meters, compiled for speed; a dimension's and a member's text.
Does not own: definitions (meter), what a number is (values.number), what becomes of the values (aggregate).
Only those members of the data are decoded that some meter names; fractions stay the digits that were sent.

Each stored event keeps the version of the rules by which it was read, so that it is read alike for ever:

    0    a number is a dimension's or a member's text by its spelling: 7 and 7.0 are two
    1    by its canonical text (number.canonical): 7, 7.0 and 7e0 are one
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from enum import Enum
from operator import attrgetter
from typing import Any

import msgspec
from msgspec import UNSET, Raw

from pipeline.core.metering.meter import Meter, event_from_ns
from pipeline.core.metering.refusal import MISSING, NO_DATA, NULL, UNREADABLE, Refusal, counted_name
from pipeline.core.values import jsonpath, number
from pipeline.errors import Rejected

AS_SPELLED, CANONICAL = 0, 1
RULES = CANONICAL  # by which events are read


class _NoData(Enum):
    """Stands at every place of an event whose data is null or absent."""

    VALUE = 0


_NO_DATA = _NoData.VALUE
_COMPACT = msgspec.json.Encoder(order="deterministic")  # the order of members says nothing
_NO_FIELD = re.compile(r'[\x00-\x1f"\\]').search  # what msgspec refuses in a field's name
_SHORT = 10**40  # below it an int is its own canonical text

PathReader = Callable[[Any], object]
Text = Callable[[object], str]
Value = int | str
Data = list[object]  # decoded data, an event each
Column = tuple[list[Value | None], dict[int, Refusal]]  # None where refused, and why by row


class Extractor:
    """One meter, compiled to read columns: the data of many events at once, decoded by its Plan.

    values(data): atto, or text for UNIQUE_COUNT, and who is refused; None for COUNT. Readers of the same value share
    it. dimensions(data): of each event, in the order of `names`. from_ns: None if the meter counts from ever.
    counted: the name of its total in Counts.
    """

    __slots__ = (
        "counted",
        "dimensions",
        "from_ns",
        "meter",
        "names",
        "needs_data",
        "slug",
        "values",
        "watched",
    )

    def __init__(
        self, meter: Meter, fields: dict[str, PathReader], values: Callable[[Data], Column] | None, text: Text
    ) -> None:
        self.meter = meter
        self.slug = meter.slug
        self.counted = counted_name(meter)
        self.watched = False  # whether windows name their events
        self.names = tuple(meter.group_by)
        self.from_ns = None if meter.event_from is None else event_from_ns(meter)
        self.needs_data = meter.aggregation != "COUNT" or bool(meter.group_by)
        self.values = values
        self.dimensions = _dimensions(
            [jsonpath.parse(path) for path in meter.group_by.values()], fields, text
        )


class ExtractPlan:
    """All meters of one event type. `decode(data)` gives what their readers take, None if data is null.

    rules: see above.
    """

    __slots__ = ("decode", "empty", "readers")

    def __init__(self, meters: Iterable[Meter], rules: int = RULES) -> None:
        text = canonical_text if rules else spelled_text
        meters = sorted(meters, key=lambda meter: (meter.slug, meter.meter_id))
        paths = [
            path for meter in meters for path in (meter.value_property, *meter.group_by.values()) if path
        ]
        members = sorted({str(jsonpath.parse(path)[0]) for path in paths})
        simple = not any(map(_NO_FIELD, members))
        shape, fields, self.empty = _shape(members) if simple else _any_shape(members)
        columns: dict[tuple[str, bool], Callable[[Data], Column]] = {}
        readers = []
        for meter in meters:
            values = None
            if meter.value_property is not None:
                kind = (meter.value_property, meter.aggregation == "UNIQUE_COUNT")
                values = columns[kind] = columns.get(kind) or _values(*kind, fields, text)
            readers.append(Extractor(meter, fields, values, text))
        self.readers = tuple(readers)
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
        self._plans = {kind: ExtractPlan(found) for kind, found in kinds.items()}
        for plan in self._plans.values():
            for reader in plan.readers:
                reader.watched = (reader.meter.namespace, reader.slug) in watched

    def get(self, namespace: str, event_type: str) -> ExtractPlan | None:
        """The meters that want such events, or None."""
        return self._plans.get((namespace, event_type))


def unreadable(error: Exception) -> Refusal:
    """The refusal of data that does not decode (say, a number of 5,000 digits)."""
    return Refusal(UNREADABLE, f"failed to parse event data: {error}")


def measure(meter: Meter, data: Raw | bytes, rules: int = RULES) -> tuple[Value | None, dict[str, str]]:
    """Value and dimensions of one event for one meter, from the JSON text of its data.

    The value is 1 for COUNT, text for UNIQUE_COUNT, else atto. Raises Rejected if the meter cannot take it, with a
    reason of core.metering.refusal.
    """
    plan = ExtractPlan([meter], rules)
    value, dimensions = measure_by(plan, data)
    return value, dict(zip(plan.readers[0].names, dimensions, strict=True))


def measure_by(plan: ExtractPlan, data: Raw | bytes) -> tuple[Value | None, tuple[str, ...]]:
    """As `measure`, with the plan of a single meter made before; dimensions in order of its names."""
    reader = plan.readers[0]
    try:
        found = plan.decode(data) if plan.decode else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Rejected(*unreadable(error)) from None
    if found is None:
        found = plan.empty
    value: Value | None = 1
    if reader.values is not None:
        (value,), refused = reader.values([found])
        if value is None:
            raise Rejected(*refused[0])
    (dimensions,) = reader.dimensions([found])
    return value, dimensions


def canonical_text(value: object) -> str:
    """A JSON value as the text of a dimension or member; "" for null and for what is missing.

    A string as it is, the canonical text of a number, true or false, compact JSON of an array or object, whose numbers
    are canonical too.
    """
    if type(value) is int and -_SHORT < value < _SHORT:
        return str(value)
    if value is UNSET or value is None:
        return ""
    if isinstance(value, Raw):
        return number.canonical(str(value, "utf-8"))
    return spelled_text(_canonical(value))


def spelled_text(value: object) -> str:
    """As canonical_text, with numbers as they were spelled."""
    if isinstance(value, str):
        return value
    if value is None or value is UNSET or value is _NO_DATA:
        return ""
    if isinstance(value, Raw):
        return str(value, "utf-8")
    return _COMPACT.encode(value).decode()


def _canonical(value: object) -> object:
    if isinstance(value, list):
        return [_canonical(one) for one in value]
    if isinstance(value, dict):
        return {name: _canonical(one) for name, one in value.items()}
    if isinstance(value, Raw) or (type(value) is int and abs(value) >= _SHORT):
        return Raw(number.canonical(str(value, "utf-8") if isinstance(value, Raw) else str(value)).encode())
    return value


def _shape(members: list[str]) -> tuple[Any, dict[str, PathReader], object]:
    """The class that data is decoded to, a reader of each member, and the value for data that is null."""
    names = {f"m{number_}": member for number_, member in enumerate(members)}
    shape = msgspec.defstruct("Data", [(name, Any, UNSET) for name in names], rename=names, gc=False)
    fields: dict[str, PathReader] = {member: attrgetter(name) for name, member in names.items()}
    return shape, fields, shape(**dict.fromkeys(names, _NO_DATA))


def _any_shape(members: list[str]) -> tuple[Any, dict[str, PathReader], object]:
    """As _shape, for names that msgspec takes for no field: slower, since all members are decoded."""

    def member(name: str) -> PathReader:
        return lambda data: data.get(name, UNSET)

    return dict[str, Any], {name: member(name) for name in members}, dict.fromkeys(members, _NO_DATA)


def _place(path: jsonpath.Path, fields: dict[str, PathReader]) -> PathReader:
    top = fields[str(path[0])]
    rest = path[1:]
    if not rest:
        return top

    def deep(data: object) -> object:
        value = top(data)
        return value if value is _NO_DATA else jsonpath.get(rest, value)

    return deep


def _values(
    value_property: str, as_text: bool, fields: dict[str, PathReader], text: Text
) -> Callable[[Data], Column]:
    place = _place(jsonpath.parse(value_property), fields)
    missing = f"missing value property: {msgspec.json.encode(value_property).decode()}"
    limit, scale, parse = number.WHOLE_LIMIT, number.SCALE, number.parse

    def other(value: object) -> Value:
        if value is UNSET:
            number.refuse(MISSING, missing)
        if value is _NO_DATA:
            number.refuse(NO_DATA, "null and missing value property")
        if value is None:
            number.refuse(NULL, "value cannot be null")
        return text(value) if as_text else number.atto(value)

    def read(data: Data) -> Column:
        found: list[Value | None] = []
        refused: dict[int, Refusal] = {}
        add = found.append
        for value in map(place, data):
            try:
                if as_text:
                    add(value if type(value) is str else other(value))
                elif type(value) is int and -limit < value < limit:
                    add(value * scale)
                elif type(value) is Raw:
                    add(parse(str(value, "utf-8")))
                else:
                    add(other(value))
            except Rejected as refusal:
                refused[len(found)] = Refusal(refusal.reason, refusal.detail)
                add(None)
        return found, refused

    return read


def _dimensions(
    paths: list[jsonpath.Path], fields: dict[str, PathReader], text: Text
) -> Callable[[Data], Iterable[tuple[str, ...]]]:
    if not paths:
        return lambda data: [()] * len(data)
    places = [_place(path, fields) for path in paths]

    def texts(values: Iterable[object]) -> list[str]:
        return [value if type(value) is str else text(value) for value in values]

    def read(data: Data) -> Iterable[tuple[str, ...]]:
        return zip(*[texts(map(place, data)) for place in places], strict=True)

    return read
