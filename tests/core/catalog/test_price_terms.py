"""Discounts and conversions of units that clients send."""

from __future__ import annotations

import doctest
from typing import Any

import msgspec
import pytest

from pipeline.core.catalog import price_terms
from pipeline.core.catalog.price_terms import Discounts, discounts_json, read_discounts, read_unit_config
from pipeline.errors import Rejected


def test_the_examples_are_true() -> None:
    result = doctest.testmod(price_terms)
    assert result.attempted and not result.failed


@pytest.mark.parametrize("digits", ["0", "100", "33.3", "0.1", "12.3456789012345", "0.000001"])
def test_a_percentage_keeps_its_digits(digits: str) -> None:
    sent = msgspec.json.decode(f'{{"percentage": {{"percentage": {digits}}}}}'.encode())
    discounts = read_discounts("plan", sent)
    assert (
        msgspec.json.encode(discounts_json(discounts))
        == f'{{"percentage":{{"percentage":{digits}}}}}'.encode()
    )
    assert msgspec.json.decode(msgspec.json.encode(discounts), type=Discounts) == discounts
    assert msgspec.convert(msgspec.to_builtins(discounts), Discounts) == discounts


def test_discounts_come_back() -> None:
    sent = {"percentage": {"percentage": 10}, "usage": {"quantity": "1000"}}
    discounts = read_discounts("plan", sent)
    assert msgspec.json.decode(msgspec.json.encode(discounts_json(discounts))) == sent
    assert read_discounts("plan", {}) == Discounts()


@pytest.mark.parametrize(
    ("sent", "detail"),
    [
        (
            {"percentage": {"percentage": 100.5}},
            "plan discounts percentage percentage must be a number from 0 to 100",
        ),
        ({"percentage": {"percentage": -1}}, "must not be negative"),
        ({"percentage": {}}, "must be a number from 0 to 100"),
        ({"percentage": 5}, "plan discounts percentage must be an object"),
        ({"percentage": {"percentage": 0.1234567890123456}}, "too many digits for a JSON number"),
        ({"usage": {}}, "plan discounts usage quantity is required"),
        ({"usage": {"quantity": "-1"}}, "plan discounts usage quantity must not be negative"),
        ({"usage": {"quantity": "1", "unit": "x"}}, "plan discounts usage has an unknown member 'unit'"),
        ({"amount": {}}, "plan discounts has an unknown member 'amount'"),
    ],
)
def test_refused_discounts(sent: dict[str, Any], detail: str) -> None:
    with pytest.raises(Rejected) as refusal:
        read_discounts("plan", sent)
    assert (refusal.value.reason, detail in refusal.value.detail) == ("bad-plan", True), refusal.value.detail


def test_a_unit_config_comes_back() -> None:
    sent = {
        "operation": "divide",
        "conversionFactor": "1000",
        "rounding": "ceiling",
        "precision": 2,
        "displayUnit": "K",
    }
    assert msgspec.to_builtins(read_unit_config("plan", sent)) == sent
    least = {"operation": "multiply", "conversionFactor": "0.5"}
    assert msgspec.to_builtins(read_unit_config("plan", least)) == least


@pytest.mark.parametrize(
    ("sent", "detail"),
    [
        ({}, "plan unitConfig operation is required"),
        ({"operation": "add"}, "operation must be one of divide, multiply"),
        ({"operation": "divide"}, "conversionFactor must be above 0"),
        ({"operation": "divide", "conversionFactor": "0"}, "conversionFactor must be above 0"),
        ({"operation": "divide", "conversionFactor": "-1"}, "conversionFactor must not be negative"),
        (
            {"operation": "divide", "conversionFactor": "1", "rounding": "up"},
            "rounding must be one of none, ceiling",
        ),
        (
            {"operation": "divide", "conversionFactor": "1", "precision": 19},
            "precision must be an integer from 0 to 18",
        ),
        ({"operation": "divide", "conversionFactor": "1", "factor": 1}, "unknown member 'factor'"),
    ],
)
def test_refused_unit_configs(sent: dict[str, Any], detail: str) -> None:
    with pytest.raises(Rejected) as refusal:
        read_unit_config("plan", sent)
    assert (refusal.value.reason, detail in refusal.value.detail) == ("bad-plan", True), refusal.value.detail
