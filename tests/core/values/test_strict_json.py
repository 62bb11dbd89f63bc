"""The canonical text of a tree: members by name, numbers as they were sent, strings as orjson writes them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from orjson import OPT_SORT_KEYS, dumps

from pipeline.core.values.strict_json import canonical_text, parse, parse_exactly
from pipeline.errors import Rejected

TEXTS = st.text(max_size=8)
PLAIN: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | TEXTS | st.integers(-(1 << 63), (1 << 64) - 1),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXTS, inner, max_size=5),
)
NUMBERS = ("0", "-0", "-0.0", "0.10", "1e5", "1E+400", "9" * 60)


@given(PLAIN)
def test_the_exact_reader_writes_what_orjson_writes(tree: Any) -> None:
    text = dumps(tree)
    assert parse_exactly(text)[1] == dumps(tree, option=OPT_SORT_KEYS)
    assert parse(json.dumps(tree).encode())[1] == parse_exactly(text)[1]


@given(st.lists(st.sampled_from(NUMBERS), min_size=1), TEXTS)
def test_numbers_keep_their_spelling(spellings: list[str], name: str) -> None:
    members = f"{json.dumps(name)}:[{','.join(spellings)}]"
    written = parse_exactly(f"{{{members}}}".encode())[1]
    assert written == b"{" + dumps(name) + b":[" + ",".join(spellings).encode() + b"]}"


@pytest.mark.parametrize("tree", ["\ud800", {"\udfff": 1}, {"a": ["x", "\ud83d"]}])
def test_half_a_surrogate_pair_has_no_text(tree: Any) -> None:
    with pytest.raises(Rejected, match="half of a surrogate pair"):
        canonical_text(tree)


def test_only_json_has_a_canonical_text() -> None:
    with pytest.raises(TypeError):
        canonical_text({"a": object()})
