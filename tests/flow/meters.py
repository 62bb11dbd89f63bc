"""The meters of the made stream: all seven aggregations, with and without dimensions."""

from __future__ import annotations

METERS: list[dict[str, object]] = [
    {
        "slug": "api_requests",
        "eventType": "api.request",
        "aggregation": "COUNT",
        "groupBy": {"method": "$.method", "route": "$.route", "status": "$.status"},
    },
    {
        "slug": "api_duration_avg",
        "eventType": "api.request",
        "aggregation": "AVG",
        "valueProperty": "$.duration_ms",
        "groupBy": {"route": "$['route']"},
    },
    {
        "slug": "api_duration_max",
        "eventType": "api.request",
        "aggregation": "MAX",
        "valueProperty": "$.duration_ms",
    },
    {
        "slug": "llm_tokens",
        "eventType": "llm.tokens",
        "aggregation": "SUM",
        "valueProperty": "$.usage.tokens",
        "groupBy": {"model": "$.model", "kind": "$.usage.kind"},
    },
    {
        "slug": "llm_latency_min",
        "eventType": "llm.tokens",
        "aggregation": "MIN",
        "valueProperty": "$.latency_s",
        "groupBy": {"model": "$.model"},
    },
    {
        "slug": "storage_bytes",
        "eventType": "storage.sample",
        "aggregation": "SUM",
        "valueProperty": "$.bytes",
        "groupBy": {"storage_class": "$['storage class']"},
    },
    {
        "slug": "storage_latest",
        "eventType": "storage.sample",
        "aggregation": "LATEST",
        "valueProperty": "$.bytes",
        "groupBy": {"bucket": "$.place[0]"},
    },
    {
        "slug": "sessions",
        "eventType": "session.seen",
        "aggregation": "UNIQUE_COUNT",
        "valueProperty": "$.session_id",
        "groupBy": {"country": "$.country"},
    },
    {"slug": "credits", "eventType": "credit.booked", "aggregation": "SUM", "valueProperty": "$.amount"},
]
