"""The events of the demo: some hours of usage of a small AI company, as its services would report it.

Owns: the demo's meters and events. Does not own: sending and showing (demo). The same arguments give the same events.
Among them are repeats (a producer that retried), late ones, and a few conflicts and broken ones.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime
from random import Random

METERS: list[dict[str, object]] = [
    {
        "slug": "api_requests",
        "name": "API requests",
        "eventType": "api.request",
        "aggregation": "COUNT",
        "groupBy": {"method": "$.method", "route": "$.route"},
    },
    {
        "slug": "api_latency",
        "name": "Mean duration of an API request, in milliseconds",
        "eventType": "api.request",
        "aggregation": "AVG",
        "valueProperty": "$.duration_ms",
        "groupBy": {"route": "$.route"},
    },
    {
        "slug": "api_keys",
        "name": "API keys in use",
        "eventType": "api.request",
        "aggregation": "UNIQUE_COUNT",
        "valueProperty": "$.key",
    },
    {
        "slug": "llm_tokens",
        "name": "LLM tokens",
        "eventType": "llm.completion",
        "aggregation": "SUM",
        "valueProperty": "$.tokens",
        "groupBy": {"model": "$.model", "kind": "$.kind"},
    },
    {
        "slug": "storage_gib",
        "name": "Most GiB stored",
        "eventType": "storage.sample",
        "aggregation": "MAX",
        "valueProperty": "$.gib",
        "groupBy": {"region": "$.region"},
    },
]

SPAN_S = 6 * 3600
LATE_S = 5 * 86_400
SHARE_LATE = 0.02
SHARE_REPEATED = 0.04
SHARE_CONFLICTING = 0.0005
SHARE_BROKEN = 0.005

_COMPANIES = [
    "acme",
    "globex",
    "initech",
    "umbrella",
    "hooli",
    "stark",
    "wayne",
    "wonka",
    "tyrell",
    "cyberdyne",
]
CUSTOMERS = _COMPANIES + [f"customer-{number:03d}" for number in range(190)]
_ROUTES = ["/v1/chat", "/v1/chat", "/v1/embeddings", "/v1/files", "/v1/models"]
_MODELS = ["small", "small", "small", "large", "large-vision"]
_KINDS = ["input", "input", "output", "cached"]
_REGIONS = ["eu-west", "us-east"]
_BROKEN = [
    b'{"specversion":"1.0","id":"cut-off","source":"/gate',
    b'{"specversion":"1.0","source":"/gateway","type":"api.request","subject":"acme"}',
    b'{"specversion":"0.3","id":"old","source":"/gateway","type":"api.request","subject":"acme"}',
    b'{"specversion":"1.0","id":"no-time","source":"/llm","type":"llm.completion","subject":"hooli","time":"yesterday"}',
    b"not JSON at all",
    b'\xff\xfe{"id":1}',
]


def events(count: int, seed: int, now_ns: int) -> Iterator[bytes]:
    """`count` lines, each the value of one Kafka record; their times end at `now_ns`."""
    rng = Random(seed)
    recent: deque[bytes] = deque(maxlen=2000)
    for number in range(count):
        choice = rng.random()
        if choice < SHARE_BROKEN:
            yield _BROKEN[int(rng.random() * len(_BROKEN))]
        elif choice < SHARE_BROKEN + SHARE_REPEATED and recent:
            line = recent[int(rng.random() * len(recent))]
            if choice < SHARE_BROKEN + SHARE_CONFLICTING:
                line = line.replace(b'"data":{', b'"data":{"corrected":true,')
            yield line
        else:
            line = _event(rng, now_ns, number / count)
            recent.append(line)
            yield line


def _event(rng: Random, now_ns: int, at_fraction: float) -> bytes:
    back_s = SPAN_S * (1 - at_fraction) + rng.random() * 30
    if rng.random() < SHARE_LATE:
        back_s += rng.random() * LATE_S
    at = datetime.fromtimestamp((now_ns - int(back_s * 1e9)) / 1e9, UTC)
    customer = CUSTOMERS[int(len(CUSTOMERS) * rng.random() ** 2.5)]
    type_, source, data = _usage(rng, customer)
    event = {
        "specversion": "1.0",
        "id": f"{rng.getrandbits(64):016x}",
        "source": source,
        "type": type_,
        "subject": customer,
        "time": at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "data": data,
    }
    return json.dumps(event, separators=(",", ":")).encode()


def _usage(rng: Random, customer: str) -> tuple[str, str, dict[str, object]]:
    kind = rng.random()
    if kind < 0.55:
        data: dict[str, object] = {
            "method": "GET" if kind < 0.3 else "POST",
            "route": _ROUTES[int(rng.random() * len(_ROUTES))],
            "duration_ms": round(rng.lognormvariate(4, 1), 3),
            "key": f"{customer}-key-{int(rng.random() * 3)}",
        }
        return "api.request", "/gateway", data
    if kind < 0.95:
        model = _MODELS[int(rng.random() * len(_MODELS))]
        tokens = int(rng.lognormvariate(6, 1)) + 1
        return (
            "llm.completion",
            f"/llm/{model}",
            {"model": model, "kind": _KINDS[int(rng.random() * len(_KINDS))], "tokens": tokens},
        )
    region = _REGIONS[int(rng.random() * len(_REGIONS))]
    # Text, because some producers write numbers as text; the meter counts both alike.
    return "storage.sample", "/storage", {"region": region, "gib": f"{rng.uniform(1, 5000):.6f}"}
