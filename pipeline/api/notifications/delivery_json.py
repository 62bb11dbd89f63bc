"""Deliveries as the API shows them.

Owns: the members and their form. Does not own: their states (core.notifications.delivery).
"""

from __future__ import annotations

from typing import Any

from pipeline.core.notifications.endpoint import TYPE
from pipeline.core.values import timestamp
from pipeline.records import Attempt, Delivery

DeliveryJson = dict[str, Any]


def delivery_json(delivery: Delivery) -> DeliveryJson:
    """A delivery by itself."""
    return {
        "id": delivery.id,
        "event": {"id": delivery.alert, "type": delivery.type},
        "rule": {"id": delivery.rule},
        "createdAt": timestamp.text_of(delivery.at_ms),
        "customerId": delivery.customer,
        "feature": delivery.feature,
        "subject": delivery.subject,
        **status_json(delivery.endpoint, delivery, delivery.at_ms),
        "tries": delivery.tries,
        "annotations": delivery.annotations,
    }


def status_json(endpoint: str, delivery: Delivery | None, at_ms: int) -> DeliveryJson:
    """The delivery status of an alert at one channel, in OpenMeter's form. at_ms: of the alert."""
    channel = {"id": endpoint, "type": TYPE}
    if delivery is None:
        return {"channel": channel, "state": "PENDING", "updatedAt": timestamp.text_of(at_ms), "attempts": []}
    last = delivery.attempts[-1] if delivery.attempts else None
    updated_ms = delivery.ended_at_ms or (at_ms if last is None else last.at_ms + last.duration_ms)
    shown = {
        "channel": channel,
        "state": delivery.state,
        "reason": delivery.reason,
        "updatedAt": timestamp.text_of(updated_ms),
        "attempts": [_attempt(one) for one in reversed(delivery.attempts)],
    }
    if delivery.next_at_ms:
        shown["nextAttempt"] = timestamp.text_of(delivery.next_at_ms)
    return shown


def _attempt(attempt: Attempt) -> DeliveryJson:
    response: DeliveryJson = {"durationMs": attempt.duration_ms, "body": attempt.error}
    if attempt.status:
        response["statusCode"] = attempt.status
    return {
        "number": attempt.number,
        "state": "SUCCESS" if attempt.outcome == "delivered" else "FAILED",
        "outcome": attempt.outcome,
        "timestamp": timestamp.text_of(attempt.at_ms),
        "response": response,
    }
