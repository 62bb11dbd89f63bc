"""Kafka records for the tests of ingest: one good event, and how to bend it."""

import json
from typing import Any

import msgspec

from pipeline.core.metering.cloudevent import Headers
from pipeline.core.metering.event import Accepted, Limits, accept
from pipeline.errors import Rejected
from pipeline.records import Event

RECEIVED_AT_MS = 1_717_245_300_000  # 2024-06-01T12:35:00Z
LIMITS = Limits()

GOOD: dict[str, Any] = {
    "specversion": "1.0",
    "id": "5f0c1d2e-7a8b",
    "source": "/gateway/eu-1",
    "type": "llm.tokens",
    "subject": "customer-00042",
    "time": "2024-06-01T12:34:56.789Z",
    "data": {"model": "gpt-4o", "tokens": 1234},
}
ABSENT = object()


def event(**changes: Any) -> dict[str, Any]:
    """The good event with other members; ABSENT leaves one out."""
    return {name: value for name, value in {**GOOD, **changes}.items() if value is not ABSENT}


def text(**changes: Any) -> bytes:
    """The same as compact JSON in UTF-8."""
    return json.dumps(event(**changes), separators=(",", ":"), ensure_ascii=False).encode()


def binary(**changes: Any) -> list[tuple[str, bytes | None]]:
    """The same as the headers of binary mode, without `data`."""
    headers = [(f"ce_{name}", value.encode()) for name, value in event(**changes).items() if name != "data"]
    return [("content-type", b"application/json"), *headers]


def take(value: bytes | None, headers: Headers = (), received_at_ms: int = RECEIVED_AT_MS) -> Accepted:
    return accept(value, headers, "default", "events", 3, 123_456, received_at_ms, LIMITS)


def reason(value: bytes | None, headers: Headers = (), received_at_ms: int = RECEIVED_AT_MS) -> str | None:
    """Why the record is refused; None if it is accepted."""
    try:
        take(value, headers, received_at_ms)
    except Rejected as refused:
        assert 0 < len(refused.detail) < 250
        refused.detail.encode()
        return refused.reason
    return None


def read(accepted: Accepted) -> Event:
    return msgspec.json.decode(accepted.encoded, type=Event)
