"""The stages, in the order of the flow. Owns: their names. Each is a Faust app, a process and a consumer group."""

from __future__ import annotations

STAGES = (
    "ingest",
    "dedupe",
    "aggregate",
    "sink",
    "control",
    "backfill",
    "attribute",
    "alert",
    "live",
    "webhook",
)
# Their work depends on definitions: a command is answered when they know it.
READERS = ("aggregate", "attribute", "alert")
# Their effects are idempotent: they keep nothing and write no topic.
STATELESS = frozenset({"sink", "live"})
# Their input has one partition, so a second worker would only wait.
SINGLE = frozenset({"control"})
METRICS_FILE = "metrics"  # in a worker's folder: its process id and the address of its metrics


def wanted(redis: str) -> tuple[str, ...]:
    """The stages that have something to do; `live` has nothing where the setting `redis` is empty."""
    return tuple(stage for stage in STAGES if redis or stage != "live")
