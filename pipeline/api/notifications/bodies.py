"""Bodies of requests about channels, rules, events of rules and deliveries, as OpenAPI shows them.

Owns: members, forms, meaning. Does not own: the rules (core.notifications), which decide.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from pipeline.api.http.members import Metadata, Written
from pipeline.api.quota.bodies import Amount
from pipeline.records import DeliveryState

ThresholdTypeName = Literal["balance_value", "usage_percentage", "usage_value", "PERCENT", "NUMBER"]
RuleType = Literal[
    "entitlements.balance.threshold", "entitlements.reset", "entitlements.grant.expiring", "meter.volume.threshold",
    "invoice.created", "invoice.updated", "invoice.overdue", "credit.low_balance",
]  # fmt: skip
VolumeWindow = Literal["MINUTE", "HOUR", "DAY"]
Overlap = Annotated[
    int, Meta(ge=0, le=2_592_000, description="seconds that the old secret still signs; 86400 by default")
]
Secret = Annotated[
    str, Meta(description="of Standard Webhooks: `whsec_...` or `whsk_...`; made by the server by default")
]


class ChannelBody(msgspec.Struct, forbid_unknown_fields=True):
    name: Annotated[str, Meta(min_length=1, max_length=256)]
    url: Annotated[str, Meta(min_length=1, max_length=2048, description="https, of a public address")]
    type: Literal["WEBHOOK"] | UnsetType | None = UNSET
    customHeaders: (
        Annotated[dict[str, str], Meta(max_length=20, description="sent along")] | UnsetType | None
    ) = UNSET
    signingSecret: Secret | UnsetType | None = UNSET
    disabled: Annotated[bool, Meta(description="true: nothing is sent to it")] | UnsetType | None = UNSET
    metadata: Metadata | UnsetType | None = UNSET
    id: Written | UnsetType = UNSET
    createdAt: Written | UnsetType = UNSET
    updatedAt: Written | UnsetType = UNSET
    deletedAt: Written | UnsetType = UNSET
    disabledReason: Written | UnsetType = UNSET
    disabledAt: Written | UnsetType = UNSET


class SecretRotationBody(msgspec.Struct, forbid_unknown_fields=True):
    signingSecret: Secret | UnsetType | None = UNSET
    overlapS: Overlap | UnsetType | None = UNSET


class ReplayBody(msgspec.Struct, forbid_unknown_fields=True):
    """Deliveries of events in [from, to)."""

    from_: Annotated[str, Meta(description="RFC 3339, or a date in UTC")] = msgspec.field(name="from")
    to: Annotated[str, Meta(description="RFC 3339, or a date in UTC")]
    states: Annotated[list[DeliveryState], Meta(description="FAILED by default")] | UnsetType | None = UNSET


class ResendBody(msgspec.Struct, forbid_unknown_fields=True):
    channels: (
        Annotated[
            list[str], Meta(description="ids of channels that the event went to; all of them by default")
        ]
        | UnsetType
        | None
    ) = UNSET


class ThresholdBody(msgspec.Struct, forbid_unknown_fields=True):
    """It fires at its value: usage of exactly 100 % is 100 %. OpenMeter's thresholds fire above their value."""

    type: Annotated[
        ThresholdTypeName,
        Meta(
            description="usage_value and usage_percentage (of what grants give in the usage period) fire at or above "
            "the value, balance_value at or below it; a usage of 0 is reached when a usage period begins. PERCENT "
            "and NUMBER are old names of usage_percentage and usage_value."
        ),
    ]
    value: Amount


class RuleBody(msgspec.Struct, forbid_unknown_fields=True):
    type: RuleType
    name: str
    channels: Annotated[list[str], Meta(min_length=1, max_length=5, description="ids of channels")]
    disabled: bool | UnsetType = UNSET
    metadata: Metadata | UnsetType = UNSET
    currency: (
        Annotated[str, Meta(pattern="^[A-Z]{3}$", description="of credit.low_balance: ISO 4217")] | UnsetType
    ) = UNSET
    threshold: Annotated[Amount, Meta(description="of credit.low_balance")] | UnsetType = UNSET
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
            VolumeWindow,
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
