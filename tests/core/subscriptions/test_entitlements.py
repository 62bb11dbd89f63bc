"""Entitlements follow the items of a subscription, whatever changes it, and clients do not change them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.catalog.entitlement_template import MeteredTemplate
from pipeline.core.quota.entitlement import Entitlement, MeteredEntitlement
from pipeline.core.quota.grant import GrantDefinition
from pipeline.core.subscriptions.entitlements import entitlement_commands, given_entitlements
from pipeline.core.subscriptions.subscription import Subscription
from pipeline.core.subscriptions.timeline import placed_items
from pipeline.core.values import calendar
from pipeline.core.values.zone import text_of
from pipeline.errors import Rejected
from tests.core.subscriptions.subscriber import CUSTOM, DAY_MS, NOW_MS, Subscriber, edited
from tests.fixtures.catalog_bodies import FULL_CARD, TOKENS, Body, with_card

MINUTE_MS = 60_000
MORE = {"addon": {"id": "more"}, "quantity": 1}


class Following(Subscriber):
    """A customer with the entitlements that the control stage makes of its subscriptions, a minute later."""

    def do(self, kind: str, sent: object = None, at_ms: int = NOW_MS, **named: str) -> Body:
        before = dict(self.subscriptions)
        reply = super().do(kind, sent, at_ms, **named)
        changed = [one for id, one in self.subscriptions.items() if before.get(id) != one]
        had = [before[one.id] for one in changed if one.id in before]
        commands = entitlement_commands(had, changed, "default", at_ms)
        for command in [*commands, *commands]:  # a command that comes twice changes nothing
            reply_of = self.log.run(command, at_ms + MINUTE_MS).reply
            assert (reply_of.error, reply_of.detail) == ("", "")
        return reply

    def entitlements(self) -> list[Entitlement]:
        names = self.log.catalog.names("default", "entitlement")
        return [Entitlement.read(self.log.body("entitlement", name)) for name in names]

    def spans(self) -> list[tuple[str, str | None, str | None]]:
        """Begin, end and issued amount of those that were in force at some time, in their order."""
        found = [one for one in self.entitlements() if one.span[0] < one.span[1]]
        return sorted(
            (
                one.active_from[:16],
                one.active_to and one.active_to[:16],
                getattr(one, "issue_after_reset", None),
            )
            for one in found
        )

    def at(self, at_s: int) -> dict[str, Entitlement]:
        """By feature; there is at most one."""
        found = [one for one in self.entitlements() if one.in_force(at_s)]
        assert len({one.feature_key for one in found}) == len(found)
        return {one.feature_key: one for one in found}


def test_a_plan_gives_its_entitlements_phase_by_phase() -> None:
    have = Following(timeZone="Europe/Berlin")
    id = have.subscribe(billingAnchor="2026-01-01T00:00:30+01:00")
    assert have.spans() == [("2026-02-15T10:00", None, "1000")]
    (one,) = have.entitlements()
    assert isinstance(one, MeteredEntitlement) and one.managed_by == id
    assert (one.usage_period.interval, one.usage_period.time_zone) == ("P1M", "Europe/Berlin")
    assert one.usage_period.anchor == "2026-01-01T00:00:00.000+01:00"
    assert one.measure_usage_from == "2026-02-15T10:00:00.000Z"
    (grant,) = have.log.catalog.all(GrantDefinition, "default")
    assert (grant.entitlement_id, grant.amount, grant.issued_after_reset) == (one.id, "1000", True)


def test_all_that_a_template_has_is_in_the_entitlement() -> None:
    have = Following()
    body = with_card(FULL_CARD, {**CUSTOM, "phases": [{**CUSTOM["phases"][1], "key": "only"}]})
    have.subscribe(plan=None, customPlan=body)
    (one,) = have.entitlements()
    assert isinstance(one, MeteredEntitlement)
    assert (one.is_soft_limit, one.preserve_overage_at_reset, one.metadata) == (True, True, {"a": "b"})
    assert (one.issue_after_reset, one.issue_after_reset_priority) == ("1000.5", 2)
    assert one.usage_period.interval == "P1W"


@pytest.mark.parametrize("template", [{"type": "boolean"}, {"type": "static", "config": '{"seats":5}'}])
def test_a_template_without_a_balance(template: Body) -> None:
    have = Following()
    card = {
        "type": "flat_fee",
        "key": "sso",
        "name": "S",
        "featureKey": "sso",
        "billingCadence": None,
        "price": None,
    }
    have.subscribe(plan=None, customPlan=with_card({**card, "entitlementTemplate": template}, CUSTOM))
    (one,) = have.entitlements()
    assert (one.type, one.members.get("config")) == (template["type"], template.get("config"))


def test_a_cancelation_ends_them_and_its_undoing_continues_them() -> None:
    have = Following()
    id = have.subscribe(startingPhase="paid")
    (made,) = have.entitlements()
    have.do("cancel", {"timing": "next_billing_cycle"}, id=id)
    assert have.spans() == [("2026-01-15T10:00", "2026-02-15T10:00", "1000")]
    have.do("continue", id=id)
    (now,) = have.entitlements()
    assert (now.id, now.active_to) == (made.id, None)


def test_a_phase_that_does_not_come_gives_none_until_it_comes_again() -> None:
    have = Following()
    id = have.subscribe()
    (made,) = have.entitlements()
    have.do("cancel", {"timing": "next_billing_cycle"}, id=id)
    assert have.spans() == []
    have.do("restore", id=id)
    (now,) = have.entitlements()
    assert (now.id, now.span) == (made.id, made.span)


def test_a_subscription_that_is_deleted_gives_none() -> None:
    have = Following()
    have.do("delete", id=have.subscribe(timing="2026-03-01T00:00:00Z"))
    assert have.spans() == []


def test_an_add_on_counts_the_usage_of_the_whole_period() -> None:
    have = Following()
    id = have.subscribe(startingPhase="paid")
    have.do("addon-create", MORE, NOW_MS + 3 * DAY_MS + 12_345, id=id)
    assert have.spans() == [
        ("2026-01-15T10:00", "2026-01-18T10:00", "1000"),
        ("2026-01-18T10:00", None, "1500"),
    ]
    more = have.at(NOW_MS // 1000 + 4 * 86_400)["tokens"]
    assert isinstance(more, MeteredEntitlement)
    assert more.measure_usage_from == "2026-01-15T10:00:00.000Z"


def test_another_price_with_the_same_template_leaves_the_entitlement_as_it_is() -> None:
    have = Following()
    id = have.subscribe(startingPhase="paid")
    card = {**TOKENS, "price": {"type": "unit", "amount": "0.02"}}
    have.do("edit", edited(op="add_item", phaseKey="paid", rateCard=card), NOW_MS + DAY_MS, id=id)
    assert have.spans() == [("2026-01-15T10:00", None, "1000")]
    (given_,) = given_entitlements(have.one(id))
    assert len(given_.item_ids) == 2


def test_a_change_of_the_plan_ends_one_as_the_other_begins() -> None:
    have = Following()
    id = have.subscribe(startingPhase="paid")
    have.do(
        "change",
        {"timing": "immediate", "plan": {"key": "pro"}, "startingPhase": "paid"},
        NOW_MS + DAY_MS,
        id=id,
    )
    assert [one[:2] for one in have.spans()] == [
        ("2026-01-15T10:00", "2026-01-16T10:00"),
        ("2026-01-16T10:00", None),
    ]


def test_an_entitlement_of_a_client_ends_where_one_of_a_subscription_begins() -> None:
    have = Following()
    mine = {
        "customerId": have.customer.id,
        "featureKey": "tokens",
        "type": "boolean",
        "activeFrom": "2026-01-10T00:00:00Z",
    }
    have.log.do("entitlement.create", mine)
    have.subscribe(startingPhase="paid")
    assert have.spans() == [
        ("2026-01-10T00:00", "2026-01-15T10:00", None),
        ("2026-01-15T10:00", None, "1000"),
    ]


def test_a_client_does_not_change_what_a_subscription_manages() -> None:
    have = Following()
    id = have.subscribe(startingPhase="paid")
    (one,) = have.entitlements()
    at_ms = NOW_MS + DAY_MS
    other = {"type": "boolean", "featureKey": "tokens"}
    for kind, body in {"delete": {}, "override": {"entitlement": other}}.items():
        refusal = have.log.refused(f"entitlement.{kind}", {"id": one.id, **body}, at_ms=at_ms)
        assert refusal == (
            "entitlement_managed_by_subscription",
            f"entitlement is managed by subscription {id}",
        )
    have.log.do("entitlement.reset", {"id": one.id}, at_ms=at_ms)
    have.log.do("grant.create", {"entitlementId": one.id, "amount": 5}, at_ms=at_ms)
    have.do("cancel", {}, at_ms + DAY_MS, id=id)
    (now,) = have.entitlements()
    assert isinstance(now, MeteredEntitlement) and len(now.resets) == 1


def test_a_plan_whose_entitlement_cannot_be_given_is_refused() -> None:
    card = {**TOKENS, "featureKey": "sso", "key": "sso", "price": None}
    refusal = Subscriber().refused("create", {"customerKey": "acme", "customPlan": with_card(card, CUSTOM)})
    assert refusal == ("bad-entitlement", "feature sso has no meter: a metered entitlement needs one")


FOLLOW: dict[str, Any] = {
    "subscriptionId": "s", "customerId": "acme", "featureId": "f", "featureKey": "tokens", "type": "metered",
    "activeFrom": "2026-01-15T10:00:00.000Z",
}  # fmt: skip
ID = "01KEKZR000QPSTAZZXM3YB71SX"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"id": ID, "other": 1}, "bad-entitlement"),
        ({"id": "a/b"}, "bad-entitlement"),
        ({"id": ID, "terms": {"type": "metered"}}, "bad-entitlement"),
        ({"id": ID, "terms": {**FOLLOW, "type": "other"}}, "bad-entitlement"),
        ({"id": ID, "terms": FOLLOW}, "not-found"),
        ({"id": ID, "terms": {**FOLLOW, "customerId": ...}}, "not-found"),
        ({"id": ID, "terms": {**FOLLOW, "customerId": ..., "featureId": ...}}, "bad-entitlement"),
    ],
)
def test_a_command_that_cannot_be_followed_is_refused(body: Body, reason: str) -> None:
    have = Subscriber()
    real = {
        "customerId": have.customer.id,
        "featureId": have.log.catalog.one("default", "feature/key", "tokens"),
    }
    if "terms" in body:
        terms = {name: real[name] if value is ... else value for name, value in body["terms"].items()}
        body = {**body, "terms": terms}
    assert have.log.refused("entitlement.follow", body)[0] == reason


def wanted(subscriptions: dict[str, Subscription], at_s: int) -> dict[str, str | None]:
    """By feature, the amount that the item which is in force at the end of a minute issues."""
    found: dict[str, str | None] = {}
    for one in subscriptions.values():
        for placed in () if one.is_deleted else placed_items(one):
            template = placed.item.card.entitlement_template
            if isinstance(template, MeteredTemplate) and placed.span.holds(at_s):
                assert placed.item.card.feature_key is not None
                found[placed.item.card.feature_key] = template.issue_after_reset
    return found


OTHER = {**TOKENS, "entitlementTemplate": {"type": "metered", "issueAfterReset": 7}}
STEPS: list[tuple[str, Any]] = [
    ("cancel", {"timing": "next_billing_cycle"}),
    ("cancel", {}),
    ("continue", None),
    ("restore", None),
    ("delete", None),
    ("create", {"customerKey": "acme", "plan": {"key": "pro"}, "startingPhase": "paid"}),
    ("create", {"customerKey": "acme", "plan": {"key": "pro"}, "timing": "2026-04-01T00:00:00Z"}),
    ("change", {"timing": "immediate", "plan": {"key": "pro"}}),
    ("change", {"timing": "next_billing_cycle", "customPlan": CUSTOM}),
    ("addon-create", MORE),
    ("addon-create", {**MORE, "timing": "next_billing_cycle"}),
    ("addon-update", {"quantity": 3}),
    ("addon-update", {"quantity": 0}),
    ("addon-update", {"quantity": 2, "timing": "next_billing_cycle"}),
    ("edit", edited(op="remove_item", phaseKey="paid", itemKey="tokens")),
    ("edit", edited(op="add_item", phaseKey="paid", rateCard=OTHER)),
    ("edit", edited(op="stretch_phase", phaseKey="trial", extendBy="P1W")),
    ("edit", edited(op="unschedule_edit")),
]  # fmt: skip


@settings(max_examples=60)
@given(st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 40 * 1440 * 60)), max_size=7), st.data())
def test_at_every_minute_the_entitlements_are_those_of_the_items(
    steps: list[tuple[tuple[str, Any], int]], data: st.DataObject
) -> None:
    have, at_ms = Following(), NOW_MS
    have.subscribe()
    for (kind, sent), later_s in steps:
        at_ms += later_s * 1000
        id = data.draw(st.sampled_from(sorted(have.subscriptions)))
        try:
            have.do(kind, sent, at_ms, id=id, addon=str(have.addon["id"]))
        except Rejected:
            continue
    for minute in range(0, 150 * 1440, 611):
        at_s = calendar.floor_minute(NOW_MS // 1000) + minute * 60
        in_force = {key: getattr(one, "issue_after_reset", None) for key, one in have.at(at_s).items()}
        assert in_force == wanted(have.subscriptions, at_s + 59), text_of(at_s)
