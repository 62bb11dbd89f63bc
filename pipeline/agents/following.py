"""Definitions that a worker goes by: followed on `control`, change by change.

Owns: that every change reaches the follower, in order, and which revision it has. Does not own: what the
follower keeps of them, or deciding definitions (control).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pipeline.records import Definition
from pipeline.settings import Settings
from pipeline.stores.kafka.definitions import Definitions

Update = Callable[[Mapping[str, Definition | None]], None]


class Following:
    """Calls `update` with what changed, from the beginning of the log on. `revision` is cheap."""

    def __init__(self, settings: Settings, update: Update) -> None:
        self._definitions = Definitions(settings)
        self._update = update
        self.revision = 0

    def start(self, changed: Callable[[], None], failed: Callable[[BaseException], None]) -> None:
        """Reads everything there is, then follows. Raises Unavailable.

        `changed` is called after each change, `failed` if following ends: a worker must not go by old definitions.
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
