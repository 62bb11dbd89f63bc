"""From when to when something is in force.

Owns: spans and their cuts, the span of a version of an item. Does not own: which spans phases have (timeline).
"""

from __future__ import annotations

from typing import NamedTuple

from pipeline.core.subscriptions.subscription import SubscriptionItem


class ActiveSpan(NamedTuple):
    """[start, end) in seconds since 1970; None: without an end."""

    start_s: int
    end_s: int | None

    def holds(self, at_s: int) -> bool:
        """Whether an instant lies in it."""
        return self.start_s <= at_s and (self.end_s is None or at_s < self.end_s)

    def cut(self, other: ActiveSpan) -> ActiveSpan | None:
        """The part that lies in another; None if it has no length."""
        ends = [end_s for end_s in (self.end_s, other.end_s) if end_s is not None]
        start_s, end_s = max(self.start_s, other.start_s), min(ends, default=None)
        return None if end_s is not None and end_s <= start_s else ActiveSpan(start_s, end_s)


def planned_item_span(item: SubscriptionItem, phase: ActiveSpan) -> ActiveSpan:
    """The span of a version in the planned span of its phase."""
    start_s = phase.start_s if item.from_s is None else item.from_s
    return ActiveSpan(start_s, phase.end_s if item.to_s is None else item.to_s)
