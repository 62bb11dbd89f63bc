"""The event types that meters match, and how those meters read them, for the warnings of ingest.

Owns: following the control log for that. Does not own: meters (core.metering.meter), reading (core.metering.extract),
warnings (core.metering.http_batch, core.metering.foreseen).
"""

from __future__ import annotations

import threading
from collections.abc import Mapping

from pipeline.core.definitions.changes import Changes
from pipeline.core.metering.extract import ExtractPlan
from pipeline.core.metering.meter import Meter
from pipeline.errors import Unavailable
from pipeline.records import Definition
from pipeline.stores.kafka.definitions import Definitions

NamespacedType = tuple[str, str]  # namespace and event type


class MeteredTypes:
    """The event types of the current meters, by namespace."""

    def __init__(self, definitions: Definitions) -> None:
        self._definitions = definitions
        self._types: dict[str, frozenset[str]] = {}
        # By namespace and type: the meters, and their plans, which are built on first use. Both are replaced together.
        self._read: tuple[dict[NamespacedType, list[Meter]], dict[NamespacedType, ExtractPlan]] = ({}, {})
        self._loaded = False
        self._lock = threading.Lock()
        definitions.on_change(self._take)

    def of(self, namespace: str) -> frozenset[str] | None:
        """The types; None until the control log has been read."""
        if not self._loaded:
            try:
                self._definitions.wait_loaded(0)
            except Unavailable:
                return None
            self._loaded = True  # before the refresh, so that no change is missed
            self._refresh()
        return self._types.get(namespace, frozenset())

    def plan(self, namespace: str, type: str) -> ExtractPlan | None:
        """How the meters of an event type read it; None if there are none, or until the log has been read."""
        meters, plans = self._read
        found = plans.get((namespace, type))
        if found is None and (matching := meters.get((namespace, type))):
            found = plans[namespace, type] = ExtractPlan(matching)
        return found

    def _take(self, records: Mapping[str, Definition | None]) -> None:
        if self._loaded and Changes(records).has(Meter):
            self._refresh()

    def _refresh(self) -> None:
        with self._lock:
            found: dict[NamespacedType, list[Meter]] = {}
            for meter in self._definitions.meters():
                found.setdefault((meter.namespace, meter.event_type), []).append(meter)
            types: dict[str, set[str]] = {}
            for namespace, type in found:
                types.setdefault(namespace, set()).add(type)
            self._types = {namespace: frozenset(named) for namespace, named in types.items()}
            self._read = (found, {})
