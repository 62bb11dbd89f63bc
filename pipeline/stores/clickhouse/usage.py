"""Runs a usage query on ClickHouse.

Owns: its SQL and the steps of a query. Does not own: the rules (core.metering.usage_query), merging and result rows
(core.metering.usage_result), the SQL of filters (clickhouse.filters). SQL is built from the constants here, and every
value is a bound parameter. Sums are exact: where a sum of Decimal(38, 18) could wrap, the windows are added up here
with integers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from pipeline.core.metering.meter import MAX_DIMENSIONS
from pipeline.core.metering.usage_query import NS_PER_S, UsageQuery, cut, runs
from pipeline.core.metering.usage_result import (
    EdgeEvent,
    Partial,
    Partials,
    ResultKey,
    collect,
    edge_reader,
    parse_total,
    result_rows,
)
from pipeline.core.values import number
from pipeline.core.values.time_window import MINUTE_S, boundaries
from pipeline.errors import Rejected
from pipeline.stores.clickhouse.client import TOO_LARGE, Parameter, Queries, Rows
from pipeline.stores.clickhouse.filters import text_condition

MAX_ROWS = 1_000_000  # limit of a result
WIDE_S = 366 * 86_400  # a longer range is first narrowed to the part that has windows
EDGE_EVENTS = 50_000  # limit of events in memory, unless one second has more
MEMBERS = 1_000  # members per look-up statement

# The start of the window within a run of windows of equal length: see core.metering.usage_query.runs.
_RUN = (
    "arrayElement({starts:Array(Int64)},"
    " arrayCount(b -> b <= toInt64(start), {starts:Array(Int64)}) AS run) AS run_start"
)
_IN_RUN = (
    "(" + _RUN + ") + intDiv(toInt64(start) - run_start, arrayElement({lengths:Array(Int64)}, run))"
    " * arrayElement({lengths:Array(Int64)}, run)"
)
_START = {None: "toInt64(0)", "MINUTE": "toInt64(start)"}  # other sizes: _IN_RUN
_DIMENSION = "dimension_values[indexOf(dimension_names, {n#:String})]"
_DIMENSIONS = tuple(_DIMENSION.replace("n#", "group" + str(place)) for place in range(MAX_DIMENSIONS))
_FILTERED = tuple(_DIMENSION.replace("n#", "filter" + str(place)) for place in range(MAX_DIMENSIONS))
_SUM = "toString(sum(value)), toString(min(value)), toString(max(value)), ''"
_VALUES = {
    "SUM": _SUM,
    "AVG": _SUM,
    "COUNT": "'', '', '', ''",
    "UNIQUE_COUNT": "'', '', '', ''",
    "MIN": "toString(min(value)), '', '', ''",
    "MAX": "toString(max(value)), '', '', ''",
    "LATEST": "toString(argMax(value, latest_order)), '', '', max(latest_order)",
}
_WINDOWS = ", count(), toUInt64(sum(count)), toUInt32(min(start)), toUInt32(max(start)) FROM windows FINAL"
_ANY_WINDOW = " FROM windows"
_RANGE = (
    " WHERE namespace = {namespace:String} AND meter_id = {meter_id:UInt64}"
    " AND start >= toDateTime({from_s:UInt32}, 'UTC') AND start < toDateTime({to_s:UInt32}, 'UTC')"
)
_SUBJECTS = "subject IN (SELECT arrayJoin({subjects:Array(String)}))"
_CUSTOMER = "transform(subject, {customer_subjects:Array(String)}, {customers:Array(String)}, '')"
_GROUPED = " GROUP BY window_start, dims, of_subject, of_customer"
_EACH = _GROUPED + ", start, subject, dimensions, part"
_IF_ANY = " HAVING count() > 0"  # when all keys are constant, old servers return a row for no rows
_LIMIT = " LIMIT " + str(MAX_ROWS + 1)
_MEMBERS = "member IN (SELECT arrayJoin({members:Array(String)}))"
_EXTENT = "SELECT toUInt32(min(start)), toUInt32(max(start)), count() FROM windows" + _RANGE
_EDGE = (
    " FROM events FINAL WHERE namespace = {namespace:String}"
    " AND time >= toDateTime({from_s:UInt32}, 'UTC') AND time <= toDateTime({to_s:UInt32}, 'UTC')"
    " AND time_ns >= {from_ns:Int64} AND time_ns < {to_ns:Int64} AND fate = 'counted'"
    # An older meter of the same slug counted what was decided earlier; a backfill names its meter by id.
    " AND (has(meters, {meter:String}) AND decided >= {meter_id:UInt64}"
    " OR has(backfilled, {meter_id:UInt64}))"
)
_EDGE_SECONDS = "SELECT intDiv(time_ns, 1000000000) AS second, count()"
_EDGE_EVENTS = (
    "SELECT subject, data, time_ns, received_at_ms, input_partition, input_offset, decided,"
    " if(has(backfilled, {meter_id:UInt64}),"
    " backfilled_rules[indexOf(backfilled, {meter_id:UInt64})], rules) AS read_by"
)
_DIMENSIONS_ARE = "dimensions = {dimensions:String}"


class _Scope(NamedTuple):
    """The SELECT keys, additional conditions, and the parameters of both."""

    keys: str
    conditions: str
    parameters: dict[str, Parameter]


def usage(store: Queries, query: UsageQuery, max_rows: int = MAX_ROWS) -> list[dict[str, object]]:
    """The rows of core.metering.usage_result.result_rows, at most `max_rows`.

    Raises Unavailable, Broken, and Rejected `total-too-large` or `too-many-rows`.
    """
    if query.only == ():
        return result_rows(query, {})
    aggregation = query.meter.aggregation
    minutes, edges = cut(query.from_ns, query.to_ns)
    parts: Partials = {}
    scope = _scope(store, query, minutes)
    if scope is not None:
        collect(aggregation, _stored(store, query, scope), parts)
    edge: Partials = {}
    for side in edges:
        collect(aggregation, _edge(store, query, *side), edge)
    if edge and scope is not None and aggregation == "UNIQUE_COUNT":
        edge = _fresh(store, edge, scope)
    collect(aggregation, edge.items(), parts)
    if len(parts) > max_rows:
        raise Rejected(
            "too-many-rows",
            f"the result has more than {max_rows:,} rows: narrow the query, or use longer windows",
        )
    return result_rows(query, parts)


def keys(store: Queries, query: UsageQuery) -> set[ResultKey]:
    """The keys that have usage, without amounts: at most MAX_ROWS. Raises like `usage`."""
    if query.only == ():
        return set()
    minutes, edges = cut(query.from_ns, query.to_ns)
    keys: set[ResultKey] = set()
    scope = _scope(store, query, minutes)
    if scope is not None:
        select = scope.keys + _ANY_WINDOW + _RANGE + scope.conditions + _GROUPED + _IF_ANY + _LIMIT
        keys = {_key(row) for row in store.query(select, scope.parameters)}
    for side in edges:
        keys |= {key for key, _ in _edge(store, query, *side)}
    return keys


def _key(row: tuple[Any, ...]) -> ResultKey:
    start_s, dimensions, subject, customer, *_ = row
    return ResultKey(start_s, tuple(dimensions), subject, customer)


def _scope(store: Queries, query: UsageQuery, minutes: tuple[int, int]) -> _Scope | None:
    """The scope of the whole minutes; None if they have no window."""
    from_s, to_s = minutes
    if from_s >= to_s:
        return None
    parameters: dict[str, Parameter] = {
        "namespace": query.meter.namespace,
        "meter_id": query.meter.meter_id,
        "from_s": from_s,
        "to_s": to_s,
    }
    start = _START.get(query.window)
    if start is None:
        if to_s - from_s > WIDE_S:
            first_s, last_s, rows = store.query(_EXTENT, parameters)[0]
            if not rows:
                return None
            from_s, to_s = first_s, last_s + MINUTE_S
        starts, lengths = runs(boundaries(query.window or "MINUTE", query.zone, from_s, to_s))
        parameters |= {"from_s": from_s, "to_s": to_s, "starts": starts, "lengths": lengths}
        start = _IN_RUN
    dimensions = "CAST([] AS Array(String))"
    if query.group_by:
        dimensions = "[" + ", ".join(_DIMENSIONS[: len(query.group_by)]) + "]"
        parameters |= {"group" + str(place): name for place, name in enumerate(query.group_by)}
    subject = "subject" if query.by_subject else "''"
    customer = "''"
    if query.customer_of is not None:
        customer = _CUSTOMER
        parameters |= {
            "customer_subjects": list(query.customer_of),
            "customers": list(query.customer_of.values()),
        }
    keys = "SELECT " + start + " AS window_start, " + dimensions + " AS dims, " + subject + " AS of_subject, "
    return _Scope(keys + customer + " AS of_customer", _conditions(query, parameters), parameters)


def _conditions(query: UsageQuery, parameters: dict[str, Parameter]) -> str:
    """The conditions for subjects and filters; their values are added to `parameters`."""
    found = []
    if query.only is not None:
        found.append(_SUBJECTS)
        parameters["subjects"] = query.only
    if query.dimensions is not None:
        found.append(_DIMENSIONS_ARE)
        parameters["dimensions"] = query.dimensions
    for place, (name, filter_) in enumerate(query.filters):
        parameters["filter" + str(place)] = name
        found.append(text_condition(_FILTERED[place], filter_, parameters))
    return "".join(" AND " + condition for condition in found)


def _stored(store: Queries, query: UsageQuery, scope: _Scope) -> Iterator[tuple[ResultKey, Partial]]:
    aggregation = query.meter.aggregation
    select = scope.keys + ", " + _VALUES[aggregation] + _WINDOWS + _RANGE + scope.conditions
    rows = store.query(select + _GROUPED + _IF_ANY + _LIMIT, scope.parameters)
    if _VALUES[aggregation] == _SUM and any(_may_wrap(low, high, n) for *_, low, high, _, n, _, _, _ in rows):
        rows = store.query(select + _EACH, scope.parameters)
    for row in rows:
        value, _, _, order, _, count, first_s, last_s = row[4:]
        yield _key(row), Partial(parse_total(value) if value else None, order, count, first_s, last_s)
    if aggregation == "UNIQUE_COUNT":
        found = {_key(row): (row[-2], row[-1]) for row in rows}
        members = scope.keys + ", uniqExact(member) FROM uniques" + _RANGE + scope.conditions + _GROUPED
        for row in store.query(members, scope.parameters):
            seen = found.get(_key(row))
            if seen is not None:  # members are stored before their window, which counts their events
                yield _key(row), Partial(None, "", 0, *seen, distinct=row[-1])


def _may_wrap(low: str, high: str, rows: int) -> bool:
    return max(abs(parse_total(low)), abs(parse_total(high))) * rows >= number.TOTAL_LIMIT


def _edge(store: Queries, query: UsageQuery, from_ns: int, to_ns: int) -> Iterator[tuple[ResultKey, Partial]]:
    """Measure the events of the meter in [from_ns, to_ns) again, some seconds at a time."""
    meter = query.meter
    conditions = " AND " + _SUBJECTS if query.only is not None else ""
    parameters: dict[str, Parameter] = {
        "namespace": meter.namespace,
        "meter": meter.slug,
        "meter_id": meter.meter_id,
        "subjects": query.only or (),
    }
    read = edge_reader(query)
    asked = _EDGE_SECONDS + _EDGE + conditions + " GROUP BY second ORDER BY second"
    seconds = store.query(asked, parameters | _between(from_ns, to_ns))
    for first_s, last_s in _slices(seconds):
        part = max(from_ns, first_s * NS_PER_S), min(to_ns, (last_s + 1) * NS_PER_S)
        for row in _edge_events(store, query, parameters, *part):
            found = read(EdgeEvent(*row))
            if found is not None:
                yield found


def _edge_events(
    store: Queries, query: UsageQuery, parameters: dict[str, Parameter], from_ns: int, to_ns: int
) -> Iterator[tuple[Any, ...]]:
    """The events of one part. Where they are more than one answer may hold, in halves of it."""
    conditions = " AND " + _SUBJECTS if query.only is not None else ""
    part = parameters | _between(from_ns, to_ns)
    try:
        rows: Rows = store.query(_EDGE_EVENTS + _EDGE + conditions, part)
    except Rejected as refusal:
        if refusal.reason != TOO_LARGE or to_ns - from_ns < 2:
            raise
        middle_ns = (from_ns + to_ns) // 2
        yield from _edge_events(store, query, parameters, from_ns, middle_ns)
        yield from _edge_events(store, query, parameters, middle_ns, to_ns)
    else:
        yield from rows


def _between(from_ns: int, to_ns: int) -> dict[str, Parameter]:
    return {
        "from_ns": from_ns,
        "to_ns": to_ns,
        "from_s": from_ns // NS_PER_S,
        "to_s": to_ns // NS_PER_S,
    }


def _slices(seconds: list[tuple[int, ...]]) -> Iterator[tuple[int, int]]:
    """First and last second of ranges with at most EDGE_EVENTS events, or of one second."""
    first_s = last_s = events = 0
    for second, count in seconds:
        if events and events + count > EDGE_EVENTS:
            yield first_s, last_s
            events = 0
        first_s = first_s if events else second
        last_s, events = second, events + count
    if events:
        yield first_s, last_s


def _fresh(store: Queries, edge: Partials, scope: _Scope) -> Partials:
    """The edge without the members that whole minutes of the same key also have."""
    wanted = sorted(set().union(*(part.members for part in edge.values())))
    select = scope.keys + ", member FROM uniques" + _RANGE + scope.conditions + " AND " + _MEMBERS
    known: dict[ResultKey, set[str]] = {}
    for first in range(0, len(wanted), MEMBERS):
        parameters = scope.parameters | {"members": wanted[first : first + MEMBERS]}
        for row in store.query(select + _GROUPED + ", member", parameters):
            known.setdefault(_key(row), set()).add(row[-1])
    return {key: part._replace(members=part.members - known.get(key, set())) for key, part in edge.items()}
