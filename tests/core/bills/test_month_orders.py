"""The small form of month_orders: the order in which events arrive changes no cent."""

from __future__ import annotations

import pytest

from tests.core.bills.month_orders import AGGREGATIONS, CustomerMonth, MonthWorld, arrivals, compare


@pytest.mark.parametrize("place,aggregation", [*enumerate(AGGREGATIONS)])
def test_no_order_of_events_changes_a_cent(place: int, aggregation: str) -> None:
    found = compare(2, [CustomerMonth(aggregation, place + 1, 15)])
    assert found.wrong == []
    assert found.late > 0


def test_another_event_is_a_difference() -> None:
    month = CustomerMonth("SUM", 0, 15)
    expected = MonthWorld(month).live(None)
    assert MonthWorld(CustomerMonth("SUM", 0, 14)).live(None) != expected
    assert [one.time_s for _, one in arrivals(month.made(), None)] == sorted(
        one.time_s for one in month.made()
    )
