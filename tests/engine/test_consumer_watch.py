"""A consumer that Kafka refuses, or that is assigned nothing, ends its worker; anything that passes does not."""

from __future__ import annotations

import asyncio
import time

from aiokafka.errors import GroupAuthorizationFailedError, KafkaConnectionError, KafkaError

from pipeline.engine.consumer_watch import UNASSIGNED_S, ConsumerWatch
from pipeline.errors import Unavailable


class Coordinator:
    """Raises `error` once; `_subscription` is its own."""

    def __init__(self, error: KafkaError | None = None, reassignment_in_progress: bool = False) -> None:
        self.error = error
        self.reassignment_in_progress = reassignment_in_progress
        self._subscription = self

    def check_errors(self) -> None:
        error, self.error = self.error, None
        if error is not None:
            raise error


def watching(coordinator: Coordinator) -> tuple[ConsumerWatch, list[Unavailable]]:
    found: list[Unavailable] = []
    return ConsumerWatch("tallymark-dedupe", coordinator, found.append), found


def test_a_refused_member_ends_with_kafkas_own_words() -> None:
    watch, found = watching(Coordinator(GroupAuthorizationFailedError("tallymark-dedupe")))
    asyncio.run(watch.run())
    (only,) = found
    assert "tallymark-dedupe" in str(only) and "GroupAuthorizationFailed" in str(only)


def test_an_error_of_the_coordinators_own_task_ends_it() -> None:
    watch, found = watching(Coordinator(KafkaError("Unexpected error during coordination KeyError('x')")))
    asyncio.run(watch.run())
    assert "Unexpected error during coordination" in str(found[0])


def test_a_broker_that_is_away_for_a_moment_does_not() -> None:
    coordinator = Coordinator(KafkaConnectionError("connection refused"))
    watch, _ = watching(coordinator)
    assert watch.look(time.monotonic()) is None
    assert coordinator.error is None, "aiokafka waits until its error is taken"


def test_a_member_without_an_assignment_ends_after_a_while_and_not_before() -> None:
    coordinator = Coordinator(reassignment_in_progress=True)
    watch, _ = watching(coordinator)
    began_s = time.monotonic()
    assert watch.look(began_s + UNASSIGNED_S - 10) is None
    assert "assigned no partitions" in str(watch.look(began_s + UNASSIGNED_S + 10))
    coordinator.reassignment_in_progress = False
    assert watch.look(began_s + UNASSIGNED_S + 20) is None
    coordinator.reassignment_in_progress = True
    assert watch.look(began_s + 2 * UNASSIGNED_S) is None, (
        "the span begins with the end of the last assignment"
    )
