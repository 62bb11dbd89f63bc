"""Whether what exists is what would be created."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from pipeline.core.migration.sameness import differences, json_text


@pytest.mark.parametrize(
    ("wanted", "found", "paths"),
    [
        ({"amount": Decimal("10.50")}, {"amount": "10.5", "id": "x"}, []),
        ({"at": "2026-01-01T00:00:00Z"}, {"at": "2026-01-01T01:00:00.000+01:00"}, []),
        ({"name": "A"}, {"name": "B"}, ["name"]),
        ({"name": "A"}, {}, ["name"]),
        ({"flag": True}, {"flag": False}, ["flag"]),
        ({"metadata": {"a": "1"}}, {"metadata": {"a": "1", "b": "2"}}, ["metadata.b"]),
        ({}, {"metadata": {"b": "2"}}, ["metadata"]),
        ({}, {"metadata": {}, "usageAttribution": {"subjectKeys": []}}, []),
        ({"subjects": ["a", "b"]}, {"subjects": ["a"]}, ["subjects"]),
        ({"phases": [{"key": "p", "price": {"amount": "2"}}]}, {"phases": [{"key": "p", "price": {"amount": "3"}}]},
         ["phases.0.price.amount"]),
        ({"price": {"type": "flat"}}, {"price": {"type": "flat", "paymentTerm": "in_advance"}}, []),
        ({"price": {"type": "flat"}}, {"price": None}, ["price.type"]),
        ({"name": "1e999999999"}, {"name": "1e999999998"}, ["name"]),
        ({"name": "NaN"}, {"name": "NaN"}, []),
    ],
)  # fmt: skip
def test_differences_are_named(wanted: dict[str, Any], found: dict[str, Any], paths: list[str]) -> None:
    assert differences(wanted, found) == paths


def test_members_can_be_left_out_of_the_comparison() -> None:
    assert (
        differences({"disabled": True}, {"disabled": False, "metadata": {"a": "b"}}, {"disabled", "metadata"})
        == []
    )


def test_json_texts_compare_by_their_value() -> None:
    assert json_text('{"a": 1}') == json_text('{"a":1}') != json_text('{"a":2}')
    assert json_text("{") == "{" and json_text(None) is None
