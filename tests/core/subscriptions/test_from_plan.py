"""Creating a subscription: what is copied, when it begins, and what is refused."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pipeline.core.subscriptions.from_plan import SubscriptionOrder, create
from pipeline.core.subscriptions.subscription import Subscription
from pipeline.core.subscriptions.timeline import phase_spans
from pipeline.errors import Rejected
from tests.core.subscriptions.sold import LATER, LONG_AGO, MAIN, TRIAL, at, day, new_id, phase, plan

NOW_S = at("2026-01-31T12:00:05Z")


def ordered(sold: Any = None, **order: Any) -> Subscription:
    return create(sold or plan(), SubscriptionOrder(customer_id="acme", **order), NOW_S, new_id)


def test_the_plan_is_copied() -> None:
    made = ordered()
    assert (made.id, made.customer_id, made.name, made.currency) == ("sub", "acme", "Pro", "USD")
    assert made.plan is not None and (made.plan.id, made.plan.key, made.plan.version) == ("plan-1", "pro", 1)
    assert made.active_from_s == made.billing_anchor_s == made.created_at_s == NOW_S
    cards = {one.key: [items[0].card for items in one.timelines.values()] for one in made.phases}
    assert cards == {one.key: list(one.rate_cards) for one in (TRIAL, MAIN, LATER)}


def test_it_is_stored_without_loss() -> None:
    made = ordered(name="Ours", metadata={"a": "b"}, settlement_mode="credit_only")
    assert msgspec.json.decode(msgspec.json.encode(made), type=Subscription) == made


def test_ids_are_different() -> None:
    made = ordered()
    ids = [made.id, *(one.id for one in made.phases)]
    ids += [items[0].id for one in made.phases for items in one.timelines.values()]
    assert len(set(ids)) == len(ids) == 8


@pytest.mark.parametrize(
    ("order", "start"),
    [
        ({}, "2026-01-31T12:00:05"),
        ({"timing": at("2026-01-31T11:58:05Z")}, "2026-01-31T11:58"),
        ({"timing": at("2027-01-01")}, "2027-01-01"),
        ({"timing": "next_billing_cycle", "billing_anchor_s": at("2026-01-31")}, "2026-02-28"),
        ({"timing": "next_billing_cycle", "billing_anchor_s": at("2030-06-15")}, "2026-02-15"),
        (
            {"timing": "next_billing_cycle", "billing_anchor_s": at("2026-06-15"), "zone": "Europe/Berlin"},
            "2026-02-15T01:00",
        ),
    ],
)
def test_when_it_begins(order: dict[str, Any], start: str) -> None:
    made = ordered(**order)
    shown = day(made.active_from_s)
    assert shown is not None and shown.startswith(start)
    assert made.billing_anchor_s == order.get("billing_anchor_s", made.active_from_s)


def test_phases_follow_one_another_in_the_zone() -> None:
    made = create(
        plan(phase("a", "P1M"), phase("b", "P1M"), phase("c", None)),
        SubscriptionOrder(customer_id="acme", zone="Europe/Berlin"),
        at("2026-01-31T11:00:00Z"),
        new_id,
    )
    found = [(day(span.start_s), day(span.end_s)) for _, span in phase_spans(made)]
    assert found == [
        ("2026-01-31T11:00", "2026-02-28T11:00"),
        ("2026-02-28T11:00", "2026-03-31T10:00"),
        ("2026-03-31T10:00", None),
    ]


def test_earlier_phases_are_skipped() -> None:
    made = ordered(starting_phase="main")
    assert [one.key for one in made.phases] == ["main", "later"]
    assert next(phase_spans(made))[1].start_s == NOW_S


def test_a_phase_of_no_length_has_no_items() -> None:
    made = ordered(plan(phase("none", "PT0S"), LATER))
    assert [one.key for one, _ in phase_spans(made)] == ["later"]


def test_a_custom_plan_need_not_be_sold() -> None:
    assert ordered(plan(effective_from=None), origin="custom").plan is None


@pytest.mark.parametrize(
    ("sold", "order", "why"),
    [
        (plan(), {"timing": NOW_S - 121}, "timing must not be more than 2 minutes in the past"),
        (
            plan(),
            {"timing": "next_billing_cycle"},
            "timing next_billing_cycle needs a billingAnchor, since a new subscription has no billing cycle",
        ),
        (plan(effective_from=None), {}, "version 1 of the plan pro is draft when the subscription begins"),
        (
            plan(effective_from="2027-01-01T00:00:00.000Z"),
            {},
            "version 1 of the plan pro is scheduled when the subscription begins",
        ),
        (
            plan(effective_to="2027-01-01T00:00:00.000Z"),
            {"timing": at("2027-01-01")},
            "version 1 of the plan pro is archived when the subscription begins",
        ),
        (plan(deleted_at=LONG_AGO), {}, "version 1 of the plan pro is deleted when the subscription begins"),
        (plan(), {"starting_phase": "gold"}, "startingPhase gold is not a phase of the plan"),
        (plan(LATER, LATER), {}, "the plan has two phases with one key"),
        (plan(TRIAL), {}, "the last phase trial must not have a duration"),
        (
            plan(phase("a", None), LATER),
            {},
            "the phase a needs a duration, since it is not the last",
        ),
    ],
)
def test_an_order_is_refused(sold: Any, order: dict[str, Any], why: str) -> None:
    with pytest.raises(Rejected) as refused:
        ordered(sold, **order)
    assert (refused.value.reason, refused.value.detail) == ("bad-subscription", why)


def test_a_plan_without_phases_is_refused() -> None:
    with pytest.raises(Rejected, match="the plan has no phases"):
        ordered(msgspec.structs.replace(plan(), phases=()))


def test_a_plan_that_is_sold_later_can_be_ordered_for_later() -> None:
    later = plan(effective_from="2027-01-01T00:00:00.000Z")
    assert ordered(later, timing=at("2027-01-01")).active_from_s == at("2027-01-01")
