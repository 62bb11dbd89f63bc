"""Which profile and which app a customer has, also before any command."""

from __future__ import annotations

from pipeline.core.invoices.profiles_now import ProfilesNow, sandbox_profile_of
from tests.fixtures.billing_bodies import PLAIN, of_app
from tests.fixtures.control_log import Log


def now(log: Log) -> ProfilesNow:
    return ProfilesNow(log.catalog, "default")


def test_a_namespace_has_a_default_profile_with_a_sandbox_from_the_beginning() -> None:
    profiles = now(Log())
    found = profiles.in_force("01C")
    assert found == sandbox_profile_of("default") == profiles.default()
    assert found.default and found.name == "openmeter-sandbox" and profiles.app(found).type == "sandbox"
    assert found.id != sandbox_profile_of("other").id


def test_a_customer_has_the_profile_of_its_override_and_otherwise_the_default() -> None:
    log = Log()
    customer, other = (
        log.do("customer.create", {"key": key, "name": key})["id"] for key in ("acme", "other")
    )
    app = log.do("app.add", {"type": "custom_invoicing", "createBillingProfile": False})["app"]
    profile = log.do("billing-profile.create", {**PLAIN, "apps": of_app(app["id"])})["id"]
    log.do("billing-override.upsert", {"customerId": customer, "billingProfileId": profile})
    profiles = now(log)
    assert profiles.in_force(customer).id == profile
    assert profiles.app(profiles.in_force(customer)).type == "custom_invoicing"
    assert profiles.in_force(other).id == sandbox_profile_of("default").id
    assert [one.customer_id for one in profiles.overrides_of(profile)] == [customer]
    log.do("billing-override.delete", {"customerId": customer})
    assert now(log).in_force(customer) == now(log).default()
    assert now(log).overrides_of(profile) == []


def test_another_default_is_in_force_for_all_without_an_override() -> None:
    log = Log()
    made = log.do("app.add", {"type": "custom_invoicing"})
    found = now(log).in_force("01C")
    assert found.apps.invoicing == made["app"]["id"] and found.default
    first = now(log).profiles[sandbox_profile_of("default").id]
    assert not first.default and not first.is_deleted
