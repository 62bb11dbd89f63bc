"""The definitions of a worker, followed on `control` change by change, and the current meters among them.

Owns: that every change reaches the follower in order, the loaded revision, and that the index of meters and its
revision always belong together. Does not own: what a follower keeps, or deciding definitions (core.control).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pipeline.core.customers.attribution import Watched
from pipeline.core.metering.extract import MeterIndex
from pipeline.core.metering.meter import Meter
from pipeline.records import Definition
from pipeline.settings import Settings
from pipeline.stores.kafka.definitions import Definitions

Update = Callable[[Mapping[str, Definition | None]], None]
MetersInForce = Callable[[], tuple[MeterIndex, int]]  # with the control revision of the index


class DefinitionsFollower:
    """Calls `update` with changes, from the beginning of the log onwards. `revision` is cheap."""

    def __init__(self, settings: Settings, update: Update) -> None:
        self._definitions = Definitions(settings)
        self._update = update
        self.revision = 0

    def start(self, changed: Callable[[], None], failed: Callable[[BaseException], None]) -> None:
        """Load the whole log, then follow it. Raises Unavailable.

        `changed` is called after each change; `failed` is called if following ends, since a worker must not use old
        definitions.
        """

        def take(changes: Mapping[str, Definition | None]) -> None:
            self._update(changes)
            revisions = [one.revision for one in changes.values() if one is not None]
            self.revision = max([self.revision, *revisions])
            changed()

        self._definitions.on_change(take)
        self._definitions.on_failure(failed)
        self._definitions.start()
        self._definitions.wait_loaded()


class MetersFollower(DefinitionsFollower):
    """Follows meters. `current()` is cheap and may be called for every chunk."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, self._take)
        self._meters: dict[str, Meter] = {}  # by key on `control`
        self._watched = Watched()
        self._current: tuple[MeterIndex, int] = (MeterIndex([]), 0)

    def current(self) -> tuple[MeterIndex, int]:
        """The current meters, and the control revision of the index."""
        return self._current

    def _take(self, changes: Mapping[str, Definition | None]) -> None:
        revision = self._current[1]
        before = (dict(self._meters), self._watched.meters)
        self._watched.update(changes)
        for key, definition in changes.items():
            meter = Meter.of(definition)
            if meter is not None:
                self._meters[key] = meter
            else:
                self._meters.pop(key, None)
            revision = max(revision, definition.revision if definition is not None else 0)
        index = self._current[0]
        if (self._meters, self._watched.meters) != before:
            index = MeterIndex(self._meters.values(), self._watched.meters)
        self._current = (index, revision)
