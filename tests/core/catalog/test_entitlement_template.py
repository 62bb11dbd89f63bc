"""Entitlement templates: what was sent comes back, and JSON is checked without being changed."""

from __future__ import annotations

import pytest

from pipeline.core.catalog.entitlement_template import StaticTemplate, template_issues
from tests.fixtures.catalog_bodies import TOKENS, Body, log, with_card


@pytest.mark.parametrize(
    "template",
    [
        {"type": "boolean", "metadata": {"a": "b"}},
        {"type": "static", "config": '{"seats": 1.10}', "metadata": {"a": "b"}},
        {"type": "metered", "issueAfterReset": "0.5", "isSoftLimit": False, "preserveOverageAtReset": False},
    ],
)
def test_what_was_sent_comes_back(template: Body) -> None:
    made = log().do("plan.create", with_card({**TOKENS, "entitlementTemplate": template}))
    assert made["phases"][1]["rateCards"][1]["entitlementTemplate"] == template


@pytest.mark.parametrize(
    ("config", "is_valid"),
    [("{}", True), ("[1.10]", True), ("7", True), ("{'a'}", False), ('{"a":1,}', False)],
)
def test_a_static_config_is_json(config: str, is_valid: bool) -> None:
    assert (not list(template_issues(StaticTemplate(config=config)))) is is_valid
