"""All deliveries of the endpoints of one partition: what each piece of work changes of them.

Owns: the table's layout, which deliveries a piece of work changes, when an endpoint has failed for too long.
Does not own: the states of a delivery (delivery), sending (agents.webhook_dispatch, stores.webhook_http), whether an
endpoint is disabled (control decides the command that is made here).

    d/<delivery>            the Delivery; ids sort by the alert's time
    m/<delivery>            its payload
    a/<delivery>            1: it has not ended
    e/<namespace>/<endpoint>  Health, while every attempt fails
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from zlib import crc32

import msgspec

from pipeline.core.notifications.delivery import GONE_REASON, at_ms_of, begin, first_id, resend, tried
from pipeline.core.values.sweep import Swept, sweep
from pipeline.core.values.table import ScannedBytes
from pipeline.errors import Broken
from pipeline.records import Alert, Attempt, Command, Delivery, WebhookWork

DELIVERY, MESSAGE, ACTIVE, ENDPOINT = b"d/", b"m/", b"a/", b"e/"
# Deliveries that one piece of work reads; the rest of a replay is further work.
REPLAYED_AT_ONCE = 2_000
# Five days of failures only, which is longer than the whole schedule.
DISABLE_AFTER_MS = 5 * 24 * 3_600_000
# An attempt that began before the endpoint was disabled may end this much later.
STRAGGLE_MS = 60_000
ACTOR = "webhook"

_decode = msgspec.json.Decoder(Delivery).decode
_encode = msgspec.json.Encoder().encode


Get = Callable[[list[bytes]], list[bytes | None]]


class Health(msgspec.Struct, array_like=True):
    """An endpoint of which every attempt fails.

    Args:
        failing_since_ms: time of the first of these attempts, in milliseconds since 1970.
        disabled_at_ms: when the command to disable it was made; 0: not yet.
        applied: offset of the record that changed it last.
    """

    failing_since_ms: int
    disabled_at_ms: int
    applied: int


@dataclass(slots=True)
class Applied:
    """The result of a piece of work.

    Args:
        deliveries: those that it concerns, after it.
        commands: to be sent.
        further: work that follows.
    """

    deliveries: list[Delivery] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)
    further: list[WebhookWork] = field(default_factory=list)


def apply(
    work: WebhookWork,
    offset: int,
    now_ms: int,
    table: ScannedBytes,
    schedule_ms: Sequence[int],
    replayed_at_once: int = REPLAYED_AT_ONCE,
) -> Applied:
    """Change the table by one piece of work. Work that was applied before changes nothing and gives the same result.

    Args:
        work: from `webhook-work`.
        offset: of its record.
        now_ms: the broker's time of its record, in milliseconds since 1970.
        table: the state.
        schedule_ms: the delay before each attempt, in milliseconds.
        replayed_at_once: the most deliveries that one piece of a replay reads.
    """
    if work.kind == "deliver":
        return _deliver(_alert(work), work.endpoint, offset, now_ms, table, schedule_ms)
    if work.kind == "attempt":
        return _attempt(work, offset, table, schedule_ms)
    if work.kind == "resend":
        return _resend(read([work.id], table.get_many), work, offset, now_ms, table)
    return _replay(work, offset, now_ms, table, replayed_at_once)


def partition_of(namespace: str, endpoint: str, partitions: int) -> int:
    """The partition of `webhook-work` that has all work of an endpoint."""
    return crc32(msgspec.json.encode((namespace, endpoint))) % partitions


def read(ids: list[str], get_many: Get) -> list[Delivery | None]:
    """The deliveries with these ids; None for one that was removed."""
    return [
        None if value is None else _decode(value)
        for value in get_many([DELIVERY + id.encode() for id in ids])
    ]


def message(id: str, get_many: Get) -> tuple[Delivery, bytes] | None:
    """A delivery and its payload."""
    value, payload = get_many([DELIVERY + id.encode(), MESSAGE + id.encode()])
    return None if value is None or payload is None else (_decode(value), payload)


def active(
    scan: Callable[[bytes, int], list[tuple[bytes, bytes]]], limit: int = 1_000
) -> Iterator[list[str]]:
    """The ids of all deliveries that have not ended, in batches."""
    start = ACTIVE
    while keys := [key for key, _ in scan(start, limit) if key.startswith(ACTIVE)]:
        yield [key[len(ACTIVE) :].decode() for key in keys]
        start = keys[-1] + b"\x00"


def forget(table: ScannedBytes, start: bytes, before_ms: int, limit: int) -> Swept:
    """Removes some deliveries that have ended and whose alert is older than `before_ms`; `removed` has their keys.

    It visits `limit` of them from `start` on (empty: the oldest); see values.sweep.
    """

    def is_over(key: bytes, _: bytes) -> bool:
        (delivery,) = read([_id(key)], table.get_many)
        return delivery is not None and not delivery.next_at_ms and delivery.ended_at_ms < before_ms

    def is_young(key: bytes) -> bool:
        return at_ms_of(_id(key)) >= before_ms

    swept = sweep(table, limit, is_over, prefix=DELIVERY, start=start, is_young=is_young)
    for key in swept.removed:
        table.delete(MESSAGE + key[len(DELIVERY) :])
    return swept


def _id(key: bytes) -> str:
    return key[len(DELIVERY) :].decode()


def _deliver(
    alert: Alert, endpoint: str, offset: int, now_ms: int, table: ScannedBytes, schedule_ms: Sequence[int]
) -> Applied:
    delivery = begin(alert, endpoint, now_ms, schedule_ms)
    (before,) = read([delivery.id], table.get_many)
    if before is not None:
        return Applied([before])  # the same alert again
    delivery.applied = offset
    table.put(MESSAGE + delivery.id.encode(), alert.payload.encode())
    _write(delivery, table)
    return Applied([delivery])


def _attempt(work: WebhookWork, offset: int, table: ScannedBytes, schedule_ms: Sequence[int]) -> Applied:
    if work.attempt is None:
        raise Broken(f"A record of webhook-work holds no attempt of {work.id}.")
    (before,) = read([work.id], table.get_many)
    if before is None:
        return Applied()  # removed meanwhile
    after = before
    if before.applied < offset:
        after = tried(before, work.attempt, schedule_ms)
        after.applied = offset
        _write(after, table)
    applied = Applied([after])
    reason = _observe(work, work.attempt, offset, table)
    if reason:
        applied.commands.append(_disable(work, work.attempt, reason))
    return applied


def _resend(
    deliveries: Sequence[Delivery | None], work: WebhookWork, offset: int, now_ms: int, table: ScannedBytes
) -> Applied:
    applied = Applied()
    for before in deliveries:
        if before is None or (before.namespace, before.endpoint) != (work.namespace, work.endpoint):
            continue
        after = before
        if before.applied < offset:
            after = resend(before, now_ms)
            after.applied = offset
            _write(after, table)
        applied.deliveries.append(after)
    return applied


def _replay(work: WebhookWork, offset: int, now_ms: int, table: ScannedBytes, at_once: int) -> Applied:
    """Resend a part of the range; the rest is further work, so that no transaction gets too large."""
    start = DELIVERY + (work.id or first_id(work.from_ms)).encode()
    end = DELIVERY + first_id(work.to_ms).encode()
    rows = table.scan(start, at_once)
    ids = [key[len(DELIVERY) :].decode() for key, _ in rows if start <= key < end]
    wanted = [
        delivery
        for delivery in read(ids, table.get_many)
        if delivery is not None and (delivery.state in work.states or delivery.applied >= offset)
    ]
    applied = _resend(wanted, work, offset, now_ms, table)
    if len(ids) == at_once:
        following = ids[-1] + "0"  # no id is as long, so this sorts next to it
        applied.further.append(msgspec.structs.replace(work, id=following))
    return applied


def _observe(work: WebhookWork, attempt: Attempt, offset: int, table: ScannedBytes) -> str:
    """Write the endpoint's health. Gives the reason to disable the endpoint; empty: there is none."""
    key = ENDPOINT + f"{work.namespace}/{work.endpoint}".encode()
    (stored,) = table.get_many([key])
    health = None if stored is None else msgspec.json.decode(stored, type=Health)
    if attempt.outcome == "gone":
        return GONE_REASON
    if attempt.outcome == "dropped" or (health is not None and health.applied > offset):
        return ""
    if attempt.outcome == "delivered":
        if health is not None:
            table.delete(key)
        return ""
    if health is None or (health.disabled_at_ms and attempt.at_ms > health.disabled_at_ms + STRAGGLE_MS):
        # The second: there is an attempt although it was disabled, so a user has enabled it again.
        table.put(key, _encode(Health(attempt.at_ms, 0, offset)))
        return ""
    disabled_now = not health.disabled_at_ms and attempt.at_ms - health.failing_since_ms >= DISABLE_AFTER_MS
    if disabled_now:
        table.put(key, _encode(Health(health.failing_since_ms, attempt.at_ms, offset)))
    return "failing" if disabled_now or (health.disabled_at_ms and health.applied == offset) else ""


def _disable(work: WebhookWork, attempt: Attempt, reason: str) -> Command:
    """The command to disable the endpoint. Its id is made of its cause, so that two of them are decided once."""
    id = f"disable-{work.id}-{attempt.number}"
    body: dict[str, object] = {"id": work.endpoint, "reason": reason}
    return Command(id, "endpoint.disable", work.namespace, ACTOR, attempt.at_ms, body)


def _write(delivery: Delivery, table: ScannedBytes) -> None:
    id = delivery.id.encode()
    table.put(DELIVERY + id, _encode(delivery))
    if delivery.next_at_ms:
        table.put(ACTIVE + id, b"1")
    else:
        table.delete(ACTIVE + id)


def _alert(work: WebhookWork) -> Alert:
    if work.alert is None:
        raise Broken(f"A record of webhook-work holds no alert for {work.endpoint}.")
    return work.alert
