"""Buying add-ons, their effect on items, refusals, and that ending one leaves what was before."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.catalog.addon import Addon
from pipeline.core.catalog.entitlement_template import MeteredTemplate
from pipeline.core.catalog.plan_addon import PlanAddon
from pipeline.core.catalog.price import FlatPrice
from pipeline.core.subscriptions.subscription import Subscription
from pipeline.core.subscriptions.subscription_addons import AddonOrder, buy, change_quantity
from pipeline.core.subscriptions.timeline import PlacedItem, placed_items
from pipeline.errors import Rejected
from tests.core.subscriptions.sold import (
    DAY_S,
    LONG_AGO,
    at,
    calls,
    day,
    new_id,
    phase,
    seats,
    subscribed,
)

RUNNING = subscribed(
    "2026-01-31",
    phase("trial", "P1M", seats("0")),
    phase("main", "P6M", seats(), calls()),
    phase("later", None, seats("40")),
)
NOW_S = at("2026-03-10")  # in main
SUPPORT = msgspec.structs.replace(seats("99.5"), key="support")


def addon(**changes: Any) -> Addon:
    members: dict[str, Any] = {
        "id": "addon-1",
        "key": "more",
        "version": 1,
        "name": "More",
        "currency": "USD",
        "created_at": LONG_AGO,
        "updated_at": LONG_AGO,
        "effective_from": LONG_AGO,
        "instance_type": "multiple",
        "rate_cards": (seats("5"), msgspec.structs.replace(calls(), price=None), SUPPORT),
    }
    return Addon(**(members | changes))


def offer(**changes: Any) -> PlanAddon:
    members: dict[str, Any] = {
        "id": "offer",
        "plan_id": "plan-1",
        "addon_id": "addon-1",
        "from_plan_phase": "main",
        "max_quantity": 5,
        "created_at": LONG_AGO,
        "updated_at": LONG_AGO,
    }
    return PlanAddon(**(members | changes))


def bought(
    sold: Addon | None = None, offered: PlanAddon | None = None, now_s: int = NOW_S, **order: Any
) -> Subscription:
    asked = AddonOrder(**({"quantity": 2} | order))
    return buy(RUNNING, sold or addon(), offered or offer(), asked, now_s, new_id)


def found(subscription: Subscription, phase_key: str, key: str) -> list[PlacedItem]:
    return [
        one for one in placed_items(subscription) if (one.phase.key, one.item.card.key) == (phase_key, key)
    ]


def amounts(subscription: Subscription, phase_key: str, key: str) -> list[tuple[str | None, str]]:
    shown = []
    for one in found(subscription, phase_key, key):
        assert isinstance(one.item.card.price, FlatPrice)
        shown.append((day(one.span.start_s), one.item.card.price.amount))
    return shown


def test_what_it_changes() -> None:
    made = bought()
    assert amounts(made, "trial", "seats") == [("2026-01-31", "0")]
    assert amounts(made, "main", "seats") == [("2026-02-28", "30"), ("2026-03-10", "40")]
    assert amounts(made, "later", "seats") == [("2026-08-31", "50")]
    assert amounts(made, "main", "support") == [("2026-03-10", "199")]
    assert amounts(made, "later", "support") == [("2026-08-31", "199")]
    templates = [one.item.card.entitlement_template for one in found(made, "main", "calls")]
    assert templates == [MeteredTemplate(issue_after_reset=issued) for issued in ("1000", "3000")]
    assert [one.version for one in found(made, "main", "seats")] == [0, 1]
    ids = [one.item.id for one in placed_items(made)]
    assert (
        len(set(ids)) == len(ids) and found(made, "main", "seats")[0].item.id == "id of sub/main/seats/v[0]"
    )


def test_the_quantity_changes_and_ends() -> None:
    made = change_quantity(bought(), "addon-1", 3, at("2026-04-01"), NOW_S)
    made = change_quantity(made, "addon-1", 0, "next_billing_cycle", at("2026-04-10"))
    assert amounts(made, "main", "seats") == [
        ("2026-02-28", "30"), ("2026-03-10", "40"), ("2026-04-01", "45"), ("2026-04-30", "30"),
    ]  # fmt: skip
    assert [day(one.span.end_s) for one in found(made, "main", "support")] == ["2026-04-01", "2026-04-30"]
    assert amounts(made, "later", "seats") == [("2026-08-31", "40")]
    assert [change.quantity for change in made.addons[0].changes] == [2, 3, 0]


def test_a_change_that_is_scheduled_is_replaced() -> None:
    made = change_quantity(bought(), "addon-1", 3, at("2026-05-01"), NOW_S)
    assert amounts(change_quantity(made, "addon-1", 2, "immediate", NOW_S + 1), "main", "seats") == amounts(
        bought(), "main", "seats"
    )


def test_a_phase_that_was_skipped_offers_it_in_all() -> None:
    made = bought(offered=offer(from_plan_phase="gone"), now_s=at("2026-02-10"))
    assert amounts(made, "trial", "seats") == [("2026-01-31", "0"), ("2026-02-10", "10")]


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"quantity": 0}, "quantity must be at least 1"),
        ({"quantity": 6}, "the quantity of the add-on more must be at most 5"),
        ({"sold": addon(instance_type="single")}, "the quantity of the add-on more must be at most 1"),
        ({"timing": NOW_S - 1}, "timing must not be in the past"),
        ({"offered": offer(plan_id="other")}, "the plan of the subscription does not offer the add-on more"),
        ({"offered": offer(addon_id="other")}, "the plan of the subscription does not offer the add-on more"),
        (
            {"offered": offer(deleted_at=LONG_AGO)},
            "the plan of the subscription does not offer the add-on more",
        ),
        ({"sold": addon(effective_from=None)}, "version 1 of the add-on more is not active"),
        ({"sold": addon(currency="EUR")}, "the add-on more must have the currency USD"),
    ],
)
def test_refusals(given: dict[str, Any], why: str) -> None:
    with pytest.raises(Rejected) as refused:
        bought(**given)
    assert (refused.value.reason, refused.value.detail) == ("bad-subscription-addon", why)


def test_other_refusals() -> None:
    with pytest.raises(Rejected) as refused:
        buy(bought(), addon(), offer(), AddonOrder(quantity=1), NOW_S, new_id)
    assert refused.value.reason == "subscription_addon_already_bought"
    with pytest.raises(Rejected, match="transition addon in scheduled not allowed"):
        bought(now_s=0)
    with pytest.raises(Rejected, match="has no add-on other"):
        change_quantity(bought(), "other", 1, "immediate", NOW_S)
    with pytest.raises(Rejected, match="quantity must be at least 0"):
        change_quantity(bought(), "addon-1", -1, "immediate", NOW_S)


@given(st.integers(0, 900 * DAY_S), st.integers(1, 5))
def test_bought_and_given_back_at_one_instant_leaves_nothing(after_s: int, quantity: int) -> None:
    now_s = RUNNING.active_from_s + after_s
    made = bought(now_s=now_s, quantity=quantity)
    again = change_quantity(made, "addon-1", 0, "immediate", now_s)
    assert msgspec.structs.replace(again, updated_at_s=RUNNING.updated_at_s) == RUNNING


@given(st.lists(st.tuples(st.integers(0, 90 * DAY_S), st.integers(0, 5)), max_size=5))
def test_after_its_end_everything_is_as_before(changes: list[tuple[int, int]]) -> None:
    made, now_s = bought(), NOW_S
    for passed_s, quantity in changes:
        now_s += passed_s
        if not made.addons:
            return
        made = change_quantity(made, "addon-1", quantity, "immediate", now_s)
    if made.addons:
        made = change_quantity(made, "addon-1", 0, "immediate", now_s + 1)
    for at_s in (now_s + 1, now_s + 100 * DAY_S, now_s + 1000 * DAY_S):
        assert in_force(made, at_s) == in_force(RUNNING, at_s)
    for key in ("seats", "calls", "support"):
        spans = [one.span for one in found(made, "main", key)]
        assert all(one.end_s is not None and one.end_s <= other.start_s for one, other in pairwise(spans))


def in_force(subscription: Subscription, at_s: int) -> list[Any]:
    return [(one.phase.key, one.item.card) for one in placed_items(subscription) if one.span.holds(at_s)]
