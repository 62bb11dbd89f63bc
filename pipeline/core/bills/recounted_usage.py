"""Usage as ClickHouse has it, for a comparison with bills: quantities of spans, counted from stored windows.

Owns: this count. Does not own: reading the windows (stores.clickhouse.windows), the usage that bills are made of
(usage), which follows from the same windows on another way.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

from pipeline.core.bills.usage import BilledFeature
from pipeline.core.bills.usage_cell import add_window, quantity_of
from pipeline.core.bills.usage_rows import UsageCell
from pipeline.core.customers.attribution import Holders
from pipeline.core.values.calendar import floor_minute
from pipeline.records import Window


class RecountedUsage:
    """The usage of one customer and meter."""

    def __init__(self, windows: Iterable[Window], holders: Holders, customer: str) -> None:
        """The usage in windows.

        Args:
            windows: of the meter, of any subjects, each in its newest state.
            holders: which customer had which subject when.
            customer: id; usage of others is left out.
        """
        own = [one for one in windows if holders.of(one.namespace, one.subject, one.start_s) == customer]
        self._windows = sorted(own, key=lambda one: one.start_s)
        self._starts = [one.start_s for one in self._windows]

    def quantity(self, feature: BilledFeature, from_s: int, to_s: int) -> int:
        """The quantity of a feature of the meter in the whole minutes of [from_s, to_s), in atto."""
        first = bisect_left(self._starts, floor_minute(from_s))
        end = bisect_left(self._starts, floor_minute(to_s))
        cell, members = UsageCell(), set[str]()
        for window in self._windows[first:end]:
            if feature.takes(window.dimensions):
                add_window([cell], window, None)
                members.update(window.members)
        return quantity_of(feature.aggregation, [cell], len(members))
