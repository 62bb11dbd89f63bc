"""Rate cards: which forms they may have, and how their feature is found."""

from __future__ import annotations

import pytest

from tests.fixtures.catalog_bodies import FEE, FULL_CARD, TOKENS, Body, log, with_card
from tests.fixtures.control_log import Log

CARD = "plan phases[1].rateCards[1]"


def read(have: Log, card: Body) -> Body:
    """The card as the plan shows it."""
    found: Body = have.do("plan.create", with_card(card))["phases"][1]["rateCards"][1]
    return found


@pytest.mark.parametrize(
    ("wrong", "detail"),
    [
        ({"type": None}, f"{CARD} type is required"),
        ({"type": "free"}, f"{CARD} type must be one of flat_fee, usage_based"),
        ({"key": None}, f"{CARD} key is required"),
        ({"name": ""}, f"{CARD} name is required"),
        ({"billingCadence": None}, f"{CARD} billingCadence is required"),
        ({"billingCadence": "P1.5M"}, f"{CARD} billingCadence must be an ISO 8601 duration"),
        ({"type": "flat_fee"}, f"{CARD} price type must be flat, since the rate card is a flat_fee"),
        ({"price": {"type": "unit", "amount": "-1"}}, f"{CARD}.price amount must not be negative"),
        ({"price": None}, f"{CARD} unitConfig needs a price by usage"),
        ({"featureKey": "A"}, f"{CARD} featureKey must have 1 to 64 characters"),
        ({"entitlementTemplate": {"type": "x"}}, f"{CARD} entitlementTemplate type must be one of"),
        ({"entitlementTemplate": {"type": "boolean", "config": "{}"}}, "unknown member 'config'"),
        ({"entitlementTemplate": {"type": "static"}}, f"{CARD}.entitlementTemplate config is required"),
        (
            {"taxConfig": {"behavior": "none"}},
            f"{CARD}.taxConfig behavior must be one of inclusive, exclusive",
        ),
        ({"taxConfig": {"stripe": {"code": "txcd_1"}}}, "stripe code must be txcd_ and eight digits"),
        ({"discounts": {"usage": {}}}, f"{CARD}.discounts.usage quantity is required"),
        ({"colour": "red"}, "unknown member"),
    ],
)
def test_what_is_refused(wrong: Body, detail: str) -> None:
    reason, sentence = log().refused("plan.create", with_card({**FULL_CARD, **wrong}))
    assert reason == "bad-plan" and detail in sentence


def test_a_fee_may_be_billed_once_and_may_be_free() -> None:
    card = {**FEE, "key": "setup", "billingCadence": None, "price": None}
    assert read(log(), card) == card


def test_a_feature_is_found_by_its_key_or_its_id() -> None:
    have = log()
    id = have.catalog.one("default", "feature/key", "tokens")
    by_id = {name: value for name, value in TOKENS.items() if name != "featureKey"} | {"featureId": id}
    found = [read(log(), one) for one in (TOKENS, by_id)]
    assert [(one["featureKey"], one["featureId"]) for one in found] == [("tokens", id)] * 2


def test_a_card_keeps_its_feature_when_the_key_is_used_again() -> None:
    have = log()
    plan = have.do("plan.create", with_card(TOKENS))
    old = plan["phases"][1]["rateCards"][1]["featureId"]
    have.do("feature.archive", {"id": "tokens"})
    have.do("feature.create", {"key": "tokens", "name": "New", "meterSlug": "tokens"})
    have.refused("plan.publish", {"id": "pro"})
    assert have.replies[-1].body["validationErrors"][0]["code"] == "rate_card_feature_archived"  # type: ignore[index]
    body = {name: value for name, value in with_card(TOKENS).items() if name not in ("key", "currency")}
    new = have.do("plan.update", {"id": "pro", **body})["phases"][1]["rateCards"][1]["featureId"]
    assert new == have.catalog.one("default", "feature/key", "tokens") != old
