"""Subscriptions over HTTP: every route, what follows from each, refusals with their status."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi.testclient import TestClient

from pipeline.settings import Settings
from tests.fixtures.bill_desk import BillDesk
from tests.fixtures.catalog_bodies import ADDON, ASSIGNED, METER, PLAN, TOKENS, Body, without_key
from tests.fixtures.control_stage import ControlStage

CUSTOM = {**without_key(PLAN), "currency": "EUR"}
EDIT = {"customizations": [{"op": "stretch_phase", "phaseKey": "trial", "extendBy": "P1M"}]}
PAID = {"plan": {"key": "pro"}, "startingPhase": "paid"}


@pytest.fixture(scope="module", autouse=True)
def stage(served: Settings, decider: ControlStage) -> Iterator[BillDesk]:
    with BillDesk(served) as running:
        yield running


@pytest.fixture(scope="module", autouse=True)
def addon_id(api: TestClient, stage: BillDesk) -> str:
    """The plan `pro` is sold, with the add-on `more`."""
    make(api, "/meters", METER)
    make(api, "/features", {"key": "tokens", "name": "Tokens", "meterSlug": "tokens"})
    make(api, "/plans", PLAN)
    addon = str(make(api, "/addons", ADDON)["id"])
    assert api.post("/addons/more/publish").is_success
    make(api, "/plans/pro/addons", {"addonId": addon, **ASSIGNED})
    assert api.post("/plans/pro/publish").json()["status"] == "active"
    return addon


def make(api: TestClient, path: str, body: Any) -> Body:
    made = api.post(path, json=body)
    assert made.status_code == 201, made.text
    found: Body = made.json()
    return found


def subscribed(api: TestClient, key: str, **sent: Any) -> Body:
    make(api, "/customers", {"key": key, "name": key})
    return make(api, "/subscriptions", {"customerKey": key, **PAID, **sent})


def follows(api: TestClient, decider: ControlStage, customer: str) -> list[Body]:
    """The entitlements of a customer, once control has decided what was sent before."""
    make(api, "/customers", {"name": "later"})
    found: list[Body] = api.get(
        f"/customers/{customer}/entitlements", params={"includeDeleted": True}
    ).json()["items"]
    return found


def test_a_subscription_is_made_read_and_listed(api: TestClient, decider: ControlStage) -> None:
    make(api, "/customers", {"key": "ann", "name": "Ann", "timeZone": "Europe/Berlin"})
    sent = {
        "customerKey": "ann",
        **PAID,
        "name": "Ours",
        "metadata": {"a": "b"},
        "alignment": {"billablesMustAlign": True},
    }
    made = make(api, "/subscriptions", sent)
    assert (made["status"], made["plan"]["key"], made["name"], made["metadata"]) == (
        "active",
        "pro",
        "Ours",
        {"a": "b"},
    )
    follows(api, decider, "ann")
    read = api.get(f"/subscriptions/{made['id']}").json()
    (phase,) = read["phases"]
    assert {one["key"] for one in phase["items"]} == {"fee", "tokens"}
    tokens = next(one for one in phase["items"] if one["key"] == "tokens")
    assert tokens["included"]["feature"]["key"] == "tokens"
    assert tokens["included"]["entitlement"]["issueAfterReset"] == 1000
    assert tokens["included"]["entitlement"]["annotations"]["subscription.id"] == made["id"]
    assert (
        read["alignment"]["billablesMustAlign"] and "from" in read["alignment"]["currentAlignedBillingPeriod"]
    )
    before = api.get(f"/subscriptions/{made['id']}", params={"at": "2020-01-01T00:00:00Z"}).json()
    assert (before["status"], before["phases"][0]["items"]) == ("active", [])
    listed = api.get("/customers/ann/subscriptions").json()
    assert listed == {"totalCount": 1, "page": 1, "pageSize": 100, "items": [made]}


def test_a_list_is_selected_and_ordered(api: TestClient) -> None:
    first = subscribed(api, "bea")["id"]
    assert (
        api.post(f"/subscriptions/{first}/cancel", json={"timing": "next_billing_cycle"}).json()["status"]
        == "canceled"
    )
    then = {"customerKey": "bea", "timing": "2999-01-01T00:00:00Z", "customPlan": CUSTOM}
    second = make(api, "/subscriptions", then)["id"]

    def listed(query: str) -> list[str]:
        answer = api.get(f"/customers/bea/subscriptions?{query}")
        assert answer.status_code == 200, answer.text
        return [one["id"] for one in answer.json()["items"]]

    assert (
        listed("")
        == listed("orderBy=activeTo")
        == listed("status=canceled&status=scheduled")
        == [first, second]
    )
    assert listed("order=DESC") == [second, first]
    assert listed("status=scheduled") == [second] and listed("pageSize=1&page=2") == [second]
    assert api.delete(f"/subscriptions/{second}").status_code == 204
    assert listed("") == [first]
    assert "deletedAt" in api.get(f"/subscriptions/{second}").json()
    for wrong in ("status=zz", "orderBy=name", "zz=1"):
        assert api.get(f"/customers/bea/subscriptions?{wrong}").status_code == 400


def test_two_at_once_give_one_and_a_conflict(api: TestClient) -> None:
    make(api, "/customers", {"key": "cy", "name": "Cy"})
    with ThreadPoolExecutor(4) as pool:
        answers = list(
            pool.map(lambda _: api.post("/subscriptions", json={"customerKey": "cy", **PAID}), range(4))
        )
    assert sorted(one.status_code for one in answers) == [201, 409, 409, 409]
    reason = "only_single_subscription_allowed_per_customer_at_a_time"
    assert {one.json()["reason"] for one in answers if one.status_code == 409} == {reason}
    assert api.get("/customers/cy/subscriptions").json()["totalCount"] == 1


def test_a_request_that_is_sent_again_is_done_once(api: TestClient) -> None:
    make(api, "/customers", {"key": "dot", "name": "Dot"})
    body, header = {"customerKey": "dot", **PAID}, {"idempotency-key": "dot-1"}
    one, again = (api.post("/subscriptions", json=body, headers=header) for _ in range(2))
    assert one.status_code == again.status_code == 201 and one.json() == again.json()


def test_it_is_edited_changed_migrated_and_restored(api: TestClient) -> None:
    first = make(api, "/customers", {"key": "eve", "name": "Eve"}) and make(
        api, "/subscriptions", {"customerKey": "eve", "plan": {"key": "pro"}}
    )
    before = api.get(f"/subscriptions/{first['id']}").json()["phases"][0]["activeTo"]
    assert api.patch(f"/subscriptions/{first['id']}", json=EDIT).json()["id"] == first["id"]
    assert api.get(f"/subscriptions/{first['id']}").json()["phases"][0]["activeTo"] > before
    change = {"timing": "next_billing_cycle", "customPlan": CUSTOM}
    changed = api.post(f"/subscriptions/{first['id']}/change", json=change).json()
    assert (changed["current"]["status"], changed["next"]["status"]) == ("canceled", "scheduled")
    assert changed["current"]["activeTo"] == changed["next"]["activeFrom"]
    assert changed["next"]["billingAnchor"] == first["billingAnchor"]
    undone = api.post(f"/subscriptions/{first['id']}/unschedule-cancelation")
    assert undone.status_code == 409
    restored = api.post(f"/subscriptions/{first['id']}/restore").json()
    assert (restored["status"], "activeTo" in restored) == ("active", False)
    assert (
        api.post(f"/subscriptions/{first['id']}/migrate")
        .json()["detail"]
        .endswith("at version 1 of its plan")
    )
    canceled = api.post(f"/subscriptions/{first['id']}/cancel", json={"timing": "next_billing_cycle"}).json()
    assert canceled["activeTo"] == changed["current"]["activeTo"]
    undone = api.post(f"/subscriptions/{first['id']}/unschedule-cancelation").json()
    assert "activeTo" not in undone
    ended = api.post(f"/subscriptions/{first['id']}/cancel").json()
    assert ended["status"] == "inactive"


def test_an_add_on_is_bought_changed_and_ended(api: TestClient, decider: ControlStage, addon_id: str) -> None:
    id = subscribed(api, "fay")["id"]
    path = f"/subscriptions/{id}/addons"
    body = {"addon": {"id": addon_id}, "quantity": 2, "timing": "immediate", "name": "More"}
    made = make(api, path, body)
    assert (made["quantity"], made["addon"]["key"], len(made["rateCards"])) == (2, "more", 2)
    assert made["rateCards"][0]["rateCard"]["entitlementTemplate"]["issueAfterReset"] == 500
    assert api.post(path, json=body).status_code == 409
    found = {
        one["featureKey"]: one.get("issueAfterReset")
        for one in follows(api, decider, "fay")
        if "activeTo" not in one
    }
    assert found == {"tokens": 2000}
    one = f"{path}/{made['id']}"
    later = {"quantity": 3, "timing": "next_billing_cycle", "description": "d", "metadata": {"a": "b"}}
    changed = api.patch(one, json=later).json()
    assert ([part["quantity"] for part in changed["timeline"]], changed["description"]) == ([2, 3], "d")
    assert api.get(f"{path}/{addon_id}").json()["id"] == api.get(path).json()[0]["id"] == made["id"]
    assert (
        api.patch(one, json={"quantity": 11}).json()["detail"]
        == "the quantity of the add-on more must be at most 10"
    )
    assert api.get(f"{path}/none").status_code == 404
    assert api.patch(f"/subscriptions/{id}", json=EDIT).json()["reason"] == "bad-subscription-edit"
    assert api.patch(one, json={"quantity": 0}).json()["quantity"] == 0


def test_an_add_on_that_never_was_in_force_is_shown_as_none(api: TestClient, addon_id: str) -> None:
    path = f"/subscriptions/{subscribed(api, 'gus')['id']}/addons"
    body = {"addon": {"id": addon_id}, "quantity": 2, "timing": "2999-01-01T00:00:00Z", "name": "More"}
    made = make(api, path, body)
    assert made["quantity"] == 0
    gone = api.patch(f"{path}/{made['id']}", json={"quantity": 0}).json()
    assert (gone["id"], gone["quantity"]) == (made["id"], 0) and api.get(path).json() == []


def test_a_client_does_not_change_a_managed_entitlement(api: TestClient, decider: ControlStage) -> None:
    subscribed(api, "hal")
    (one,) = follows(api, decider, "hal")
    answer = api.delete(f"/customers/hal/entitlements/{one['id']}")
    assert (answer.status_code, answer.json()["reason"]) == (403, "entitlement_managed_by_subscription")


def test_a_customer_with_a_subscription_is_not_deleted(api: TestClient) -> None:
    id = subscribed(api, "ian")["id"]
    answer = api.delete("/customers/ian")
    assert (answer.status_code, answer.json()["reason"]) == (
        409,
        "deleting_customer_with_active_subscriptions",
    )
    api.post(f"/subscriptions/{id}/cancel")
    customer = api.get("/customers/ian").json()["id"]
    assert api.delete("/customers/ian").status_code == 204
    assert api.get(f"/customers/{customer}/subscriptions").json()["totalCount"] == 1
    answer = api.post("/subscriptions", json={"customerId": customer, **PAID})
    assert (answer.status_code, answer.json()["reason"]) == (400, "customer_deleted")


REFUSED: list[tuple[str, str, Any, int, str]] = [
    ("POST", "", {"plan": {"key": "pro"}}, 400, "bad-subscription"),
    ("POST", "", {"customerKey": 7, **PAID}, 400, "bad-subscription"),
    ("POST", "", {"customerKey": "none", **PAID}, 404, "not-found"),
    ("POST", "", {"customerKey": "jo", "plan": {"key": "none"}}, 404, "not-found"),
    ("POST", "", {"customerKey": "jo", "customPlan": {**CUSTOM, "phases": []}}, 400, "bad-subscription"),
    ("GET", "/none", None, 404, "not-found"),
    ("GET", "/{id}?at=zz", None, 400, "bad-query"),
    ("PATCH", "/none", EDIT, 404, "not-found"),
    ("PATCH", "/{id}", {**EDIT, "zz": 1}, 400, "bad-subscription-edit"),
    ("DELETE", "/{id}", None, 403, "subscription_transition_not_allowed"),
    ("POST", "/{id}/cancel", {"timing": "2999-01-01T00:00:01Z"}, 400, "bad-subscription"),
    ("POST", "/{id}/restore", None, 403, "subscription_transition_not_allowed"),
    ("POST", "/{id}/change", {"customPlan": CUSTOM}, 400, "bad-subscription"),
    ("POST", "/{id}/addons", {"addon": {"id": "none"}, "quantity": 1}, 404, "not-found"),
]


def test_what_is_refused(api: TestClient) -> None:
    id = subscribed(api, "jo")["id"]
    for method, path, body, status, reason in REFUSED:
        answer = api.request(method, f"/subscriptions{path.replace('{id}', id)}", json=body)
        assert (answer.status_code, answer.json()["reason"]) == (status, reason), (path, answer.text)


def test_an_item_that_is_added_begins_at_once(api: TestClient) -> None:
    id = subscribed(api, "kim")["id"]
    card = {**TOKENS, "price": {"type": "unit", "amount": "0.02"}}
    edit = {
        "customizations": [{"op": "add_item", "phaseKey": "paid", "rateCard": card}],
        "timing": "next_billing_cycle",
    }
    assert api.patch(f"/subscriptions/{id}", json=edit).is_success
    (phase,) = api.get(f"/subscriptions/{id}").json()["phases"]
    assert [one["price"]["amount"] for one in phase["itemTimelines"]["tokens"]] == ["0.01", "0.02"]
