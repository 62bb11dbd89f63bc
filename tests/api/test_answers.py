"""Recorded requests and answers are valid by OpenAPI, whose schemas are closed, and its examples are true."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.api.http.problem import one_line
from tests.api.openapi import DOCUMENT, OPERATIONS, resolved, wrong, wrong_answer
from tests.api.recording import recorder

RECORDED = recorder.stored()


@pytest.mark.parametrize("operation", OPERATIONS)
def test_recorded_answers_are_valid(operation: str) -> None:
    for exchange in RECORDED[operation]:
        answer = exchange["answer"]
        why = wrong_answer(operation, answer["status"], answer.get("content_type", ""), answer.get("body"))
        assert not why, (exchange["name"], why)


@pytest.mark.parametrize("operation", [name for name, one in OPERATIONS.items() if "requestBody" in one])
def test_recorded_bodies_that_are_accepted_are_valid(operation: str) -> None:
    content = OPERATIONS[operation]["requestBody"]["content"]
    for exchange in RECORDED[operation]:
        asked = exchange["request"]
        is_whole = "body" in asked and not isinstance(
            asked["body"], str
        )  # of a long body the record has its length
        if exchange["answer"]["status"] < 300 and is_whole:
            schema = content[asked["headers"]["content-type"]]["schema"]
            assert not (why := wrong(schema, asked["body"])), (exchange["name"], why)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_bodies_and_answers_have_types_and_examples(operation: str) -> None:
    described = OPERATIONS[operation]
    found = [*described.get("requestBody", {}).get("content", {}).values()]
    for status, response in described["responses"].items():
        if status < "3" or ("$ref" in response and status != "default"):
            found += [one for name, one in resolved(response).get("content", {}).items() if "json" in name]
    for one in found:
        assert one["schema"] and "example" in one, (operation, one)
        assert not (why := wrong(one["schema"], one["example"])), why


def test_every_object_of_an_answer_is_closed() -> None:
    open_ = [
        name
        for name, schema in DOCUMENT["components"]["schemas"].items()
        if schema.get("type") == "object" and schema.get("additionalProperties", True) is True
    ]
    assert open_ == ["CloudEventBody"], "only events may have members that are not listed"


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"id": "01KF0REDYRYRJMCK03EXCSSCBT"}, "is a required property"),
        (
            {**RECORDED["GET /api/v1/customers/{customerIdOrKey}"][0]["answer"]["body"], "zz": 1},
            "'zz' was unexpected",
        ),
    ],
)
def test_another_answer_is_not_valid(body: Any, why: str) -> None:
    assert why in wrong_answer("GET /api/v1/customers/{customerIdOrKey}", 200, "application/json", body)
    assert wrong_answer("GET /api/v1/customers/{customerIdOrKey}", 201, "application/json", body)


def test_the_sentence_of_a_refusal_is_one_line() -> None:
    assert one_line("There is no customer \n\x85\u2028é.") == "There is no customer \\n\\x85\\u2028é."
