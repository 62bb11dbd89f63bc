"""Usage for bills is what a count of the events gives, whatever came when, how often and in which order."""

from __future__ import annotations

import random
from functools import partial
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.bills.usage import REST_MS, BilledUsage, UsageTouched, billed_feature, loaded_revision
from pipeline.core.bills.usage_rows import customer_key
from pipeline.core.catalog.feature import Feature
from pipeline.core.metering.meter import Aggregation
from pipeline.core.values import number
from pipeline.core.values.calendar import NEVER_S
from pipeline.core.values.sweep import SweepProgress
from pipeline.errors import Broken
from pipeline.records import CustomerWindow
from tests.core.bills.usage_world import (
    DAY_S,
    FILTERS,
    METER_ID,
    NAMESPACE,
    SPAN_S,
    START_S,
    UsageWorld,
    Used,
    aggregations,
    events,
    feature_of,
    instants,
)
from tests.fixtures.examples import examples
from tests.fixtures.fake_transaction import DictTable

KEPT_S = 400 * DAY_S
END_S = START_S + SPAN_S
ONE = number.SCALE


def counted(
    windows: list[CustomerWindow], size: int, table: DictTable | None = None, now_s: int = END_S
) -> BilledUsage:
    """The usage after these windows came in chunks of `size`."""
    table = DictTable() if table is None else table
    for start in range(0, len(windows), size):
        usage = BilledUsage(table, KEPT_S)
        usage.take(windows[start : start + size], now_s)
        usage.flush()
    return BilledUsage(table, KEPT_S)


def used(second: int, value: int = 2, customer: str = "ada", **dimensions: str) -> Used:
    return Used(customer, "s1", second, value, tuple(sorted(dimensions.items())), 0)


@given(
    aggregations, events, st.sampled_from(list(FILTERS)), instants, instants, st.integers(1, 30),
    st.randoms(use_true_random=False),
)  # fmt: skip
@settings(max_examples=examples(500), deadline=None)
def test_a_quantity_is_a_count_of_the_events(
    aggregation: Aggregation,
    arrived: list[Used],
    filters: str,
    from_s: int,
    to_s: int,
    size: int,
    chance: random.Random,
) -> None:
    world, feature = UsageWorld(aggregation, arrived), feature_of(aggregation, filters)
    windows = world.windows()
    windows += [chance.choice(windows) for _ in range(len(windows) // 2)]
    chance.shuffle(windows)
    usage = counted(windows, size)
    for customer in ("ada", "bo"):
        for start_s, end_s in ((from_s, to_s), (START_S, END_S)):
            expected = world.quantity(customer, feature, start_s, end_s)
            assert usage.quantity(NAMESPACE, customer, feature, start_s, end_s) == expected


@given(aggregations, events, st.integers(1, 30), st.randoms(use_true_random=False))
@settings(max_examples=examples(100), deadline=None)
def test_the_same_windows_again_change_nothing(
    aggregation: Aggregation, arrived: list[Used], size: int, chance: random.Random
) -> None:
    windows, table = UsageWorld(aggregation, arrived).windows(), DictTable()
    counted(windows, size, table)
    before = dict(table.rows)
    chance.shuffle(windows)
    usage = BilledUsage(table, KEPT_S)
    assert usage.take(windows, END_S) == []
    usage.flush()
    assert table.rows == before


@given(st.sampled_from(["SUM", "COUNT"]), events, st.lists(instants, max_size=6))
@settings(max_examples=examples(100), deadline=None)
def test_neighbouring_spans_lose_nothing(
    aggregation: Aggregation, arrived: list[Used], cuts: list[int]
) -> None:
    usage, feature = counted(UsageWorld(aggregation, arrived).windows(), 10), feature_of(aggregation)
    ends = [START_S - DAY_S, *sorted(cuts), END_S + DAY_S]
    parts = [usage.quantity(NAMESPACE, "ada", feature, *span) for span in pairwise(ends)]
    assert sum(parts) == usage.quantity(NAMESPACE, "ada", feature, ends[0], ends[-1])


@given(aggregations, events, instants, st.integers(0, 5 * DAY_S))
@settings(max_examples=examples(200), deadline=None)
def test_removal_changes_nothing_within_the_kept_time(
    aggregation: Aggregation, arrived: list[Used], to_s: int, after_s: int
) -> None:
    world, feature, table = UsageWorld(aggregation, arrived), feature_of(aggregation), DictTable()
    counted(world.windows(), 10, table)
    now_s = START_S + KEPT_S + after_s
    swept(table, now_s)
    from_s, usage = START_S + after_s, BilledUsage(table, KEPT_S)
    for start_s in (from_s, max(from_s, to_s)):
        expected = world.quantity("ada", feature, start_s, END_S)
        assert usage.quantity(NAMESPACE, "ada", feature, start_s, END_S) == expected
    swept(table, END_S + KEPT_S + DAY_S)
    assert [key for key in table.rows if key.startswith(b"u")] == []


def swept(table: DictTable, now_s: int) -> None:
    """Remove all that is too old, slice by slice."""
    progress, removed = SweepProgress(REST_MS), [b""]
    while removed:
        table.commit()
        usage = BilledUsage(table, KEPT_S)
        removed = progress.advance(0, now_s * 1_000, partial(usage.sweep, now_s=now_s))
        usage.flush()


def test_a_plain_filter_of_a_feature_is_an_equal_text() -> None:
    feature = Feature(
        id="01F", key="f", name="f", meter_slug="tokens", meter_group_by_filters={"model": "a"}, created_at="",
        updated_at="",
    )  # fmt: skip
    usage = counted(UsageWorld("SUM", [used(0, model="a"), used(0, model="b"), used(0)]).windows(), 10)
    assert usage.quantity(NAMESPACE, "ada", billed_feature(feature, METER_ID, "SUM"), START_S, END_S) == ONE


def test_which_minutes_changed_is_reported() -> None:
    usage = BilledUsage(DictTable(), KEPT_S)
    windows = UsageWorld("SUM", [used(61), used(0), used(62), used(0, customer="bo")]).windows()
    assert usage.take(windows, END_S) == [
        UsageTouched(NAMESPACE, "ada", METER_ID, START_S),
        UsageTouched(NAMESPACE, "ada", METER_ID, START_S + 60),
        UsageTouched(NAMESPACE, "bo", METER_ID, START_S),
    ]
    assert usage.take(windows[:1], END_S) == []


def test_usage_that_is_too_old_is_counted_as_such_and_changes_nothing() -> None:
    usage, now_s = BilledUsage(DictTable(), KEPT_S), START_S + KEPT_S + 60
    assert len(usage.take(UsageWorld("SUM", [used(0), used(60)]).windows(), now_s)) == 1
    assert usage.beyond == [UsageTouched(NAMESPACE, "ada", METER_ID, START_S)]
    assert usage.counts_since_s(NAMESPACE, "ada", now_s) == START_S + 60
    assert usage.quantity(NAMESPACE, "ada", feature_of("SUM"), START_S + 60, END_S) == ONE


def test_usage_that_a_long_period_needs_stays() -> None:
    table, feature = DictTable(), feature_of("SUM")
    now_s = END_S + 2 * KEPT_S
    counted(UsageWorld("SUM", [used(0), used(0, customer="bo"), used(DAY_S)]).windows(), 10, table)
    needed = {customer_key(NAMESPACE, "ada"): START_S}
    table.commit()
    late = BilledUsage(table, KEPT_S, lambda customer: needed.get(customer, NEVER_S))
    late.sweep(b"", now_s)
    late.take(UsageWorld("SUM", [used(60), used(60, customer="bo")]).windows(), now_s)
    late.flush()
    assert {one.customer for one in late.beyond} == {"ada", "bo"}
    assert late.quantity(NAMESPACE, "ada", feature, START_S, END_S) == 3 * ONE
    with pytest.raises(Broken):
        late.quantity(NAMESPACE, "bo", feature, START_S, END_S)


def test_how_far_history_was_loaded_only_grows() -> None:
    table = DictTable()
    assert loaded_revision(table, NAMESPACE, METER_ID) == -1
    for revision in (7, 5):
        usage = BilledUsage(table, KEPT_S)
        usage.note_loaded(NAMESPACE, METER_ID, revision)
        usage.flush()
        assert loaded_revision(table, NAMESPACE, METER_ID) == 7
    assert loaded_revision(table, "other", METER_ID) == loaded_revision(table, NAMESPACE, 8) == -1


def test_more_series_than_one_row_lists() -> None:
    arrived = [used(second % 120, model=str(second)) for second in range(450)]
    usage = counted(UsageWorld("SUM", arrived).windows(), 100)
    assert usage.quantity(NAMESPACE, "ada", feature_of("SUM"), START_S, END_S) == 450 * ONE
    assert usage.quantity(NAMESPACE, "ada", feature_of("SUM"), START_S, START_S + 60) == 240 * ONE


def test_more_members_than_one_row_lists() -> None:
    arrived = [used(second % 7_200, value=second % 430) for second in range(0, 60 * 900, 60)]
    world, feature = UsageWorld("UNIQUE_COUNT", arrived), feature_of("UNIQUE_COUNT")
    usage = counted(world.windows(), 100)
    for end_s in (START_S + 60, START_S + 3_000, END_S):
        found = usage.quantity(NAMESPACE, "ada", feature, START_S, end_s)
        assert found == world.quantity("ada", feature, START_S, end_s)
