"""Finds a consumer that will read nothing more: one that Kafka refuses, and one that is not assigned in time.

Owns: when such a worker has to end, because aiokafka itself would wait for ever. Does not own: the end (engine.stage).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from aiokafka.errors import KafkaError

from pipeline.errors import Unavailable

WATCH_S = 1.0
# A rebalance waits 60 s (stage.REBALANCE_TIMEOUT_S) for a member that does not answer; two more may follow it at once.
UNASSIGNED_S = 180.0


class Subscriptions(Protocol):
    """What is asked of aiokafka's SubscriptionState."""

    @property
    def reassignment_in_progress(self) -> bool:
        """Whether no partitions, and not even none, are assigned now."""


class Coordinator(Protocol):
    """What is asked of aiokafka's GroupCoordinator."""

    _subscription: Subscriptions

    def check_errors(self) -> None:
        """Raise what the coordinator met. After a retriable error it waits for this call, then it tries again."""


def refused(group: str, error: KafkaError) -> Unavailable:
    """The error of a consumer that cannot read its topics any more."""
    what = type(error).__name__.removesuffix("Error")
    return Unavailable(f"Kafka refuses to let {group} read its topics: {what}, {error}.")


class ConsumerWatch:
    """Asks a coordinator every WATCH_S.

    Args:
        group: Consumer group, for the sentence.
        coordinator: That of the consumer.
        fail: Called once with an Unavailable; the watch ends.
    """

    def __init__(self, group: str, coordinator: Coordinator, fail: Callable[[Unavailable], None]) -> None:
        self._group = group
        self._coordinator = coordinator
        self._fail = fail
        self._assigned_at_s = time.monotonic()

    async def run(self) -> None:
        """Watch until something is found."""
        while True:
            if (found := self.look(time.monotonic())) is not None:
                self._fail(found)
                return
            await asyncio.sleep(WATCH_S)

    def look(self, now_s: float) -> Unavailable | None:
        """What has to end the worker, or None. `now_s`: seconds of a monotonic clock."""
        try:
            self._coordinator.check_errors()
        except KafkaError as error:
            if not error.retriable:
                return refused(self._group, error)
        if not self._coordinator._subscription.reassignment_in_progress:
            self._assigned_at_s = now_s
        if now_s - self._assigned_at_s < UNASSIGNED_S:
            return None
        return Unavailable(
            f"Kafka has assigned no partitions to this member of {self._group} for {UNASSIGNED_S:g} s."
        )
