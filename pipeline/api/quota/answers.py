"""Answers about entitlements, grants, values and histories, as OpenAPI shows them.

Owns: members, forms, meaning. Does not own: how they are made (core.quota.entitlement_json, live_values).
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from pipeline.api.http.members import ExactNumber, Instant, InstantText, Metadata, Ulid, page_of
from pipeline.api.quota.bodies import ExpirationBody


class Period(msgspec.Struct, forbid_unknown_fields=True):
    """[from, to)"""

    from_: InstantText = msgspec.field(name="from")
    to: InstantText


class RecurringAnswer(msgspec.Struct, forbid_unknown_fields=True):
    interval: str
    intervalISO: Annotated[str, Meta(description="the interval as an ISO 8601 duration")]
    anchor: Annotated[str, Meta(description="RFC 3339: one of the instants at which an interval begins")]
    timeZone: Annotated[str, Meta(description="IANA time zone")] | UnsetType = UNSET


class IssueAnswer(msgspec.Struct, forbid_unknown_fields=True):
    amount: ExactNumber
    priority: Annotated[int, Meta(ge=1, le=255)]


class EntitlementAnswer(msgspec.Struct, forbid_unknown_fields=True):
    """`usagePeriod` and what follows it is of metered entitlements, `config` of static ones."""

    id: Ulid
    type: Literal["metered", "static", "boolean"]
    customerId: Ulid
    featureId: Ulid
    featureKey: str
    activeFrom: Instant
    createdAt: Instant
    updatedAt: Instant
    activeTo: Instant | UnsetType = UNSET
    deletedAt: Instant | UnsetType = UNSET
    metadata: Metadata | UnsetType = UNSET
    subjectKey: (
        Annotated[str, Meta(description="the subject by which it was requested, else the customer's first")]
        | UnsetType
    ) = UNSET
    customerKey: str | UnsetType = UNSET
    annotations: (
        Annotated[
            dict[str, bool | str],
            Meta(description="`subscription.managed` and `subscription.id` if a subscription manages it"),
        ]
        | UnsetType
    ) = UNSET
    config: Annotated[str, Meta(description="JSON, as text")] | UnsetType = UNSET
    usagePeriod: RecurringAnswer | UnsetType = UNSET
    currentUsagePeriod: Period | UnsetType = UNSET
    lastReset: InstantText | UnsetType = UNSET
    measureUsageFrom: InstantText | UnsetType = UNSET
    isSoftLimit: Annotated[bool, Meta(description="access continues when nothing is left")] | UnsetType = (
        UNSET
    )
    isUnlimited: Annotated[bool, Meta(description="access without a limit")] | UnsetType = UNSET
    issueAfterReset: ExactNumber | UnsetType = UNSET
    issueAfterResetPriority: int | UnsetType = UNSET
    issue: IssueAnswer | UnsetType = UNSET
    preserveOverageAtReset: bool | UnsetType = UNSET
    gracePeriod: Annotated[str, Meta(description="ISO 8601 duration")] | UnsetType = UNSET


class GrantAnswer(msgspec.Struct, forbid_unknown_fields=True):
    id: Ulid
    entitlementId: Ulid
    amount: ExactNumber
    priority: Annotated[int, Meta(ge=1, le=255, description="lower burns first")]
    effectiveAt: Instant
    minRolloverAmount: ExactNumber
    maxRolloverAmount: ExactNumber
    createdAt: Instant
    updatedAt: Instant
    expiration: ExpirationBody | UnsetType = UNSET
    expiresAt: Instant | UnsetType = UNSET
    recurrence: RecurringAnswer | UnsetType = UNSET
    nextRecurrence: Annotated[str, Meta(description="RFC 3339: when it is filled next")] | UnsetType = UNSET
    voidedAt: Instant | UnsetType = UNSET
    deletedAt: Annotated[str, Meta(description="RFC 3339: when its entitlement was deleted")] | UnsetType = (
        UNSET
    )
    metadata: Metadata | UnsetType = UNSET
    issuedAfterReset: (
        Annotated[bool, Meta(description="true: made by the entitlement's `issueAfterReset`")] | UnsetType
    ) = UNSET


class ValueAnswer(msgspec.Struct, forbid_unknown_fields=True):
    """Amounts are of metered entitlements, `config` of static ones."""

    hasAccess: bool
    balance: Annotated[float, Meta(description="what is left, exact")] | UnsetType = UNSET
    usage: Annotated[float, Meta(description="in the current usage period, exact")] | UnsetType = UNSET
    overage: Annotated[float, Meta(description="usage that no grant covers, exact")] | UnsetType = UNSET
    totalAvailableGrantAmount: (
        Annotated[float, Meta(description="what grants give in the usage period, exact")] | UnsetType
    ) = UNSET
    config: Annotated[str, Meta(description="JSON, as text")] | UnsetType = UNSET


class AccessAnswer(msgspec.Struct, forbid_unknown_fields=True):
    entitlements: Annotated[dict[str, ValueAnswer], Meta(description="by key of the feature")]


class CheckResult(ValueAnswer, forbid_unknown_fields=True, kw_only=True):
    customer: Annotated[str, Meta(description="as in the question")]
    feature: Annotated[str, Meta(description="as in the question")]
    reason: Literal["customer-not-found", "feature-not-found", "no-entitlement"] | UnsetType = UNSET


class ChecksAnswer(msgspec.Struct, forbid_unknown_fields=True):
    results: Annotated[list[CheckResult], Meta(description="one for each question, in order")]


class HistoryWindow(msgspec.Struct, forbid_unknown_fields=True):
    period: Period
    usage: ExactNumber
    balanceAtStart: ExactNumber
    late: Annotated[float, Meta(description="the part of the usage that came late, exact")] | UnsetType = (
        UNSET
    )


class GrantUsage(msgspec.Struct, forbid_unknown_fields=True):
    grantId: Ulid
    usage: ExactNumber


class BurndownSegment(msgspec.Struct, forbid_unknown_fields=True):
    period: Period
    usage: ExactNumber
    overage: ExactNumber
    balanceAtStart: ExactNumber
    balanceAtEnd: ExactNumber
    grantBalancesAtStart: Annotated[dict[str, float], Meta(description="by id of the grant, exact")]
    grantBalancesAtEnd: Annotated[dict[str, float], Meta(description="by id of the grant, exact")]
    grantUsages: list[GrantUsage]
    late: Annotated[float, Meta(description="the part of the usage that came late, exact")] | UnsetType = (
        UNSET
    )


class HistoryAnswer(msgspec.Struct, forbid_unknown_fields=True):
    """Two views of the same span."""

    windowedHistory: list[HistoryWindow]
    burndownHistory: Annotated[
        list[BurndownSegment], Meta(description="cut where a grant or a period begins or ends")
    ]


EntitlementPage = page_of(EntitlementAnswer)
GrantPage = page_of(GrantAnswer)
EntitlementList, GrantList = list[EntitlementAnswer], list[GrantAnswer]


class RefusedItem(msgspec.Struct, forbid_unknown_fields=True):
    index: Annotated[int, Meta(ge=0, description="its place in the request, from 0")]
    reason: str
    detail: str
    kind: Annotated[str, Meta(description="its only member, if it has one")] | UnsetType = UNSET


class ImportAnswer(msgspec.Struct, forbid_unknown_fields=True):
    """`applied` and the number of items in `refused` add up to the items that were sent."""

    applied: Annotated[int, Meta(ge=0, description="now, or before under the same `Idempotency-Key`")]
    refused: list[RefusedItem]
