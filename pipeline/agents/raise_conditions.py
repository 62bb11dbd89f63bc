"""What every raise of a number of partitions requires: no stage runs, none that was frozen can write, partitions exist.

Owns: these conditions. Does not own: what is copied, or when it becomes valid (raise_partitions, raise_customers).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from pipeline.engine import ledger
from pipeline.engine.chunk import Position
from pipeline.engine.lineage import Lineage
from pipeline.engine.producer import TransactionalProducer
from pipeline.errors import Rejected, Unavailable
from pipeline.settings import Settings
from pipeline.stages import STAGES
from pipeline.stores.kafka import client as kafka
from pipeline.stores.kafka import consumer_groups, topic_admin, topics
from pipeline.stores.kafka.consumer_groups import group_of
from pipeline.stores.kafka.topic import Topic

FENCED_AT_ONCE = 8


def workers_of(settings: Settings) -> list[str]:
    """The ids of the workers that run."""
    return sorted(consumer_groups.members(kafka.admin(settings), settings, STAGES))


def require_stopped(settings: Settings) -> None:
    """Raise Rejected if a worker runs."""
    if found := workers_of(settings):
        raise Rejected(
            "stages-run",
            f"{len(found)} workers run, such as {found[0]}: stop the workers of every stage first. A worker that was "
            f"killed leaves after {settings.session_timeout_s:g} s.",
        )


def fence(settings: Settings, declared: Mapping[str, Topic], stages: Sequence[str]) -> None:
    """End the transactions of workers that were killed or frozen, so that none of them writes any more."""
    config = kafka.client_config(settings) | {"log_level": 0}
    on_cluster = kafka.cluster(settings).topics
    existing = {name: len(found.partitions) for name, found in on_cluster.items()}
    for stage in stages:
        places = input_places(consumer_groups.input_topics(settings, stage), declared, existing)
        with ThreadPoolExecutor(FENCED_AT_ONCE) as threads:
            list(threads.map(partial(TransactionalProducer, config, group_of(stage)), places))


def input_places(
    names: Sequence[str], declared: Mapping[str, Topic], existing: Mapping[str, int]
) -> list[Position]:
    """The partitions of these topics that workers read: those declared, or all where any number is allowed.

    Args:
        names: Of topics.
        declared: With the number that is valid.
        existing: How many partitions each topic has on the cluster.
    """
    used = {name: existing[name] if declared[name].resizable else declared[name].partitions for name in names}
    return [Position(name, partition) for name in names for partition in range(used[name])]


def add_partitions(settings: Settings, names: Sequence[str], number: int) -> None:
    """Add partitions where there are fewer, and return when each has a leader."""
    found = kafka.cluster(settings).topics
    topic_admin.add_partitions(
        settings, {name: number for name in names if len(found[name].partitions) < number}
    )
    deadline = time.monotonic() + topics.TIMEOUT_S
    while True:
        found = kafka.cluster(settings).topics
        if all(_is_ready(list(found[name].partitions.values()), number) for name in names):
            return
        if time.monotonic() > deadline:
            raise Unavailable(f"The new partitions have no leader after {topics.TIMEOUT_S:g} s.")
        time.sleep(0.05)


def _is_ready(partitions: Sequence[object], number: int) -> bool:
    return len(partitions) >= number and all(one.leader >= 0 for one in partitions)  # type: ignore[attr-defined]


def lacks_changelog(stage: str, kept: ledger.Kept, lineage: Lineage) -> bool:
    """Whether the stage's changelog was recreated, and this partition's state is not written to it yet."""
    name = f"{stage}-changelog"
    return kept.counts.offset != ledger.NOTHING_YET and lineage.is_given_up(name, kept.ids.get(name, ""))
