"""Commands about billing profiles and overrides: what each writes, and what is refused with which code."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.core.billing.apps_now import sandbox_of
from pipeline.core.invoices import profile_commands
from pipeline.core.invoices.profile_json import profile_json
from pipeline.core.invoices.profiles_now import ProfilesNow, sandbox_profile_of
from tests.fixtures.billing_bodies import PLAIN, PROFILE, of_app
from tests.fixtures.control_log import AT, AT_MS, Log

SANDBOX, FIRST = sandbox_of("default").id, sandbox_profile_of("default").id
LATER = "2026-01-01T00:01:00.000Z"
STRIPE = {
    "apiKey": "sealed:v1:01234567:AAAA",
    "checked": {"stripeAccountId": "acct_1", "livemode": False, "maskedApiKey": "sk_test_***abc"},
}


def created(log: Log, **changed: object) -> Any:
    return log.do("billing-profile.create", {**PLAIN, "apps": of_app(SANDBOX), **changed})


def shown(log: Log, id: str) -> dict[str, object]:
    return profile_json(ProfilesNow(log.catalog, "default").profiles[id])


def test_a_profile_is_shown_with_every_member_that_was_sent() -> None:
    made = log_with_profile()[1]
    workflow = {**PROFILE["workflow"], "collection": made["workflow"]["collection"]}
    assert made == {
        **PROFILE, "workflow": workflow, "id": made["id"], "createdAt": AT, "updatedAt": AT,
        "apps": {name: {"id": SANDBOX} for name in ("tax", "invoicing", "payment")},
    }  # fmt: skip
    period = made["workflow"]["collection"]["alignment"]["recurringPeriod"]
    assert period == {"interval": "P1M", "anchor": "2026-01-01T00:00:00.000Z"}


def log_with_profile() -> tuple[Log, Any]:
    log = Log()
    return log, log.do("billing-profile.create", {**PROFILE, "apps": of_app(SANDBOX)})


def test_a_new_default_takes_it_from_the_one_before_also_from_that_which_no_command_made() -> None:
    log, made = log_with_profile()
    assert (made["default"], shown(log, FIRST)["default"]) == (True, False)
    assert log.body("billing-profile", FIRST)["updatedAt"] == AT
    second = created(log, default=True)
    assert (shown(log, made["id"])["default"], second["default"]) == (False, True)


def test_a_profile_that_is_sent_back_as_it_was_read_changes_nothing() -> None:
    log, made = log_with_profile()
    for read in (made, shown(log, FIRST) | {"default": False}):
        before = log.revision
        assert log.do("billing-profile.update", read, at_ms=AT_MS + 60_000) == read
        assert log.revision == before


def test_the_profile_from_the_beginning_can_be_changed() -> None:
    log = Log()
    changed = log.do(
        "billing-profile.update", {**shown(log, FIRST), "name": "Ours", "timeZone": "Asia/Tokyo"},
        at_ms=AT_MS + 60_000,
    )  # fmt: skip
    assert (changed["name"], changed["timeZone"], changed["updatedAt"]) == ("Ours", "Asia/Tokyo", LATER)
    assert shown(log, FIRST) == changed


def test_the_apps_of_a_profile_stay() -> None:
    log, made = log_with_profile()
    other = log.do("app.add", {"type": "sandbox", "createBillingProfile": False})["app"]["id"]
    apps = {name: {"id": other} for name in ("tax", "invoicing", "payment")}
    reason, detail = log.refused("billing-profile.update", {**made, "apps": apps})
    assert reason == "bad-billing-profile" and "apps is written by the server" in detail


@pytest.mark.parametrize(
    ("apps", "sentence"),
    [
        ("01X", "billing-profile apps names no installed app: 01X"),
        ("uninstalled", "billing-profile apps names no installed app: "),
    ],
)  # fmt: skip
def test_a_profile_needs_an_app_that_is_installed(apps: str, sentence: str) -> None:
    log = Log()
    ids = {
        "uninstalled": log.do("app.add", {"type": "sandbox", "createBillingProfile": False})["app"]["id"],
    }  # fmt: skip
    log.do("app.uninstall", {"id": ids["uninstalled"]})
    sent = {**PLAIN, "apps": of_app(ids.get(apps, apps))}
    reason, detail = log.refused("billing-profile.create", sent)
    assert reason == "bad-billing-profile" and sentence in detail


def test_a_namespace_has_a_bounded_number_of_profiles() -> None:
    log = Log()
    made = [created(log)["id"] for _ in range(profile_commands.MOST_PROFILES - 1)]
    sent = {**PLAIN, "apps": of_app(SANDBOX)}
    assert log.refused("billing-profile.create", sent)[0] == "bad-billing-profile"
    log.do("billing-profile.delete", {"id": made[0]})
    created(log)


def test_codes_of_profiles() -> None:
    log, made = log_with_profile()
    customer = log.do("customer.create", {"key": "acme", "name": "Acme"})["id"]
    used = created(log)["id"]
    log.do("billing-override.upsert", {"customerId": customer, "billingProfileId": used})
    gone = created(log)["id"]
    log.do("billing-profile.delete", {"id": gone})
    other = log.do("app.add", {"type": "sandbox", "createBillingProfile": False})["app"]["id"]
    for kind, body, code in (
        ("delete", {"id": "01X"}, "profile_not_found"),
        ("update", {**PLAIN, "id": "01X"}, "profile_not_found"),
        ("delete", {"id": gone}, "profile_already_deleted"),
        ("update", {**PLAIN, "id": gone}, "profile_already_deleted"),
        ("delete", {"id": made["id"]}, "default_profile_cannot_be_deleted"),
        ("update", {**made, "default": False}, "default_profile_cannot_be_unset"),
        ("delete", {"id": used}, "profile_referenced"),
        ("create", {**PLAIN, "apps": {**of_app(SANDBOX), "tax": other}}, "profile_apps_differ"),
    ):
        assert log.refused(f"billing-profile.{kind}", body)[0] == code


def test_codes_of_overrides() -> None:
    log = Log()
    acme, gone = (log.do("customer.create", {"key": key, "name": key})["id"] for key in ("acme", "gone"))
    log.do("customer.delete", {"id": gone})
    for kind, body, code in (
        ("upsert", {"customerId": "01X"}, "customer_not_found"),
        ("upsert", {"customerId": gone}, "customer_deleted"),
        ("upsert", {"customerId": acme, "billingProfileId": "01X"}, "profile_not_found"),
        ("delete", {"customerId": "01X"}, "customer_not_found"),
        ("delete", {"customerId": acme}, "customer_override_not_found"),
    ):
        assert log.refused(f"billing-override.{kind}", body)[0] == code
    log.do("billing-override.upsert", {"customerId": acme})
    log.do("billing-override.delete", {"customerId": acme})
    assert log.refused("billing-override.delete", {"customerId": acme})[0] == "customer_override_deleted"


def test_an_override_is_replaced_and_the_same_again_changes_nothing() -> None:
    log = Log()
    customer = log.do("customer.create", {"key": "acme", "name": "Acme"})["id"]
    first = log.do("billing-override.upsert", {"customerId": "acme"})
    assert first == {"customerId": customer, "createdAt": AT, "updatedAt": AT}
    before = log.revision
    assert log.do("billing-override.upsert", {"customerId": customer}, at_ms=AT_MS + 60_000) == first
    assert log.revision == before
    asked = {"customerId": customer, "billingProfileId": FIRST}
    assert log.do("billing-override.upsert", asked, at_ms=AT_MS + 60_000) == {
        **first, "billingProfileId": FIRST, "updatedAt": LATER,
    }  # fmt: skip
