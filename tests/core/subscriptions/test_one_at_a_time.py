"""What a customer may have only once at any instant."""

from __future__ import annotations

import msgspec
import pytest

from pipeline.core.subscriptions.one_at_a_time import check_items, check_single
from pipeline.core.subscriptions.subscription import Subscription
from pipeline.errors import Rejected
from tests.core.subscriptions.sold import at, calls, phase, seats, subscribed

NEW = subscribed("2026-03-01")


def other(start: str, end: str | None, id: str = "other") -> Subscription:
    end_s = None if end is None else at(end)
    return msgspec.structs.replace(subscribed(start), id=id, active_to_s=end_s)


@pytest.mark.parametrize(
    ("start", "end"), [("2026-01-01", None), ("2026-01-01", "2026-03-02"), ("2027-01-01", None)]
)
def test_a_second_subscription_is_refused(start: str, end: str | None) -> None:
    with pytest.raises(Rejected) as refused:
        check_single(NEW, [other(start, end)])
    assert refused.value.reason == "only_single_subscription_allowed_per_customer_at_a_time"
    assert refused.value.detail == "The customer has the subscription other at the same time."


@pytest.mark.parametrize(
    "beside",
    [
        other("2026-01-01", "2026-03-01"),
        other("2026-04-01", "2026-04-01"),
        other("2026-01-01", None, id="sub"),
        msgspec.structs.replace(other("2026-01-01", None), deleted_at_s=0),
    ],
    ids=["ends as the new one begins", "of no length", "itself", "deleted"],
)
def test_these_do_not_count(beside: Subscription) -> None:
    check_single(NEW, [beside])


def test_a_second_item_of_a_feature_is_refused() -> None:
    twice = msgspec.structs.replace(calls(), key="more")
    with pytest.raises(Rejected) as refused:
        check_items([subscribed("2026-03-01", phase("main", None, calls(), twice))])
    assert refused.value.reason == "only_single_subscription_item_allowed_at_a_time"
    assert refused.value.detail == "The feature calls has two items at the same time."


def test_items_that_follow_one_another_or_are_free_are_allowed() -> None:
    free = msgspec.structs.replace(calls(), key="free", price=None, entitlement_template=None)
    first, last = phase("a", "P1M", calls(), free, seats()), phase("b", None, calls(), seats())
    check_items([subscribed("2026-03-01", first, last)])
    with pytest.raises(Rejected):
        check_items([subscribed("2026-03-01", first, last), other("2026-03-15", None)])
