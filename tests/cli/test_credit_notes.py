"""`tallymark credit-notes` against a served API that has read one."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import httpx
import msgspec
import pytest
from confluent_kafka import Producer

from pipeline.api.app import create_app
from pipeline.core.values import ulid
from pipeline.settings import Settings
from pipeline.stores.kafka.client import producer_config
from pipeline.stores.kafka.documents import document_key
from tests.fixtures.api_server import served_app
from tests.fixtures.command_runner import Run
from tests.fixtures.control_stage import ControlStage
from tests.fixtures.invoices_to_print import EARLIER, INVOICES, NOW_S, document

NOTE = ulid.make(NOW_S * 1000, "credit note of the command line")


@pytest.fixture(scope="module")
def url(served: Settings, decider: ControlStage) -> Iterator[str]:
    with served_app(create_app(served)) as address:
        yield address


def test_credit_notes_are_listed_shown_and_printed(run: Run, url: str, served: Settings) -> None:
    body = {"key": "acme", "name": "ACME", "usageAttribution": {"subjectKeys": ["ann"]}}
    customer = httpx.post(f"{url}/api/v1/customers", json=body).json()["id"]
    made = document(INVOICES["credit-note"](), NOTE, customer)
    producer = Producer(producer_config(served))
    producer.produce("invoices", msgspec.json.encode(made), document_key("default", customer, NOTE))
    assert producer.flush(10) == 0
    while httpx.get(f"{url}/api/v3/openmeter/credit-notes/{NOTE}").status_code == 404:
        time.sleep(0.02)
    shown = json.loads(run("credit-notes", "show", NOTE).output)
    assert (shown["total"], shown["invoice"]["id"]) == ("71.4", EARLIER)
    for option in ((), ("--customer", "acme"), ("--invoice", EARLIER)):
        rows = json.loads(run("credit-notes", "list", *option, "--format", "json").output)
        assert [row["id"] for row in rows] == [NOTE]
    assert run("credit-notes", "list", "--invoice", NOTE).output.count("\n") <= 1
    assert "INV-ACME-40" in run("credit-notes", "list").output
    assert "<title>Credit note" in run("credit-notes", "page", NOTE).output
    assert "no credit note" in run("credit-notes", "show", "nothing", code=2).output
