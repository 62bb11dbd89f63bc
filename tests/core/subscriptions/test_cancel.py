"""Ending a subscription, and undoing that: timings, refusals, laws."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.subscriptions.active_span import ActiveSpan
from pipeline.core.subscriptions.cancel import cancel, check_deletable_customer, delete, restore, unschedule
from pipeline.core.subscriptions.status import status_at
from pipeline.core.subscriptions.subscription import Subscription
from pipeline.core.subscriptions.timeline import phase_spans, placed_items
from pipeline.core.subscriptions.timing import Timing
from pipeline.errors import Rejected
from tests.core.subscriptions.sold import DAY_S, ZONES, at, subscribed

RUNNING = subscribed("2026-01-31")
NOW_S = at("2026-02-10T08:09:10Z")
FORBIDDEN = "subscription_transition_not_allowed"


@pytest.mark.parametrize(
    ("timing", "end_s", "status"),
    [
        ("immediate", NOW_S, "inactive"),
        ("next_billing_cycle", at("2026-02-28"), "canceled"),
        (at("2026-02-28"), at("2026-02-28"), "canceled"),
        (at("2026-03-31"), at("2026-03-31"), "canceled"),
    ],
)
def test_when_it_ends(timing: Timing, end_s: int, status: str) -> None:
    ended = cancel(RUNNING, timing, NOW_S)
    assert (ended.active_to_s, ended.updated_at_s, status_at(ended, NOW_S)) == (end_s, NOW_S, status)
    assert ended.phases == RUNNING.phases


def test_at_the_boundary_the_next_cycle_is_a_whole_one_later() -> None:
    boundary_s = at("2026-02-28")
    assert cancel(RUNNING, "next_billing_cycle", boundary_s).active_to_s == at("2026-03-31")
    assert cancel(RUNNING, boundary_s, boundary_s).active_to_s == boundary_s


@pytest.mark.parametrize(
    ("now_s", "timing", "reason", "why"),
    [
        (NOW_S, at("2026-02-28T00:00:01Z"), "bad-subscription",
         "cannot cancel aligned subscription with custom misaligned timing"),
        (NOW_S, at("2026-01-31"), "bad-subscription", "timing must not be in the past"),
        (at("2026-01-30"), "immediate", FORBIDDEN, "transition cancel in scheduled not allowed"),
    ],
)  # fmt: skip
def test_a_cancelation_is_refused(now_s: int, timing: Timing, reason: str, why: str) -> None:
    with pytest.raises(Rejected) as refused:
        cancel(RUNNING, timing, now_s)
    assert (refused.value.reason, refused.value.detail) == (reason, why)


def test_it_cannot_be_canceled_twice() -> None:
    with pytest.raises(Rejected, match="transition cancel in canceled not allowed"):
        cancel(cancel(RUNNING, "next_billing_cycle", NOW_S), "immediate", NOW_S)


def test_what_has_ended_cannot_be_continued() -> None:
    ended = cancel(RUNNING, "immediate", NOW_S)
    for again in (unschedule, restore):
        with pytest.raises(Rejected, match="in inactive not allowed"):
            again(ended, [], NOW_S)


def test_a_successor_stops_unschedule_and_is_deleted_by_restore() -> None:
    ended = cancel(RUNNING, "next_billing_cycle", NOW_S)
    following = msgspec.structs.replace(subscribed("2026-02-28"), id="next")
    past = msgspec.structs.replace(subscribed("2025-01-01"), id="past", active_to_s=at("2026-01-01"))
    gone = msgspec.structs.replace(following, id="gone", deleted_at_s=NOW_S)
    others = [past, ended, following, gone]
    with pytest.raises(Rejected) as refused:
        unschedule(ended, others, NOW_S)
    assert refused.value.reason == "only_single_subscription_allowed_per_customer_at_a_time"
    restored, deleted = restore(ended, others, NOW_S)
    assert restored.active_to_s is None
    assert [(one.id, one.deleted_at_s) for one in deleted] == [("next", NOW_S)]


def test_only_what_has_not_begun_can_be_deleted() -> None:
    assert delete(RUNNING, at("2026-01-30")).is_deleted
    with pytest.raises(Rejected, match="transition delete in active not allowed"):
        delete(RUNNING, at("2026-01-31"))


def test_a_customer_is_kept_while_a_subscription_is_not_over() -> None:
    ended = cancel(RUNNING, "next_billing_cycle", NOW_S)
    assert ended.active_to_s is not None
    check_deletable_customer([ended, delete(RUNNING, 0)], ended.active_to_s)
    for subscription, now_s in ((RUNNING, 0), (RUNNING, NOW_S), (ended, ended.active_to_s - 1)):
        with pytest.raises(Rejected) as refused:
            check_deletable_customer([subscription], now_s)
        assert refused.value.reason == "deleting_customer_with_active_subscriptions"


@given(st.integers(0, 400 * DAY_S), st.sampled_from(ZONES), st.integers(0, 3))
def test_a_cancelation_that_is_taken_back_leaves_nothing(after_s: int, zone: str, cycles: int) -> None:
    running = subscribed("2026-01-31", zone=zone)
    now_s = running.active_from_s + after_s
    timing: Timing = "next_billing_cycle"
    for _ in range(cycles):
        ended = cancel(running, timing, now_s)
        assert ended.active_to_s is not None and now_s < ended.active_to_s
        assert all(span.end_s is not None and span.end_s <= ended.active_to_s for span in spans_of(ended))
        again = unschedule(ended, [ended], now_s)
        assert msgspec.structs.replace(again, updated_at_s=running.updated_at_s) == running
        running, timing = again, ended.active_to_s


def spans_of(subscription: Subscription) -> list[ActiveSpan]:
    phases = [span for _, span in phase_spans(subscription)]
    return [*phases, *(placed.span for placed in placed_items(subscription))]
