"""SQL conditions for the events that a meter counted, and for those that it refused.

Owns: the SQL, also for rows of older versions. Does not own: why a meter refuses (core.metering.refusal), the list of
events (events).

A row of an older version has no `refused_*`. Its `reason` names the meters by slug, as `slug: why; slug: why`, and the
slug refers to a meter that existed when the event was decided.
"""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pipeline.records import Refused
from pipeline.stores.clickhouse.client import Parameter

_OR = " OR "
_COUNTED = (
    "(fate = 'counted' AND ((decided >= {m#:UInt64} AND has(meters, {s#:String}))"
    " OR has(backfilled, {m#:UInt64})))"
)
_OLD = "(empty(refused_ids) AND reason != '' AND fate IN ('counted', 'invalid'))"
_ANY = "(notEmpty(refused_ids) OR " + _OLD + ")"
_ANY_REASON = "arrayExists(r -> has({r:Array(String)}, r), refused_reasons)"
_BY = (
    "(has(refused_ids, {m#:UInt64}) OR (" + _OLD + " AND decided >= {m#:UInt64}"
    " AND (startsWith(reason, {s#:String}) OR position(reason, concat('; ', {s#:String})) > 0)))"
)
_BY_REASON = (
    "arrayExists((i, r) -> i = {m#:UInt64} AND has({r:Array(String)}, r), refused_ids, refused_reasons)"
)
_NOT = "NOT "


class MeterName(NamedTuple):
    """A meter by the two names that events use."""

    slug: str
    meter_id: int


@dataclass(frozen=True)
class RefusedFilter:
    """Events that some meter refused, or with `refused` False those that no meter refused.

    meters: only refusals by these; None: by any. reasons: only refusals for these; None: for any.
    """

    refused: bool = True
    meters: Sequence[MeterName] | None = None
    reasons: Sequence[str] | None = None


def counted_condition(meters: Sequence[MeterName], parameters: MutableMapping[str, Parameter]) -> str:
    """The condition that one of these meters counted the event. Adds to `parameters`."""
    found = []
    for meter in meters:
        place = str(len(parameters))
        parameters["m" + place] = meter.meter_id
        parameters["s" + place] = meter.slug
        found.append(_COUNTED.replace("#", place))
    return "(" + _OR.join(found) + ")"


def refused_condition(refusals: RefusedFilter, parameters: MutableMapping[str, Parameter]) -> str:
    """The SQL of the filter. Adds to `parameters`."""
    if refusals.reasons is not None:
        parameters["r"] = list(refusals.reasons)
    found = []
    if refusals.meters is None:
        found.append(_ANY if refusals.reasons is None else _ANY_REASON)
    for meter in refusals.meters or ():
        place = str(len(parameters))
        parameters["m" + place] = meter.meter_id
        parameters["s" + place] = meter.slug + ": "
        found.append((_BY if refusals.reasons is None else _BY_REASON).replace("#", place))
    condition = "(" + _OR.join(found) + ")"
    return condition if refusals.refused else _NOT + condition


def refused_of(
    ids: Sequence[int], slugs: Sequence[str], reasons: Sequence[str], details: Sequence[str]
) -> list[Refused]:
    """The refusals of a row, from its four columns."""
    return [Refused(int(id), *texts) for id, *texts in zip(ids, slugs, reasons, details, strict=True)]
