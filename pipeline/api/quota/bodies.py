"""What requests about entitlements, grants and rules hold, as OpenAPI shows it.

Owns: the members, their forms and what they mean to a user. Does not own: the rules (core.quota.entitlement,
core.quota.grant, core.notifications.rule), which decide; a test holds both together.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

_REF = "#/components/schemas/{name}"
MinuteText = Annotated[str, Meta(description="RFC 3339; cut down to the minute")]
Amount = Annotated[
    int | float | str, Meta(description="a decimal of at most 18 digits before and 18 after the point")
]
Priority = Annotated[int, Meta(ge=1, le=255)]
Metadata = Annotated[dict[str, str], Meta(description="kept and shown, and otherwise without meaning")]
PeriodLength = Annotated[
    str,
    Meta(
        description="DAY, WEEK, MONTH, YEAR or an ISO 8601 duration of at least an hour, such as P1M or PT6H"
    ),
]
ZoneName = Annotated[
    str,
    Meta(
        description="An IANA zone in which days and months are counted, so that local midnight stays midnight when "
        "the clock changes. Without it the customer's `timeZone` counts, and without that the offset of the anchor. "
        "OpenMeter counts in UTC.",
        examples=["Europe/Berlin"],
    ),
]
Anchor = Annotated[
    str,
    Meta(description="RFC 3339: one of the instants at which it begins anew. Its offset is kept, and counts "
         "where there is no zone. A day that a month lacks is the month's last one."),
]  # fmt: skip
Repeated = Annotated[
    str, Meta(description="the interval in ISO 8601, as answers show it; it may be left out")
]


class UsagePeriodBody(msgspec.Struct, forbid_unknown_fields=True):
    interval: PeriodLength
    anchor: Anchor | UnsetType = UNSET
    timeZone: ZoneName | UnsetType = UNSET
    intervalISO: Repeated | UnsetType = UNSET


class RecurrenceBody(msgspec.Struct, forbid_unknown_fields=True):
    """At each tick the balance becomes the amount, whatever was left."""

    interval: PeriodLength
    anchor: Anchor | UnsetType = UNSET
    timeZone: ZoneName | UnsetType = UNSET
    intervalISO: Repeated | UnsetType = UNSET


class ExpirationBody(msgspec.Struct, forbid_unknown_fields=True):
    """After `effectiveAt`, by the calendar: one month after 31 January is 28 February; in OpenMeter it is 3 March."""

    duration: Literal["HOUR", "DAY", "WEEK", "MONTH", "YEAR"]
    count: Annotated[int, Meta(ge=1, le=1000)]


class GrantBody(msgspec.Struct, forbid_unknown_fields=True):
    amount: Amount
    priority: (
        Annotated[int, Meta(ge=1, le=255, description="lower burns first; 1 by default")] | UnsetType
    ) = UNSET
    effectiveAt: MinuteText | UnsetType = UNSET
    expiration: ExpirationBody | UnsetType = UNSET
    recurrence: RecurrenceBody | UnsetType = UNSET
    minRolloverAmount: (
        Annotated[int | float | str, Meta(description="what a reset leaves at least; 0 by default")]
        | UnsetType
    ) = UNSET
    maxRolloverAmount: (
        Annotated[
            int | float | str,
            Meta(
                description="what a reset leaves at most; by default the amount, and 0 for a grant by subject"
            ),
        ]
        | UnsetType
    ) = UNSET
    metadata: Metadata | UnsetType = UNSET


class IssueBody(msgspec.Struct, forbid_unknown_fields=True):
    """As `issueAfterReset` and `issueAfterResetPriority`."""

    amount: Amount
    priority: Priority | UnsetType = UNSET


class EntitlementBody(msgspec.Struct, forbid_unknown_fields=True):
    """`usagePeriod` and what follows it is of metered entitlements, `config` of static ones."""

    type: Literal["metered", "static", "boolean"]
    featureKey: str | UnsetType = UNSET
    featureId: str | UnsetType = UNSET
    customerId: (
        Annotated[
            str,
            Meta(
                description="the customer's id or key where the path does not name it; else the same or absent"
            ),
        ]
        | UnsetType
    ) = UNSET
    subject: Annotated[str, Meta(description="likewise: a subject of the customer")] | UnsetType = UNSET
    activeFrom: MinuteText | UnsetType = UNSET
    activeTo: MinuteText | UnsetType = UNSET
    metadata: Metadata | UnsetType = UNSET
    config: Annotated[str, Meta(description="JSON, as text")] | UnsetType = UNSET
    usagePeriod: UsagePeriodBody | UnsetType = UNSET
    measureUsageFrom: (
        Annotated[str, Meta(description="RFC 3339, CURRENT_PERIOD_START or NOW; usage counts from then on")]
        | UnsetType
    ) = UNSET
    isSoftLimit: Annotated[bool, Meta(description="access goes on when nothing is left")] | UnsetType = UNSET
    isUnlimited: (
        Annotated[
            bool,
            Meta(
                description="access without a limit; usage, balance and overage are counted and thresholds fire"
            ),
        ]
        | UnsetType
    ) = UNSET
    issueAfterReset: (
        Annotated[int | float | str, Meta(description="the balance from which each usage period begins")]
        | UnsetType
    ) = UNSET
    issueAfterResetPriority: Priority | UnsetType = UNSET
    issue: IssueBody | UnsetType = UNSET
    preserveOverageAtReset: (
        Annotated[bool, Meta(description="overage is paid from what the next period gives")] | UnsetType
    ) = UNSET
    gracePeriod: (
        Annotated[
            str,
            Meta(
                description="how long access goes on when nothing is left: an ISO 8601 duration without months"
            ),
        ]
        | UnsetType
    ) = UNSET
    grants: Annotated[list[GrantBody], Meta(max_length=100)] | UnsetType = UNSET


class ResetBody(msgspec.Struct, forbid_unknown_fields=True):
    effectiveAt: (
        Annotated[str, Meta(description="RFC 3339; now by default, and not before the current usage period")]
        | UnsetType
    ) = UNSET
    retainAnchor: (
        Annotated[
            bool,
            Meta(
                description="whether the calendar stays; else it is anchored at `effectiveAt` with its offset"
            ),
        ]
        | UnsetType
    ) = UNSET
    preserveOverage: (
        Annotated[bool, Meta(description="instead of the entitlement's preserveOverageAtReset")] | UnsetType
    ) = UNSET


class ThresholdBody(msgspec.Struct, forbid_unknown_fields=True):
    """It fires at its value: usage of exactly 100 % is 100 %. OpenMeter's thresholds fire above their value."""

    type: Annotated[
        Literal["balance_value", "usage_percentage", "usage_value", "PERCENT", "NUMBER"],
        Meta(
            description="usage_value and usage_percentage (of what grants give in the usage period) fire at or above "
            "the value, balance_value at or below it; a usage of 0 is reached when a usage period begins. PERCENT "
            "and NUMBER are old names of usage_percentage and usage_value."
        ),
    ]
    value: Amount


class RuleBody(msgspec.Struct, forbid_unknown_fields=True):
    type: Literal[
        "entitlements.balance.threshold", "entitlements.reset", "entitlements.grant.expiring",
        "meter.volume.threshold",
    ]  # fmt: skip
    name: str
    channels: Annotated[list[str], Meta(min_length=1, max_length=5, description="ids of channels")]
    disabled: bool | UnsetType = UNSET
    metadata: Metadata | UnsetType = UNSET
    features: (
        Annotated[
            list[str],
            Meta(max_length=100, description="of entitlements.*: ids or keys; all features by default"),
        ]
        | UnsetType
    ) = UNSET
    thresholds: (
        Annotated[
            list[ThresholdBody],
            Meta(min_length=1, max_length=10, description="of entitlements.balance.threshold"),
        ]
        | UnsetType
    ) = UNSET
    rearm: (
        Annotated[
            Literal["period", "resolved"],
            Meta(
                description="Of entitlements.balance.threshold: when a threshold may fire again. `period`, by default: "
                "in the next usage period. `resolved`: also in this one, once it was no longer met, as after a top-up."
            ),
        ]
        | UnsetType
    ) = UNSET
    before: (
        Annotated[
            str,
            Meta(
                description="Of entitlements.grant.expiring: how long before its end, an interval as of usage periods; "
                "months are those of the calendar."
            ),
        ]
        | UnsetType
    ) = UNSET
    meterSlug: (
        Annotated[str, Meta(description="of meter.volume.threshold: a meter that adds up (SUM or COUNT)")]
        | UnsetType
    ) = UNSET
    windowSize: (
        Annotated[
            Literal["MINUTE", "HOUR", "DAY"],
            Meta(
                description="of meter.volume.threshold; hours and days are those of the customer's `timeZone`"
            ),
        ]
        | UnsetType
    ) = UNSET
    limit: (
        Annotated[
            int | float | str,
            Meta(
                description="of meter.volume.threshold: fires when a customer's volume in a window reaches it"
            ),
        ]
        | UnsetType
    ) = UNSET
    customers: (
        Annotated[
            list[str],
            Meta(max_length=100, description="of meter.volume.threshold: ids or keys; all by default"),
        ]
        | UnsetType
    ) = UNSET
    groupBy: (
        Annotated[
            dict[str, str], Meta(description="of meter.volume.threshold: only usage with these dimensions")
        ]
        | UnsetType
    ) = UNSET


BODIES = (EntitlementBody, ResetBody, GrantBody, RuleBody)


def documented(body: type[msgspec.Struct]) -> dict[str, Any]:
    """The part of an operation's OpenAPI that names the schema of its request body, for `openapi_extra`."""
    schema = {"$ref": _REF.format(name=body.__name__)}
    return {"requestBody": {"content": {"application/json": {"schema": schema}}}}


def schemas() -> dict[str, Any]:
    """The schemas that `documented` names, by their names."""
    _, found = msgspec.json.schema_components(BODIES, ref_template=_REF)
    del found[ResetBody.__name__]["type"]  # the whole body may be absent or null
    return dict(found)
