"""Filters: what is valid, what each operator matches, and that no pattern takes long."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.values.filters import ALL, Filter, filter_string, filter_time, matches, parse_json, pattern
from pipeline.errors import Rejected


@pytest.mark.parametrize(
    "body,passing,failing",
    [
        ({}, ["", "a"], []),
        ({"$eq": None}, ["", "a"], []),
        ({"$eq": "a", "$ne": None}, ["a"], ["A", "", "ab"]),
        ({"$eq": ""}, [""], ["a"]),
        ({"$ne": "a"}, ["b", ""], ["a"]),
        ({"$in": ["a", "b"]}, ["a", "b"], ["c", ""]),
        ({"$nin": ["a", "b"]}, ["c", ""], ["a", "b"]),
        ({"$exists": True}, ["a"], [""]),
        ({"$exists": False}, [""], ["a"]),
        ({"$gt": "b"}, ["ba", "c", "é"], ["b", "B", ""]),
        ({"$gte": "b"}, ["b", "c"], ["a"]),
        ({"$lt": "b"}, ["a", "", "B"], ["b", "é"]),
        ({"$lte": "b"}, ["b", ""], ["ba"]),
        ({"$gt": "\uffff"}, ["\U00010000"], ["\ue000"]),
        ({"$like": "gpt-%"}, ["gpt-", "gpt-4\n"], ["GPT-4", "xgpt-4"]),
        ({"$like": "%4%o"}, ["gpt-4o", "44oo"], ["gpt-4", "o4"]),
        ({"$like": "a_c"}, ["abc", "a\nc", "aéc"], ["ac", "abbc"]),
        ({"$like": r"100\%"}, ["100%"], ["1000"]),
        ({"$like": r"a\_b\\"}, ["a_b\\"], ["axb\\"]),
        ({"$like": "\\"}, ["\\"], [""]),
        ({"$like": "a.c*"}, ["a.c*"], ["abc", "abcc"]),
        ({"$like": ""}, [""], ["a"]),
        ({"$like": "%"}, ["", "a"], []),
        ({"$like": "ab%ab"}, ["abab", "abxab"], ["ab", "aba"]),
        ({"$nlike": "a%"}, ["b", ""], ["a", "ab"]),
        ({"$ilike": "GPT%É"}, ["gpt4é"], ["gpt4e"]),
        ({"$nilike": "GPT%"}, ["x"], ["gpt4"]),
        ({"$contains": "P_%"}, ["xp_%y"], ["pqr"]),
        ({"$ncontains": "P"}, ["x"], ["apb"]),
        ({"$and": [{"$gt": "a"}, {"$lt": "c"}]}, ["b"], ["a", "c"]),
        ({"$or": [{"$eq": "a"}, {"$like": "b%"}]}, ["a", "bb"], ["c"]),
    ],
)
def test_what_each_operator_matches(body: Any, passing: list[str], failing: list[str]) -> None:
    filter_ = filter_string("f", body)
    assert [value for value in passing if not matches(filter_, value)] == []
    assert [value for value in failing if matches(filter_, value)] == []


@pytest.mark.parametrize(
    "body,detail",
    [
        ("a", 'f must be an object such as {"$eq": "a"}'),
        ({"$eq": "a", "$ne": "b"}, "f: filter is invalid: multiple operators are set"),
        ({"$regex": "a"}, "f: there is no operator $regex"),
        ({"$eq": 1}, "f: $eq must be text"),
        ({"$eq": "\ud800"}, "f: half of a surrogate pair is no text"),
        ({"$exists": "yes"}, "f: $exists must be true or false"),
        ({"$in": "a"}, "f: $in must be a list of 1 to 100"),
        ({"$in": []}, "f: $in must be a list of 1 to 100"),
        ({"$in": ["a"] * 101}, "f: $in must be a list of 1 to 100"),
        ({"$in": [None]}, "f: $in must be text"),
        ({"$like": "a" * 257}, "f: $like is longer than 256 characters"),
        ({"$eq": "a" * 4097}, "f: $eq is longer than 4096 characters"),
        ({"$and": [{"$or": [{"$eq": "a"}]}]}, "f: filter complexity exceeds maximum allowed depth"),
        ({"$or": [{"$eq": "a"}, 1]}, 'f must be an object such as {"$eq": "a"}'),
    ],
)
def test_what_is_not_valid(body: Any, detail: str) -> None:
    with pytest.raises(Rejected) as refusal:
        filter_string("f", body)
    assert (refusal.value.reason, refusal.value.detail) == ("bad-query", detail)


def test_instants() -> None:
    assert filter_time("t", {}) == ALL
    assert filter_time("t", {"$gte": "1970-01-01T00:00:01.5Z"}) == Filter("$gte", 1_500_000_000)
    both = filter_time("t", {"$and": [{"$gt": "1970-01-01T00:00:01Z"}, {"$lte": "1970-01-01T00:00:02Z"}]})
    assert both.operand == (Filter("$gt", 10**9), Filter("$lte", 2 * 10**9))
    for body in ({"$gte": "yesterday"}, {"$like": "1970%"}, {"$gte": 5}, {"$ne": "1970-01-01T00:00:01Z"}):
        with pytest.raises(Rejected):
            filter_time("t", body)


def test_json_text() -> None:
    assert parse_json("f", '{"a": 1}') == {"a": 1}
    for text in ("{", "[" * 60_000, '"' + "a" * 70_000 + '"', '"\\ud800'):
        with pytest.raises(Rejected):
            parse_json("f", text)


some = st.text("ab%_\\\né.A", max_size=12)


@given(some, some)
def test_like_is_what_a_plain_search_says(pattern: str, value: str) -> None:
    def plain(p: str, v: str) -> bool:
        if not p:
            return not v
        if p[0] == "%":
            return any(plain(p[1:], v[i:]) for i in range(len(v) + 1))
        if not v:
            return False
        if p[0] == "\\" and len(p) > 1:
            return p[1] == v[0] and plain(p[2:], v[1:])
        return (p[0] == "_" or p[0] == v[0]) and plain(p[1:], v[1:])

    assert matches(filter_string("f", {"$like": pattern}), value) == plain(pattern, value)


def test_no_pattern_takes_long() -> None:
    hostile = filter_string("f", {"$ilike": "%a" * 120 + "%b"})
    begun = time.monotonic()
    assert not matches(hostile, "a" * 100_000)
    assert time.monotonic() - begun < 2


def test_a_pattern_for_the_store_has_no_meaning_of_its_own() -> None:
    every = "".join(map(chr, range(128))).replace("%", "").replace("_", "").replace("\\", "\\\\")
    expression = pattern("$like", every)
    assert re.fullmatch(expression.removeprefix("(?s)^").removesuffix("$"), every.replace("\\\\", "\\"))
