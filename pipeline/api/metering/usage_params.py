"""What a usage query asks, from a URL or from a body: the same names and rules in both.

Owns: the parameters' form and how they become a UsageQuery. Does not own: the rules (core.metering.usage_query), the
answer (usage). An unknown parameter is refused, so that no typo widens a query.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from fastapi import Request

from pipeline.api.customers.lookup import subjects_of
from pipeline.api.http.parameters import empty, refuse_empty, refuse_repeated, refuse_unknown
from pipeline.api.http.services import Services
from pipeline.core.metering.meter import Meter
from pipeline.core.metering.usage_query import UsageQuery, usage_query
from pipeline.core.values import filters as filter_string
from pipeline.core.values.user_time import instant_ns
from pipeline.errors import Rejected

MAX_CLIENT_ID = 36
_FILTER = re.compile(r"filterGroupBy\[([^\]]*)\]")
_ADVANCED = re.compile(r"advancedMeterGroupByFilters\[([^\]]*)\]\[([^\]]*)\](?:\[\d*\])?")
_ADVANCED_NAME = "advancedMeterGroupByFilters"
_LISTED = ("$in", "$nin")


class UsageParams(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """The body of a query by POST; every member is optional, and null is as good as absent."""

    client_id: str | None = None
    from_: str | None = msgspec.field(default=None, name="from")
    to: str | None = None
    window_size: str | None = None
    window_time_zone: str | None = None
    subject: list[str] | None = None
    filter_customer_id: list[str] | None = None
    filter_group_by: dict[str, str | list[str]] | None = None
    advanced_meter_group_by_filters: dict[str, Any] | None = None
    group_by: list[str] | None = None
    csv_safe: bool | None = None


LISTS = frozenset({"subject", "filterCustomerId", "groupBy"})
NAMES = frozenset(name for name in UsageParams.__struct_encode_fields__ if name != "filterGroupBy")


def from_body(body: Mapping[str, object]) -> UsageParams:
    """Raises Rejected `bad-query` that names what is wrong."""
    try:
        asked = msgspec.convert(body, UsageParams)
    except msgspec.ValidationError as error:
        raise Rejected("bad-query", f"the body is no query: {error}") from error
    for name, value in zip(UsageParams.__struct_encode_fields__, msgspec.structs.astuple(asked), strict=True):
        if value in ("", []) and name != "groupBy":
            raise empty(name)
    return _checked(asked)


def from_url(request: Request) -> UsageParams:
    """As from_body. Lists are repeated parameters; `groupBy=a,b` too; filters are `filterGroupBy[key]=value`."""
    refuse_unknown(request, NAMES, (_FILTER, _ADVANCED))
    refuse_empty(request, NAMES - {"clientId"})
    refuse_repeated(request, NAMES - LISTS)
    given = request.query_params
    filters: dict[str, list[str]] = {}
    for name, value in given.multi_items():
        if match := _FILTER.fullmatch(name):
            filters.setdefault(match[1], []).append(value)
    safe = given.get("csvSafe")
    if safe not in (None, "true", "false"):
        raise Rejected("bad-query", "csvSafe must be true or false")
    asked = UsageParams(
        client_id=given.get("clientId"),
        from_=given.get("from"),
        to=given.get("to"),
        window_size=given.get("windowSize"),
        window_time_zone=given.get("windowTimeZone"),
        subject=given.getlist("subject") or None,
        filter_customer_id=given.getlist("filterCustomerId") or None,
        filter_group_by=dict(filters) or None,
        advanced_meter_group_by_filters=_advanced(request),
        group_by=[name for names in given.getlist("groupBy") for name in names.split(",")],
        csv_safe=None if safe is None else safe == "true",
    )
    return _checked(asked)


def _checked(params: UsageParams) -> UsageParams:
    """Raises Rejected `bad-query` for an empty text in one of its lists."""
    lists = (
        ("subject", params.subject),
        ("filterCustomerId", params.filter_customer_id),
        ("groupBy", params.group_by),
    )
    for name, texts in lists:
        if "" in (texts or ()):
            raise empty(name)
    return params


def usage_query_of(
    services: Services, meter: Meter, params: UsageParams, subjects: Sequence[str] | None = None
) -> UsageQuery:
    """The checked query. subjects: who alone may be seen, whatever is asked (a portal token's).

    Raises Rejected `bad-query`, or `not-found` for an unknown customer.
    """
    if params.client_id is not None and not 1 <= len(params.client_id) <= MAX_CLIENT_ID:
        raise Rejected("bad-query", f"clientId must have 1 to {MAX_CLIENT_ID} characters")
    zone = params.window_time_zone or "UTC"
    customers = params.filter_customer_id
    if customers is not None and len(customers) > filter_string.MAX_OPERANDS:
        raise Rejected("bad-query", f"customers: at most {filter_string.MAX_OPERANDS} are allowed")
    filters = params.filter_group_by or {}
    return usage_query(
        meter,
        from_ns=instant_ns("from", params.from_, zone),
        to_ns=instant_ns("to", params.to, zone),
        window=params.window_size,
        tz=zone,
        subjects=params.subject or () if subjects is None else subjects,
        customers=subjects_of(services, meter.namespace, customers) if customers else None,
        group_by=params.group_by or (),
        filters={name: [value] if isinstance(value, str) else value for name, value in filters.items()},
        advanced=params.advanced_meter_group_by_filters,
    )


def _advanced(request: Request) -> dict[str, Any] | None:
    """As JSON, or `advancedMeterGroupByFilters[key][$op]=value`."""
    found: dict[str, dict[str, Any]] = {}
    for name, value in request.query_params.multi_items():
        if match := _ADVANCED.fullmatch(name):
            operators = found.setdefault(match[1], {})
            if match[2] in _LISTED:
                operators.setdefault(match[2], []).append(value)
            else:
                operators[match[2]] = value
    text = request.query_params.get(_ADVANCED_NAME)
    if text is None:
        return found or None
    body = filter_string.parse_json(_ADVANCED_NAME, text)
    if not isinstance(body, dict) or found:
        raise Rejected(
            "bad-query", f'{_ADVANCED_NAME} must be one object such as {{"model": {{"$eq": "a"}}}}'
        )
    return body
