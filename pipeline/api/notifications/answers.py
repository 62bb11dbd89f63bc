"""Answers about channels, rules, events of rules and deliveries, as OpenAPI shows them.

Owns: members, forms, meaning. Does not own: how they are made (rule_json, delivery_json, core.notifications.endpoint).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from pipeline.api.http.members import ExactNumber, Instant, InstantText, Metadata, Ulid, page_of
from pipeline.api.notifications.bodies import RuleType, ThresholdTypeName, VolumeWindow
from pipeline.records import AttemptOutcome, DeliveryState


class ChannelAnswer(msgspec.Struct, forbid_unknown_fields=True):
    """A channel without its secret."""

    id: Ulid
    type: Literal["WEBHOOK"]
    name: str
    url: str
    disabled: bool
    createdAt: Instant
    updatedAt: Instant
    customHeaders: dict[str, str] | UnsetType = UNSET
    metadata: Metadata | UnsetType = UNSET
    disabledReason: str | UnsetType = UNSET
    disabledAt: Instant | UnsetType = UNSET
    deletedAt: Instant | UnsetType = UNSET


class NewChannelAnswer(ChannelAnswer, forbid_unknown_fields=True):
    """A repeated answer has no `signingSecret`."""

    signingSecret: Annotated[str, Meta(description="shown this once")] | UnsetType = UNSET


class ReplayAnswer(msgspec.Struct, forbid_unknown_fields=True):
    """What is sent again, as it was requested."""

    from_: str = msgspec.field(name="from")
    to: str
    states: list[DeliveryState]


class ChannelRef(msgspec.Struct, forbid_unknown_fields=True):
    id: Ulid
    type: Literal["WEBHOOK"]


class FeatureRef(msgspec.Struct, forbid_unknown_fields=True):
    id: Ulid
    key: str


class ThresholdAnswer(msgspec.Struct, forbid_unknown_fields=True):
    type: ThresholdTypeName
    value: ExactNumber


class RuleAnswer(msgspec.Struct, forbid_unknown_fields=True):
    id: Ulid
    type: RuleType
    name: str
    channels: list[ChannelRef]
    disabled: bool
    createdAt: Instant
    updatedAt: Instant
    deletedAt: Instant | UnsetType = UNSET
    metadata: Metadata | UnsetType = UNSET
    features: list[FeatureRef] | UnsetType = UNSET
    thresholds: list[ThresholdAnswer] | UnsetType = UNSET
    rearm: Literal["period", "resolved"] | UnsetType = UNSET
    before: Annotated[str, Meta(description="interval before the end of a grant")] | UnsetType = UNSET
    meterSlug: str | UnsetType = UNSET
    windowSize: VolumeWindow | UnsetType = UNSET
    limit: ExactNumber | UnsetType = UNSET
    currency: str | UnsetType = UNSET
    threshold: ExactNumber | UnsetType = UNSET
    customers: Annotated[list[str], Meta(description="ids")] | UnsetType = UNSET
    groupBy: dict[str, str] | UnsetType = UNSET


def _rule_of_event() -> type[msgspec.Struct]:
    """A rule of which only the id is certain: it may be gone."""
    rest = [one for one in msgspec.structs.fields(RuleAnswer) if one.name != "id"]
    return msgspec.defstruct(
        "EventRuleAnswer",
        [("id", str), *((one.name, one.type | UnsetType, UNSET) for one in rest)],
        forbid_unknown_fields=True,
        module=__name__,
    )


EventRuleAnswer = _rule_of_event()


class RuleRef(msgspec.Struct, forbid_unknown_fields=True):
    id: str


class TryResponse(msgspec.Struct, forbid_unknown_fields=True):
    durationMs: Annotated[int, Meta(ge=0, description="milliseconds")]
    body: Annotated[str, Meta(description="why there was no answer or no try; empty otherwise")]
    statusCode: Annotated[int, Meta(description="of HTTP; absent without an answer")] | UnsetType = UNSET


class TryAnswer(msgspec.Struct, forbid_unknown_fields=True):
    number: Annotated[int, Meta(ge=1, description="of the delivery's tries")]
    state: Literal["SUCCESS", "FAILED"]
    outcome: AttemptOutcome
    timestamp: InstantText
    response: TryResponse


class DeliveryStatus(msgspec.Struct, forbid_unknown_fields=True):
    channel: ChannelRef
    state: DeliveryState
    updatedAt: InstantText
    attempts: Annotated[list[TryAnswer], Meta(description="the newest 50, newest first")]
    reason: Annotated[str, Meta(description="why it failed for good; empty otherwise")] | UnsetType = UNSET
    nextAttempt: Annotated[str, Meta(description="RFC 3339: when it is tried next")] | UnsetType = UNSET


class EventRef(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    type: str


class DeliveryAnswer(DeliveryStatus, forbid_unknown_fields=True, kw_only=True):
    id: Ulid
    event: EventRef
    rule: RuleRef
    createdAt: InstantText
    customerId: Annotated[str, Meta(description="empty: of no customer")]
    feature: Annotated[str, Meta(description="key; empty: of no feature")]
    subject: Annotated[str, Meta(description="key; empty: of no subject")]
    tries: Annotated[int, Meta(ge=0, description="number of tries in all")]
    annotations: dict[str, str]


class RuleEventAnswer(msgspec.Struct, forbid_unknown_fields=True):
    id: Annotated[str, Meta(description="the `webhook-id`")]
    type: str
    createdAt: InstantText
    rule: Annotated[EventRuleAnswer, Meta(description="as it is now")]  # type: ignore[valid-type]
    payload: Annotated[dict[str, Any], Meta(description="the body of the webhook, as it is sent")]
    deliveryStatus: Annotated[list[DeliveryStatus], Meta(description="one for each channel")]
    annotations: dict[str, str]


ChannelPage, RulePage = page_of(ChannelAnswer), page_of(RuleAnswer)
RuleEventPage, DeliveryPage = page_of(RuleEventAnswer), page_of(DeliveryAnswer)
