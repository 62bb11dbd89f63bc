"""Subjects: made and changed by key, in lists that hold or fall together."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.core.definitions.body import MAX_DEPTH
from tests.fixtures.control_log import AT, AT_MS, Log


def test_an_absent_member_stays_and_null_clears() -> None:
    log = Log()
    (first,) = log.do("subject.upsert", {"key": "ann", "displayName": "Ann", "metadata": {"a": [1, "x"]}})[
        "subjects"
    ]
    assert first["createdAt"] == first["updatedAt"] == AT
    later = {"key": "ann", "displayName": None, "stripeCustomerId": "cus_1"}
    (second,) = log.do("subject.upsert", later, at_ms=AT_MS + 1)["subjects"]
    assert second == {
        "id": first["id"],
        "key": "ann",
        "metadata": {"a": [1, "x"]},
        "stripeCustomerId": "cus_1",
        "createdAt": AT,
        "updatedAt": "2026-01-01T00:00:00.001Z",
    }


def test_the_same_again_changes_nothing() -> None:
    log = Log()
    first = log.do("subject.upsert", {"subjects": [{"key": "ann"}, {"key": "bob"}]})
    assert log.do("subject.upsert", {"subjects": [{"key": "ann"}, {"key": "bob"}]}, at_ms=AT_MS + 1) == first
    assert log.revision == 2


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"key": ""},
        {"key": "k" * 1025},
        {"key": "ann", "age": 7},
        {"key": "ann", "metadata": "x"},
        {"subjects": {}},
        {"subjects": ["ann"]},
        {"subjects": [{"key": "ann"}, {"key": "ann"}]},
        {"subjects": [{"key": "ann"}, {"name": "bob"}]},
        {"subjects": [{"key": str(number)} for number in range(1001)]},
    ],
)
def test_what_is_refused(body: dict[str, Any]) -> None:
    assert Log().refused("subject.upsert", body)[0] == "bad-subject"


@pytest.mark.parametrize(("depth", "taken"), [(MAX_DEPTH, True), (MAX_DEPTH + 1, False)])
def test_metadata_has_a_depth(depth: int, taken: bool) -> None:
    nested: dict[str, Any] = {}
    for _ in range(depth - 1):
        nested = {"a": nested}
    reply = Log().run(Log().command("subject.upsert", {"key": "ann", "metadata": nested})).reply
    assert (reply.error == "") == taken


@pytest.mark.parametrize("by", ["id", "key"])
def test_deleting(by: str) -> None:
    log = Log()
    (ann,) = log.do("subject.upsert", {"key": "ann"})["subjects"]
    log.do("subject.delete", {"id": ann[by]})
    assert log.body("subject", ann["id"]) is None
    assert log.refused("subject.delete", {"id": ann[by]})[0] == "not-found"
    (again,) = log.do("subject.upsert", {"key": "ann"})["subjects"]
    assert again["id"] != ann["id"]
