"""Plans: their versions, from which status each command is allowed, and what was sent comes back."""

from __future__ import annotations

import msgspec
import pytest

from pipeline.core.catalog.plan import Plan
from tests.fixtures.catalog_bodies import ADDON, ASSIGNED, FULL_PLAN, PLAN, Body, log
from tests.fixtures.control_log import AT, AT_MS, Log

HOUR_MS = 3_600_000
LATER = "2026-01-01T01:00:00.000Z"


def published(have: Log) -> Body:
    have.do("plan.create", PLAN)
    made: Body = have.do("plan.publish", {"id": "pro"})
    return made


def status(have: Log, id: str, at_ms: int = AT_MS) -> str:
    return Plan.read(have.body("plan", id)).status_at(at_ms)


def test_what_was_sent_comes_back() -> None:
    have = log()
    made = have.do("plan.create", FULL_PLAN)
    feature = have.catalog.one("default", "feature/key", "tokens")
    card = made["phases"][1]["rateCards"][1]
    assert card.pop("featureId") == feature
    assert (card["entitlementTemplate"].pop("issueAfterReset"), card["discounts"].pop("percentage")) == (
        "1000.5",
        {"percentage": "12.5"},
    )
    sent = msgspec.json.decode(msgspec.json.encode(FULL_PLAN))
    card = sent["phases"][1]["rateCards"][1]
    del card["featureId"], card["entitlementTemplate"]["issueAfterReset"], card["discounts"]["percentage"]
    times = {"createdAt": AT, "updatedAt": AT}
    assert made == {
        **sent, "id": made["id"], "version": 1, "status": "draft", "validationErrors": [], **times,
    }  # fmt: skip


def test_what_is_left_out_has_its_default() -> None:
    made = log().do("plan.create", {name: value for name, value in PLAN.items() if name != "currency"})
    assert (made["currency"], made["settlementMode"]) == ("USD", "credit_then_invoice")
    assert made["proRatingConfig"] == {"enabled": True, "mode": "prorate_prices"}


def test_a_published_version_ends_when_the_next_is_published() -> None:
    have = log()
    first = published(have)
    assert (first["version"], first["status"], first["effectiveFrom"]) == (1, "active", AT)
    draft = have.do("plan.next", {"id": first["id"]}, at_ms=AT_MS + 1)
    assert (draft["version"], draft["status"], draft["phases"]) == (2, "draft", first["phases"])
    assert "effectiveFrom" not in draft
    second = have.do("plan.publish", {"id": "pro"}, at_ms=AT_MS + HOUR_MS)
    assert (second["id"], second["status"], second["effectiveFrom"]) == (draft["id"], "active", LATER)
    old = have.body("plan", first["id"])
    assert (old["effectiveFrom"], old["effectiveTo"]) == (AT, LATER)
    assert status(have, first["id"], AT_MS + HOUR_MS) == "archived"


def test_of_any_order_of_publishing_one_version_is_active() -> None:
    have = log()
    ids = [published(have)["id"]]
    for number in range(1, 4):
        ids.append(have.do("plan.next", {"id": "pro"}, at_ms=AT_MS + number)["id"])
        have.do("plan.publish", {"id": ids[-1]}, at_ms=AT_MS + number)
        have.refused("plan.publish", {"id": ids[-1]}, at_ms=AT_MS + number)  # a second request for the same
        found = [status(have, id, AT_MS + number) for id in ids]
        assert found == ["archived"] * number + ["active"]


def test_a_clock_that_is_behind_does_not_schedule_what_was_published() -> None:
    have = log()
    assert status(have, published(have)["id"], AT_MS - HOUR_MS) == "active"


def test_a_version_that_begins_later_is_scheduled() -> None:
    plan = Plan.read(log().do("plan.create", PLAN)).changed(effective_from=LATER)
    assert [plan.status_at(AT_MS + passed_ms) for passed_ms in (0, HOUR_MS - 1, HOUR_MS)] == [
        "scheduled", "scheduled", "active",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("command", "at", "allowed"),
    [
        ("update", "draft", True), ("update", "active", False), ("update", "archived", False),
        ("publish", "draft", True), ("publish", "active", False), ("publish", "archived", False),
        ("archive", "draft", False), ("archive", "active", True), ("archive", "archived", False),
        ("delete", "draft", True), ("delete", "active", False), ("delete", "archived", True),
        ("next", "draft", False), ("next", "active", True), ("next", "archived", True),
    ],
)  # fmt: skip
def test_from_which_status_a_command_is_allowed(command: str, at: str, allowed: bool) -> None:
    have = log()
    id = have.do("plan.create", PLAN)["id"]
    for step in {"draft": (), "active": ("publish",), "archived": ("publish", "archive")}[at]:
        have.do(f"plan.{step}", {"id": id})
    body = {"id": id, **{name: value for name, value in PLAN.items() if command == "update"}}
    if allowed:
        have.do(f"plan.{command}", body)
        return
    reason, detail = have.refused(f"plan.{command}", body)
    assert reason == "bad-plan"
    assert "only a single draft version is allowed for Plan" in detail or f" is {at}, but must be " in detail


def test_a_key_has_one_draft() -> None:
    have = log()
    have.do("plan.create", PLAN)
    reason, detail = have.refused("plan.create", PLAN)
    assert (reason, detail) == (
        "bad-plan",
        "only a single draft version is allowed for Plan with the key pro",
    )


def test_the_number_of_a_deleted_version_is_not_used_again() -> None:
    have = log()
    first = have.do("plan.create", PLAN)
    have.do("plan.delete", {"id": "pro"})
    assert have.body("plan", first["id"])["deletedAt"] == AT
    assert have.do("plan.create", PLAN)["version"] == 2
    for command in ("update", "publish", "archive", "delete", "next"):
        assert have.refused(f"plan.{command}", {"id": first["id"]})[0] == "not-found"


def test_an_update_replaces_all_but_key_currency_and_version() -> None:
    have = log()
    first = have.do("plan.create", FULL_PLAN)
    body = {"name": "New", "billingCadence": "P1Y", "phases": PLAN["phases"]}
    new = have.do("plan.update", {"id": "pro", **body}, at_ms=AT_MS + HOUR_MS)
    kept = {name: first[name] for name in ("id", "key", "currency", "version", "createdAt")}
    assert {name: new[name] for name in kept} == kept
    assert (new["name"], new["billingCadence"], new["updatedAt"]) == ("New", "P1Y", LATER)
    assert "description" not in new and new["settlementMode"] == "credit_then_invoice"
    revision = have.revision
    assert have.do("plan.update", {"id": "pro", **body}, at_ms=AT_MS + 2 * HOUR_MS) == new
    assert have.revision == revision


def test_what_was_read_can_be_sent_back_but_for_another_currency() -> None:
    have = log()
    read = have.do("plan.create", FULL_PLAN)
    assert have.do("plan.update", {**read, "name": "New"})["name"] == "New"
    reason, detail = have.refused("plan.update", {**read, "updatedAt": None, "currency": "USD"})
    assert (reason, "currency is written by the server" in detail) == ("bad-plan", True)


def test_a_deleted_plan_leaves_no_assignment() -> None:
    have = log()
    have.do("plan.create", PLAN)
    addon = have.do("addon.create", ADDON)
    have.do("plan-addon.create", {"planId": "pro", "addonId": addon["id"], **ASSIGNED})
    have.do("plan.delete", {"id": "pro"})
    have.do("addon.delete", {"id": addon["id"]})


def test_the_next_draft_of_a_plan_whose_feature_was_archived_can_be_corrected() -> None:
    have = log()
    published(have)
    have.do("feature.archive", {"id": "tokens"})
    draft = have.do("plan.next", {"id": "pro"})
    assert [one["code"] for one in draft["validationErrors"]] == ["rate_card_feature_archived"]
    assert have.refused("plan.publish", {"id": "pro"})[0] == "bad-plan"
    fixed = {**draft, "phases": [{**PLAN["phases"][1], "rateCards": PLAN["phases"][1]["rateCards"][:1]}]}
    assert have.do("plan.update", fixed)["validationErrors"] == []
    assert have.do("plan.publish", {"id": "pro"})["version"] == 2


@pytest.mark.parametrize(
    ("wrong", "detail"),
    [
        ({"key": "PRO"}, "plan key must have 1 to 64 characters"),
        ({"key": "01aryz6s41tsv4rrffq69g5fav"}, "cannot be a valid ULID"),
        ({"billingCadence": None}, "plan billingCadence is required"),
        ({"phases": None}, "plan phases is required"),
        ({"phases": [{}] * 51}, "plan phases must be a list of 0 to 50 objects"),
        ({"settlementMode": "later"}, "plan settlementMode must be one of credit_then_invoice, credit_only"),
        ({"proRatingConfig": {"mode": "x"}}, "plan proRatingConfig mode must be one of prorate_prices"),
        (
            {"phases": [{"key": "a", "name": "A", "duration": "soon", "rateCards": []}]},
            "phases[0] duration must be",
        ),
        ({"status": "active"}, "plan status is written by the server"),
        ({"colour": "red"}, "unknown member"),
    ],
)
def test_what_has_another_form_is_refused(wrong: Body, detail: str) -> None:
    reason, sentence = log().refused("plan.create", {**PLAN, **wrong})
    assert reason == "bad-plan" and detail in sentence


def test_a_plan_of_another_namespace_is_not_found() -> None:
    have = log()
    id = have.do("plan.create", PLAN)["id"]
    assert have.refused("plan.publish", {"id": id}, "other")[0] == "not-found"
