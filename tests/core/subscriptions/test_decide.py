"""Commands about subscriptions as the API sends them: what each changes, and every reason with which one is refused."""

from __future__ import annotations

import pytest

from pipeline.core.subscriptions.decide import DECIDERS
from pipeline.core.values import ulid
from tests.core.subscriptions.sold import at, day
from tests.core.subscriptions.subscriber import (
    CARD,
    CUSTOM,
    DAY_MS,
    NOW_MS,
    STATES,
    Subscriber,
    edited,
    in_state,
    order,
)


def test_a_subscription_is_made_from_what_was_ordered() -> None:
    have = Subscriber(timeZone="Europe/Berlin")
    id = have.subscribe(
        customerKey="acme",
        timing="2026-02-01T00:00:00.7Z",
        billingAnchor="2026-01-01T00:00:00+01:00",
        startingPhase="paid",
        name="Ours",
        description="two\nlines",
        metadata={"a": "b"},
        alignment={"billablesMustAlign": True},
        settlementMode="credit_only",
        costBasisMode="dynamic",
    )
    made = have.one(id)
    assert ulid.is_ulid(id) and made.plan is not None and made.plan.key == "pro"
    assert (day(made.active_from_s), day(made.billing_anchor_s)) == ("2026-02-01", "2025-12-31T23:00")
    assert [phase.key for phase in made.phases] == ["paid"]
    assert (made.name, made.description, made.metadata) == ("Ours", "two\nlines", {"a": "b"})
    assert made.alignment is not None and made.alignment.billables_must_align
    assert (made.settlement_mode, made.zone) == ("credit_only", "Europe/Berlin")


def test_a_custom_plan_is_not_in_the_catalog() -> None:
    have = Subscriber()
    made = have.one(have.subscribe(plan=None, customPlan={**CUSTOM, "name": "Only theirs"}))
    assert (made.plan, made.name, made.currency) == (None, "Only theirs", "EUR")


def test_the_version_that_is_sold_is_ordered_unless_one_is_named() -> None:
    have = Subscriber()
    have.log.do("plan.next", {"id": "pro"}, at_ms=NOW_MS)
    have.log.do("plan.publish", {"id": "pro"}, at_ms=NOW_MS + DAY_MS)
    later_ms = NOW_MS + 2 * DAY_MS
    plan = have.one(have.subscribe(later_ms)).plan
    assert plan is not None and plan.version == 2
    refusal = Subscriber.refused(
        have, "create", {"customerKey": "acme", "plan": {"key": "pro", "version": 1}}, later_ms
    )
    assert refusal == (
        "bad-subscription",
        "version 1 of the plan pro is archived when the subscription begins",
    )


def test_a_cancelation_is_made_and_taken_back() -> None:
    have, id = in_state("active")
    assert have.do("cancel", {"timing": "next_billing_cycle"}, id=id) == {"subscription": id}
    assert day(have.one(id).active_to_s) == "2026-02-15T10:00"
    assert have.do("continue", id=id) == {"subscription": id}
    assert have.one(id).active_to_s is None


def test_what_was_scheduled_is_deleted_when_the_one_before_is_restored() -> None:
    have, id = in_state("canceled")
    after = have.subscribe(timing="2026-02-15T10:00:00Z")
    assert have.refused("continue", id=id)[0] == "only_single_subscription_allowed_per_customer_at_a_time"
    assert have.do("restore", id=id) == {"subscription": id}
    assert have.one(after).is_deleted and have.one(id).active_to_s is None


def test_a_change_ends_one_and_begins_another() -> None:
    have, id = in_state("active")
    reply = have.do("change", {"timing": "immediate", "customPlan": CUSTOM}, NOW_MS + DAY_MS, id=id)
    now, following = have.one(id), have.one(str(reply["next"]))
    assert reply["current"] == id and now.active_to_s == following.active_from_s == NOW_MS // 1000 + 86_400
    assert following.billing_anchor_s == now.billing_anchor_s and following.plan is None


def test_a_migration_is_to_the_version_that_is_sold_or_to_the_named_one() -> None:
    have, id = in_state("active")
    have.log.do("plan.next", {"id": "pro"}, at_ms=NOW_MS)
    have.log.do("plan.publish", {"id": "pro"}, at_ms=NOW_MS + DAY_MS)
    sent = {"targetVersion": 2, "startingPhase": "paid", "timing": "next_billing_cycle"}
    sent["billingAnchor"] = "2026-02-15T10:00:00Z"
    for body in ({}, sent):
        reply = have.decide("migrate", body, NOW_MS + 2 * DAY_MS, id=id)
        current, following = reply.changed
        assert following.plan is not None and following.plan.version == 2
        assert reply.body == {"current": id, "next": following.id}
        assert current.active_to_s == following.active_from_s
    assert (day(following.active_from_s), following.phases[0].key) == ("2026-02-15T10:00", "paid")
    assert following.billing_anchor_s == at("2026-02-15T10:00:00Z")


def test_an_edit_that_makes_no_difference_changes_nothing() -> None:
    have, id = in_state("active")
    body = {"customizations": [{"op": "unschedule_edit"}]}
    assert have.decide("edit", body, id=id) == ((), {"subscription": id})


def test_each_op_is_read() -> None:
    have, id = in_state("active")
    ops = [
        {"op": "add_item", "phaseKey": "trial", "rateCard": CARD},
        {"op": "remove_item", "phaseKey": "paid", "itemKey": "tokens"},
        {"op": "stretch_phase", "phaseKey": "trial", "extendBy": "P1M"},
        {"op": "add_phase", "phase": {"key": "mid", "name": "M", "startAfter": "P2M", "duration": "P1M"}},
        {"op": "add_phase", "phase": {"key": "gone", "name": "G", "startAfter": "P3M", "duration": "P1M"}},
        {"op": "remove_phase", "phaseKey": "gone", "shift": "next"},
    ]  # fmt: skip
    have.do("edit", {"customizations": ops, "timing": "immediate"}, id=id)
    edited = have.one(id)
    assert [phase.key for phase in edited.phases] == ["trial", "mid", "paid"]
    assert set(edited.phases[0].timelines) == {"fee", "support"} and set(edited.phases[2].timelines) == {
        "fee"
    }


def test_an_add_on_is_bought_changed_and_ended() -> None:
    have, id = in_state("active")
    sent = {
        "addon": {"id": have.addon["id"]}, "quantity": 2, "timing": "immediate", "name": "More", "description": "d",
        "metadata": {"a": "b"},
    }  # fmt: skip
    bought = str(have.do("addon-create", sent, id=id)["addon"])
    (addon,) = have.one(id).addons
    assert (addon.id, addon.name, addon.description, addon.metadata) == (bought, "More", "d", {"a": "b"})
    assert have.refused("addon-create", sent, id=id)[0] == "subscription_addon_already_bought"
    change = {
        "quantity": 3,
        "timing": "2026-02-01T00:00:00Z",
        "name": "N",
        "description": "e",
        "metadata": {},
    }
    assert have.do("addon-update", change, id=id, addon=bought) == {"subscription": id, "addon": bought}
    (addon,) = have.one(id).addons
    assert [(day(one.at_s), one.quantity) for one in addon.changes] == [
        ("2026-01-15T10:00", 2),
        ("2026-02-01", 3),
    ]
    assert (addon.name, addon.description, addon.metadata) == ("N", "e", {})
    assert have.decide("addon-update", change, id=id, addon=str(have.addon["id"])).changed == ()
    have.do("addon-update", {"quantity": 0}, id=id, addon=bought)
    assert have.one(id).addons == ()


ALLOWED = {
    "edit": ("active", {"customizations": [{"op": "unschedule_edit"}]}),
    "cancel": ("active", {}),
    "change": ("active", {"timing": "immediate", "customPlan": CUSTOM}),
    "migrate": ("active", {"targetVersion": 2}),
    "continue": ("canceled", None),
    "restore": ("canceled", None),
    "delete": ("scheduled", None),
    "addon-create": ("active", {"addon": {"id": "more"}, "quantity": 1}),
}


@pytest.mark.parametrize("kind", ALLOWED)
@pytest.mark.parametrize("state", STATES)
def test_each_status_allows_its_actions(kind: str, state: str) -> None:
    have, id = in_state(state)
    have.log.do("plan.next", {"id": "pro"}, at_ms=NOW_MS - 2)
    have.log.do("plan.publish", {"id": "pro"}, at_ms=NOW_MS - 1)
    allowed, sent = ALLOWED[kind]
    if state == allowed:
        assert "subscription" in have.do(kind, sent, id=id) or kind in ("change", "migrate")
    else:
        reason, sentence = have.refused(kind, sent, id=id)
        assert reason == "subscription_transition_not_allowed" and f"in {state} not allowed" in sentence


def test_a_deleted_customer_can_only_end_what_it_has() -> None:
    have = Subscriber()
    id = have.subscribe()
    have.customer = have.customer.changed(deleted_at="2026-01-15T10:00:00.000Z")
    assert have.refused("create", order()) == ("customer_deleted", "The customer is deleted.")
    assert have.refused("edit", edited(op="unschedule_edit"), id=id)[0] == "customer_deleted"
    have.do("cancel", {}, id=id)


@pytest.mark.parametrize("kind", [kind.removeprefix("subscription.") for kind in DECIDERS])
def test_an_unknown_or_deleted_subscription_is_not_found(kind: str) -> None:
    have, id = in_state("scheduled")
    have.do("delete", id=id)
    have.log.do("plan.next", {"id": "pro"}, at_ms=NOW_MS - 2)
    sent = {**ALLOWED, "addon-update": ("active", {"quantity": 1})}.get(kind, ("", {}))[1]
    if kind != "create":
        assert {have.refused(kind, sent, id=one)[0] for one in (id, "none")} == {"not-found"}
