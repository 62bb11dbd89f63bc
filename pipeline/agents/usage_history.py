"""Which historical usage the partitions of this worker still need, of each meter that they follow.

Owns: that the usage of every subject is loaded once the meter is followed for the first time, or the subject's customer
is new. Does not own: loading it (alert_seeding), where it is recorded that it was (core.billing.stripe_table,
core.bills.usage).

A partition's state holds, for each reason to follow a meter, up to which control revision its subjects are covered; a
subject whose customer was defined later than that is loaded.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from pipeline.agents.alert_seeding import Job
from pipeline.core.customers.attribution import NO_CUSTOMER, Attribution
from pipeline.core.definitions.changes import Changes
from pipeline.core.metering.identity import customer_hash

_encode = msgspec.json.Encoder().encode


class SubjectLog:
    """The subjects of customers in the order in which they were defined. Thread-safe."""

    def __init__(self, partitions: int) -> None:
        self._lock = threading.Lock()
        self._partitions = partitions
        self._revisions: list[int] = []
        self._subjects: list[tuple[str, str, frozenset[int]]] = []

    def update(self, changes: Changes) -> None:
        """Apply changes of definitions."""
        found = [
            (one.revision, one.namespace, one.name, self._holding(one.namespace, one.body))
            for one in changes.of(Attribution)
            if one.body is not None
        ]
        with self._lock:
            for revision, namespace, subject, partitions in sorted(found, key=lambda one: one[0]):
                self._revisions.append(revision)
                self._subjects.append((namespace, subject, partitions))

    def since(self, revision: int, namespace: str, partition: int) -> tuple[str, ...]:
        """The subjects defined after a control revision, of which a customer of the partition has or had usage."""
        with self._lock:
            start = bisect_right(self._revisions, revision)
            found = {
                subject: None
                for of, subject, partitions in self._subjects[start:]
                if of == namespace and partition in partitions
            }
        return tuple(found)

    def _holding(self, namespace: str, body: Attribution) -> frozenset[int]:
        customers = {holding.customer for holding in body.holders} - {NO_CUSTOMER}
        return frozenset(customer_hash(namespace, customer) % self._partitions for customer in customers)


class FollowedMeter(NamedTuple):
    """A meter whose historical usage is needed.

    Attributes:
        name: why, unique within the namespace, such as the id of a mapping.
        from_s: since when its usage is needed, in seconds since 1970.
    """

    namespace: str
    name: str
    meter_id: int
    from_s: int


class UsageHistory:
    """What was covered, and which jobs run, for the owned partitions. Thread-safe."""

    def __init__(
        self, subjects: SubjectLog, start: Callable[[Job], None], covered: Callable[[int, bytes], None]
    ) -> None:
        """start: begins a job. covered: called with a partition and the item of its next clock record."""
        self._subjects = subjects
        self._start = start
        self._covered = covered
        self._lock = threading.Lock()
        self._asked: dict[tuple[int, str, str], int] = {}
        self._running: dict[tuple[int, str, str], int] = {}  # the revision that the last job covers

    def forget(self) -> None:
        """The owned partitions have changed: a job of before may have been lost."""
        with self._lock:
            self._asked, self._running = {}, {}

    def is_loading(self, partition: int) -> bool:
        """Whether usage that a call of `look` found to be missing is not yet recorded as loaded."""
        with self._lock:
            return any(number == partition for number, _, _ in self._running)

    def look(self, partition: int, meter: FollowedMeter, seeded: int, revision: int) -> None:
        """Begin what a partition needs.

        Args:
            partition: owned by this worker.
            meter: which is followed.
            seeded: up to which revision the state says that it is covered; -1: never.
            revision: of the definitions that were read.
        """
        key = (partition, meter.namespace, meter.name)
        with self._lock:
            asked = max(seeded, self._asked.get(key, -1))
            if self._running.get(key, -1) <= seeded:
                self._running.pop(key, None)
            if asked >= revision or (asked > seeded and seeded < 0):
                return  # nothing is new, or the first job runs
            subjects = self._subjects.since(asked, meter.namespace, partition)
            self._asked[key] = revision
            if subjects:
                self._running[key] = revision
        done = _encode(("seeded", meter.namespace, meter.name, str(revision)))
        if subjects:
            self._start(
                Job(
                    namespace=meter.namespace,
                    customer="",
                    meter_id=meter.meter_id,
                    subjects=subjects,
                    since_s=meter.from_s,
                    revision=revision,
                    done_record=done,
                    partition=partition,
                )
            )
        elif seeded < 0:
            self._covered(partition, done)
