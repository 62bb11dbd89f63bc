"""ULIDs: their form, their order, and that the same makes the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.values.ulid import at_ms, is_ulid, make

instants = st.integers(0, (1 << 48) - 1)


@given(instants, st.text())
def test_it_has_the_form_and_is_pure(at_ms: int, seed: str) -> None:
    seed = seed.encode("utf-8", "replace").decode()
    assert is_ulid(make(at_ms, seed)) and make(at_ms, seed) == make(at_ms, seed)


@given(instants, instants, st.text("ab"), st.text("ab"))
def test_it_sorts_by_time_and_differs_by_seed(one_ms: int, other_ms: int, one: str, other: str) -> None:
    if one_ms != other_ms:
        assert (make(one_ms, one) < make(other_ms, other)) == (one_ms < other_ms)
    assert (make(one_ms, one) == make(one_ms, other)) == (one == other)


def test_its_time_is_that_of_the_specification() -> None:
    assert make(1_469_918_176_385, "")[:10] == "01ARYZ6S41"


@given(instants, st.text("ab"))
def test_its_time_can_be_read(instant_ms: int, seed: str) -> None:
    assert at_ms(make(instant_ms, seed)) == instant_ms


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("01ARYZ6S41TSV4RRFFQ69G5FAV", True),
        ("01aryz6s41tsv4rrffq69g5fav", True),
        ("81ARYZ6S41TSV4RRFFQ69G5FAV", False),  # beyond 48 bits of time
        ("01ARYZ6S41TSV4RRFFQ69G5FA", False),
        ("01ARYZ6S41TSV4RRFFQ69G5FAU", False),
        ("tokens", False),
    ],
)
def test_what_is_one(text: str, is_one: bool) -> None:
    assert is_ulid(text) == is_one
