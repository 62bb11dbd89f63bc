"""`tallymark billing` against a served API and a real broker."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import httpx
import pytest
from click.testing import CliRunner, Result

from pipeline.api.app import create_app
from pipeline.cli.main import main
from pipeline.settings import Settings
from tests.fixtures.api_server import served_app
from tests.fixtures.billing_bodies import PLAIN, of_app
from tests.fixtures.control_stage import ControlStage

Run = Callable[..., Result]


@pytest.fixture(scope="module")
def url(served: Settings, decider: ControlStage) -> Iterator[str]:
    with served_app(create_app(served)) as address:
        yield address


@pytest.fixture
def run(url: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `tallymark billing ARGUMENTS`."""
    monkeypatch.setenv("TALLYMARK_API_URL", url)

    def run(*arguments: str, stdin: object = None, code: int = 0) -> Result:
        sent = None if stdin is None else json.dumps(stdin)
        result = CliRunner().invoke(main, ("billing", *arguments), input=sent)
        assert result.exit_code == code, result.output
        return result

    return run


def rows(run: Run, *arguments: str) -> list[list[str]]:
    """The cells of a table, without its head."""
    return [line.split() for line in run(*arguments).output.splitlines()[1:]]


def test_a_customer_is_billed_by_another_profile_than_the_others(run: Run, url: str) -> None:
    ((sandbox, *_),) = rows(run, "apps", "list")
    installed = run("apps", "install", "custom_invoicing", "--name", "Ours", "--no-profile").output
    assert installed.startswith("Ours (") and installed.endswith(") is installed.\n")
    app = installed[len("Ours (") :].partition(")")[0]
    hooked = json.loads(run("apps", "hooks", app, "--draft").output)
    assert (hooked["enableDraftSyncHook"], hooked["enableIssuingSyncHook"]) == (True, False)
    assert rows(run, "apps", "list")[1] == [app, "custom_invoicing", "Ours", "ready", "draft"]

    made = json.loads(run("profiles", "create", "-", stdin={**PLAIN, "apps": of_app(app)}).output)
    changed = {**made, "name": "Special", "timeZone": "Europe/Berlin"}
    assert json.loads(run("profiles", "update", made["id"], "-", stdin=changed).output)["name"] == "Special"
    first, second = rows(run, "profiles", "list")
    assert first[1:] == ["openmeter-sandbox", "yes", "sandbox", "UTC", "INV"]
    assert second == [made["id"], "Special", "custom_invoicing", "Europe/Berlin", "INV"]

    with httpx.Client(base_url=f"{url}/api/v1") as api:
        ids = [
            api.post("/customers", json={"key": key, "name": key}).json()["id"] for key in ("acme", "other")
        ]
    assert rows(run, "overrides", "list") == []
    run("overrides", "set", "acme", "--profile", made["id"])
    assert rows(run, "overrides", "list") == [[ids[0], "acme", "acme", made["id"], "override"]]
    assert rows(run, "overrides", "list", "--all")[1] == [ids[1], "other", "other", first[0]]
    assert rows(run, "overrides", "list", "--all", "--profile", first[0]) == [
        [ids[1], "other", "other", first[0]]
    ]
    shown = json.loads(run("overrides", "show", "acme").output)
    assert shown["customerProfile"]["apps"]["invoicing"] == {"id": app}

    assert "profile_referenced" not in run("profiles", "delete", made["id"], code=2).stdout
    assert "is used by overrides of customers" in run("profiles", "delete", made["id"], code=2).stderr
    assert run("overrides", "delete", "acme").output == "acme has the default profile.\n"
    assert run("profiles", "delete", made["id"]).output == f"{made['id']} is deleted.\n"
    assert [row[0] for row in rows(run, "profiles", "list", "--deleted")] == [first[0], made["id"]]
    assert run("apps", "uninstall", app).output == f"{app} is uninstalled.\n"
    assert "has the app" in run("apps", "uninstall", sandbox, code=2).stderr
