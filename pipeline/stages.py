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
    "stripe-sync",
    "billing",
    "numbering",
)
# Stages that use definitions: a command is complete when their workers have loaded it.
READERS = ("aggregate", "attribute", "alert")
# Stages with idempotent effects: they keep no state and write no topic.
STATELESS = frozenset({"sink", "live"})
# Stages whose input has one partition, so that a second worker would be idle.
SINGLE = frozenset({"control", "numbering"})
# Stages for whose answer a client waits.
ANSWERING = frozenset({"control"})
METRICS_FILE = "metrics"  # in a worker's folder: its process id and the address of its metrics


def wanted(redis: str) -> tuple[str, ...]:
    """The stages to run: without the setting `redis`, `live` is left out."""
    return tuple(stage for stage in STAGES if redis or stage != "live")
