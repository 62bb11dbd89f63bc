"""The JSONPath subset: what it reads, and what it refuses."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from pipeline.core.values import jsonpath
from pipeline.errors import Rejected

DATA = {
    "a": {"b": 1, "b c": 2, "größe": 3},
    "list": [10, [20, {"x": 21}]],
    "nil": None,
    "": 5,
    "-": 6,
    "$a": 7,
    "it's": 8,
    'a"\\\n': 9,
    "\U0001f600": 10,
}

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
    ("$['$a']", ("$a",), 7),
    ("$['it\\'s']", ("it's",), 8),
    ('$["it\'s"]', ("it's",), 8),
    ("$['a\"\\\\\\n']", ('a"\\\n',), 9),
    ('$["a\\"\\u005c\\u000A"]', ('a"\\\n',), 9),
    ("$['\\ud83d\\ude00']", ("\U0001f600",), 10),
    ("$['\U0001f600']", ("\U0001f600",), 10),
    ("$['\\/']", ("/",), UNSET),
    ("$['--'].a--b['`']['\ufffd']", ("--", "a--b", "`", "\ufffd"), UNSET),
    ("$.trace-id", ("trace-id",), UNSET),
    ("$." + "a" * 254, ("a" * 254,), UNSET),
]

REFUSED = [
    "", "a", "a.b", "@.a", " $.a", "$", "$.", "$[0]", "$[0].a", "$..a", "$..*", "$.*", "$.a[*]", "$.a[-1]",
    "$.a[01]", "$.a[1:2]", "$.a[0,1]", "$['a','b']",
    "$.a b", "$.a ", "$.a\n", "$.1a", "$.a[", "$.a[]", "$['']",
    "$['a\"]", "$['a'b']", "$['a\\']", "$.a\\b", "$['a\\x']", "$['\\u12']", "$[\"\\'\"]", "$.a;--",
    "$['\\ud83d']", "$['\\ude00\\ud83d']", "$['\ud800']", "$['\\\n']",
    "$.$a", "$.`a`",
    "$.a'", "$.a') OR ('1'='1", "$['a')]", "$[?(@.a>1)]", "$.a[?(@.b)]", "$[(@.length-1)]", "$.a()",
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
def test_what_is_taken_finds_a_place_or_none(text: str) -> None:
    try:
        path = jsonpath.parse(text)
    except Rejected:
        return
    assert all(path)
    assert jsonpath.get(path, {"a": [{"b": 0}]}) is not None


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30), st.sampled_from("'\""))
def test_every_name_can_be_written(name: str, quote: str) -> None:
    """As RFC 9535 says: JSON's escapes, with the quote of the path in place of JSON's."""
    escaped = json.dumps(name)[1:-1].replace('\\"', '"').replace(quote, "\\" + quote)
    assert jsonpath.parse(f"$[{quote}{escaped}{quote}]") == (name,)
