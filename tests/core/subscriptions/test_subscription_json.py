"""Subscriptions as answers show them."""

from __future__ import annotations

from typing import Any

import msgspec

from pipeline.core.catalog.plan import PlanPhase
from pipeline.core.subscriptions.addon_json import purchase_json
from pipeline.core.subscriptions.cancel import cancel, delete
from pipeline.core.subscriptions.customization import AddItem
from pipeline.core.subscriptions.edit import edit
from pipeline.core.subscriptions.from_plan import SubscriptionOrder, create
from pipeline.core.subscriptions.subscription import Subscription
from pipeline.core.subscriptions.subscription_json import expanded_json, subscription_json
from pipeline.core.values import ulid
from tests.core.subscriptions.sold import LATER, at, calls, phase, plan, seats
from tests.core.subscriptions.subscriber import DAY_MS, NOW_MS, Subscriber

START_S, NOW_S = at("2026-01-31"), at("2026-02-10")


def new_id(name: str) -> str:
    return ulid.make((NOW_S if name.endswith(str(NOW_S)) else START_S) * 1000, name)


def subscribed(*phases: PlanPhase) -> Subscription:
    return create(plan(*phases), SubscriptionOrder(customer_id="acme"), START_S, new_id)


RUNNING = subscribed(phase("main", "P2M", seats(), calls()), LATER)


def test_without_phases() -> None:
    assert subscription_json(RUNNING, NOW_S) == {
        "id": RUNNING.id,
        "name": "Pro",
        "activeFrom": "2026-01-31T00:00:00.000Z",
        "status": "active",
        "customerId": "acme",
        "plan": {"id": "plan-1", "key": "pro", "version": 1},
        "currency": "USD",
        "billingCadence": "P1M",
        "billingAnchor": "2026-01-31T00:00:00.000Z",
        "proRatingConfig": {"enabled": True, "mode": "prorate_prices"},
        "settlementMode": "credit_then_invoice",
        "costBasisMode": "dynamic",
        "costBasisPins": [],
        "createdAt": "2026-01-31T00:00:00.000Z",
        "updatedAt": "2026-01-31T00:00:00.000Z",
    }


def test_what_may_be_absent() -> None:
    ended = cancel(RUNNING, "next_billing_cycle", NOW_S)
    shown = subscription_json(ended, NOW_S)
    assert (shown["status"], shown["activeTo"]) == ("canceled", "2026-02-28T00:00:00.000Z")
    assert "plan" not in subscription_json(msgspec.structs.replace(RUNNING, plan=None), NOW_S)
    assert "deletedAt" in subscription_json(delete(RUNNING, 0), 0)


def test_with_phases() -> None:
    found = edit(RUNNING, [AddItem("main", seats("60"))], "immediate", NOW_S, new_id)
    shown: Any = expanded_json(
        found, NOW_S, NOW_S, {RUNNING.phases[0].timelines["calls"][0].id: {"feature": {"a": 1}}}
    )
    assert shown["alignment"] == {
        "currentAlignedBillingPeriod": {
            "from": "2026-01-31T00:00:00.000Z",
            "to": "2026-02-28T00:00:00.000Z",
        }
    }
    main, later = shown["phases"]
    assert (main["key"], main["activeTo"], "activeTo" in later) == ("main", "2026-03-31T00:00:00.000Z", False)
    assert [item["price"].get("amount") for item in main["items"]] == ["60", "0.01"]
    assert [item["price"]["amount"] for item in main["itemTimelines"]["seats"]] == ["30", "60"]
    assert later["items"] == [] and len(later["itemTimelines"]["seats"]) == 1
    assert main["items"][0] == {
        "id": new_id(f"{RUNNING.id}/main/seats/v[1]/{NOW_S}"),
        "key": "seats",
        "name": "Seats",
        "activeFrom": "2026-02-10T00:00:00.000Z",
        "activeTo": "2026-03-31T00:00:00.000Z",
        "createdAt": "2026-02-10T00:00:00.000Z",
        "updatedAt": "2026-02-10T00:00:00.000Z",
        "billingCadence": "P1M",
        "price": {"type": "flat", "amount": "60", "paymentTerm": "in_advance"},
    }
    assert main["items"][1]["included"] == {"feature": {"a": 1}}
    assert (main["createdAt"], main["updatedAt"]) == ("2026-01-31T00:00:00.000Z", "2026-02-10T00:00:00.000Z")
    msgspec.json.encode(shown)


def test_free_items_show_that_they_are() -> None:
    free = msgspec.structs.replace(seats(cadence=None), price=None)
    shown: Any = expanded_json(subscribed(phase("main", None, free)), NOW_S, NOW_S)
    [item] = shown["phases"][0]["items"]
    assert (item["price"], item["billingCadence"]) == (None, None)


def test_before_its_start_it_has_no_billing_period() -> None:
    assert "alignment" not in expanded_json(RUNNING, NOW_S, 0)


def test_an_add_on_with_its_quantities() -> None:
    have = Subscriber()
    id = have.subscribe(startingPhase="paid")
    bought = str(
        have.do("addon-create", {"addon": {"id": "more"}, "quantity": 2, "name": "N"}, id=id)["addon"]
    )
    have.do("addon-update", {"quantity": 3}, NOW_MS + DAY_MS, id=id, addon=bought)
    have.do("addon-update", {"quantity": 0}, NOW_MS + 2 * DAY_MS, id=id, addon=bought)
    have.do("cancel", {"timing": "next_billing_cycle"}, NOW_MS + 2 * DAY_MS, id=id)
    found = have.one(id)
    shown: Any = purchase_json(found, found.addons[0], NOW_MS // 1000 + 3 * 86_400)
    assert (shown["id"], shown["name"], shown["subscriptionId"]) == (bought, "N", id)
    assert shown["addon"] == {"id": have.addon["id"], "key": "more", "version": 1, "instanceType": "multiple"}
    assert (shown["quantity"], shown["activeTo"]) == (0, "2026-01-17T10:00:00.000Z")
    assert [
        (one["activeFrom"][:10], one.get("activeTo", "")[:10], one["quantity"]) for one in shown["timeline"]
    ] == [
        ("2026-01-15", "2026-01-16", 2),
        ("2026-01-16", "2026-01-17", 3),
        ("2026-01-17", "2026-02-15", 0),
    ]
    tokens, fee = shown["rateCards"]
    timelines: Any = expanded_json(found, 0, 0)["phases"][0]["itemTimelines"]  # type: ignore[index]
    assert tokens["affectedSubscriptionItemIds"] == [one["id"] for one in timelines["tokens"]][:2]
    assert fee["affectedSubscriptionItemIds"] == [one["id"] for one in timelines["more_fee"]]
    assert fee["rateCard"]["price"] == {"type": "flat", "amount": "20", "paymentTerm": "in_advance"}
