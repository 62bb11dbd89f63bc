"""Plans, add-ons and add-ons of plans over HTTP: lists, versions, refusals with codes, concurrent publishing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.fixtures.catalog_bodies import ADDON, ASSIGNED, METER, PLAN, Body, with_card
from tests.fixtures.control_stage import ControlStage


@pytest.fixture(scope="module", autouse=True)
def sold(api: TestClient, decider: ControlStage) -> None:
    """The meter and the feature that plans need; the plan `pro`, with an active version and a draft."""
    make(api, "/meters", METER)
    make(api, "/features", {"key": "tokens", "name": "Tokens", "meterSlug": "tokens"})
    make(api, "/plans", PLAN)
    assert api.post("/plans/pro/publish").json()["status"] == "active"
    make(api, "/plans/pro/next", None)
    make(api, "/plans", {**PLAN, "key": "basic", "currency": "USD"})


def make(api: TestClient, path: str, body: Any) -> Body:
    made = api.post(path, json=body)
    assert made.status_code == 201, made.text
    found: Body = made.json()
    return found


def versions(api: TestClient, query: str) -> list[tuple[str, int]]:
    answer = api.get(f"/plans?{query}")
    assert answer.status_code == 200, answer.text
    return [(one["key"], one["version"]) for one in answer.json()["items"]]


def test_a_list_is_selected_ordered_and_cut(api: TestClient) -> None:
    all_of_them = [("pro", 1), ("pro", 2), ("basic", 1)]
    assert versions(api, "") == all_of_them
    assert versions(api, "orderBy=key") == [("basic", 1), ("pro", 1), ("pro", 2)]
    assert versions(api, "orderBy=version&order=DESC&pageSize=1") == [("pro", 2)]
    assert versions(api, "page=2&pageSize=2") == [("basic", 1)]
    assert versions(api, "status=active&status=archived") == [("pro", 1)]
    assert versions(api, "key=basic,pro&currency=EUR") == all_of_them[:2]
    assert versions(api, "keyVersion[pro]=2&keyVersion[basic]=1") == all_of_them[1:]
    assert versions(api, "keyVersion[pro]=1&keyVersion[pro]=2") == all_of_them[:2]
    assert versions(api, "keyVersion[pro]=3") == []


@pytest.mark.parametrize(
    "query", ["orderBy=name", "status=sold", "keyVersion[pro]=x", "keyVersion[pro]=", "keyVersion=1", "zz=1"]
)
def test_a_parameter_that_is_wrong_is_refused(api: TestClient, query: str) -> None:
    answer = api.get(f"/plans?{query}")
    assert (answer.status_code, answer.json()["reason"]) == (400, "bad-query")


def test_a_key_means_the_active_version_unless_the_latest_is_asked_for(api: TestClient) -> None:
    assert api.get("/plans/pro").json()["version"] == 1
    assert api.get("/plans/pro?includeLatest=true").json()["version"] == 2
    assert api.get("/plans/basic").status_code == 404
    basic = api.get("/plans/basic?includeLatest=true").json()
    assert api.get(f"/plans/{basic['id']}").json() == basic


def test_amounts_have_all_their_digits(api: TestClient) -> None:
    digits = "123456789012345678.5"
    card = {
        **PLAN["phases"][1]["rateCards"][1],
        "entitlementTemplate": {"type": "metered", "issueAfterReset": digits},
    }
    make(api, "/plans", {**with_card(card), "key": "digits"})
    answer = api.get("/plans/digits?includeLatest=true")
    assert f'"issueAfterReset":{digits}' in answer.text and '"amount":"0.01"' in answer.text


def test_what_keeps_a_plan_from_being_published_is_listed(api: TestClient) -> None:
    wrong = {**PLAN, "key": "wrong", "phases": [{**PLAN["phases"][1], "rateCards": []}]}
    made = make(api, "/plans", wrong)
    path = "$.phases[?(@.key=='paid')].rateCards"
    assert [(one["code"], one["field"]) for one in made["validationErrors"]] == [
        ("plan_phase_has_no_rate_cards", path)
    ]
    refused = api.post("/plans/wrong/publish")
    assert (refused.status_code, refused.headers["content-type"]) == (400, "application/problem+json")
    listed = refused.json()["extensions"]["validationErrors"]
    assert listed == [{**one, "in": "body", "detail": one["message"]} for one in made["validationErrors"]]


def test_of_concurrent_publishing_one_succeeds_and_one_version_is_active(api: TestClient) -> None:
    make(api, "/plans", {**PLAN, "key": "race"})
    assert api.post("/plans/race/publish").status_code == 200
    draft = make(api, "/plans/race/next", None)["id"]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda _: api.post(f"/plans/{draft}/publish").status_code, range(4)))
    assert sorted(found) == [200, 400, 400, 400]
    assert versions(api, "key=race&status=active") == [("race", 2)]


def test_an_addon_is_assigned_once_and_found_by_three_names(api: TestClient) -> None:
    addon = make(api, "/addons", ADDON)
    make(api, "/plans", {**PLAN, "key": "with_addon"})
    path = "/plans/with_addon/addons"
    made = make(api, path, {"addonId": addon["id"], **ASSIGNED})
    again = api.post(path, json={"addonId": addon["id"], **ASSIGNED})
    assert (again.status_code, again.json()["reason"]) == (409, "plan-addon-conflict")
    for name in (made["id"], addon["id"], "more"):
        assert api.get(f"{path}/{name}").json()["addon"]["id"] == addon["id"]
    assert api.get(f"{path}?key=more&keyVersion[more]=1").json()["totalCount"] == 1
    assert api.delete(f"/addons/{addon['id']}").status_code == 400
    assert api.put(f"{path}/more", json={**made, "maxQuantity": 4}).json()["maxQuantity"] == 4
    assert api.delete(f"{path}/more").status_code == 204
    assert api.get(f"{path}?includeDeleted=true").json()["totalCount"] == 1
    assert api.get(path).json()["totalCount"] == 0
