"""Add-ons: their versions, from which status each command is allowed, and what was sent comes back."""

from __future__ import annotations

import pytest

from pipeline.core.catalog.addon import Addon
from tests.fixtures.catalog_bodies import ADDON, ASSIGNED, FULL_CARD, PLAN, Body, log
from tests.fixtures.control_log import AT, AT_MS

HOUR_MS = 3_600_000
LATER = "2026-01-01T01:00:00.000Z"


def test_what_was_sent_comes_back() -> None:
    body = {
        **ADDON,
        "description": "d",
        "metadata": {"a": "b"},
        "instanceType": "single",
        "rateCards": [FULL_CARD],
    }
    made = log().do("addon.create", body)
    assert made["rateCards"][0].pop("featureId")
    del made["rateCards"]
    assert made == {
        **{name: value for name, value in body.items() if name != "rateCards"},
        "id": made["id"], "version": 1, "status": "draft", "validationErrors": [], "createdAt": AT, "updatedAt": AT,
    }  # fmt: skip


def test_a_published_version_ends_when_the_next_is_published() -> None:
    have = log()
    first = have.do("addon.create", ADDON)
    assert have.do("addon.publish", {"id": "more"})["status"] == "active"
    second = have.do("addon.create", {**ADDON, "name": "Even more"})
    assert (second["version"], second["status"]) == (2, "draft")
    assert have.do("addon.publish", {"id": "more"}, at_ms=AT_MS + HOUR_MS)["id"] == second["id"]
    assert have.body("addon", first["id"])["effectiveTo"] == LATER
    assert Addon.read(have.body("addon", first["id"])).status_at(AT_MS + HOUR_MS) == "archived"


@pytest.mark.parametrize(
    ("command", "at", "allowed"),
    [
        ("update", "draft", True), ("update", "active", False), ("update", "archived", False),
        ("publish", "draft", True), ("publish", "active", False), ("publish", "archived", False),
        ("archive", "draft", False), ("archive", "active", True), ("archive", "archived", False),
        ("delete", "draft", True), ("delete", "active", False), ("delete", "archived", True),
    ],
)  # fmt: skip
def test_from_which_status_a_command_is_allowed(command: str, at: str, allowed: bool) -> None:
    have = log()
    id = have.do("addon.create", ADDON)["id"]
    for step in {"draft": (), "active": ("publish",), "archived": ("publish", "archive")}[at]:
        have.do(f"addon.{step}", {"id": id})
    body = {"id": id, **(ADDON if command == "update" else {})}
    if allowed:
        have.do(f"addon.{command}", body)
    else:
        assert have.refused(f"addon.{command}", body)[0] == "bad-addon"


def test_an_update_replaces_all_but_key_and_currency() -> None:
    have = log()
    first = have.do("addon.create", ADDON)
    body = {"name": "New", "instanceType": "single", "rateCards": ADDON["rateCards"][:1]}
    new = have.do("addon.update", {"id": "more", **body}, at_ms=AT_MS + HOUR_MS)
    kept = ("id", "key", "currency", "version", "createdAt")
    assert [new[name] for name in kept] == [first[name] for name in kept]
    assert (new["name"], new["instanceType"], new["updatedAt"]) == ("New", "single", LATER)
    revision = have.revision
    assert have.do("addon.update", {"id": "more", **body}) == new and have.revision == revision
    assert have.do("addon.update", {**new, "name": "Newer"})["name"] == "Newer"  # as it was read


def test_an_addon_that_is_assigned_is_not_deleted() -> None:
    have = log()
    plan, addon = have.do("plan.create", PLAN), have.do("addon.create", ADDON)
    have.do("plan-addon.create", {"planId": plan["id"], "addonId": addon["id"], **ASSIGNED})
    reason, detail = have.refused("addon.delete", {"id": "more"})
    assert (reason, plan["id"] in detail) == ("bad-addon", True)
    have.do("plan-addon.delete", {"planId": plan["id"], "id": "more"})
    have.do("addon.delete", {"id": "more"})
    assert have.body("addon", addon["id"])["deletedAt"] == AT


@pytest.mark.parametrize(
    ("wrong", "detail"),
    [
        ({"key": "MORE"}, "addon key must have 1 to 64 characters"),
        ({"rateCards": None}, "addon rateCards is required"),
        ({"rateCards": [{}] * 201}, "addon rateCards must be a list of 0 to 200 objects"),
        ({"version": 7}, "addon version is written by the server"),
        ({"phases": []}, "unknown member"),
    ],
)
def test_what_has_another_form_is_refused(wrong: Body, detail: str) -> None:
    reason, sentence = log().refused("addon.create", {**ADDON, **wrong})
    assert reason == "bad-addon" and detail in sentence
