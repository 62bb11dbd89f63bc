"""The commands about quotas and webhooks against a served API and a real broker: output and exit codes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any, cast

import click
import msgspec
import pytest
from click.testing import CliRunner, Result
from confluent_kafka import Producer
from fastapi import FastAPI

from pipeline.api.app import create_app
from pipeline.cli import notifications, quota
from pipeline.cli.main import main
from pipeline.core.notifications.delivery import begin, tried
from pipeline.records import Alert, Attempt, Balance
from pipeline.settings import Settings
from pipeline.stores.kafka import client as kafka
from pipeline.stores.redis_balances import BalanceReader
from tests.api.quota.test_entitlements import Copy
from tests.fixtures.api_server import served_app
from tests.fixtures.control_stage import ControlStage
from tests.fixtures.patience import PATIENCE_S

Run = Callable[..., Result]
METER = '[{"slug": "calls", "eventType": "x", "aggregation": "COUNT"}]'
METERED = {
    "type": "metered",
    "featureKey": "f1",
    "usagePeriod": {"interval": "MONTH"},
    "issueAfterReset": "7.5",
}


@pytest.fixture(scope="module")
def copy() -> Copy:
    return Copy()


@pytest.fixture(scope="module")
def app(served: Settings, copy: Copy) -> FastAPI:
    return create_app(served, balances=cast(BalanceReader, copy))


@pytest.fixture(scope="module")
def url(app: FastAPI, decider: ControlStage) -> Iterator[str]:
    with served_app(app) as address:
        yield address


@pytest.fixture
def run(url: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `tallymark ARGUMENTS`; what it should say on standard error makes it fail unless `code` is given."""
    monkeypatch.setenv("TALLYMARK_API_URL", url)

    def run(*arguments: str, stdin: object = None, code: int = 0) -> Result:
        text = stdin if stdin is None or isinstance(stdin, str) else json.dumps(stdin)
        result = CliRunner().invoke(main, arguments, input=text)
        assert result.exit_code == code, result.output
        return result

    return run


@pytest.fixture
def entitled(run: Run) -> Iterator[dict[str, Any]]:
    """An entitlement of a customer to a feature."""
    if "calls" not in run("meters", "list").stdout:
        run("meters", "apply", "-", stdin=METER)
        run("customers", "create", "-", stdin={"key": "acme", "name": "ACME"})
        run("features", "create", "-", stdin={"key": "f1", "name": "F", "meterSlug": "calls"})
    yield json.loads(run("entitlements", "create", "acme", "-", stdin=METERED).stdout)
    run("entitlements", "delete", "acme", "f1")


def columns(result: Result) -> list[list[str]]:
    return [line.split() for line in result.stdout.splitlines()]


def test_entitlements(run: Run, entitled: dict[str, Any]) -> None:
    assert json.loads(run("entitlements", "show", "acme", "f1").stdout) == entitled
    (row,) = columns(run("entitlements", "list", "--customer", "acme", "--feature", "f1", "--active"))[1:]
    assert row[:4] == [entitled["id"], "acme", "f1", "metered"] and row[-1] == "7.5"
    assert json.loads(run("entitlements", "list", "--format", "json").stdout) == [entitled]
    again = run("entitlements", "create", "acme", "-", stdin=METERED, code=2)
    assert again.stderr.startswith(f"error: entitlement with id {entitled['id']} already exists")
    assert "no customer" in run("entitlements", "list", "--customer", "unknown", code=2).stderr


def test_grants(run: Run, entitled: dict[str, Any]) -> None:
    made = run("entitlements", "grant", "acme", "f1", "123456789012345.000000000000000001", "--for", "3", "month",
               "--every", "WEEK", "--priority", "2", "--max-rollover", "5").stdout  # fmt: skip
    id, _, rest = made.partition(": ")
    assert rest.startswith("123456789012345.000000000000000001 of f1 from ") and ", until " in rest
    rows = columns(run("grants", "list", "--customer", "acme", "--feature", "f1"))
    (row,) = [row for row in rows if row[0] == id]
    assert row[1:4] == [entitled["id"], "123456789012345.000000000000000001", "2"] and "WEEK" in row
    assert "123456789012345.000000000000000001," in run("grants", "list", "--format", "json").stdout
    assert run("grants", "void", id).stdout == f"{id} is voided.\n"
    assert run("grants", "void", id, code=2).stderr == f"error: grant {id} is already voided\n"
    wrong = run("entitlements", "grant", "acme", "f1", "1", "--for", "x", "MONTH", code=2)
    assert wrong.stderr == "error: --for x MONTH is not a number and a duration.\n"
    assert "positive" in run("entitlements", "grant", "acme", "f1", "0", code=2).stderr


def test_values(run: Run, copy: Copy, entitled: dict[str, Any]) -> None:
    live = Balance("default", entitled["customerId"], "f1", entitled["id"], "metered", 1, False, 1,
                   balance="0", usage="1234567890123456.5", overage="2", total_available="7.5")  # fmt: skip
    copy.hold(live)
    shown = run("entitlements", "value", "acme", "f1", code=1)
    assert columns(shown)[1] == ["f1", "no", "0", "1234567890123456.5", "2", "7.5"]
    assert '"usage": 1234567890123456.5,' in run(
        "entitlements", "value", "acme", "f1", "--format", "json", code=1
    ).stdout  # fmt: skip
    copy.hold(msgspec.structs.replace(live, has_access=True))
    assert columns(run("entitlements", "value", "acme", "f1"))[1][1] == "yes"


def test_history(run: Run, entitled: dict[str, Any]) -> None:
    # A period that has just begun has no history yet.
    before = run("entitlements", "history", "acme", "f1", "--from", "2020-01-01", code=2)
    assert before.stderr == "error: from must not be before measureUsageFrom\n"
    asked = ("entitlements", "history", "acme", "f1", "--to", later())
    header, row = columns(run(*asked))
    assert header == ["from", "to", "usage", "balance", "at", "start"] and row[2:] == ["0", "7.5"]
    assert columns(run(*asked, "--burndown"))[1][2:] == ["0", "0", "7.5", "7.5"]
    assert json.loads(run(*asked, "--format", "json").stdout)["windowedHistory"][0]["usage"] == 0


def later() -> str:
    """Ten minutes from now."""
    return time.strftime("%Y-%m-%dT%H:%M:00Z", time.gmtime(time.time() + 600))


def test_reset(run: Run, entitled: dict[str, Any]) -> None:
    refused = run("entitlements", "reset", "acme", "f1", "--at", later(), code=2)
    assert refused.stderr == "error: reset time cannot be in the future\n"
    early = run(
        "entitlements", "reset", "acme", "f1", "--at", "2020-01-01T00:00:00Z", "--keep-anchor", code=2
    )
    assert "must not be before the current usage period" in early.stderr


@pytest.fixture
def endpoint(run: Run) -> str:
    """The id of an endpoint."""
    id, secret = run(
        "endpoints", "create", "here", "https://example.com/", "--header", "x-team=a"
    ).stdout.split()
    assert secret.startswith("whsec_")
    return id


def test_endpoints(run: Run, endpoint: str) -> None:
    assert run("endpoints", "rotate", endpoint, "--overlap", "60").stdout.startswith("whsec_")
    (row,) = [row for row in columns(run("endpoints", "list")) if row[0] == endpoint]
    assert row[1:3] == ["here", "https://example.com/"] and row[-1] == "on"
    assert run("endpoints", "delete", endpoint).stdout == f"{endpoint} is deleted.\n"
    assert endpoint not in run("endpoints", "list", "--format", "json").stdout
    wrong = run("endpoints", "create", "x", "https://example.com/", "--header", "x", code=2)
    assert wrong.stderr == "error: --header x does not have the form k=v.\n"
    assert "url must begin with" in run("endpoints", "create", "x", "ftp://example.com/", code=2).stderr


def test_an_endpoint_and_a_rule_can_be_changed_and_switched_off_and_on(run: Run, endpoint: str) -> None:
    threshold = {"type": "usage_percentage", "value": Decimal("80.5")}
    body = {"type": "entitlements.balance.threshold", "channels": [endpoint], "thresholds": [threshold]}
    wanted = {**body, "name": "most", "thresholds": [{**threshold, "value": 80.5}]}
    rule = json.loads(run("rules", "create", "-", stdin=wanted).stdout)["id"]
    for group, id in (("rules", rule), ("endpoints", endpoint)):
        made = json.loads(run(group, "show", id).stdout, parse_float=Decimal)
        for verb, disabled in (("disable", True), ("enable", False)):
            assert run(group, verb, id).stdout == f"{id} is {verb}d.\n"
            switched = json.loads(run(group, "show", id).stdout, parse_float=Decimal)
            at = switched["updatedAt"]
            assert switched == {**made, "disabled": disabled, "updatedAt": at} and at > made["updatedAt"]
    changed = json.loads(run("rules", "update", rule, "-", stdin={**wanted, "name": "other"}).stdout)
    assert (changed["id"], changed["name"], changed["disabled"]) == (rule, "other", False)
    there = {"name": "there", "url": "https://example.com/there"}
    assert json.loads(run("endpoints", "update", endpoint, "-", stdin=there).stdout)["name"] == "there"
    assert (
        run("rules", "enable", "nothing", code=2).stderr == "error: There is no rule with the id nothing.\n"
    )


def test_rules(run: Run, endpoint: str) -> None:
    wanted = {
        "type": "entitlements.balance.threshold",
        "name": "most",
        "channels": [endpoint],
        "thresholds": [{"type": "usage_percentage", "value": 80}],
    }
    id = json.loads(run("rules", "create", "-", stdin=wanted).stdout)["id"]
    (row,) = columns(run("rules", "list", "--endpoint", endpoint))[1:]
    assert row == [id, "most", wanted["type"], "usage_percentage", "80", endpoint, "on"]
    assert run("rules", "test", id).stdout.endswith("is being delivered to 1 endpoint(s).\n")
    refused = run("endpoints", "delete", endpoint, code=2)
    assert refused.stderr == f"error: the rule most ({id}) sends to endpoint {endpoint}\n"
    assert run("rules", "delete", id).stdout == f"{id} is deleted.\n"
    assert run("rules", "test", id, code=2).stderr == f"error: There is no rule with the id {id}.\n"


def test_a_rule_about_a_volume_says_when_it_fires(run: Run, endpoint: str) -> None:
    run("meters", "apply", "-", stdin=[{"slug": "busy_calls", "eventType": "call", "aggregation": "COUNT"}])
    wanted = {
        "type": "meter.volume.threshold",
        "name": "busy",
        "channels": [endpoint],
        "meterSlug": "busy_calls",
        "windowSize": "HOUR",
        "limit": 5,
    }
    run("rules", "create", "-", stdin=wanted)
    assert "busy_calls reaches 5 a HOUR" in run("rules", "list", "--endpoint", endpoint).stdout


def test_deliveries(run: Run, served: Settings, endpoint: str) -> None:
    now_ms = time.time_ns() // 1_000_000
    made = begin(Alert("a1", "default", "webhook.test", "", now_ms, [endpoint], "{}"), endpoint, now_ms, (0,))
    failed = tried(made, Attempt(1, now_ms, 5, "failed", 500), (0,))
    producer = Producer(kafka.producer_config(served))
    producer.produce("deliveries", msgspec.json.encode(failed), failed.id)
    producer.flush(10)
    asked = ("deliveries", "list", "--endpoint", endpoint)
    deadline = time.monotonic() + PATIENCE_S
    while made.id not in run(*asked).stdout:
        assert time.monotonic() < deadline
    (row,) = columns(run(*asked, "--state", "failed", "--event", "a1", "--from", "2020-01-01"))[1:]
    assert [row[0], *row[2:]] == [made.id, "webhook.test", endpoint, "FAILED", "1", "500"]
    assert json.loads(run(*asked, "--state", "SUCCESS", "--format", "json").stdout) == []
    assert run("deliveries", "resend", made.id).stdout == f"{made.id} is sent again.\n"
    replay = ("deliveries", "replay", endpoint, "--from", "2020-01-01", "--to", "2030-01-01")
    assert run(*replay).stdout == "Deliveries in the state FAILED are sent again.\n"
    both = run(*replay, "--state", "failed", "--state", "SUCCESS").stdout
    assert both == "Deliveries in the state FAILED or SUCCESS are sent again.\n"
    assert "no delivery" in run("deliveries", "resend", "x", code=2).stderr
    assert "no endpoint" in run("deliveries", "replay", "x", *replay[3:], code=2).stderr


def commands() -> Iterator[list[str]]:
    for group in (*quota.COMMANDS, *notifications.COMMANDS):
        assert isinstance(group, click.Group) and group.name
        for name in group.commands:
            yield [group.name, name]


@pytest.mark.parametrize("command", list(commands()), ids=" ".join)
def test_help_has_an_example(command: list[str]) -> None:
    found = CliRunner().invoke(main, [*command, "-h"])
    assert found.exit_code == 0, found.output
    text = found.stdout
    assert "Example:" in text and f"tallymark {' '.join(command)}" in text
