"""`tallymark subscriptions` against a served API, a real broker and the tables of billing."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest

from pipeline.api.app import create_app
from pipeline.settings import Settings
from tests.fixtures.api_server import served_app
from tests.fixtures.bill_desk import BillDesk
from tests.fixtures.catalog_bodies import ADDON, ASSIGNED, FEE, PLAN, without_key
from tests.fixtures.command_runner import Run
from tests.fixtures.control_stage import ControlStage

SEATS = {**ADDON, "key": "seats", "rateCards": [{**FEE, "key": "seats"}]}
PHASES = [PLAN["phases"][0], {**PLAN["phases"][1], "rateCards": [FEE]}]


@pytest.fixture(scope="module")
def url(served: Settings, decider: ControlStage) -> Iterator[str]:
    with BillDesk(served), served_app(create_app(served)) as address:
        yield address


def test_a_subscription_from_its_start_to_its_end(run: Run, url: str) -> None:
    run("plans", "apply", "-", stdin={**PLAN, "phases": PHASES})
    run("addons", "apply", "-", stdin=SEATS)
    run("addons", "publish", "seats")
    addon = json.loads(run("addons", "show", "seats").output)["id"]
    assigned = httpx.post(f"{url}/api/v1/plans/pro/addons", json={"addonId": addon, **ASSIGNED})
    assert assigned.is_success, assigned.text
    run("plans", "publish", "pro")
    run("customers", "create", "-", stdin={"key": "acme", "name": "ACME"})

    made = run("subscriptions", "create", "acme", "pro", "--phase", "paid", "--name", "Ours").output
    id = made.split()[0]
    assert " is active from " in made and made.endswith(": pro 1.\n")
    refused = run("subscriptions", "create", "acme", "pro", code=2)
    assert f"The customer has the subscription {id} at the same time." in refused.stderr
    lines = run("subscriptions", "list", "acme", "--status", "active").output.splitlines()
    assert lines[0].split() == ["id", "status", "plan", "from", "to", "currency", "name"]
    assert lines[1].split()[:4] == [id, "active", "pro", "1"]
    assert [one["key"] for one in json.loads(run("subscriptions", "show", id).output)["phases"]] == ["paid"]

    bought = run("subscriptions", "addons", "buy", id, "seats", "3").output.partition(":")[0]
    assert run("subscriptions", "addons", "list", id).output.splitlines()[1].split()[:2] == ["seats", "3"]
    assert (
        "seats, 3 from"
        in run("subscriptions", "addons", "set", id, bought, "5", "--timing", "next_billing_cycle").output
    )
    edit = {"customizations": [{"op": "stretch_phase", "phaseKey": "paid", "extendBy": "P1M"}]}

    assert "add-ons cannot be edited" in run("subscriptions", "edit", id, "-", stdin=edit, code=2).stderr
    assert run("subscriptions", "addons", "set", id, bought, "0").output.startswith(f"{bought}: seats, ")

    assert " is canceled from " in run("subscriptions", "cancel", id, "--timing", "next_billing_cycle").output
    assert " is active from " in run("subscriptions", "continue", id).output
    custom = {"customPlan": {**without_key(PLAN), "phases": PHASES}}
    both = run(
        "subscriptions", "change", id, "--order", "-", "--timing", "next_billing_cycle", stdin=custom
    ).output
    assert " is canceled " in both and " is scheduled " in both and both.endswith(": custom.\n")
    assert (
        "is at version 1 of its plan"
        in run("subscriptions", "restore", id).output + run("subscriptions", "migrate", id, code=2).stderr
    )
    assert " is inactive " in run("subscriptions", "cancel", id).output
    later = run("subscriptions", "create", "acme", "pro", "--timing", "2999-01-01T00:00:00Z").output.split()[
        0
    ]
    assert run("subscriptions", "delete", later).output == f"{later} is deleted.\n"
