"""`tallymark credits` and `tallymark ledger` against a served API and a billing stage."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest

from pipeline.api.app import create_app
from pipeline.settings import Settings
from tests.fixtures.api_server import served_app
from tests.fixtures.bill_desk import BillDesk
from tests.fixtures.command_runner import Run
from tests.fixtures.control_stage import ControlStage

PACK = {
    "name": "Pack", "currency": "EUR", "amount": "100", "funding_method": "external",
    "purchase": {"per_unit_cost_basis": "0.8", "availability_policy": "on_settlement"}, "key": "pack",
}  # fmt: skip


@pytest.fixture(scope="module")
def url(served: Settings, decider: ControlStage) -> Iterator[str]:
    with BillDesk(served), served_app(create_app(served)) as address:
        yield address


def test_credits_from_their_purchase_to_the_trial_balance(run: Run, url: str) -> None:
    body = {"key": "acme", "name": "ACME", "usageAttribution": {"subjectKeys": ["ann"]}}
    assert httpx.post(f"{url}/api/v1/customers", json=body).status_code == 201
    made = json.loads(run("credits", "create", "acme", "-", stdin=PACK).output)
    assert (made["status"], made["purchase"]["amount"], made["balance"]) == ("pending", "80", "100")
    assert "key pack" in run("credits", "create", "acme", "-", stdin=PACK, code=2).output
    assert json.loads(run("credits", "balance", "acme", "--format", "json").output) == [
        {"currency": "EUR", "live": "0", "settled": "0", "pending": "100"}
    ]
    assert json.loads(run("credits", "settle", "acme", made["id"]).output)["status"] == "active"
    run("credits", "adjust", "acme", "--name", "Mistake", "--", "-30", "EUR")
    assert (
        "fewer credits" in run("credits", "adjust", "acme", "--name", "x", "--", "-71", "EUR", code=2).output
    )
    balance = run("credits", "balance", "acme").output.split()
    assert balance[-4:] == ["EUR", "70", "70", "0"]
    found = json.loads(run("credits", "transactions", "acme", "--format", "json").output)
    assert [(one["type"], one["amount"], one["available_balance"]["after"]) for one in found] == [
        ("adjusted", "-30", "70"), ("funded", "100", "100"),
    ]  # fmt: skip
    sheet = json.loads(run("ledger", "trial-balance", "--customer", "acme", "--format", "json").output)
    accounts = {row["account"]: row["balance"] for row in sheet["accounts"]}
    assert accounts == {"adjustments": "30", "customer_fbo": "70", "customer_receivable": "0", "wash": "-100"}
    assert (sheet["ok"], sheet["transactions"]) == (True, 3)
    assert "customer_fbo" in run("ledger", "trial-balance").output
    run("credits", "void", "acme", made["id"])
    rows = json.loads(run("credits", "list", "acme", "--format", "json").output)
    assert [(row["status"], row["balance"]) for row in rows] == [("voided", "0")]


def test_a_rule_adds_credits_until_it_is_stopped(run: Run, url: str) -> None:
    body = {"key": "initech", "name": "Initech", "usageAttribution": {"subjectKeys": ["bob"]}}
    assert httpx.post(f"{url}/api/v1/customers", json=body).status_code == 201
    rule = {"threshold": "10", "amount": "50", "funding_method": "none"}
    shown = json.loads(run("credits", "top-up", "initech", "EUR", "-", stdin=rule).output)
    assert (shown["threshold"], shown["amount"], shown["funding_method"]) == ("10", "50", "none")
    rows = json.loads(run("credits", "list", "initech", "--format", "json").output)
    assert [(row["source"], row["balance"]) for row in rows] == [("top_up", "50")]
    run("credits", "adjust", "initech", "--name", "Used", "--", "-45", "EUR")
    assert run("credits", "balance", "initech").output.split()[-3] == "55"
    run("credits", "top-up", "initech", "EUR", "--stop")
    run("credits", "adjust", "initech", "--name", "Used", "--", "-55", "EUR")
    assert run("credits", "list", "initech").output.count("top-up") == 2
    assert "FILE or --stop" in run("credits", "top-up", "initech", "EUR", code=2).output
