"""The definitions of a worker, followed on `control` change by change, and the current meters among them.

Owns: that every change reaches the follower in order, the loaded revision, and that the index of meters and its
revision always belong together. Does not own: what a follower keeps, or deciding definitions (core.control).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pipeline.core.customers.attribution import Watched
from pipeline.core.definitions.changes import Changes
from pipeline.core.metering.extract import MeterIndex
from pipeline.core.metering.meter import Meter
from pipeline.records import Definition
from pipeline.settings import Settings
from pipeline.stores.kafka.definitions import Definitions

Subscriber = Callable[[Changes], object]
MetersInForce = Callable[[], tuple[MeterIndex, int]]  # with the control revision of the index


class DefinitionsFollower:
    """Hands changes to its subscribers, from the beginning of the log onwards. `revision` is cheap."""

    def __init__(self, settings: Settings, *subscribers: Subscriber) -> None:
        self._definitions = Definitions(settings, kinds=())  # each subscriber keeps what it needs
        self._subscribers = subscribers
        self.revision = 0

    def start(self, changed: Callable[[], None], failed: Callable[[BaseException], None]) -> None:
        """Load the whole log, then follow it. Raises Unavailable.

        `changed` is called after each change; `failed` is called if following ends, since a worker must not use old
        definitions.
        """

        def take(records: Mapping[str, Definition | None]) -> None:
            changes = Changes(records)
            for subscriber in self._subscribers:
                subscriber(changes)
            self.revision = max(self.revision, changes.revision)
            changed()

        self._definitions.on_change(take)
        self._definitions.on_failure(failed)
        self._definitions.start()
        self._definitions.wait_loaded()


class MetersFollower(DefinitionsFollower):
    """Follows meters. `current()` is cheap and may be called for every chunk."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, self._take)
        self._meters: dict[tuple[str, str], Meter] = {}  # by namespace and slug
        self._watched = Watched()
        self._current: tuple[MeterIndex, int] = (MeterIndex([]), 0)

    def current(self) -> tuple[MeterIndex, int]:
        """The current meters, and the control revision of the index."""
        return self._current

    def _take(self, changes: Changes) -> None:
        index, revision = self._current
        before = (dict(self._meters), self._watched.meters)
        self._watched.update(changes)
        for namespace, slug, meter, _ in changes.of(Meter):
            if meter is not None:
                self._meters[namespace, slug] = meter
            else:
                self._meters.pop((namespace, slug), None)
        if (self._meters, self._watched.meters) != before:
            index = MeterIndex(self._meters.values(), self._watched.meters)
        self._current = (index, max(revision, changes.revision))
