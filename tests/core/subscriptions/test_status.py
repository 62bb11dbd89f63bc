"""Status at an instant, and what each status allows."""

from __future__ import annotations

import msgspec
import pytest

from pipeline.core.subscriptions.status import (
    ALLOWED_IN,
    SubscriptionAction,
    SubscriptionStatus,
    check_allowed,
    status_at,
)
from pipeline.core.subscriptions.subscription import Subscription
from pipeline.errors import Rejected
from tests.core.subscriptions.sold import at, subscribed

START_S, END_S = at("2026-01-01"), at("2026-03-01")
RUNNING = subscribed("2026-01-01")
ENDING = msgspec.structs.replace(RUNNING, active_to_s=END_S)
EXAMPLES: dict[SubscriptionStatus, tuple[Subscription, int]] = {
    "scheduled": (RUNNING, START_S - 1),
    "active": (RUNNING, START_S),
    "canceled": (ENDING, END_S - 1),
    "inactive": (ENDING, END_S),
}


@pytest.mark.parametrize(
    ("subscription", "at_s", "status"),
    [
        (RUNNING, START_S - 1, "scheduled"),
        (ENDING, START_S - 1, "scheduled"),
        (RUNNING, START_S, "active"),
        (RUNNING, at("2400-01-01"), "active"),
        (ENDING, START_S, "canceled"),
        (ENDING, END_S - 1, "canceled"),
        (ENDING, END_S, "inactive"),
        (msgspec.structs.replace(RUNNING, active_to_s=START_S), START_S, "inactive"),
    ],
)
def test_status(subscription: Subscription, at_s: int, status: SubscriptionStatus) -> None:
    assert status_at(subscription, at_s) == status


@pytest.mark.parametrize("action", ALLOWED_IN)
def test_each_action_is_allowed_in_one_status(action: SubscriptionAction) -> None:
    for status, (subscription, at_s) in EXAMPLES.items():
        if status == ALLOWED_IN[action]:
            check_allowed(action, subscription, at_s)
            continue
        with pytest.raises(Rejected) as refused:
            check_allowed(action, subscription, at_s)
        assert refused.value.reason == "subscription_transition_not_allowed"
        assert refused.value.detail == f"transition {action} in {status} not allowed"


def test_the_table_is_that_of_the_specification() -> None:
    by_status: dict[str, set[str]] = {}
    for action, status in ALLOWED_IN.items():
        by_status.setdefault(status, set()).add(action)
    assert by_status == {
        "active": {"edit", "addon", "change", "migrate", "cancel"},
        "canceled": {"continue", "restore"},
        "scheduled": {"delete"},
    }


def test_a_deleted_subscription_is_not_found() -> None:
    with pytest.raises(Rejected) as refused:
        check_allowed("edit", msgspec.structs.replace(RUNNING, deleted_at_s=START_S), START_S)
    assert refused.value.reason == "not-found"
