"""Filters as conditions of ClickHouse.

Owns: the SQL of each operator, for a text and for an instant. Does not own: the meaning of operators
(core.values.filters). Conditions are built from the constants here; every operand is a bound parameter with a number.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping

from pipeline.core.metering.usage_query import NS_PER_S
from pipeline.core.values import filters
from pipeline.core.values.filters import Filter
from pipeline.stores.clickhouse.client import Parameter

_LEFT = "COLUMN"
_TEXT = {
    "$eq": "COLUMN = {p#:String}",
    "$ne": "COLUMN != {p#:String}",
    "$gt": "COLUMN > {p#:String}",
    "$gte": "COLUMN >= {p#:String}",
    "$lt": "COLUMN < {p#:String}",
    "$lte": "COLUMN <= {p#:String}",
    "$in": "has({p#:Array(String)}, COLUMN)",
    "$nin": "NOT has({p#:Array(String)}, COLUMN)",
}
_MATCH, _NO_MATCH = "match(COLUMN, {p#:String})", "NOT match(COLUMN, {p#:String})"
_EMPTY, _NOT_EMPTY, _ALL = "COLUMN = ''", "COLUMN != ''", "1 = 1"
_BOTH, _EITHER = " AND ", " OR "

# The seconds are compared too, because they are in the sort key; they are limited to the range of a DateTime.
TIME: Mapping[str, str] = {
    "$eq": "(time = toDateTime({s#:UInt32}, 'UTC') AND time_ns = {p#:Int64})",
    "$gt": "(time >= toDateTime({s#:UInt32}, 'UTC') AND time_ns > {p#:Int64})",
    "$gte": "(time >= toDateTime({s#:UInt32}, 'UTC') AND time_ns >= {p#:Int64})",
    "$lt": "(time <= toDateTime({s#:UInt32}, 'UTC') AND time_ns < {p#:Int64})",
    "$lte": "(time <= toDateTime({s#:UInt32}, 'UTC') AND time_ns <= {p#:Int64})",
}
RECEIVED: Mapping[str, str] = {
    "$eq": "received_at_ms * 1000000 = {p#:Int64}",
    "$gt": "received_at_ms * 1000000 > {p#:Int64}",
    "$gte": "received_at_ms * 1000000 >= {p#:Int64}",
    "$lt": "received_at_ms * 1000000 < {p#:Int64}",
    "$lte": "received_at_ms * 1000000 <= {p#:Int64}",
}
_INT64 = 2**63 - 1
_LAST_S = 2**32 - 1


def text_condition(column: str, filter_: Filter, parameters: MutableMapping[str, Parameter]) -> str:
    """The SQL of `filter_` for `column`, a constant of the caller. Adds the operands to `parameters`."""
    op, operand = filter_.op, filter_.operand
    if op in ("$and", "$or"):
        parts = [text_condition(column, one, parameters) for one in operand]
        return "(" + (_BOTH if op == "$and" else _EITHER).join(parts) + ")"
    if not op:
        return _ALL
    if op == "$exists":
        return (_NOT_EMPTY if operand else _EMPTY).replace(_LEFT, column)
    place = str(len(parameters))
    if op in _TEXT:
        parameters["p" + place] = operand
        return _TEXT[op].replace("#", place).replace(_LEFT, column)
    parameters["p" + place] = filters.pattern(op, operand)
    negated = op in filters.NEGATED
    return (_NO_MATCH if negated else _MATCH).replace("#", place).replace(_LEFT, column)


def time_condition(
    operators: Mapping[str, str], filter_: Filter, parameters: MutableMapping[str, Parameter]
) -> str:
    """Like text_condition, for an instant. operators: TIME or RECEIVED."""
    op, operand = filter_.op, filter_.operand
    if op in ("$and", "$or"):
        parts = [time_condition(operators, one, parameters) for one in operand]
        return "(" + (_BOTH if op == "$and" else _EITHER).join(parts) + ")"
    if not op:
        return _ALL
    place = str(len(parameters))
    parameters["p" + place] = min(max(operand, -_INT64), _INT64)
    if operators is TIME:
        parameters["s" + place] = min(max(operand // NS_PER_S, 0), _LAST_S)
    return operators[op].replace("#", place)
