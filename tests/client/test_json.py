"""Numbers go out and come in by their digits."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tallymark._json import dumps, loads

DECIMALS = st.decimals(allow_nan=False, allow_infinity=False)
SCALARS = st.none() | st.booleans() | st.integers() | st.text() | DECIMALS
TREES = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Decimal("0.10"), "0.10"),
        (Decimal("123456789012345678901234567890.123456789012345678"),) * 2,
        (Decimal("-0"), "-0"),
        (Decimal("1E+5"), "1E+5"),
        ({"a": [Decimal("1.0"), True, None, "é\n"]}, '{"a":[1.0,true,null,"é\\n"]}'),
        ({1: Decimal(2), None: 3, False: 4}, '{"1":2,"null":3,"false":4}'),
        (0.1, "0.1"),
        (10**40, "1" + "0" * 40),
    ],
)
def test_writes(value: object, text: object) -> None:
    assert dumps(value).decode() == str(text)


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        Decimal("NaN"),
        Decimal("sNaN"),
        Decimal("-Infinity"),
        [Decimal(1), float("nan")],
        "\ud800",
    ],
)
def test_refuses_what_is_no_json(value: object) -> None:
    with pytest.raises(ValueError):
        dumps({"a": value})


@pytest.mark.parametrize("value", [{1, 2}, b"x", object(), {Decimal(1): 1}, {(1,): Decimal(1)}])
def test_refuses_other_types(value: object) -> None:
    with pytest.raises(TypeError):
        dumps(value)


def test_refuses_what_contains_itself() -> None:
    tree: dict[str, Any] = {"d": Decimal(1)}
    tree["self"] = tree
    with pytest.raises(ValueError, match="nested"):
        dumps(tree)


@given(TREES)
def test_nothing_changes_on_the_way(tree: Any) -> None:
    back = loads(dumps(tree))
    assert back == tree
    assert dumps(back) == dumps(tree)  # the digits too, not only the value


@given(
    st.recursive(
        st.none() | st.integers() | st.text() | st.floats(allow_nan=False, allow_infinity=False), st.lists
    )
)
def test_the_exact_writer_writes_as_the_standard_one(tree: Any) -> None:
    assert (
        dumps([tree, Decimal(1)]) == json.dumps([tree, 1], ensure_ascii=False, separators=(",", ":")).encode()
    )


@pytest.mark.parametrize("text", ["{", "NaN", "[Infinity]", "1e99999999999999999999", ""])
def test_reads_no_nonsense(text: str) -> None:
    with pytest.raises(ValueError):
        loads(text)
