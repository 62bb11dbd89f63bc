"""The meters in force, as a worker knows them: followed on `control`, swapped as a whole.

Owns: that the index and its revision always belong together. Does not own: deciding definitions (control).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pipeline.agents.following import Following
from pipeline.core.customers.attribution import Watched
from pipeline.core.metering.extract import MeterIndex
from pipeline.core.metering.meter import Meter, meter_of
from pipeline.records import Definition
from pipeline.settings import Settings

MetersInForce = Callable[[], tuple[MeterIndex, int]]  # with the control revision that they are from


class Meters(Following):
    """`current()` is cheap and may be called for every chunk."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, self._take)
        self._meters: dict[str, Meter] = {}  # by key on `control`
        self._watched = Watched()
        self._current: tuple[MeterIndex, int] = (MeterIndex([]), 0)

    def current(self) -> tuple[MeterIndex, int]:
        """The meters in force and the control revision that they are from."""
        return self._current

    def _take(self, changes: Mapping[str, Definition | None]) -> None:
        revision = self._current[1]
        before = (dict(self._meters), self._watched.meters)
        self._watched.update(changes)
        for key, definition in changes.items():
            meter = meter_of(definition)
            if meter is not None:
                self._meters[key] = meter
            else:
                self._meters.pop(key, None)
            revision = max(revision, definition.revision if definition is not None else 0)
        index = self._current[0]
        if (self._meters, self._watched.meters) != before:
            index = MeterIndex(self._meters.values(), self._watched.meters)
        self._current = (index, revision)
