"""A broker of its own for a run that a person starts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.local import process
from pipeline.local.kafka import Kafka

STARTED_S = 300.0  # on a loaded machine


@contextmanager
def own_broker(folder: Path) -> Iterator[Kafka]:
    """A broker that keeps its data in a folder, and is killed in the end."""
    broker = Kafka(folder, process.free_port())
    broker.start(STARTED_S)
    try:
        yield broker
    finally:
        broker.kill()
