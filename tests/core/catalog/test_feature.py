"""Features: their rules, their end, and a key that is used again."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.core.catalog.feature import Feature, UnitCost
from tests.fixtures.control_log import AT, Log

METER: dict[str, Any] = {
    "slug": "tokens",
    "eventType": "prompt",
    "aggregation": "SUM",
    "valueProperty": "$.tokens",
    "groupBy": {"model": "$.model", "kind": "$.kind"},
}
GPT: dict[str, Any] = {"key": "gpt", "name": "GPT", "meterSlug": "tokens"}
LLM = {"type": "llm", "provider": "openai", "modelProperty": "model", "tokenType": "input"}


def log() -> Log:
    made = Log()
    made.do("meter.apply", METER)
    made.do("meter.apply", {**METER, "slug": "widest", "aggregation": "MAX"})
    return made


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"meterGroupByFilters": {"model": "large"}},
        {"advancedMeterGroupByFilters": {"model": {"$in": ["a", "b"]}, "kind": {"$ne": "x"}}},
        {"unitCost": {"type": "manual", "amount": "0.002"}},
        {"unitCost": LLM},
        {"metadata": {"a": "b"}},
    ],
)
def test_what_was_sent_comes_back(more: dict[str, Any]) -> None:
    feature = log().do("feature.create", GPT | more)
    assert feature == {"id": feature["id"], **GPT, **more, "createdAt": AT, "updatedAt": AT}


def test_a_feature_needs_no_meter() -> None:
    assert Log().do("feature.create", {"key": "sso", "name": "SSO"})["key"] == "sso"


@pytest.mark.parametrize(
    ("wrong", "detail"),
    [
        ({"key": None}, "feature key is required"),
        ({"key": "GPT"}, "lower-case"),
        ({"key": "a" * 65}, "must have 1 to 64"),
        ({"key": "01aryz6s41tsv4rrffq69g5fav"}, "Feature key cannot be a valid ULID"),
        ({"name": None}, "feature name is required"),
        ({"meterSlug": "calls"}, "meter not found: calls"),
        ({"meterSlug": "widest"}, "features can only be created for SUM, COUNT, UNIQUE_COUNT, LATEST"),
        ({"meterGroupByFilters": {"region": "eu"}}, "available columns: kind, model"),
        ({"meterSlug": None, "meterGroupByFilters": {"model": "a"}}, "invalid filters"),
        ({"meterGroupByFilters": {"model": 1}}, "object of strings"),
        ({"advancedMeterGroupByFilters": {"model": {"$near": "a"}}}, "$near"),
        ({"advancedMeterGroupByFilters": {"region": {"$eq": "a"}}}, "available columns"),
        (
            {"meterGroupByFilters": {"kind": "a"}, "advancedMeterGroupByFilters": {"model": {"$eq": "a"}}},
            "only one of",
        ),
        ({"unitCost": {"type": "free"}}, "invalid unit cost type"),
        ({"unitCost": {"type": "manual", "amount": "-1"}}, "non-negative"),
        ({"unitCost": {"type": "manual", "amount": "NaN"}}, "not valid"),
        ({"unitCost": {"type": "manual"}}, "amount is required"),
        ({"unitCost": LLM | {"modelProperty": "region"}}, "not found in meter group-by keys"),
        ({"unitCost": LLM | {"model": "a"}}, "mutually exclusive"),
        ({"unitCost": LLM | {"provider": None}}, "either providerProperty or provider is required"),
        ({"unitCost": LLM | {"tokenType": "thought"}}, "invalid tokenType"),
        ({"colour": "red"}, "unknown member"),
    ],
)
def test_what_is_refused(wrong: dict[str, Any], detail: str) -> None:
    reason, found = log().refused("feature.create", GPT | wrong)
    assert reason == "bad-feature" and detail in found


def test_a_key_is_taken_until_its_feature_is_archived() -> None:
    have = log()
    first = have.do("feature.create", GPT)
    assert have.refused("feature.create", GPT) == (
        "feature-conflict",
        f"feature {first['id']} with key gpt already exists",
    )
    assert have.do("feature.archive", {"id": "gpt"}) == {**first, "archivedAt": AT}
    second = have.do("feature.create", GPT)
    assert second["id"] != first["id"] and have.body("feature", first["id"])["archivedAt"] == AT
    revision = have.revision
    assert have.do("feature.archive", {"id": first["id"]})["archivedAt"] == AT  # once more changes nothing
    assert have.revision == revision
    assert have.refused("feature.archive", {"id": "tpg"}) == ("not-found", "feature not found: tpg")


def test_which_group_by_keys_a_feature_needs() -> None:
    plain = Feature(
        id="1", key="a", name="A", meter_group_by_filters={"kind": "a"}, created_at=AT, updated_at=AT,
        unit_cost=UnitCost("llm", provider="openai", model_property="model", token_type="input"),
    )  # fmt: skip
    assert (plain.columns_used, plain.filters) == ({"kind", "model"}, {"kind": {"$eq": "a"}})
    advanced = Feature(
        id="1", key="a", name="A", advanced_meter_group_by_filters={"kind": {}}, created_at=AT, updated_at=AT
    )
    assert (advanced.columns_used, advanced.filters) == ({"kind"}, {"kind": {}})
