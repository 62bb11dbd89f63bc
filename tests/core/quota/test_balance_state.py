"""What is kept of a balance: bytes that are in state already must keep their meaning."""

from __future__ import annotations

import pytest

from pipeline.core.quota.balance_state import (
    MOST_SNAPSHOTS,
    BalanceHead,
    BalanceStore,
    StoredBalances,
    keep,
    schedule_digest,
)
from pipeline.core.quota.burndown import Snapshot
from pipeline.core.values.calendar import Interval, Recurrence, Reset, Schedule
from tests.fixtures.fake_transaction import DictTable

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


def test_days_have_the_digest_of_their_hours_and_zones_have_one_of_their_own() -> None:
    """A day was kept as 24 hours; in UTC it still is."""
    daily = Recurrence(Interval(0, 0, 1), 60)
    assert schedule_digest(Schedule(0, daily)) == schedule_digest(
        Schedule(0, Recurrence(Interval(0, 86_400), 60))
    )
    variants = [
        Schedule(0, daily),
        Schedule(0, daily._replace(zone="+01:00")),
        Schedule(0, daily._replace(zone="Europe/Berlin")),
        Schedule(0, Recurrence(Interval(0, 86_400), 60, "Europe/Berlin")),
        Schedule(0, daily, (RESET,)),
        Schedule(0, daily, (RESET._replace(zone="+01:00"),)),
    ]
    assert len({schedule_digest(one) for one in variants}) == len(variants)


@pytest.mark.parametrize(
    ("needed_s", "left"), [(-60, [0, 60, 120]), (60, [60, 120]), (119, [60, 120]), (120, [120]), (179, [120])]
)
def test_the_trail_keeps_the_snapshot_before_what_is_needed(needed_s: int, left: list[int]) -> None:
    table = DictTable()
    stored, newest = StoredBalances.of(table), Snapshot(180, {}, 0, 0)
    store = BalanceStore(stored, b"account")
    assert store.trim(newest, needed_s) is None  # it was not used
    store.trail = [Snapshot(at_s, {}, 0, 0) for at_s in (0, 60, 120)]
    assert store.trim(newest, needed_s) == left[0]
    assert store.trim(newest, 1_000) is None  # not since then
    store.write(BalanceHead("e", 1, 1, 180, keep(newest), 0))
    stored.flush()
    assert [one.at_s for one in BalanceStore(StoredBalances.of(table), b"account").trail] == left


def test_a_long_trail_keeps_every_second_snapshot_and_its_oldest() -> None:
    store = BalanceStore(StoredBalances.of(DictTable()), b"account")
    store.trail = [Snapshot(at_s, {}, 0, 0) for at_s in range(MOST_SNAPSHOTS + 1)]
    assert store.trim(Snapshot(1_000, {}, 0, 0), 0) == 0
    assert [snapshot.at_s for snapshot in store.trail] == list(range(0, MOST_SNAPSHOTS + 1, 2))
