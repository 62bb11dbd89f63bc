"""Answers about meters, events, usage and backfills, as OpenAPI shows them.

Owns: members, forms, meaning. Does not own: how they are made (meters, event_json, usage_json, backfill).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from pipeline.api.http.members import Events, ExactNumber, InstantText, Metadata
from pipeline.api.metering.bodies import WindowSize
from pipeline.core.metering.meter import Aggregation
from pipeline.core.metering.refusal import REASONS

StoredFate = Literal["counted", "duplicate", "conflict", "rejected", "invalid", "unmetered"]
RefusalReason = Annotated[str, Meta(extra_json_schema={"enum": sorted(REASONS)})]
BackfillState = Literal["none", "new", "waiting", "copying", "landing", "done", "stopped"]


class MeterAnswer(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    slug: str
    eventType: str
    aggregation: Aggregation
    name: str
    revision: Annotated[int, Meta(description="of the control log at the last change")]
    createdAt: InstantText
    updatedAt: InstantText
    valueProperty: str | UnsetType = UNSET
    groupBy: Annotated[dict[str, str], Meta(description="JSONPath by dimension")] | UnsetType = UNSET
    description: str | UnsetType = UNSET
    eventFrom: Annotated[str, Meta(description="RFC 3339; earlier events are not counted")] | UnsetType = (
        UNSET
    )
    metadata: Metadata | UnsetType = UNSET


class AppliedMetersAnswer(msgspec.Struct, forbid_unknown_fields=True):
    revision: Annotated[int, Meta(description="the newest of the meters'; 0 where the list is empty")]
    meters: list[MeterAnswer]


class WarningAnswer(msgspec.Struct, forbid_unknown_fields=True):
    """Events that are accepted, and will not be counted as they are."""

    code: Literal["no-meter", "refused", "beyond-horizon", "future"]
    detail: str
    events: Events
    first: Annotated[int, Meta(ge=0, description="the place of one of them, from 0")]
    meter: (
        Annotated[str, Meta(description="of `refused`: slug of the meter that will not count them")]
        | UnsetType
    ) = UNSET
    reason: (
        Annotated[str, Meta(description="of `refused`", extra_json_schema={"enum": sorted(REASONS)})]
        | UnsetType
    ) = UNSET


class AcceptedAnswer(msgspec.Struct, forbid_unknown_fields=True):
    accepted: Events
    warnings: list[WarningAnswer]


class CloudEventAnswer(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    source: str
    specversion: Literal["1.0"]
    type: str
    subject: str
    time: InstantText
    data: Annotated[dict[str, Any], Meta(description="as it was sent")] | UnsetType = UNSET


class MeterRefusalAnswer(msgspec.Struct, forbid_unknown_fields=True):
    meter: Annotated[str, Meta(description="slug")]
    reason: RefusalReason
    detail: Annotated[str, Meta(description="one sentence")]
    deleted: Annotated[bool, Meta(description="true: the meter was deleted")] | UnsetType = UNSET


class InputPosition(msgspec.Struct, forbid_unknown_fields=True):
    topic: str
    partition: int
    offset: int


class StoredEventAnswer(msgspec.Struct, forbid_unknown_fields=True):
    event: CloudEventAnswer
    ingestedAt: Annotated[str, Meta(description="RFC 3339: when the broker received it")]
    storedAt: Annotated[str, Meta(description="RFC 3339: when it could be queried")]
    fate: StoredFate
    reason: Annotated[
        str, Meta(description="why it is not counted, or by which meters; empty without a reason")
    ]
    detail: Annotated[str, Meta(description="one sentence, or empty")]
    meters: Annotated[list[str], Meta(description="slugs of the meters that counted it")]
    position: InputPosition
    raw: Annotated[str, Meta(description="what was received, where it could not be read as an event")] | None
    customerId: Annotated[str, Meta(description="of the customer that has the subject")] | UnsetType = UNSET
    validationError: (
        Annotated[str, Meta(description="why a meter in force, or no meter, counted it")] | UnsetType
    ) = UNSET
    deletedMeters: (
        Annotated[list[str], Meta(description="slugs of deleted meters that counted it")] | UnsetType
    ) = UNSET
    refusedBy: list[MeterRefusalAnswer] | UnsetType = UNSET


class EventWindowAnswer(msgspec.Struct, forbid_unknown_fields=True):
    """The minute in which a meter counted an event."""

    meter: Annotated[str, Meta(description="slug")]
    windowStart: InstantText
    windowEnd: InstantText
    subject: str
    groupBy: dict[str, str] | UnsetType = UNSET
    value: (
        Annotated[
            float | str | None, Meta(description="what the event brought: a number, or text of UNIQUE_COUNT")
        ]
        | UnsetType
    ) = UNSET
    windowValue: Annotated[float, Meta(description="what the window holds, exact")] | UnsetType = UNSET
    windowCount: Annotated[int, Meta(description="number of events in the window")] | UnsetType = UNSET
    deleted: Annotated[bool, Meta(description="true: the meter was deleted")] | UnsetType = UNSET


class EventAnswer(StoredEventAnswer, forbid_unknown_fields=True, kw_only=True):
    windows: list[EventWindowAnswer]
    repeats: Annotated[list[StoredEventAnswer], Meta(description="later records with the same source and id")]
    refused: Annotated[list[StoredEventAnswer], Meta(description="records that never became an event")]


class EventCursorPage(msgspec.Struct, forbid_unknown_fields=True):
    items: list[StoredEventAnswer]
    nextCursor: (
        Annotated[str, Meta(description="`cursor` of the next page; absent on the last")] | UnsetType
    ) = UNSET


class UsageRowAnswer(msgspec.Struct, forbid_unknown_fields=True):
    value: ExactNumber | None
    count: Events
    windowStart: Annotated[str | None, Meta(description="RFC 3339")]
    windowEnd: Annotated[str | None, Meta(description="RFC 3339")]
    subject: str | None
    groupBy: dict[str, str | None]
    customerId: str | UnsetType = UNSET


class UsageAnswer(msgspec.Struct, forbid_unknown_fields=True):
    data: Annotated[list[UsageRowAnswer], Meta(description="by window, customer, subject and dimensions")]
    from_: InstantText | UnsetType = msgspec.field(default=UNSET, name="from")
    to: InstantText | UnsetType = UNSET
    windowSize: WindowSize | UnsetType = UNSET
    windowTimeZone: Annotated[str, Meta(description="IANA time zone")] | UnsetType = UNSET


class BackfillShard(msgspec.Struct, forbid_unknown_fields=True):
    shard: Annotated[int, Meta(ge=0)]
    state: BackfillState
    events: Annotated[int, Meta(description="stored events to read; 0 until `copying`")]
    read: Events
    counted: Events
    updatedAt: InstantText


class BackfillAnswer(msgspec.Struct, forbid_unknown_fields=True):
    meter: Annotated[str, Meta(description="slug")]
    state: BackfillState
    events: Annotated[int, Meta(description="stored events to read; 0 until `copying`")]
    read: Events
    counted: Events
    shards: list[BackfillShard]


class ProgressAnswer(msgspec.Struct, forbid_unknown_fields=True):
    success: Annotated[int, Meta(ge=0, description="items that are done")]
    failed: Annotated[int, Meta(ge=0)]
    total: Annotated[int, Meta(ge=0, description="items to do; 0 until it is known")]
    updatedAt: InstantText


TextList = list[str]
