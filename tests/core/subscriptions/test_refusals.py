"""Commands about subscriptions that are refused: every reason, and that no body does worse than be refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.subscriptions.subscription_json import expanded_json
from pipeline.core.subscriptions.timeline import billed_items
from pipeline.errors import Rejected
from tests.core.subscriptions.subscriber import CARD, CUSTOM, NOW_MS, Subscriber, edited, in_state, order
from tests.fixtures.catalog_bodies import TOKENS

ORDERS: list[tuple[dict[str, Any], str, str]] = [
    (order(customerKey=None), "bad-subscription", "customerId or customerKey is required"),
    (order(customerKey="other"), "not-found", "no customer"),
    (order(customerId="other"), "not-found", "no customer"),
    (order(plan=None), "bad-subscription", "either plan or customPlan"),
    (order(customPlan=CUSTOM), "bad-subscription", "either plan or customPlan"),
    (order(plan={"key": "none"}), "not-found", "no active plan with the key none"),
    (order(plan={"key": "pro", "version": 7}), "not-found", "no version 7 of a plan with the key pro"),
    (order(plan={"key": "pro", "version": 0}), "bad-subscription", "version must be an integer"),
    (order(plan={"version": 1}), "bad-subscription", "plan key is required"),
    (order(timing="later"), "bad-subscription", "timing must be immediate, next_billing_cycle or"),
    (order(timing="2026-13-01T00:00:00Z"), "bad-subscription", "timing is not valid"),
    (order(timing="2026-01-15T09:57:59Z"), "bad-subscription", "more than 2 minutes in the past"),
    (order(timing="9999-01-01T00:00:00Z"), "bad-subscription", "between the years 1 and 9998"),
    (order(timing="next_billing_cycle"), "bad-subscription", "needs a billingAnchor"),
    (order(billingAnchor="soon"), "bad-subscription", "billingAnchor must be an RFC 3339 timestamp"),
    (order(startingPhase="none"), "bad-subscription", "startingPhase none is not a phase"),
    (order(costBasisMode="pinned"), "bad-subscription", "costBasisMode must be dynamic"),
    (order(settlementMode="cash"), "bad-subscription", "settlementMode must be one of"),
    (order(alignment={"other": 1}), "bad-subscription", "unknown member"),
    (order(activeFrom="2026-01-01T00:00:00Z"), "bad-subscription", "unknown member 'activeFrom'"),
    (order(plan=..., customPlan={**CUSTOM, "key": "x"}), "bad-subscription", "unknown member 'key'"),
    (order(plan=..., customPlan={**CUSTOM, "phases": []}), "bad-subscription", "$.customPlan.phases: plan must"),
    (order(plan=..., customPlan={**CUSTOM, "billingCadence": "P5M"}), "bad-subscription", "must be one of P1W"),
    (order(plan=..., customPlan={"name": "x"}), "bad-subscription", "billingCadence is required"),
]  # fmt: skip


@pytest.mark.parametrize(("sent", "reason", "part"), ORDERS)
def test_an_order_is_refused(sent: dict[str, Any], reason: str, part: str) -> None:
    refusal = Subscriber().refused("create", sent)
    assert refusal[0] == reason and part in refusal[1]


OTHERS: list[tuple[str, Any, str, str]] = [
    ("create", order(), "only_single_subscription_allowed_per_customer_at_a_time", "at the same time"),
    ("cancel", {"timing": "2026-02-01T00:00:00Z"}, "bad-subscription", "custom misaligned timing"),
    ("cancel", {"timing": "2026-01-01T00:00:00Z"}, "bad-subscription", "must not be in the past"),
    ("cancel", {"reason": "x"}, "bad-subscription", "unknown member 'reason'"),
    ("change", {"plan": {"key": "pro"}}, "bad-subscription", "timing is required"),
    ("change", order(timing="immediate"), "bad-subscription", "unknown member 'customerKey'"),
    ("migrate", {}, "bad-subscription", "at version 1 of its plan"),
    ("migrate", {"targetVersion": 3}, "not-found", "no version 3 of a plan"),
    ("continue", {"timing": "immediate"}, "bad-subscription", "it may have none"),
    ("restore", {"a": 1}, "bad-subscription", "it may have none"),
    ("delete", {"a": 1}, "bad-subscription", "it may have none"),
    ("refund", {}, "bad-command", "no command 'subscription.refund'"),
    ("addon-create", {"quantity": 1}, "bad-subscription-addon", "addon is required"),
    ("addon-create", {"addon": {"id": "more"}}, "bad-subscription-addon", "quantity is required"),
    ("addon-create", {"addon": {"id": "more"}, "quantity": 0}, "bad-subscription-addon", "at least 1"),
    ("addon-create", {"addon": {"id": "more"}, "quantity": 11}, "bad-subscription-addon", "at most 10"),
    ("addon-create", {"addon": {"id": "none"}, "quantity": 1}, "not-found", "no add-on with the id none"),
    ("addon-create", {"addon": {"id": "more"}, "quantity": 1, "timing": "2026-01-01T00:00:00Z"},
     "bad-subscription-addon", "must not be in the past"),
    ("addon-update", {"quantity": 1}, "not-found", "has no add-on"),
    ("addon-update", {"timing": "immediate"}, "bad-subscription-addon", "no effect without a quantity"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "sent", "reason", "part"), OTHERS)
def test_a_command_is_refused(kind: str, sent: Any, reason: str, part: str) -> None:
    have, id = in_state("active")
    refusal = have.refused(kind, sent, id=id, addon="none")
    assert refusal[0] == reason and part in refusal[1]


EDITS: list[tuple[dict[str, Any], str]] = [
    ({}, "customizations is required"),
    ({"customizations": []}, "a list of 1 to 100 objects"),
    ({"customizations": [{"op": "unschedule_edit"}] * 101}, "a list of 1 to 100 objects"),
    ({**edited(op="unschedule_edit"), "timing": "2026-02-01T00:00:00Z"}, "timing must be one of"),
    ({**edited(op="unschedule_edit"), "timing": "next_billing_cycle"}, "falls into a different phase"),
    (edited(phaseKey="paid"), "op is required"),
    (edited(op="replace"), "op must be one of add_item"),
    (edited(op="unschedule_edit", phaseKey="paid"), "unknown member 'phaseKey'"),
    (edited(op="add_item", phaseKey="paid"), "rateCard is required"),
    (edited(op="add_item", rateCard=CARD), "phaseKey is required"),
    (edited(op="add_item", phaseKey="none", rateCard=CARD), "no phase none"),
    (edited(op="add_item", phaseKey="paid", rateCard={**TOKENS, "featureKey": "none", "key": "none"}),
     "$.customizations[0].rateCard.featureKey: feature not found"),
    (edited(op="add_item", phaseKey="paid", rateCard={**CARD, "billingCadence": "P5D"}), "whole multiple"),
    (edited(op="remove_item", phaseKey="paid"), "itemKey is required"),
    (edited(op="remove_item", phaseKey="paid", itemKey="none"), "no item none in force"),
    (edited(op="add_phase"), "phase is required"),
    (edited(op="add_phase", phase={"key": "a", "name": "A", "discounts": {}}), "unknown member 'discounts'"),
    (edited(op="add_phase", phase={"key": "a", "name": "A", "startAfter": "soon"}), "startAfter: interval 'soon'"),
    (edited(op="remove_phase", phaseKey="paid"), "shift is required"),
    (edited(op="remove_phase", phaseKey="trial", shift="next"), "has begun and cannot be removed"),
    (edited(op="stretch_phase", phaseKey="trial"), "extendBy is required"),
    (edited(op="stretch_phase", phaseKey="trial", extendBy="-P1M"), "would disappear"),
]  # fmt: skip


@pytest.mark.parametrize(("sent", "part"), EDITS)
def test_an_edit_is_refused(sent: dict[str, Any], part: str) -> None:
    have, id = in_state("active")
    refusal = have.refused("edit", sent, id=id)
    assert refusal[0] == "bad-subscription-edit" and part in refusal[1]


def test_a_subscription_with_an_add_on_is_not_edited() -> None:
    have, id = in_state("active")
    have.do("addon-create", {"addon": {"id": "more"}, "quantity": 1}, id=id)
    refusal = have.refused("edit", edited(op="unschedule_edit"), id=id)
    assert refusal == ("bad-subscription-edit", "a subscription with add-ons cannot be edited")


def test_an_add_on_that_the_plan_does_not_offer_is_refused() -> None:
    have = Subscriber()
    id = have.subscribe(plan=None, customPlan=CUSTOM)
    refusal = have.refused("addon-create", {"addon": {"id": "more"}, "quantity": 1}, id=id)
    assert refusal == (
        "bad-subscription-addon",
        "the plan of the subscription does not offer the add-on more",
    )
    assert have.refused("migrate", {}, id=id)[1] == "a subscription of a custom plan cannot be migrated"


VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.sampled_from(
    ["immediate", "next_billing_cycle", "9998-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "P1000Y", "-P1000Y", "trial"]
)  # fmt: skip
MEMBERS = st.sampled_from(
    [
        "timing",
        "billingAnchor",
        "startingPhase",
        "name",
        "quantity",
        "addon",
        "customizations",
        "targetVersion",
    ]
)


def broken(body: Any, draw: Callable[[st.SearchStrategy[Any]], Any]) -> Any:
    """The body with one value of it, or a member, replaced by another."""
    if isinstance(body, dict):
        if not body or draw(st.integers(0, 3)) == 0:
            return {**body, draw(MEMBERS): draw(VALUES)}
        member = draw(st.sampled_from(sorted(body)))
        return {**body, member: broken(body[member], draw)}
    if isinstance(body, list) and body:
        place = draw(st.integers(0, len(body) - 1))
        return [*body[:place], broken(body[place], draw), *body[place + 1 :]]
    return draw(VALUES)


BODIES: list[tuple[str, Any]] = [
    ("create", order()),
    ("create", order(plan=..., customPlan=CUSTOM, timing="immediate")),
    ("cancel", {"timing": "immediate"}),
    ("change", {"timing": "immediate", "customPlan": CUSTOM, "billingAnchor": "2026-01-01T00:00:00Z"}),
    ("migrate", {"timing": "immediate"}),
    ("edit", edited(op="add_item", phaseKey="paid", rateCard=TOKENS)),
    ("edit", edited(op="stretch_phase", phaseKey="trial", extendBy="P1M")),
    ("edit", edited(op="add_phase", phase={"key": "a", "name": "A", "startAfter": "P2M", "duration": "P1M"})),
    ("addon-create", {"addon": {"id": "more"}, "quantity": 1, "timing": "immediate"}),
]


@settings(max_examples=150)
@given(st.data())
def test_no_body_is_more_than_refused(data: st.DataObject) -> None:
    kind, body = data.draw(st.sampled_from(BODIES))
    sent = broken(body, data.draw)
    have = SHARED if kind == "create" else SUBSCRIBED
    try:
        for one in have.decide(kind, sent, id=next(iter(have.subscriptions), "")).changed:
            expanded_json(one, NOW_MS // 1000, NOW_MS // 1000)
            billed_items(one)
    except Rejected as refusal:
        assert refusal.reason and refusal.detail


SHARED, SUBSCRIBED = Subscriber(), in_state("active")[0]
