"""Which event types some meter wants: what ingest warns by.

Owns: following the control log for that. Does not own: meters (core.metering.meter), warnings
(core.metering.http_batch).
"""

from __future__ import annotations

import threading
from collections.abc import Mapping

from pipeline.errors import Unavailable
from pipeline.records import Definition
from pipeline.stores.kafka.definitions import Definitions


class MeteredTypes:
    """The event types that meters want, by namespace, as the control log has them."""

    def __init__(self, definitions: Definitions) -> None:
        self._definitions = definitions
        self._types: dict[str, frozenset[str]] = {}
        self._loaded = False
        self._lock = threading.Lock()
        definitions.on_change(self._take)

    def of(self, namespace: str) -> frozenset[str] | None:
        """The types; None while the control log is not read yet."""
        if not self._loaded:
            try:
                self._definitions.wait_loaded(0)
            except Unavailable:
                return None
            self._loaded = True  # first, so that no change falls between
            self._refresh()
        return self._types.get(namespace, frozenset())

    def _take(self, changes: Mapping[str, Definition | None]) -> None:
        if self._loaded and any("/meter/" in place for place in changes):
            self._refresh()

    def _refresh(self) -> None:
        with self._lock:
            found: dict[str, set[str]] = {}
            for meter in self._definitions.meters():
                found.setdefault(meter.namespace, set()).add(meter.event_type)
            self._types = {namespace: frozenset(types) for namespace, types in found.items()}
