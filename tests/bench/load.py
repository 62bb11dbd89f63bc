"""What the benchmark counts: lines in sending order and the meters that want them, by name.

`plain` is what most producers send, JSON as their library writes it. `hard` is the proof's stream: numbers with
trailing zeros, odd white space, hostile text, 15 % repeats, so most of it needs the slow and exact way of reading.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from pipeline.cli import demo_events
from tests.flow.meters import METERS
from tests.flow.stream import Sent, stream


class Load(NamedTuple):
    """records(events, seed, now_ns): what to send."""

    meters: list[dict[str, object]]
    records: Callable[[int, int, int], Iterator[Sent]]


def _plain(events: int, seed: int, now_ns: int) -> Iterator[Sent]:
    return (Sent(None, line) for line in demo_events.events(events, seed, now_ns))


LOADS = {"plain": Load(demo_events.METERS, _plain), "hard": Load(METERS, stream)}
