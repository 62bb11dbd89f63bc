"""The engine's Prometheus metrics: one increment a chunk, never one an event.

Owns: metrics that every stage has. Does not own: fates and freshness (agents), or the port (worker/process).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from prometheus_client import Counter, Gauge, Histogram

from pipeline.engine.partition import Output

READ = "read"  # under this name a stage counts what it read: no outcome, but their sum

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

EVENTS_IN = Counter("tallymark_events_in_total", "events read by this stage", ["stage"])
RECORDS_IN = Counter("tallymark_records_in_total", "Kafka records read by this stage", ["stage"])
RECORDS_OUT = Counter(
    "tallymark_records_out_total", "Kafka records written by this stage", ["stage", "topic"]
)
BYTES_OUT = Counter("tallymark_bytes_out_total", "bytes written by this stage", ["stage", "topic"])
OUTCOMES = Counter(
    "tallymark_outcomes_total",
    "events by what the stage made of them, under the names that it counts by",
    ["stage", "namespace", "outcome"],
)
CHUNKS = Counter("tallymark_chunks_total", "chunks made true by this stage", ["stage"])
CHUNK_EVENTS = Histogram(
    "tallymark_chunk_events",
    "events a chunk",
    ["stage"],
    buckets=(1, 10, 100, 500, 1000, 2500, 5000, 10000, 50000),
)
CHUNK_SECONDS = Histogram(
    "tallymark_chunk_seconds", "a chunk from its start to its commit", ["stage"], buckets=SECONDS
)
TRANSACTION_SECONDS = Histogram(
    "tallymark_transaction_seconds", "committing a chunk", ["stage"], buckets=SECONDS
)
RESTORE_SECONDS = Histogram(
    "tallymark_restore_seconds",
    "taking over all assigned partitions",
    buckets=(0.1, 0.5, 1, 2, 5, 10, 30, 60),
)
STATE_KEYS = Gauge("tallymark_state_keys", "estimated keys in a partition's table", ["stage", "partition"])
LAG_RECORDS = Gauge(
    "tallymark_lag_records",
    "offsets between what is committed and the end of a partition",
    ["stage", "partition"],
)
OWNED = Gauge("tallymark_owned_partitions", "input partitions that this worker owns", ["stage"])


def observe_chunk(
    stage: str, events: int, records: int, outputs: Sequence[Output], counts: Mapping[str, Mapping[str, int]]
) -> None:
    """Count one committed chunk. A name that begins with `/` is a total that a stage keeps, and no outcome."""
    for namespace, names in counts.items():
        for name, number in names.items():
            if name != READ and not name.startswith("/"):
                OUTCOMES.labels(stage, namespace, name).inc(number)
    CHUNKS.labels(stage).inc()
    EVENTS_IN.labels(stage).inc(events)
    RECORDS_IN.labels(stage).inc(records)
    CHUNK_EVENTS.labels(stage).observe(events)
    sums: dict[str, tuple[int, int]] = {}
    for output in outputs:
        number, size = sums.get(output.topic, (0, 0))
        sums[output.topic] = (number + 1, size + len(output.value or b""))
    for topic, (number, size) in sums.items():
        RECORDS_OUT.labels(stage, topic).inc(number)
        BYTES_OUT.labels(stage, topic).inc(size)


def forget_partitions() -> None:
    """After a change of owner: gauges of partitions that went would stand still for ever."""
    LAG_RECORDS.clear()
    STATE_KEYS.clear()
