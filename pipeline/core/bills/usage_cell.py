"""The usage of a span: what windows add to it, and its quantity by each aggregation.

Owns: adding a window, joining the cells of neighbouring spans, the quantity of a total. Does not own: the cells in
state (usage_rows, usage), members of UNIQUE_COUNT (usage_members).
"""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.core.bills.usage_rows import PartRow, UsageCell
from pipeline.core.metering.meter import Aggregation
from pipeline.core.values import number
from pipeline.records import Window


def add_window(cells: Iterable[UsageCell], window: Window, before: PartRow | None) -> bool:
    """Bring the newest state of a window into the cells of its minute, hour and day.

    Args:
        cells: which are changed.
        window: of `usage`; it includes all that its earlier states had, so the lowest and the highest value of all of
            its states, and the latest one, are those of its newest.
        before: the state of it that the cells have; None: they have none.

    Returns:
        Whether a cell changed.
    """
    changed = False
    added = number.exact(window.value) - (0 if before is None else number.exact(before.value))
    events = window.count - (0 if before is None else before.count)
    for cell in cells:
        latest = bool(window.order) and window.order > cell.order
        low = not cell.low or number.exact(window.value) < number.exact(cell.low)
        high = not cell.high or number.exact(window.value) > number.exact(cell.high)
        if added or events:
            cell.sum, cell.count = number.text(number.exact(cell.sum) + added), cell.count + events
        if latest:
            cell.order, cell.latest = window.order, window.value
        if low:
            cell.low = window.value
        if high:
            cell.high = window.value
        changed = changed or bool(added or events or latest or low or high)
    return changed


def quantity_of(aggregation: Aggregation, cells: Iterable[UsageCell], members: int) -> int:
    """The quantity of a span.

    Args:
        aggregation: of the meter.
        cells: which together are the span, each minute once.
        members: how many different ones the span has; counts only for UNIQUE_COUNT.

    Returns:
        In atto; 0 without usage. AVG is rounded half-even to 18 decimals.
    """
    used = [cell for cell in cells if cell.count]
    match aggregation:
        case "UNIQUE_COUNT":
            return members * number.SCALE
        case "SUM" | "COUNT":
            return sum(number.exact(cell.sum) for cell in used)
        case "AVG":
            events = sum(cell.count for cell in used)
            return number.divide(sum(number.exact(cell.sum) for cell in used), events) if events else 0
        case "MIN":
            return min((number.exact(cell.low) for cell in used), default=0)
        case "MAX":
            return max((number.exact(cell.high) for cell in used), default=0)
        case "LATEST":
            latest = max(used, key=lambda cell: cell.order, default=None)
            return number.exact(latest.latest) if latest is not None and latest.order else 0
