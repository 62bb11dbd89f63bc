"""Lines of invoices explained over HTTP, by events that ClickHouse has."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from fastapi.testclient import TestClient
from prometheus_client import REGISTRY

from pipeline.api.app import create_app
from pipeline.cli.main import main
from pipeline.core.invoices.line import InvoiceLine, live_lines
from pipeline.core.proof.proof_check import check_proof
from pipeline.core.values import number
from pipeline.settings import Settings
from pipeline.stores.clickhouse.client import ClickHouse
from pipeline.stores.kafka import topics
from tests.api.openapi import wrong_answer
from tests.core.explain.explain_world import ExplainWorld
from tests.core.proof.proofs import issued, proof_of
from tests.fixtures.api_server import served_app
from tests.fixtures.explained_bills import explained_world, publish
from tests.fixtures.patience import PATIENCE_S

PRICES = {"rateCards": [{"key": "tokens", "price": {"type": "unit", "amount": "0.02"}}]}
OTHER_PLAN = {
    "name": "Flat", "currency": "EUR", "billingCadence": "P1M",
    "phases": [{"key": "main", "name": "Main", "duration": None, "rateCards": [
        {"type": "flat_fee", "key": "fee", "name": "Fee", "billingCadence": "P1M",
         "price": {"type": "flat", "amount": "5", "paymentTerm": "in_advance"}},
    ]}],
}  # fmt: skip
ONE = "GET /api/v1/billing/lines/{lineId}/explain"


@pytest.fixture(scope="module")
def world(served: Settings, store: ClickHouse, api: TestClient) -> ExplainWorld:
    made = explained_world(topics.load(served)["events-unique"].partitions)
    publish(made, served, store, api)
    return made


def lines(world: ExplainWorld) -> list[InvoiceLine]:
    return [
        line for one in world.made() for line in live_lines(one.content.lines) if line.counted is not None
    ]


def explained(api: TestClient, line: str, status: int = 200, **params: Any) -> Any:
    answer = api.get(f"/billing/lines/{line}/explain", params=params)
    assert answer.status_code == status, answer.text
    return answer.json()


def test_every_line_has_exactly_its_events(api: TestClient, world: ExplainWorld) -> None:
    found = lines(world)
    assert [line.corrects is None for line in found].count(False) == 1
    for line in found:
        expected = world.explained(line.id)
        body = explained(api, line.id)
        assert wrong_answer(ONE, 200, "application/json", body) == ""
        assert {one["id"]: one["change"] for one in body["items"]} == expected.events
        assert body["events"] == len(expected.events)
        assert body["total"] == line.totals.total
        assert body["price"]["planKey"] == "simple"
    (correction,) = [line for line in found if line.corrects is not None]
    body = explained(api, correction.id)
    assert [(one["change"], one["value"], one["subject"]) for one in body["items"]] == [
        ("added", "50", "bob")
    ]
    assert float(body["quantity"]) - float(body["correctedQuantity"]) == 50


def test_events_come_page_by_page(api: TestClient, world: ExplainWorld) -> None:
    line = lines(world)[0]
    whole = explained(api, line.id)
    page = explained(api, line.id, limit=5)
    items = page["items"]
    while "nextCursor" in page:
        page = explained(api, line.id, limit=5, cursor=page["nextCursor"])
        assert page.keys() <= {"items", "nextCursor"}
        items += page["items"]
    assert items == whole["items"]
    assert len(items) == whole["events"] == 12


def test_what_cannot_be_explained_is_refused(api: TestClient, world: ExplainWorld) -> None:
    fee = next(line.id for one in world.made() for line in one.content.lines if line.name == "Base fee")
    assert explained(api, fee, 400)["reason"] == "line_has_no_usage"
    assert explained(api, "01J8Z3V9T2M4K6P8R0S2V4X6Z8", 404)["reason"] == "not-found"
    assert explained(api, lines(world)[0].id, 400, cursor="none")["reason"] == "bad-query"


def test_a_proof_is_right_and_its_root_is_on_the_page(api: TestClient, world: ExplainWorld) -> None:
    for invoice in issued(world):
        path = f"/billing/invoices/{invoice.content.id}"
        answer = api.get(f"{path}/proof")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/plain; charset=utf-8")
        assert answer.content.splitlines(keepends=True) == proof_of(world, invoice)
        report = check_proof(answer.content.splitlines(keepends=True))
        assert report.wrong == ()
        assert api.get(f"{path}/proof").content == answer.content
        deadline = time.monotonic() + PATIENCE_S
        while f"Proof: {report.root}" not in api.get(f"{path}.html").text:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    waiting = api.get(f"/billing/invoices/{world.bills.gathering().content.id}/proof")
    assert (waiting.status_code, waiting.json()["reason"]) == (400, "invoice_not_issued")


def test_commands_explain_replay_and_verify(
    served: Settings, world: ExplainWorld, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def run(*arguments: str, code: int = 0, stdin: object = None) -> str:
        result = CliRunner().invoke(main, arguments, input=None if stdin is None else json.dumps(stdin))
        assert result.exit_code == code, result.output
        return result.output

    invoice = next(one for one in issued(world) if any(line.corrects for line in one.content.lines))
    line = next(line for line in invoice.content.lines if line.corrects is not None)
    file = tmp_path / "proof.jsonl"
    with served_app(create_app(served)) as url:
        monkeypatch.setenv("TALLYMARK_API_URL", url)
        shown = run("explain", line.id).splitlines()
        assert "1 events, which add up:" in shown
        assert shown[-1].split()[::2][:2] == ["added", "bob"]
        assert len(json.loads(run("explain", lines(world)[0].id, "--format", "json"))["items"]) == 12
        replayed = run("replay", "--prices", "-", "--from", "2026-01-10", "--to", "2026-02-10", stdin=PRICES)
        assert [row.split()[0] for row in replayed.splitlines()] == ["customer", "acme", "total"]
        assert replayed.splitlines()[1].split()[2:] == ["27.22", "34.44", "7.22", "EUR"]
        span = ("--from", "2026-01-10", "--to", "2026-02-10")
        under = run("replay", "--plan", "-", "--of-plan", "simple", *span, stdin=OTHER_PLAN)
        assert under.splitlines()[1].split()[2:] == ["27.22", "5", "-22.22", "EUR"]
        run("replay", *span, code=2)
        run("invoices", "proof", invoice.content.id, "--output", str(file))
    monkeypatch.delenv("TALLYMARK_API_URL")  # the rest asks no server
    root = check_proof(file.read_bytes().splitlines(keepends=True)).root
    assert f"root: {root}" in run("verify", str(file), "--root", root)
    assert "this is not the file of that page" in run("verify", str(file), "--root", "0" * 64, code=1)
    file.write_bytes(file.read_bytes().replace(b'"value":"50"', b'"value":"51"'))
    assert "its content was changed: the event e13" in run("verify", str(file), code=1)


def test_past_usage_is_rated_by_other_prices(api: TestClient, world: ExplainWorld) -> None:
    body = {**PRICES, "from": "2026-01-10", "to": "2026-02-10T00:00:00Z", "customer": "acme"}
    answer = api.post("/billing/replay", json=body)
    assert (
        wrong_answer("POST /api/v1/billing/replay", answer.status_code, "application/json", answer.json())
        == ""
    )
    (row,) = answer.json()["items"]
    tokens = [line for line in lines(world) if line.period.start < "2026-02-10"]
    usage = sum(number.parse(line.totals.total) for line in tokens)
    fee = 20 * number.SCALE
    assert (number.parse(row["old"]), number.parse(row["new"])) == (fee + usage, fee + 2 * usage)
    assert (row["difference"], row["currency"], row["customerKey"]) == (number.text(usage), "EUR", "acme")
    of_all = {name: value for name, value in body.items() if name != "customer"}
    second = api.post("/billing/replay?page=2&pageSize=1", json=of_all).json()
    assert (second["items"], second["totalCount"], second["page"], second["pageSize"]) == ([], 1, 2, 1)
    for wrong, reason in (
        ({**body, "to": body["from"]}, "bad-price-list"),
        ({**body, "rateCards": []}, "bad-price-list"),
        ({**body, "customer": "nothing"}, "not-found"),
    ):
        assert api.post("/billing/replay", json=wrong).json()["reason"] == reason


def test_past_usage_is_rated_under_another_plan(api: TestClient, world: ExplainWorld) -> None:
    body = {"from": "2026-01-10", "to": "2026-02-10T00:00:00Z", "customer": "acme"}
    answer = api.post("/billing/replay", json={**body, "customPlan": OTHER_PLAN})
    assert (
        wrong_answer("POST /api/v1/billing/replay", answer.status_code, "application/json", answer.json())
        == ""
    )
    (row,) = answer.json()["items"]
    assert (row["new"], row["lines"]) == ("5", 2)
    (same,) = api.post("/billing/replay", json={**body, "plan": {"key": "simple"}}).json()["items"]
    assert (same["old"], same["difference"]) == (row["old"], "0")
    for wrong, reason in (
        (body, "bad-price-list"),
        ({**body, "customPlan": OTHER_PLAN, "plan": {"key": "simple"}}, "bad-price-list"),
        ({**body, **PRICES, "planKey": "simple"}, "bad-price-list"),
        ({**body, "customPlan": OTHER_PLAN, "planKey": "nothing"}, "bad-price-list"),
        ({**body, "plan": {"key": "nothing"}}, "not-found"),
        ({**body, "customPlan": {**OTHER_PLAN, "phases": []}}, "bad-subscription"),
        ({**body, "customPlan": {**OTHER_PLAN, "zz": 1}}, "bad-subscription"),
    ):
        assert api.post("/billing/replay", json=wrong).json()["reason"] == reason


def test_a_changed_event_is_an_error_with_a_sentence(
    api: TestClient, world: ExplainWorld, store: ClickHouse
) -> None:
    line = lines(world)[0]
    before = REGISTRY.get_sample_value("tallymark_unexplained_lines_total") or 0.0
    store.query(
        "ALTER TABLE events UPDATE data = '{\"tokens\": 999}' WHERE id = 'e3' SETTINGS mutations_sync = 1"
    )
    body = explained(api, line.id, 500)
    assert (body["reason"], body["detail"]) == (
        "broken", f"The line {line.id} counts 672, but the 12 stored events under it are 1650.",
    )  # fmt: skip
    assert REGISTRY.get_sample_value("tallymark_unexplained_lines_total") == before + 1
