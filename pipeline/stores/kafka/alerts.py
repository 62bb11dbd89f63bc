"""Views of the newest alerts, of their deliveries, and of late usage that corrected balances.

Owns: the views, and which deliveries belong to which alert. Does not own: following a topic (view), the meaning of the
values (core.notifications.delivery), writing them (alert, webhook).
"""

from __future__ import annotations

from heapq import heappush, heappushpop

from pipeline.core.values.json_value import reader_of
from pipeline.records import Alert, Delivery, LateUsage
from pipeline.settings import Settings
from pipeline.stores.kafka.view import CompactedView

MOST_ALERTS = (
    50_000  # limit in the memory of a process; older alerts are not listed, but their deliveries are
)


class AlertsView(CompactedView[Alert]):
    """`alerts` by id. The topic is not compacted, but a repeated alert has the same content."""

    def __init__(self, settings: Settings, most: int = MOST_ALERTS) -> None:
        super().__init__(settings, "alerts", reader_of(Alert))
        self._most = most
        self._ids: list[str] = []  # a heap: ids sort by time

    def newest_first(self) -> list[Alert]:
        """All alerts in memory, newest first."""
        return [alert for _, alert in sorted(self.snapshot().items(), reverse=True)]

    def _keep(self, key: str, value: Alert | None) -> None:
        if value is None or key in self._values:
            return
        super()._keep(key, value)
        if len(self._ids) < self._most:
            heappush(self._ids, key)
        else:
            del self._values[heappushpop(self._ids, key)]


class DeliveriesView(CompactedView[Delivery]):
    """`deliveries` by id, until they expire."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, "deliveries", reader_of(Delivery))
        self._of_alert: dict[str, set[str]] = {}

    def newest_first(self) -> list[Delivery]:
        """All deliveries, newest alert first."""
        return [delivery for _, delivery in sorted(self.snapshot().items(), reverse=True)]

    def of(self, alert: str) -> list[Delivery]:
        """The deliveries of an alert that have started and have not expired."""
        with self._changed:
            self._check()
            return [self._values[id] for id in sorted(self._of_alert.get(alert, ()))]

    def _keep(self, key: str, value: Delivery | None) -> None:
        before = self._values.get(key)
        if value is not None:
            self._of_alert.setdefault(value.alert, set()).add(key)
        elif before is not None:
            ids = self._of_alert[before.alert]
            ids.discard(key)
            if not ids:
                del self._of_alert[before.alert]
        super()._keep(key, value)


class LateView(CompactedView[LateUsage]):
    """`late-usage` by entitlement."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, "late-usage", reader_of(LateUsage))
        self._of: dict[str, dict[str, LateUsage]] = {}

    def of(self, entitlement: str) -> list[LateUsage]:
        """The late usage of an entitlement (id), in the order of minutes."""
        with self._changed:
            self._check()
            return sorted(
                self._of.get(entitlement, {}).values(), key=lambda late: (late.minute_s, late.at_ms)
            )

    def _keep(self, key: str, value: LateUsage | None) -> None:
        if value is not None:
            self._of.setdefault(value.entitlement, {})[key] = value
