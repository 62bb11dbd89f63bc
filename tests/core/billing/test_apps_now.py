"""The sandbox exists in every namespace without a command, until a command changes it."""

from __future__ import annotations

from pipeline.core.billing.apps_now import FROM_THE_BEGINNING, AppsNow, sandbox_of
from tests.fixtures.control_log import Log


def test_each_namespace_has_a_sandbox_of_its_own_from_the_beginning() -> None:
    log = Log()
    (found,) = AppsNow(log.catalog, "default").installed()
    assert found == sandbox_of("default") == AppsNow(log.catalog, "default").find(found.id)
    assert (found.type, found.status, found.created_at) == ("sandbox", "ready", FROM_THE_BEGINNING)
    assert found.id != sandbox_of("other").id
    assert AppsNow(log.catalog, "other").find(found.id) is None


def test_a_change_of_it_is_kept() -> None:
    log, id = Log(), sandbox_of("default").id
    log.do("app.update", {"id": id, "name": "Ours"})
    (found,) = AppsNow(log.catalog, "default").installed()
    assert (found.id, found.name) == (id, "Ours")


def test_uninstalled_apps_can_be_read_by_their_id() -> None:
    log = Log()
    made = log.do("app.add", {"type": "sandbox", "createBillingProfile": False})["app"]["id"]
    log.do("app.uninstall", {"id": made})
    apps = AppsNow(log.catalog, "default")
    found = apps.find(made)
    assert found is not None and found.is_deleted
    assert [one.id for one in apps.installed()] == [sandbox_of("default").id]
