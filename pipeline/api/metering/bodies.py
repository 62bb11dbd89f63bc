"""Bodies of requests about meters, events and usage, as OpenAPI shows them.

Owns: members, forms, meaning. Does not own: the rules (core.metering), reading a query (usage_params).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from pipeline.api.http.members import Metadata, Written
from pipeline.core.metering.meter import Aggregation

Slug = Annotated[
    str, Meta(min_length=1, max_length=64, pattern="^[a-z0-9]+(_[a-z0-9]+)*$", description="unique")
]
Dimensions = Annotated[
    dict[str, str], Meta(max_length=50, description="JSONPath into `data` by name of the dimension")
]
MeterTitle = Annotated[str, Meta(max_length=256, description="to show; the slug by default")]
Attribute = Annotated[str, Meta(min_length=1, max_length=1024)]
WindowSize = Literal["MINUTE", "HOUR", "DAY", "MONTH"]
QueryInstant = Annotated[str, Meta(description="RFC 3339, or a date: its first midnight in the zone")]


class MeterBody(msgspec.Struct, forbid_unknown_fields=True):
    slug: Slug
    eventType: Annotated[
        str, Meta(min_length=1, max_length=1024, description="`type` of the events that it counts")
    ]
    aggregation: Aggregation
    valueProperty: (
        Annotated[str, Meta(description="JSONPath of the value in `data`; not of COUNT")] | UnsetType | None
    ) = UNSET
    groupBy: Dimensions | UnsetType | None = UNSET
    name: MeterTitle | UnsetType | None = UNSET
    description: Annotated[str, Meta(max_length=1024)] | UnsetType | None = UNSET
    eventFrom: (
        Annotated[str, Meta(description="RFC 3339; earlier events are not counted")] | UnsetType | None
    ) = UNSET
    metadata: Metadata | UnsetType | None = UNSET
    id: Written | UnsetType = UNSET
    createdAt: Written | UnsetType = UNSET
    updatedAt: Written | UnsetType = UNSET
    revision: (
        Annotated[int | None, Meta(description="written by the server", extra_json_schema={"readOnly": True})]
        | UnsetType
    ) = UNSET


class MeterChangeBody(msgspec.Struct, forbid_unknown_fields=True):
    """What may change. A member that is absent is cleared; the others may be sent back as they are."""

    groupBy: Dimensions | UnsetType | None = UNSET
    name: MeterTitle | UnsetType | None = UNSET
    description: Annotated[str, Meta(max_length=1024)] | UnsetType | None = UNSET
    metadata: Metadata | UnsetType | None = UNSET
    slug: Written | UnsetType = UNSET
    eventType: Written | UnsetType = UNSET
    aggregation: Written | UnsetType = UNSET
    valueProperty: Written | UnsetType = UNSET
    eventFrom: Written | UnsetType = UNSET
    id: Written | UnsetType = UNSET
    createdAt: Written | UnsetType = UNSET
    updatedAt: Written | UnsetType = UNSET
    revision: (
        Annotated[int | None, Meta(description="written by the server", extra_json_schema={"readOnly": True})]
        | UnsetType
    ) = UNSET


MeterList = list[MeterBody]


class CloudEventBody(msgspec.Struct):
    """An event in the JSON format of CloudEvents 1.0. Extension attributes are accepted and not kept."""

    specversion: Literal["1.0"]
    id: Attribute
    source: Attribute
    type: Attribute
    subject: Annotated[str, Meta(min_length=1, max_length=1024, description="whose usage it is")]
    time: (
        Annotated[
            str,
            Meta(
                description="RFC 3339; when it arrives by default", extra_json_schema={"format": "date-time"}
            ),
        ]
        | UnsetType
        | None
    ) = UNSET
    datacontenttype: str | UnsetType | None = UNSET
    dataschema: str | UnsetType | None = UNSET
    data: dict[str, Any] | UnsetType | None = UNSET


EventBatch = Annotated[list[CloudEventBody], Meta(min_length=1, max_length=1000)]
FiltersByDimension = dict[str, str | list[str]]


class UsageQueryBody(msgspec.Struct, forbid_unknown_fields=True):
    """As the parameters of the query by GET."""

    from_: QueryInstant | UnsetType | None = msgspec.field(default=UNSET, name="from")
    to: QueryInstant | UnsetType | None = UNSET
    windowSize: WindowSize | UnsetType | None = UNSET
    windowTimeZone: Annotated[str, Meta(description="IANA time zone; UTC by default")] | UnsetType | None = (
        UNSET
    )
    subject: Annotated[list[str], Meta(min_length=1, max_length=100)] | UnsetType | None = UNSET
    filterCustomerId: (
        Annotated[list[str], Meta(min_length=1, max_length=100, description="ids or keys of customers")]
        | UnsetType
        | None
    ) = UNSET
    filterGroupBy: (
        Annotated[FiltersByDimension, Meta(description="by dimension, the values that count")]
        | UnsetType
        | None
    ) = UNSET
    advancedMeterGroupByFilters: (
        Annotated[
            dict[str, dict[str, Any]], Meta(description='by dimension a filter, as `{"$like": "gpt-%"}`')
        ]
        | UnsetType
        | None
    ) = UNSET
    groupBy: (
        Annotated[list[str], Meta(max_length=100, description="dimensions, or `subject`")] | UnsetType | None
    ) = UNSET
    csvSafe: (
        Annotated[
            bool,
            Meta(
                description="for answers as CSV: a text that a spreadsheet would take for a formula gets an apostrophe "
                "in front"
            ),
        ]
        | UnsetType
        | None
    ) = UNSET
    clientId: (
        Annotated[str, Meta(min_length=1, max_length=36, description="accepted, without effect")]
        | UnsetType
        | None
    ) = UNSET
