"""The engine's Prometheus metrics. They are updated once per chunk, never once per event.

Owns: metrics that every stage has. Does not own: fates and freshness (agents), or the port (agents.health).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence

from prometheus_client import Counter, Gauge, Histogram

from pipeline.engine.partition import Output

READ = "read"  # the count of what a stage has read: the sum of the outcomes, not one of them

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

EVENTS_IN = Counter("tallymark_events_in_total", "events read by this stage", ["stage"])
RECORDS_IN = Counter("tallymark_records_in_total", "Kafka records read by this stage", ["stage"])
RECORDS_OUT = Counter(
    "tallymark_records_out_total", "Kafka records written by this stage", ["stage", "topic"]
)
BYTES_OUT = Counter("tallymark_bytes_out_total", "bytes written by this stage", ["stage", "topic"])
OUTCOMES = Counter(
    "tallymark_outcomes_total",
    "events by outcome; each stage has its own outcomes",
    ["stage", "namespace", "outcome"],
)
CHUNKS = Counter("tallymark_chunks_total", "chunks committed by this stage", ["stage"])
CHUNK_EVENTS = Histogram(
    "tallymark_chunk_events",
    "events per chunk",
    ["stage"],
    buckets=(1, 10, 100, 500, 1000, 2500, 5000, 10000, 50000),
)
CHUNK_SECONDS = Histogram(
    "tallymark_chunk_seconds", "time from the start of a chunk to its commit", ["stage"], buckets=SECONDS
)
TRANSACTION_SECONDS = Histogram(
    "tallymark_transaction_seconds", "time to commit the transaction of a chunk", ["stage"], buckets=SECONDS
)
RESTORE_SECONDS = Histogram(
    "tallymark_restore_seconds",
    "time to take over all assigned partitions after a rebalance",
    buckets=(0.1, 0.5, 1, 2, 5, 10, 30, 60),
)
STATE_KEYS = Gauge(
    "tallymark_state_keys", "estimated number of keys in the table of a partition", ["stage", "partition"]
)
LAG_RECORDS = Gauge(
    "tallymark_lag_records",
    "consumer lag: offsets from the committed one to the end of the partition",
    ["stage", "partition"],
)
NEED_UP = Gauge(
    "tallymark_need_up",
    "whether what this worker needs is there, asked at each scrape: kafka, clickhouse, redis, and partitions (assigned "
    "and restored)",
    ["need"],
)
DISK_FREE = Gauge(
    "tallymark_disk_free_bytes", "free space of the file system that holds the state of this worker"
)
OWNED = Gauge("tallymark_owned_partitions", "input partitions that this worker owns", ["stage"])


def observe_chunk(
    stage: str, events: int, records: int, outputs: Sequence[Output], counts: Mapping[str, Mapping[str, int]]
) -> None:
    """Count one committed chunk. A name that begins with `/` is a running total of the stage, not an outcome."""
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


def clear_partitions() -> None:
    """Remove the gauges of all partitions, since those of revoked partitions would never change again."""
    LAG_RECORDS.clear()
    STATE_KEYS.clear()


def observe_many(histogram: Histogram, observed: Mapping[float, int]) -> None:
    """As `observe` of each value so many times, without its walk through the buckets for each.

    Args:
        histogram: One without labels.
        observed: How often each value was observed.
    """
    for value, times in observed.items():
        histogram._sum.inc(value * times)
        histogram._buckets[bisect_left(histogram._upper_bounds, value)].inc(times)
