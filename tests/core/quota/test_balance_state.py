"""What is kept of a balance: bytes that are in state already must keep their meaning."""

from __future__ import annotations

import pytest

from pipeline.core.quota.balance_state import schedule_digest
from pipeline.core.values.calendar import Interval, Recurrence, Reset, Schedule

MONTHLY = Recurrence(Interval(1, 0), 1_767_225_600)
RESET = Reset(1_768_000_020, 1_768_000_020, True)


@pytest.mark.parametrize(
    ("schedule", "stored"),
    [
        (Schedule(1_767_225_600, MONTHLY), "635816b2c60d2d48"),
        (Schedule(1_767_225_600, MONTHLY, (RESET,)), "65232e9579a39563"),
        (
            Schedule(0, Recurrence(Interval(0, 3600), -60), (RESET, Reset(1_769_000_040, 0, False))),
            "9ac25352c7982127",
        ),
    ],
)
def test_a_schedule_has_the_digest_that_state_holds(schedule: Schedule, stored: str) -> None:
    """Each digest was written by a worker of the first release, which hashed the text of the named tuples."""
    assert schedule_digest(schedule).hex() == stored
