"""The meters in force, as a worker knows them: followed on `control`, swapped as a whole.

Owns: that the index and its revision always belong together. Does not own: deciding definitions (control).
"""

from __future__ import annotations

from collections.abc import Callable

from pipeline.control_log import Definitions
from pipeline.core.reading import MeterIndex
from pipeline.settings import Settings


class Meters:
    """`current()` is cheap and may be called for every chunk."""

    def __init__(self, settings: Settings) -> None:
        self._definitions = Definitions(settings)
        self._current: tuple[MeterIndex, int] = (MeterIndex([]), 0)

    def start(self, changed: Callable[[], None], failed: Callable[[BaseException], None]) -> None:
        """Load everything there is, then follow. Raises Unavailable.

        `changed` is called after each change, `failed` if following ends: a worker must not count by old definitions.
        """

        def refresh(_: object) -> None:
            self._current = (MeterIndex(self._definitions.meters()), self._definitions.revision)
            changed()

        self._definitions.on_change(refresh)
        self._definitions.on_failure(failed)
        self._definitions.start()
        self._definitions.wait_loaded()
        refresh(None)

    def current(self) -> tuple[MeterIndex, int]:
        """The meters in force and the control revision that they are from."""
        return self._current
