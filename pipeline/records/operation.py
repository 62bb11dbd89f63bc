"""What the stages have done, the topics that they depend on, and the workers that run."""

from __future__ import annotations

import msgspec


class Counts(msgspec.Struct):
    """`counts`, key `stage/topic/partition`: the totals of one stage for one input partition since the beginning.

    counts: namespace -> name -> events. Names: `read` and the stage's outcomes (`accepted`, `rejected:bad-json`, ...);
    names that begin with `/` are additional totals, such as those of what a meter counted and refused
    (core/metering/refusal.py). An offset here is the record's offset in its topic plus `base`. `base` is 0 until the
    input topic is lost and recreated; from then on it keeps offsets growing.
    """

    stage: str
    topic: str
    partition: int
    offset: int  # of the last input record in the counts
    incarnation: str  # Kafka's topic id of the input topic
    counts: dict[str, dict[str, int]]
    base: int = 0  # offsets of earlier input topics of this name
    changelog_end: int = 0  # an offset that the changelog's partition had reached before this record
    writes: int | None = None  # chunks that changed the state; null: unknown
    control_revision: int = 0  # the newest definitions that the stage had loaded
    state_version: int = 1  # of the form of the stage's state


class TopicId(msgspec.Struct):
    """`topic-ids`, key `topic`: the id of the topic with which the state of this installation was built.

    `replaced` lists earlier topics of this name that were lost, and that an operator has given up. `splits` lists each
    partition that was added by `tallymark topics raise`, in order: its number, that of the partition whose records it
    continues, and the first of its offsets plus `Counts.base`.
    """

    topic: str
    id: str  # Kafka's topic id
    partitions: int  # how many are used; for a topic with any number of partitions, how many it had
    at_ms: int  # when this record was written
    replaced: list[str] = []  # Kafka's topic ids
    record_version: int = 1  # the newest form of its records
    splits: list[tuple[int, int, int]] = []


class Worker(msgspec.Struct):
    """`workers`, key `id`: a worker's heartbeat. A tombstone means that the worker has stopped."""

    id: str
    stage: str
    host: str
    pid: int
    at_ms: int
    started_at_ms: int
    control_revision: int
    partitions: list[str]  # `topic/partition`
    events_in: int  # since it started
    metrics_url: str
    failing: str = ""  # why a service refuses what this worker asks, in its own words; empty: it does not
