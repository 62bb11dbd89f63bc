"""Which usage of before is loaded for bills: a meter may be billed after its usage, and a subject get a customer later.

Owns: which meters a worker's partitions need, and since when. Does not own: what is missing of a meter
(agents.usage_history), loading it (agents.alert_seeding), what is billed (core.bills).

A partition's usage is not reported as complete while some of it is loaded: see agents.billing_settled.
"""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.agents.usage_history import FollowedMeter, UsageHistory
from pipeline.core.bills.usage import loaded_revision
from pipeline.core.values.table import KeyLookup

BilledMeter = tuple[str, int]  # namespace and meter id


class BillingHistory:
    """The historical usage of the owned partitions."""

    def __init__(self, history: UsageHistory, kept_s: int) -> None:
        """kept_s: how long usage is billed; older usage is not loaded."""
        self._history = history
        self._kept_s = kept_s
        self._looked: set[int] = set()  # replaced as a whole: another thread reads it

    def look(
        self, partition: int, table: KeyLookup, meters: Iterable[BilledMeter], revision: int, now_s: int
    ) -> None:
        """Begin to load what a partition lacks.

        Args:
            partition: owned by this worker.
            table: its state.
            meters: that are billed.
            revision: of the definitions that were read.
            now_s: seconds since 1970.
        """
        for namespace, meter_id in meters:
            meter = FollowedMeter(namespace, str(meter_id), meter_id, max(0, now_s - self._kept_s))
            self._history.look(partition, meter, loaded_revision(table, namespace, meter_id), revision)
        self._looked = self._looked | {partition}

    def is_loaded(self, partition: int) -> bool:
        """Whether `look` has seen the partition, and nothing that it found to be missing is still being loaded."""
        return partition in self._looked and not self._history.is_loading(partition)

    def forget(self) -> None:
        """The owned partitions have changed: a job of before may have been lost."""
        self._looked = set()
        self._history.forget()
