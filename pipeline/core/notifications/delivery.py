"""One delivery: an alert on its way to one endpoint, from the first attempt to its end, and again after a resend.

    PENDING ── 2xx ─────────────► SUCCESS ─┐
       │                             ▲     │ resend
       └─ failed ─► SENDING ─────────┤     ▼
                       └─ failed ◄───┴── RESENDING
    failed for the last time, 410, endpoint disabled or deleted: FAILED, from where a resend leads on too

Owns: states, attempts, when the next one is. Does not own: what an answer means (standard_webhooks), or where
deliveries are stored (delivery_table). The jitter is a hash of what failed, so that a replay decides the same.

The states are OpenMeter's: openmeter/notification/deliverystatus.go at commit 7e57a394.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import msgspec

from pipeline.core.notifications.standard_webhooks import JITTERS, delay_ms
from pipeline.core.values import ulid
from pipeline.records import Alert, Attempt, Delivery

MOST_ATTEMPTS = 50  # listed in a delivery
EXHAUSTED, GONE_REASON = "exhausted", "gone"

_DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_TIME_CHARACTERS, _OTHER_CHARACTERS = 10, 16


def delivery_id(alert: Alert, endpoint: str) -> str:
    """A ULID with the alert's time: the same alert to the same endpoint is always the same delivery."""
    return ulid.make(alert.at_ms, msgspec.json.encode((alert.namespace, alert.id, endpoint)).decode())


def first_id(at_ms: int) -> str:
    """The smallest id that a delivery of an alert at `at_ms` can have; ids sort by the alert's time."""
    return ulid.make(at_ms, "")[:_TIME_CHARACTERS] + "0" * _OTHER_CHARACTERS


def at_ms_of(id: str) -> int:
    """The time of the alert in a delivery's id, in milliseconds since 1970."""
    number = 0
    for character in id[:_TIME_CHARACTERS]:
        number = number * 32 + _DIGITS.index(character)
    return number


def begin(alert: Alert, endpoint: str, at_ms: int, schedule_ms: Sequence[int]) -> Delivery:
    """A delivery before its first attempt.

    Args:
        alert: that is delivered.
        endpoint: its id.
        at_ms: now, in milliseconds since 1970.
        schedule_ms: the delay before each attempt, in milliseconds.
    """
    id = delivery_id(alert, endpoint)
    return Delivery(
        id=id,
        namespace=alert.namespace,
        endpoint=endpoint,
        alert=alert.id,
        type=alert.type,
        rule=alert.rule,
        at_ms=alert.at_ms,
        state="PENDING",
        attempts=[],
        next_at_ms=at_ms + (delay_ms(schedule_ms, 0, _jitter(id, 0)) or 0),
        failures=0,
        tries=0,
        customer=alert.customer,
        feature=alert.feature,
        subject=alert.subject,
        annotations=alert.annotations,
    )


def tried(delivery: Delivery, attempt: Attempt, schedule_ms: Sequence[int]) -> Delivery:
    """The delivery after an attempt.

    An attempt is made twice where the worker that made it was killed before its record was written, or lost its
    partition meanwhile. Then it is listed twice; only a success changes a delivery that has gone on without it.

    Args:
        delivery: before the attempt.
        attempt: its result.
        schedule_ms: the delay before each attempt, in milliseconds.
    """
    expected = attempt.number == delivery.tries + 1
    listed = msgspec.structs.replace(
        delivery,
        attempts=[*delivery.attempts, attempt][-MOST_ATTEMPTS:],
        tries=max(delivery.tries, attempt.number),
    )
    ended_at_ms = attempt.at_ms + attempt.duration_ms
    if attempt.outcome == "delivered":
        return _ended(listed, "SUCCESS", "", ended_at_ms)
    if not expected or not delivery.next_at_ms:
        return listed
    if attempt.outcome == "gone":
        return _ended(listed, "FAILED", GONE_REASON, ended_at_ms)
    if attempt.outcome == "dropped":
        return _ended(listed, "FAILED", attempt.error, ended_at_ms)
    failures = delivery.failures + 1
    listed = msgspec.structs.replace(listed, failures=failures)
    delay = delay_ms(schedule_ms, failures, _jitter(delivery.id, attempt.number))
    if delay is None:
        return _ended(listed, "FAILED", EXHAUSTED, ended_at_ms)
    following = "SENDING" if delivery.state == "PENDING" else delivery.state
    next_at_ms = ended_at_ms + max(delay, attempt.retry_after_ms)
    return msgspec.structs.replace(listed, state=following, next_at_ms=next_at_ms)


def resend(delivery: Delivery, at_ms: int) -> Delivery:
    """Send a delivery again, with the same `webhook-id` and the schedule from its start.

    One that has not ended is attempted now; its schedule continues.

    Args:
        delivery: that is sent again.
        at_ms: now, in milliseconds since 1970.
    """
    if delivery.next_at_ms:
        return msgspec.structs.replace(delivery, next_at_ms=min(delivery.next_at_ms, max(at_ms, 1)))
    return msgspec.structs.replace(
        delivery, state="RESENDING", next_at_ms=max(at_ms, 1), failures=0, ended_at_ms=0, reason=""
    )


def _ended(delivery: Delivery, state: str, reason: str, at_ms: int) -> Delivery:
    return msgspec.structs.replace(delivery, state=state, next_at_ms=0, reason=reason, ended_at_ms=at_ms)


def _jitter(id: str, number: int) -> int:
    return int.from_bytes(blake2b(f"{id}/{number}".encode(), digest_size=4).digest()) % JITTERS
