"""The outputs, state changes and counts of one chunk, which an agent fills and then commits.

Owns: collecting them. Does not own: committing them (partition).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from pipeline.engine import metrics
from pipeline.engine.chunk import Chunk
from pipeline.engine.partition import Commit, Output, Partition, Spec
from pipeline.engine.producer import Headers
from pipeline.engine.table import Overlay
from pipeline.errors import Broken


class Owner(Protocol):
    """The members of a stage that a transaction uses."""

    events_in: int

    @property
    def spec(self) -> Spec: ...

    def finish(
        self, chunk: Chunk, partition: Partition, commit: Callable[[], None] | None, done: Callable[[], None]
    ) -> None:
        """Commit in the background; `done` is called afterwards."""
        ...

    def abandon(self, chunk: Chunk) -> None:
        """Leave the chunk uncommitted, to be read again."""
        ...


class Transaction:
    """One chunk's outputs, changes and counts. None of them takes effect before `commit`."""

    def __init__(self, stage: Owner, partition: Partition, chunk: Chunk) -> None:
        self.chunk = chunk
        self._stage = stage
        self._partition = partition
        self._overlay = Overlay(partition.table) if partition.table is not None else None
        self._outputs: list[Output] = []
        self._counts: dict[str, dict[str, int]] = {}
        self._events = 0
        self._committed: list[Callable[[], None]] = []
        self._began_s = self._computed_s = time.perf_counter()

    @property
    def table(self) -> Overlay:
        """The partition's state, overlaid with the writes of this chunk."""
        if self._overlay is None:
            raise Broken(f"stage {self._stage.spec.stage} has no table")
        return self._overlay

    def send(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None = None,
        partition: int = -1,
        headers: Headers | None = None,
    ) -> None:
        """Add one record for a topic; partition -1 leaves the choice to the partitioner."""
        self._outputs.append(Output(topic, value, key, partition, headers))

    @property
    def counted_offset(self) -> int:
        """Offset of the last record in the counts; replayed records up to it are not counted again."""
        return self._partition.counted_offset

    def count(self, namespace: str, name: str, number: int = 1) -> None:
        """Add to the counts that are committed with the offset."""
        into = self._counts.setdefault(namespace, {})
        into[name] = into.get(name, 0) + number

    def read(self, events: int) -> None:
        """Add to the number of events that the chunk held (a packed record holds many)."""
        self._events += events

    def on_committed(self, callback: Callable[[], None]) -> None:
        """Call `callback` in the event loop after the transaction and the table write; never if they fail."""
        self._committed.append(callback)

    def commit(self) -> None:
        """Commit in the background; the partition's next chunk waits for it. Errors end the process."""
        changes = self._overlay.changes if self._overlay is not None else {}
        commit = Commit(self.chunk.next, self.chunk.records[-1].offset, self._outputs, changes, self._counts)
        partition = self._partition
        transactional = self._stage.spec.meta is not None
        blocking = (lambda: partition.commit(commit)) if transactional else None
        self._computed_s = time.perf_counter()
        self._stage.finish(self.chunk, partition, blocking, self._done)

    def _done(self) -> None:
        for callback in self._committed:
            callback()
        self._stage.events_in += self._events
        metrics.observe_chunk(
            self._stage.spec.stage, self._events, len(self.chunk.records), self._outputs, self._counts
        )
        now_s = time.perf_counter()
        metrics.CHUNK_SECONDS.labels(self._stage.spec.stage).observe(now_s - self._began_s)
        metrics.TRANSACTION_SECONDS.labels(self._stage.spec.stage).observe(now_s - self._computed_s)

    def abandon(self) -> None:
        """Leave the chunk uncommitted, to be read again."""
        self._stage.abandon(self.chunk)
