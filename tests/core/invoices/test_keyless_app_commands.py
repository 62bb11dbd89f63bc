"""Apps that need no key: what is installed, which profile comes with it, and when an app may go."""

from __future__ import annotations

from pipeline.core.billing.apps_now import sandbox_of
from pipeline.core.billing.marketplace import INVOICING
from pipeline.core.invoices.profiles_now import ProfilesNow, sandbox_profile_of
from tests.fixtures.control_log import AT, Log


def now(log: Log) -> ProfilesNow:
    return ProfilesNow(log.catalog, "default")


def test_custom_invoicing_comes_with_a_default_profile_where_a_sandbox_had_it() -> None:
    log = Log()
    made = log.do("app.add", {"type": "custom_invoicing", "name": "Ours"})
    app = made["app"]
    assert {name: app[name] for name in app if name != "listing"} == {
        "id": app["id"], "type": "custom_invoicing", "name": "Ours", "status": "ready", "createdAt": AT,
        "updatedAt": AT, "enableDraftSyncHook": False, "enableIssuingSyncHook": False,
    }  # fmt: skip
    assert app["listing"]["type"] == "custom_invoicing"
    assert made["defaultForCapabilityTypes"] == list(INVOICING)
    found = now(log).default()
    assert (found.name, found.apps.payment) == ("Ours Billing Profile", app["id"])
    second = log.do("app.add", {"type": "custom_invoicing"})
    assert second["defaultForCapabilityTypes"] == [] and now(log).default() == found
    assert len(now(log).profiles) == 3


def test_a_sandbox_is_never_made_the_default_by_its_installation() -> None:
    log = Log()
    made = log.do("app.add", {"type": "sandbox"})
    assert (made["app"]["name"], made["defaultForCapabilityTypes"]) == ("Sandbox", [])
    assert now(log).default() == sandbox_profile_of("default")


def test_without_a_profile() -> None:
    log = Log()
    log.do("app.add", {"type": "custom_invoicing", "createBillingProfile": False})
    assert list(now(log).profiles) == [sandbox_profile_of("default").id]


def test_a_type_that_needs_a_key_is_refused() -> None:
    for type in ("stripe", "other", None):
        assert Log().refused("app.add", {"type": type})[0] == "bad-app"


def test_an_app_cannot_go_while_a_profile_has_it() -> None:
    log = Log()
    reason, detail = log.refused("app.uninstall", {"id": sandbox_of("default").id})
    profile = sandbox_profile_of("default").id
    assert (reason, detail.split(":")[0]) == (
        "app-conflict", f"the billing profile {profile} has the app {sandbox_of('default').id}",
    )  # fmt: skip
    log.do("app.add", {"type": "custom_invoicing"})
    log.do("billing-profile.delete", {"id": profile})
    log.do("app.uninstall", {"id": sandbox_of("default").id})
    assert [one.type for one in now(log).apps.installed()] == ["custom_invoicing"]
