"""Add-ons of plans: assigned once, found by three names, and free of issues once the plan is sold."""

from __future__ import annotations

import pytest

from tests.fixtures.catalog_bodies import ADDON, ASSIGNED, PLAN, Body, log
from tests.fixtures.control_log import AT, AT_MS, Log

LATER_MS = AT_MS + 3_600_000


def both() -> tuple[Log, str, str]:
    """A log with a plan and an add-on, which is sold."""
    have = log()
    plan, addon = have.do("plan.create", PLAN)["id"], have.do("addon.create", ADDON)["id"]
    have.do("addon.publish", {"id": addon})
    return have, plan, addon


def assigned(have: Log, **members: object) -> Body:
    made: Body = have.do("plan-addon.create", {"planId": "pro", "addonId": "more", **ASSIGNED, **members})
    return made


def test_what_was_sent_comes_back_with_the_addon() -> None:
    have, _, addon = both()
    made = assigned(have)
    assert made.pop("addon")["id"] == addon
    assert made == {**ASSIGNED, "id": made["id"], "validationErrors": [], "createdAt": AT, "updatedAt": AT}


def test_a_key_means_the_active_version_of_the_addon() -> None:
    have, _, addon = both()
    have.do("addon.create", ADDON)  # the next version
    assert assigned(have)["addon"]["id"] == addon


def test_an_addon_is_assigned_once() -> None:
    have, _, _ = both()
    assigned(have)
    body = {"planId": "pro", "addonId": "more", **ASSIGNED}
    assert have.refused("plan-addon.create", body)[0] == "plan-addon-conflict"
    have.do("plan-addon.delete", {"planId": "pro", "id": "more"})
    assigned(have)


@pytest.mark.parametrize("name", ["own", "addon", "key"])
def test_it_is_found_by_its_id_and_by_the_id_and_key_of_the_addon(name: str) -> None:
    have, plan, addon = both()
    made = assigned(have)
    id = {"own": made["id"], "addon": addon, "key": "more"}[name]
    body = {"planId": plan, "id": id, "fromPlanPhase": "trial"}
    new = have.do("plan-addon.update", body, at_ms=LATER_MS)
    assert (new["fromPlanPhase"], "maxQuantity" in new, "metadata" in new) == ("trial", False, False)
    assert new["updatedAt"] > made["updatedAt"] == new["createdAt"]
    revision = have.revision
    assert have.do("plan-addon.update", body) == new and have.revision == revision
    have.do("plan-addon.delete", {"planId": plan, "id": id})
    assert have.refused("plan-addon.delete", {"planId": plan, "id": id})[0] == "not-found"


def test_what_was_read_can_be_sent_back() -> None:
    have, _, _ = both()
    made = assigned(have)
    body = {**made, "planId": "pro", "maxQuantity": 3}
    assert have.do("plan-addon.update", body)["maxQuantity"] == 3
    numbers = {**made["addon"], "rateCards": []}  # as answers show it, amounts may be JSON numbers
    assert have.do("plan-addon.update", {**body, "updatedAt": None, "addon": numbers})["maxQuantity"] == 3
    other = {**body, "updatedAt": None, "addon": {"id": "other"}}
    assert have.refused("plan-addon.update", other)[0] == "bad-plan-addon"


def test_a_plan_that_is_sold_takes_no_addon_with_an_issue() -> None:
    have, _, _ = both()
    have.do("plan.publish", {"id": "pro"})
    wrong = {"planId": "pro", "addonId": "more", **ASSIGNED, "fromPlanPhase": "later"}
    assert have.refused("plan-addon.create", wrong)[0] == "bad-plan-addon"
    facts = have.replies[-1].body
    assert facts is not None and facts["validationErrors"][0]["code"] == "plan_addon_unknown_plan_phase_key"  # type: ignore[index]
    assigned(have)
    have.do("plan.archive", {"id": "pro"})
    assert have.refused(
        "plan-addon.update", {**wrong, "id": "more", "addonId": None, **ASSIGNED, "maxQuantity": 2}
    )[0] == ("bad-plan-addon")


def test_a_plan_has_at_most_a_hundred_addons() -> None:
    have, _, _ = both()
    for number in range(100):
        key = f"a{number}"
        addon = {**ADDON, "key": key, "rateCards": []}
        have.do("addon.create", addon)
        have.do("plan-addon.create", {"planId": "pro", "addonId": key, **ASSIGNED})
    reason, detail = have.refused("plan-addon.create", {"planId": "pro", "addonId": "more", **ASSIGNED})
    assert (reason, detail) == ("bad-plan-addon", "a plan must have at most 100 add-ons")


@pytest.mark.parametrize(
    ("wrong", "reason", "detail"),
    [
        ({"addonId": None}, "bad-plan-addon", "plan-addon addonId is required"),
        ({"addonId": "nothing"}, "not-found", "There is no addon with the id or key nothing."),
        ({"planId": "nothing"}, "not-found", "There is no plan with the id or key nothing."),
        ({"fromPlanPhase": None}, "bad-plan-addon", "plan-addon fromPlanPhase is required"),
        ({"maxQuantity": 1.5}, "bad-plan-addon", "must be an integer"),
        ({"addon": {}}, "bad-plan-addon", "plan-addon addon is written by the server"),
        ({"colour": "red"}, "bad-plan-addon", "unknown member"),
    ],
)
def test_what_is_refused(wrong: Body, reason: str, detail: str) -> None:
    have, _, _ = both()
    found, sentence = have.refused(
        "plan-addon.create", {"planId": "pro", "addonId": "more", **ASSIGNED, **wrong}
    )
    assert found == reason and detail in sentence
