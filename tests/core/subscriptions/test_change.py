"""Replacing a running subscription."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pipeline.core.subscriptions.cancel import restore
from pipeline.core.subscriptions.change import Succession, change, migrate
from pipeline.core.subscriptions.from_plan import SubscriptionOrder
from pipeline.core.subscriptions.one_at_a_time import check_single
from pipeline.core.subscriptions.timing import Timing
from pipeline.errors import Rejected
from tests.core.subscriptions.sold import LATER, at, plan, subscribed

RUNNING = msgspec.structs.replace(subscribed("2026-01-31"), name="Ours", zone="Europe/Berlin")
NOW_S = at("2026-02-10")
SECOND = plan(LATER, id="plan-2", version=2)
OTHER = plan(LATER, id="plan-3", key="team")


def next_id(name: str) -> str:
    return "next" if name == "subscription" else name


def changed(timing: Timing = "immediate", **order: Any) -> Succession:
    asked = SubscriptionOrder(customer_id="acme", timing=timing, **order)
    return change(RUNNING, OTHER, asked, NOW_S, next_id)


@pytest.mark.parametrize(
    ("timing", "instant_s"), [("immediate", NOW_S), (at("2026-02-28"), at("2026-02-28"))]
)
def test_one_ends_as_the_other_begins(timing: Timing, instant_s: int) -> None:
    running = msgspec.structs.replace(RUNNING, zone="Z")
    asked = SubscriptionOrder(customer_id="acme", timing=timing)
    current, following = change(running, OTHER, asked, NOW_S, next_id)
    assert current.active_to_s == following.active_from_s == instant_s
    assert following.billing_anchor_s == RUNNING.billing_anchor_s
    assert following.plan is not None and following.plan.key == "team"
    check_single(following, [current])


def test_the_next_cycle_is_that_of_the_zone() -> None:
    assert changed("next_billing_cycle").following.active_from_s == at("2026-02-28")
    assert changed(billing_anchor_s=NOW_S).following.billing_anchor_s == NOW_S


def test_a_change_that_is_taken_back_leaves_nothing() -> None:
    current, following = changed("next_billing_cycle")
    restored, deleted = restore(current, [current, following], NOW_S)
    assert msgspec.structs.replace(restored, updated_at_s=RUNNING.updated_at_s) == RUNNING
    assert [one.id for one in deleted] == ["next"]


def test_a_migration_keeps_what_the_client_chose() -> None:
    current, following = migrate(RUNNING, SECOND, NOW_S, next_id)
    assert following.plan is not None and following.plan.version == 2
    assert current.active_to_s == following.active_from_s == NOW_S
    kept = ("name", "customer_id", "zone", "billing_anchor_s", "settlement_mode", "metadata", "alignment")
    assert [getattr(following, name) for name in kept] == [getattr(RUNNING, name) for name in kept]


@pytest.mark.parametrize(
    ("running", "target", "why"),
    [
        (msgspec.structs.replace(RUNNING, plan=None), SECOND,
         "a subscription of a custom plan cannot be migrated"),
        (RUNNING, OTHER, "the plan of the subscription is pro"),
        (RUNNING, plan(), "the subscription is at version 1 of its plan"),
        (RUNNING, plan(LATER, version=2, effective_from=None),
         "version 2 of the plan pro is draft when the subscription begins"),
    ],
)  # fmt: skip
def test_a_migration_is_refused(running: Any, target: Any, why: str) -> None:
    with pytest.raises(Rejected) as refused:
        migrate(running, target, NOW_S, next_id)
    assert (refused.value.reason, refused.value.detail) == ("bad-subscription", why)


def test_a_change_is_refused() -> None:
    with pytest.raises(Rejected, match="custom misaligned timing"):
        changed(NOW_S + 1)
    with pytest.raises(Rejected, match="another customer"):
        change(RUNNING, OTHER, SubscriptionOrder(customer_id="other"), NOW_S, next_id)
    ended = msgspec.structs.replace(RUNNING, active_to_s=at("2027-01-01"))
    with pytest.raises(Rejected, match="transition change in canceled not allowed"):
        change(ended, OTHER, SubscriptionOrder(customer_id="acme"), NOW_S, next_id)
    with pytest.raises(Rejected, match="transition migrate in canceled not allowed"):
        migrate(ended, SECOND, NOW_S, next_id)
