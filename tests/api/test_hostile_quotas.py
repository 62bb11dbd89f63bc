"""Hostile text in every parameter of the reading routes of quotas and webhooks: never an error of ours."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient

from tests.fixtures.control_stage import ControlStage

HOSTILE: list[str] = json.loads((Path(__file__).parents[1] / "cases" / "hostile.json").read_text())
V2 = "http://testserver/api/v2"
BASES = ("/customers/acme/entitlements", V2 + "/customers/acme/entitlements", "/subjects/prod/entitlements")
# Every tenth pair, other ones for each text; every one of them where TALLYMARK_TESTS_ALL=1.
SHARE = 1 if os.environ.get("TALLYMARK_TESTS_ALL") == "1" else 10


@pytest.fixture(scope="module")
def entitled(api: TestClient, decider: ControlStage) -> TestClient:
    for path, body in (
        ("/meters", {"slug": "calls", "eventType": "x", "aggregation": "COUNT"}),
        ("/features", {"key": "f1", "name": "F", "meterSlug": "calls"}),
        ("/customers", {"key": "acme", "name": "ACME", "usageAttribution": {"subjectKeys": ["prod"]}}),
        (BASES[0], {"type": "metered", "featureKey": "f1", "usagePeriod": {"interval": "DAY"}}),
    ):
        assert api.post(path, json=body).status_code == 201
    return api


def urls(text: str) -> Iterator[tuple[str, dict[str, str]]]:
    segment = quote(text, safe="")
    for base in BASES:
        for more in ("", "/grants", "/history"):
            yield f"{base}/{segment}{more}", {}
        yield base.replace("acme", segment).replace("prod", segment), {}
        for name in ("from", "to", "windowSize", "windowTimeZone"):
            yield f"{base}/f1/history", {name: text}
        for name in ("orderBy", "includeDeleted", "page"):
            yield base, {name: text}
    for base in BASES[1:]:
        yield f"{base}/f1/value", {"time": text}
    for name in (
        "feature",
        "subject",
        "customerKeys",
        "customerIds",
        "entitlementType",
        "excludeInactive",
        "offset",
    ):
        yield "/entitlements", {name: text}
    for name in ("feature", "subject", "customer", "orderBy", "limit"):
        yield "/grants", {name: text}
        yield V2 + "/grants", {name: text}
    for path in ("/entitlements", "/notification/channels", "/notification/rules", "/notification/events",
                 "/deliveries"):  # fmt: skip
        yield f"{path}/{segment}", {}
    for name in ("from", "to", "feature", "subject", "rule", "channel", "order"):
        yield "/notification/events", {name: text}
        yield "/notification/rules", {name: text}
    for name in ("from", "to", "endpoint", "event", "state"):
        yield "/deliveries", {name: text}


def test_nothing_hostile_does_anything(entitled: TestClient) -> None:
    wrong = []
    for number, text in enumerate(HOSTILE):
        for path, params in islice(urls(text), number % SHARE, None, SHARE):
            answer = entitled.get(path, params=params)
            if answer.status_code not in (200, 400, 404, 405):
                wrong.append(f"{answer.status_code} {path} {params}: {answer.text[:200]}")
    assert wrong == []
