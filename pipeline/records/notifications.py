"""Alerts, and their deliveries to webhook endpoints."""

from __future__ import annotations

from typing import Literal

import msgspec


class Alert(msgspec.Struct):
    """`alerts`, key = `id`: an event to deliver to webhook endpoints.

    `payload` is the webhook's body: JSON text, created once and sent byte for byte on every attempt.
    """

    id: str  # the `webhook-id`, the same for each endpoint and on every attempt; without dots
    namespace: str
    type: str  # "entitlements.balance.threshold"; "webhook.test" for a test
    rule: str  # id of the rule; empty: none
    at_ms: int  # when it happened
    endpoints: list[str]  # ids of the endpoints to which it is delivered
    payload: str
    customer: str = ""  # id
    feature: str = ""  # key
    subject: str = ""
    annotations: dict[str, str] = {}


AttemptOutcome = Literal["delivered", "failed", "gone", "dropped"]
DeliveryState = Literal["PENDING", "SENDING", "RESENDING", "SUCCESS", "FAILED"]


class Attempt(msgspec.Struct):
    """One attempt of a delivery.

    outcome: delivered (2xx), failed (to be retried), gone (410: the endpoint is disabled), dropped (nothing was sent,
    because the endpoint is disabled or deleted).
    """

    number: int  # number of the attempt, from 1
    at_ms: int  # when it started
    duration_ms: int
    outcome: AttemptOutcome
    status: int = 0  # HTTP status; 0: no response
    error: str = ""  # why there was no response, or no attempt
    retry_after_ms: int = 0  # the receiver's Retry-After; 0: none


class Delivery(msgspec.Struct):
    """`deliveries` (compacted), key = `id`: the delivery of one alert to one endpoint. A tombstone: it has expired.

    PENDING: not attempted yet; SENDING: attempted, and to be retried; RESENDING: sent again on request; SUCCESS and
    FAILED are final. `reason` is why it failed: exhausted, gone, endpoint-disabled, no-endpoint.
    """

    id: str  # a ULID; its time is the alert's
    namespace: str
    endpoint: str  # id
    alert: str  # id
    type: str  # of the alert
    rule: str  # of the alert
    at_ms: int  # when the alert fired
    state: DeliveryState
    attempts: list[Attempt]  # the newest 50
    next_at_ms: int  # time of the next attempt; 0: none
    failures: int  # since the start, or since it was sent again
    tries: int  # attempts in total
    ended_at_ms: int = 0  # 0: in progress
    reason: str = ""
    customer: str = ""
    feature: str = ""
    subject: str = ""
    annotations: dict[str, str] = {}
    applied: int = -1  # offset in `webhook-work` of the newest applied record


class WebhookWork(msgspec.Struct):
    """`webhook-work`: the changes of one endpoint's deliveries, in order; their state depends on nothing else.

    deliver: `alert` is to be sent. attempt: delivery `id` was attempted. resend: delivery `id` is to be sent again.
    replay: the deliveries of alerts in [from_ms, to_ms) that are in one of `states` are to be sent again.
    """

    kind: Literal["deliver", "attempt", "resend", "replay"]
    namespace: str
    endpoint: str
    id: str  # of the delivery; for a replay: where it continues, empty at its start
    at_ms: int
    alert: Alert | None = None
    attempt: Attempt | None = None
    from_ms: int = 0
    to_ms: int = 0
    states: list[DeliveryState] = []
    actor: str = ""  # who requested it
