"""`tallymark plans` and `tallymark addons` against a served API and a real broker."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from pipeline.api.app import create_app
from pipeline.settings import Settings
from tests.fixtures.api_server import served_app
from tests.fixtures.catalog_bodies import ADDON, METER, PLAN
from tests.fixtures.command_runner import Run
from tests.fixtures.control_stage import ControlStage


@pytest.fixture(scope="module")
def url(served: Settings, decider: ControlStage) -> Iterator[str]:
    with served_app(create_app(served)) as address:
        yield address


def test_a_plan_from_json_to_published_and_archived(run: Run) -> None:
    run("meters", "apply", "-", stdin=[METER])
    run("features", "create", "-", stdin={"key": "tokens", "name": "Tokens", "meterSlug": "tokens"})
    draft = run("plans", "apply", "-", stdin={**PLAN, "phases": []})
    assert draft.stdout == "pro version 1 is a draft.\n"
    assert draft.stderr == "$.phases: plan must have at least one phase (plan_with_no_phases)\n"
    refused = run("plans", "publish", "pro", code=2)
    assert "(plan_with_no_phases)" in refused.stderr
    assert run("plans", "apply", "-", stdin=PLAN).output == "pro version 1 is a draft.\n"
    assert run("plans", "publish", "pro").output == "pro version 1 is active.\n"
    assert run("plans", "apply", "-", stdin=PLAN).output == "pro version 1 is active, and FILE is the same.\n"
    assert run("plans", "apply", "-", stdin={**PLAN, "name": "New"}).output == "pro version 2 is a draft.\n"
    shown = json.loads(run("plans", "show", "pro").output)
    assert (shown["version"], shown["name"]) == (2, "New")
    lines = run("plans", "list", "--key", "pro").output.splitlines()
    assert lines[0].split() == "key version status name currency billed id problems".split()  # noqa: SIM905
    assert [line.split()[:3] for line in lines[1:]] == [["pro", "1", "active"], ["pro", "2", "draft"]]
    assert len(json.loads(run("plans", "list", "--status", "draft", "--format", "json").output)) == 1
    assert run("plans", "archive", "pro").output == "pro version 1 is archived.\n"
    assert run("plans", "delete", "pro").output == "pro is deleted.\n"


def test_an_addon_from_json_to_published(run: Run) -> None:
    body = {**ADDON, "rateCards": ADDON["rateCards"][1:]}
    assert run("addons", "apply", "-", stdin=body).output == "more version 1 is a draft.\n"
    assert run("addons", "publish", "more").output == "more version 1 is active.\n"
    assert run("addons", "list").output.splitlines()[1].split()[:3] == ["more", "1", "active"]
    assert (
        "the key of the addon is missing" in run("addons", "apply", "-", stdin={"name": "A"}, code=2).stderr
    )
