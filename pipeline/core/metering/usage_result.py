"""Usage answers: the parts that stores give, merged exactly, as result rows.

Owns: what is known of a group and how two such parts become one, measuring edge events, the rows and their values.
Does not own: what may be asked (usage_query), where parts come from (stores.clickhouse.usage), what a meter reads
(extract).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from heapq import merge
from operator import itemgetter
from typing import Any, NamedTuple

from pipeline.core.metering import window_state
from pipeline.core.metering.extract import ExtractPlan, measure_by
from pipeline.core.metering.meter import Meter
from pipeline.core.metering.usage_query import NS_PER_S, UsageQuery, instant_text
from pipeline.core.values import filters, number
from pipeline.core.values.filters import Filter
from pipeline.core.values.time_window import MINUTE_S, bounds, minute_s
from pipeline.errors import Broken, Rejected

AT_ONCE = 5_000  # rows that are sorted in one go
_COUNTING = ("COUNT", "UNIQUE_COUNT")


class ResultKey(NamedTuple):
    """What one row is about. start_s: of the window, 0 without one; subject, customer: "" unless asked for."""

    start_s: int
    dimensions: tuple[str, ...]
    subject: str
    customer: str = ""


class Partial(NamedTuple):
    """What is known of a key from some of its events; no event is in two parts.

    value: atto; None for COUNT and UNIQUE_COUNT. order: of LATEST. first_s, last_s: first and last minute.
    distinct: members that are in no other part; members: those that may be (UNIQUE_COUNT).
    """

    value: int | None
    order: str
    events: int
    first_s: int
    last_s: int
    distinct: int = 0
    members: frozenset[str] = frozenset()


Partials = dict[ResultKey, Partial]
_Group = tuple[tuple[int, int], str, str, tuple[str, ...], Partial]  # span, customer, subject, group


class EdgeEvent(NamedTuple):
    """A stored event that the meter has counted.

    data: JSON text. decided: the control revision at which aggregate decided it. rules: by which it was read (reading).
    """

    subject: str
    data: str
    time_ns: int
    received_at_ms: int
    partition: int
    offset: int
    decided: int
    rules: int


def join(aggregation: str, a: Partial, b: Partial) -> Partial:
    """Two parts of one key as one: associative and commutative."""
    value, order = _fold(aggregation, a, b)
    return Partial(
        value,
        order,
        a.events + b.events,
        min(a.first_s, b.first_s),
        max(a.last_s, b.last_s),
        a.distinct + b.distinct,
        a.members | b.members,
    )


def collect(
    aggregation: str, found: Iterable[tuple[ResultKey, Partial]], into: Partials | None = None
) -> Partials:
    """Joins parts by key."""
    parts: Partials = {} if into is None else into
    for key, part in found:
        known = parts.get(key)
        parts[key] = part if known is None else join(aggregation, known, part)
    return parts


def window_start(query: UsageQuery) -> Callable[[int], int]:
    """Of the minute of an event, the start of its window in seconds; 0 without one."""
    if query.window is None:
        return lambda minute: 0
    size, zone = query.window, query.zone
    known: dict[int, int] = {}

    def start_s(minute: int) -> int:
        if minute not in known:
            known[minute] = bounds(size, zone, minute)[0]
        return known[minute]

    return start_s


class _Reading(NamedTuple):
    """How events of one time are read. Of a dimension that the meter did not have then the place is None."""

    plan: ExtractPlan
    allowed: list[tuple[int | None, Filter]]
    asked: list[int | None]


def _reading(query: UsageQuery, meter: Meter, rules: int) -> _Reading:
    plan = ExtractPlan([meter], rules)
    places = {name: place for place, name in enumerate(plan.readers[0].names)}
    allowed = [(places.get(name), filter_) for name, filter_ in query.filters]
    return _Reading(plan, allowed, [places.get(name) for name in query.group_by])


def edge_reader(query: UsageQuery) -> Callable[[EdgeEvent], tuple[ResultKey, Partial] | None]:
    """Measures an event again, as it was measured when it was counted; None where a filter leaves it out.

    That is: with the dimensions which the meter had then, and by the rules of then. So an event is in the same row as
    the window of its minute. Raises Broken if it cannot be measured.
    """
    meter = query.meter
    start_s, aggregation = window_start(query), meter.aggregation
    readings: dict[tuple[int, int], _Reading] = {}

    def reading_of(event: EdgeEvent) -> _Reading:
        since = sum(1 for earlier in meter.earlier if earlier.until <= event.decided)
        found = readings.get((since, event.rules))
        if found is None:
            found = _reading(query, meter.as_of(event.decided), event.rules)
            readings[since, event.rules] = found
        return found

    def read(event: EdgeEvent) -> tuple[ResultKey, Partial] | None:
        plan, allowed, asked = reading_of(event)
        try:
            measured, dimensions = measure_by(plan, event.data.encode())
        except Rejected as error:
            raise Broken(f"meter {meter.slug} counted an event that it cannot take: {error}") from error
        value: Any = None if aggregation == "COUNT" else measured
        if not all(filters.matches(filter_, _at(place, dimensions)) for place, filter_ in allowed):
            return None
        minute = minute_s(event.time_ns)
        subject = event.subject if query.by_subject else ""
        customer = "" if query.customer_of is None else query.customer_of[event.subject]
        key = ResultKey(start_s(minute), tuple(_at(place, dimensions) for place in asked), subject, customer)
        if aggregation == "UNIQUE_COUNT":
            members = frozenset((window_state.member_digest(value).hex(),))
            return key, Partial(None, "", 1, minute, minute, members=members)
        order = ""
        if aggregation == "LATEST":
            order = window_state.order(event.time_ns, event.received_at_ms, event.partition, event.offset)
        return key, Partial(value, order, 1, minute, minute)

    return read


def _at(place: int | None, dimensions: tuple[str, ...]) -> str:
    return "" if place is None else dimensions[place]


def result_rows(query: UsageQuery, parts: Partials) -> list[dict[str, object]]:
    """The answer: a row for each key with events, by start, customer, subject, group.

    An empty range without window and grouping is one row 0 for COUNT and UNIQUE_COUNT, else nothing.
    Raises Rejected `total-too-large` for a total of more than 38 digits.
    """
    if not parts:
        grouped = query.window or query.by_subject or query.by_customer or query.group_by
        if grouped or query.meter.aggregation not in _COUNTING:
            return []
        return [_row(query, (query.from_ns, query.to_ns), "", "", (), None)]
    spans: dict[int, tuple[int, int]] = {}  # windows are few, rows may be many
    found = []
    for key, part in parts.items():
        span = spans.get(key.start_s) or _span(query, key, part)
        if query.window is not None:
            spans[key.start_s] = span
        found.append((span, key.customer, key.subject, key.dimensions, part))
    return [_row(query, *one) for one in _in_order(found)]


def _in_order(found: list[_Group]) -> Iterable[_Group]:
    """Sorted some at a time and merged: one long sort would hold up every other thread."""
    order = itemgetter(0, 1, 2, 3)
    parts = [sorted(found[at : at + AT_ONCE], key=order) for at in range(0, len(found), AT_ONCE)]
    return parts[0] if len(parts) == 1 else merge(*parts, key=order)


def parse_total(text: str) -> int:
    """Decimal text of the store, of up to 38 digits, as atto."""
    whole, _, fraction = text.partition(".")
    scaled = int(whole.lstrip("-") + fraction.ljust(number.DECIMALS, "0"))
    return -scaled if text.startswith("-") else scaled


def _fold(aggregation: str, a: Partial, b: Partial) -> tuple[int | None, str]:
    if a.value is None or b.value is None:
        return (a.value, a.order) if b.value is None else (b.value, b.order)
    if aggregation == "LATEST":
        order, value = max((a.order, a.value), (b.order, b.value))
        return value, order
    if aggregation == "MIN":
        return min(a.value, b.value), ""
    if aggregation == "MAX":
        return max(a.value, b.value), ""
    return a.value + b.value, ""


def _span(query: UsageQuery, key: ResultKey, part: Partial) -> tuple[int, int]:
    """Start and end of a row in ns."""
    if query.window is not None:
        start_s, end_s = bounds(query.window, query.zone, key.start_s)
        return start_s * NS_PER_S, end_s * NS_PER_S
    start_ns = part.first_s * NS_PER_S if query.from_ns is None else query.from_ns
    end_ns = (part.last_s + MINUTE_S) * NS_PER_S if query.to_ns is None else query.to_ns
    return start_ns, end_ns


def _row(
    query: UsageQuery,
    span: tuple[int | None, int | None],
    customer: str,
    subject: str,
    dimensions: tuple[str, ...],
    part: Partial | None,
) -> dict[str, object]:
    start_ns, end_ns = span
    return {
        "meter": query.meter.slug,
        "subject": subject if query.by_subject else None,
        "customer": customer if query.by_customer else None,
        "window": query.window,
        "tz": query.tz,
        "start": None if start_ns is None else instant_text(start_ns),
        "end": None if end_ns is None else instant_text(end_ns),
        "group": dict(zip(query.group_by, dimensions, strict=True)),
        "value": "0" if part is None else _value(query.meter, part),
        "count": 0 if part is None else part.events,
    }


def _value(meter: Meter, part: Partial) -> str:
    if meter.aggregation == "COUNT":
        return str(part.events)
    if meter.aggregation == "UNIQUE_COUNT":
        return str(part.distinct + len(part.members))
    value = part.value
    if value is None:
        raise Broken(f"meter {meter.slug} has events but no value")
    if meter.aggregation == "AVG":
        value = number.divide(value, part.events)
    if not -number.TOTAL_LIMIT < value < number.TOTAL_LIMIT:
        raise Rejected(
            "total-too-large", f"the total of meter {meter.slug} has more than 38 digits: ask for less"
        )
    return number.text(value)
