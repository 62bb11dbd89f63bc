"""The stages, in the order of the flow. Owns: their names. Each is a Faust app, a process and a consumer group."""

from __future__ import annotations

STAGES = ("ingest", "dedupe", "aggregate", "sink", "control", "backfill", "attribute", "webhook")
READERS = ("aggregate", "attribute")  # their work depends on definitions: a command is answered when they know it
SINGLE = frozenset({"control"})  # their input has one partition, so a second worker would only wait
