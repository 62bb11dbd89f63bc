"""`tallymark invoices` against a served API and a billing stage."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from pipeline.api.app import create_app
from pipeline.api.invoices import pdf
from pipeline.settings import Settings
from tests.fixtures.api_server import served_app
from tests.fixtures.bill_desk import BillDesk, now_ms
from tests.fixtures.catalog_bodies import METER
from tests.fixtures.command_runner import Run
from tests.fixtures.control_stage import ControlStage

JANUARY = {"from": "2026-01-01T00:00:00Z", "to": "2026-02-01T00:00:00Z"}
SETUP = {
    "name": "Set-up", "period": JANUARY, "invoiceAt": "2026-02-01T00:00:00Z",
    "rateCard": {"price": {"type": "flat", "amount": "250"}},
}  # fmt: skip
TOKENS = {
    "name": "Tokens", "period": JANUARY, "invoiceAt": "2026-02-01T00:00:00Z", "quantity": "1500",
    "rateCard": {"price": {"type": "unit", "amount": "0.01", "minimumAmount": "20"}, "featureKey": "tokens"},
}  # fmt: skip


@pytest.fixture(scope="module")
def desk(served: Settings, decider: ControlStage) -> Iterator[BillDesk]:
    with BillDesk(served) as running:
        yield running


@pytest.fixture(scope="module")
def url(served: Settings, desk: BillDesk) -> Iterator[str]:
    with served_app(create_app(served)) as address:
        yield address


def test_lines_become_a_paid_invoice(
    run: Run, url: str, desk: BillDesk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("meters", "apply", "-", stdin=[METER])
    run("features", "create", "-", stdin={"key": "tokens", "name": "Tokens", "meterSlug": "tokens"})
    run("customers", "create", "-", stdin={"key": "acme", "name": "Acme"})
    for verb in ("preview", "upcoming"):
        assert run("invoices", verb, "acme").output == "No lines wait to be invoiced.\n"
    made_up = {"currency": "EUR", "lines": [TOKENS, {**SETUP, "quantity": "1"}]}
    what_if = run("invoices", "preview", "acme", "--lines", "-", stdin=made_up).output.splitlines()
    assert what_if[0].split() == ["line", "component", "from", "to", "quantity", "price", "total"]
    assert [line.split()[:2] for line in what_if[1:-1]] == [
        ["Tokens", "unit-price-usage"], ["Tokens", "min-spend"], ["Set-up", "flat-price"],
    ]  # fmt: skip
    assert what_if[-1] == "total: 270 EUR"

    lines = httpx.post(
        f"{url}/api/v1/billing/customers/acme/invoices/pending-lines",
        json={"currency": "EUR", "lines": [SETUP]},
    )
    assert lines.status_code == 201, lines.text
    assert run("invoices", "preview", "acme").output.splitlines()[1].split()[0] == "Set-up"
    head, line, total = run("invoices", "upcoming", "acme").output.splitlines()
    assert head.split()[:5] == ["line", "from", "to", "quantity", "total"]
    assert (line.split()[0], line.split()[-1]) == ("Set-up", "250")
    assert total == "on 2026-02-01T00:00:00.000Z: 250 EUR until now, 250 EUR expected"
    made = run("invoices", "now", "acme").output.split()
    id = made[0]
    assert made[1:] == ["is", "draft.collecting:", "250", "EUR."]
    assert run("invoices", "collect", id).output.split()[1] == "is"
    desk.tick(now_ms())
    (row,) = json.loads(run("invoices", "list", "--customer", "acme", "--format", "json").output)
    assert (row["id"], row["status"], row["number"]) == (id, "paid", "INV-ACME-1")
    table = run("invoices", "list", "--status", "paid", "--since", "2026-01-01").output.splitlines()
    assert table[1].split()[:3] == ["INV-ACME-1", "paid", "Acme"]
    assert json.loads(run("invoices", "show", id).output)["totals"]["total"] == "250"

    rows = run("invoices", "lines", id).output.splitlines()
    assert rows[1].split()[:2] == ["Set-up", "flat-price"]
    (read,) = csv.DictReader(io.StringIO(run("invoices", "lines", id, "--format", "csv").output))
    assert (read["invoiceNumber"], read["total"]) == ("INV-ACME-1", "250")

    page = tmp_path / "invoice.html"
    assert run("invoices", "page", id, "--output", str(page)).output == f"{page} has the invoice {id}.\n"
    assert page.read_text("utf-8") == run("invoices", "page", id).output
    assert "INV-ACME-1" in page.read_text("utf-8")

    monkeypatch.setattr(pdf, "find_spec", lambda name: pdf)
    monkeypatch.setattr(pdf, "made", lambda html: b"%PDF-" + html.encode())
    file = tmp_path / "invoice.pdf"
    assert run("invoices", "pdf", id, "-o", str(file)).output == f"{file} has the invoice {id}.\n"
    assert file.read_bytes() == b"%PDF-" + page.read_bytes()
    monkeypatch.setattr(pdf, "find_spec", lambda name: None)
    assert "pip install 'tallymark[pdf]'" in run("invoices", "pdf", id, "-o", str(file), code=4).stderr


def test_what_is_not_possible_is_refused(run: Run, url: str) -> None:
    (row,) = json.loads(run("invoices", "list", "--format", "json").output)
    refused = run("invoices", "void", row["id"], "--reason", "Sent twice", code=2)
    assert refused.stderr == "error: An invoice that is paid has no action void.\n"
    for verb in ("approve", "retry", "advance", "collect", "delete"):
        assert "paid" in run("invoices", verb, row["id"], code=2).stderr
    assert run("invoices", "show", "nothing", code=2).stderr == "error: There is no invoice nothing.\n"
    assert run("invoices", "list", "--status", "sold", code=2).stderr.startswith(
        "error: statuses must be one of"
    )
