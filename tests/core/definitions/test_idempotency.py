"""When two requests are the same, how long a key holds, and what a repeated command is answered."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.definitions.idempotency import (
    KEPT_MS,
    REUSED,
    DoneCommand,
    command_id,
    holds,
    repeated,
    request_of,
)
from pipeline.errors import Rejected
from pipeline.records import Command, Reply


def asked(text: str) -> str:
    """The request of a body that is given as JSON text."""
    return request_of("grant.create", json.loads(text))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('{"amount": 50}', '{"amount": 50.0}'),
        ('{"amount": 50}', '{"amount": 5e1}'),
        ('{"amount": 0.5}', '{"amount": 5e-1}'),
        ('{"amount": 0}', '{"amount": -0.0}'),
        ('{"amount": 0.10}', '{"amount": 0.1}'),
        ('{"a": 1, "b": [{"c": 2.0}]}', '{"b": [{"c": 2}], "a": 1.0}'),
        ('{"amount": 1e300}', '{"amount": 1' + "0" * 300 + "}"),
    ],
)
def test_equal_values_are_the_same_request(one: str, other: str) -> None:
    assert asked(one) == asked(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('{"amount": 50}', '{"amount": "50"}'),
        ('{"amount": 1}', '{"amount": true}'),
        ('{"amount": 0}', '{"amount": null}'),
        ('{"amount": null}', "{}"),
        ('{"amount": 50}', '{"amount": 50.00001}'),
        ('{"amount": 5}', '{"amount": -5}'),
        ('{"amount": 1e1}', '{"amount": 1e2}'),
        ('{"amount": [1, 2]}', '{"amount": [2, 1]}'),
        ('{"amount": [[]]}', '{"amount": [{}]}'),
        ('{"amount": "5E1"}', '{"amount": 50}'),
        ('{"amount": 100000000000000000001}', '{"amount": 100000000000000000002}'),
    ],
)
def test_other_values_are_another_request(one: str, other: str) -> None:
    assert asked(one) != asked(other)


def test_the_kind_is_part_of_the_request() -> None:
    assert request_of("grant.create", {}) != request_of("grant.void", {})


numbers = st.one_of(
    st.integers(),
    st.decimals(allow_nan=False, allow_infinity=False),
    st.floats(allow_nan=False, allow_infinity=False),
)


@given(numbers, numbers)
def test_numbers_are_compared_as_numbers(one: Any, other: Any) -> None:
    def exact(number: Any) -> Decimal:
        return Decimal(repr(number)) if isinstance(number, float) else Decimal(number)

    assert (request_of("k", {"n": one}) == request_of("k", {"n": other})) == (exact(one) == exact(other))
    assert request_of("k", {"n": one}) == request_of("k", {"n": exact(one)})


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), values), st.dictionaries(st.text(), values))
def test_bodies_are_compared_as_json_values(one: dict[str, Any], other: dict[str, Any]) -> None:
    def text(body: Any) -> str:
        return json.dumps(body, sort_keys=True)

    assert (request_of("k", one) == request_of("k", other)) == (text(one) == text(other))


def test_a_body_that_is_nested_too_deeply_is_refused() -> None:
    body: dict[str, Any] = {}
    for _ in range(100_000):
        body = {"a": body}
    with pytest.raises(Rejected, match="nested too deeply"):
        request_of("k", body)
    while body:  # taken apart from outside, since Python's own way recurses
        body = body.pop("a")


@given(st.text(), st.text())
def test_a_key_is_an_id(one: str, other: str) -> None:
    assert (command_id(one) == command_id(other)) == (one == other)
    assert len(command_id(one)) <= 128


REPLY = Reply("key-1", 7, body={"id": "a"}, attempt="first")
DONE = DoneCommand(1_000, 5, "what", REPLY)


def command(request: str) -> Command:
    return Command("key-1", "customer.create", "default", "ann", 0, {}, attempt="second", request=request)


def test_the_same_request_gets_the_first_answer() -> None:
    assert repeated(DONE, command("what")) == Reply(
        "key-1", 7, body={"id": "a"}, attempt="second", repeated=True
    )


def test_another_request_is_refused() -> None:
    with pytest.raises(Rejected) as refusal:
        repeated(DONE, command("else"))
    assert refusal.value.reason == REUSED and "24 hours" in refusal.value.detail


def test_a_key_holds_for_a_day_and_not_for_the_command_itself() -> None:
    assert holds(DONE, 6, DONE.at_ms + KEPT_MS - 1) and not holds(DONE, 6, DONE.at_ms + KEPT_MS)
    assert not holds(DONE, DONE.offset, DONE.at_ms)  # read again after a crash
