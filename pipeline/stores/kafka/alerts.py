"""What was told and what became of it: the newest alerts, and the deliveries of each; what corrected balances late.

Owns: the readers, and which deliveries belong to which alert. Does not own: following a topic (view), what
the values mean (core.notifications.delivery), who writes them.
"""

from __future__ import annotations

from heapq import heappush, heappushpop

from pipeline.core.values.json_value import reader_of
from pipeline.records import Alert, Delivery, LateUsage
from pipeline.settings import Settings
from pipeline.stores.kafka.view import CompactedView

MOST_ALERTS = 50_000  # a process keeps in memory; older ones are listed no more, their deliveries are


class AlertsView(CompactedView[Alert]):
    """`alerts` by id. The topic is not compacted, but an alert that is said twice is said alike."""

    def __init__(self, settings: Settings, most: int = MOST_ALERTS) -> None:
        super().__init__(settings, "alerts", reader_of(Alert))
        self._most = most
        self._ids: list[str] = []  # a heap: ids sort by time

    def newest_first(self) -> list[Alert]:
        """All that are kept."""
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
    """`deliveries` by id, until they are forgotten."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, "deliveries", reader_of(Delivery))
        self._of_alert: dict[str, set[str]] = {}

    def newest_first(self) -> list[Delivery]:
        """By the time of the alert."""
        return [delivery for _, delivery in sorted(self.snapshot().items(), reverse=True)]

    def of(self, alert: str) -> list[Delivery]:
        """Those of an alert, as far as they have begun and are not forgotten."""
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
        """What came late to an entitlement (id), in the order of minutes."""
        with self._changed:
            self._check()
            return sorted(
                self._of.get(entitlement, {}).values(), key=lambda late: (late.minute_s, late.at_ms)
            )

    def _keep(self, key: str, value: LateUsage | None) -> None:
        if value is not None:
            self._of.setdefault(value.entitlement, {})[key] = value
