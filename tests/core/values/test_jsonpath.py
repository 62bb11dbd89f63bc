"""The JSONPath subset: what it reads, and what it refuses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from pipeline.core.values import jsonpath
from pipeline.errors import Rejected

DATA = {"a": {"b": 1, "b c": 2, "größe": 3}, "list": [10, [20, {"x": 21}]], "nil": None, "": 5, "-": 6}

READ = [
    ("$.a.b", ("a", "b"), 1),
    ("$['a']['b c']", ("a", "b c"), 2),
    ('$["a"].b', ("a", "b"), 1),
    ("$.a['größe']", ("a", "größe"), 3),
    ("$.list[0]", ("list", 0), 10),
    ("$.list[1][1].x", ("list", 1, 1, "x"), 21),
    ("$.nil", ("nil",), None),
    ("$.nil.x", ("nil", "x"), UNSET),
    ("$.none", ("none",), UNSET),
    ("$.list[2]", ("list", 2), UNSET),
    ("$.list.x", ("list", "x"), UNSET),
    ("$.a[0]", ("a", 0), UNSET),
    ("$.a.b.c", ("a", "b", "c"), UNSET),
    ("$['-']", ("-",), 6),
    ("$.trace-id", ("trace-id",), UNSET),
    ("$." + "a" * 254, ("a" * 254,), UNSET),
]

REFUSED = [
    "", "a", "a.b", "@.a", " $.a", "$", "$.", "$[0]", "$[0].a", "$..a", "$..*", "$.*", "$.a[*]", "$.a[-1]",
    "$.a[01]", "$.a[1:2]", "$.a[0,1]", "$['a','b']",
    "$.a b", "$.a ", "$.a\n", "$.1a", "$.a[", "$.a[]", "$['']",
    "$['a\"]", "$['a'b']", "$['a\\'b']", "$.a\\b", "$.a--b", "$['a--b']", "$.a;--",
    "$.$a", "$['$a']", "$.`a`",
    "$['`']", "$.a'", "$.a') OR ('1'='1", "$['a')]", "$[?(@.a>1)]", "$.a[?(@.b)]", "$[(@.length-1)]", "$.a()",
    "$.a/*x*/", "$.a\x00", "$['a\x00b']", "$['a\nb']", "$.größe", "$." + "a" * 255,
    "$." + "a" * 10_240, None, 5, True, ["$.a"], {"$": 1},
]  # fmt: skip


@pytest.mark.parametrize(("text", "path", "value"), READ, ids=[text[:20] for text, _, _ in READ])
def test_a_path_names_one_place(text: str, path: jsonpath.Path, value: object) -> None:
    assert jsonpath.parse(text) == path
    assert jsonpath.get(path, DATA) == value or jsonpath.get(path, DATA) is value


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: ascii(text)[:24])
def test_everything_else_is_refused(text: object) -> None:
    with pytest.raises(Rejected) as refusal:
        jsonpath.parse(text)
    assert refusal.value.reason == "bad-path"
    assert len(refusal.value.detail) < 150


@given(st.text(alphabet="$.['\"]ab0 -?@*\\`\n", max_size=30).map("$".__add__))
def test_what_is_taken_has_no_dangerous_character(text: str) -> None:
    try:
        path = jsonpath.parse(text)
    except Rejected:
        return
    names = "".join(step for step in path if isinstance(step, str))
    assert not set("'\"\\`$\n") & set(names)
    assert "--" not in text
    assert jsonpath.get(path, {"a": [{"b": 0}]}) is not None
