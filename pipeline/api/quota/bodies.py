"""Bodies of requests about entitlements and grants, as OpenAPI shows them.

Owns: the members, their forms and what they mean to a user. Does not own: the rules (core.quota.entitlement,
core.quota.grant), which decide; a test holds both together.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from pipeline.api.customers.bodies import CustomerBody, SubjectBody
from pipeline.api.http.members import Metadata

MinuteText = Annotated[str, Meta(description="RFC 3339; cut down to the minute")]
Amount = Annotated[
    int | float | str, Meta(description="a decimal of at most 18 digits before and 18 after the point")
]
Priority = Annotated[int, Meta(ge=1, le=255)]
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
    Meta(description="RFC 3339: one of the instants at which an interval begins. Its offset is kept, and counts "
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
    isSoftLimit: Annotated[bool, Meta(description="access continues when nothing is left")] | UnsetType = (
        UNSET
    )
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
                description="how long access continues when nothing is left: an ISO 8601 duration without months"
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


class Check(msgspec.Struct, forbid_unknown_fields=True):
    """One question: may the customer (id or key) use the feature (key)?"""

    customer: str
    feature: str


class Checks(msgspec.Struct, forbid_unknown_fields=True):
    checks: Annotated[list[Check], Meta(extra_json_schema={"maxItems": 1000})]


class ImportedGrantBody(GrantBody, forbid_unknown_fields=True, kw_only=True):
    """A grant with its entitlement, and the customer or subject by which that is named."""

    entitlementId: Annotated[str, Meta(description="the entitlement's id, or the key of its feature")]
    customerId: Annotated[str, Meta(description="the customer's id or key")] | UnsetType = UNSET
    subject: Annotated[str, Meta(description="instead: a subject of the customer")] | UnsetType = UNSET


class ImportItemBody(msgspec.Struct, forbid_unknown_fields=True):
    """An object with exactly one of these members."""

    customer: CustomerBody | UnsetType = UNSET
    subject: SubjectBody | UnsetType = UNSET
    entitlement: EntitlementBody | UnsetType = UNSET
    grant: ImportedGrantBody | UnsetType = UNSET
