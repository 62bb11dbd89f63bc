"""Which priority each grant has here."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.core.migration.burn_ranks import ISSUED, burn_order, issues, ranks, with_rank
from pipeline.core.migration.grant_carry import CarriedGrant
from pipeline.core.values.timestamp import minute_s
from pipeline.errors import Rejected

SINCE = "2026-03-10T00:00:00Z"
SINCE_S = minute_s(SINCE)
MONTHLY = {"interval": "MONTH", "anchor": "2026-01-15T00:00:00Z"}
Row = dict[str, Any]


def grant(id: str, priority: int = 1, **more: Any) -> Row:
    return {
        "id": id,
        "priority": priority,
        "amount": 5,
        "effectiveAt": "2026-02-01T00:00:00Z",
        "createdAt": SINCE,
    } | more


def recurring(id: str, priority: int = 1, **more: Any) -> Row:
    return grant(id, priority, **{"recurrence": MONTHLY} | more)


SOON = {"expiresAt": "2026-04-01T00:00:00Z"}
ISSUE = {"issueAfterReset": 10, "issueAfterResetPriority": 1}


@pytest.mark.parametrize(
    ("entitlement", "rows", "found"),
    [
        ({}, [grant("a"), grant("b", 7)], {"a": 1, "b": 7}),
        ({}, [recurring("a"), grant("b")], {"a": 1, "b": 1}),  # the source burns it first too
        ({}, [recurring("b"), grant("a")], {"a": 1, "b": 2}),
        ({}, [recurring("a"), grant("b", **SOON)], {"b": 1, "a": 2}),
        (ISSUE, [recurring("a"), grant("b", 2), grant("c", 7)], {ISSUED: 1, "a": 2, "b": 3, "c": 7}),
        (ISSUE, [recurring("a"), recurring("b")], {ISSUED: 1, "a": 2, "b": 3}),
        (ISSUE, [recurring("b", **SOON), grant("a", **SOON)], {"a": 1, "b": 2, ISSUED: 2}),
        (ISSUE, [recurring("a", effectiveAt="2026-03-12T00:00:00Z")], {ISSUED: 1, "a": 1}),  # it is given whole
        (ISSUE, [recurring("a", recurrence=MONTHLY | {"anchor": SINCE})], {ISSUED: 1, "a": 1}),
        (ISSUE, [recurring("a", expiresAt=SINCE), grant("b", annotations={"issueAfterReset": True})], {ISSUED: 1}),
    ],
)  # fmt: skip
def test_ranks(entitlement: Row, rows: list[Row], found: dict[str, int]) -> None:
    assert ranks(entitlement, rows, SINCE_S, {}) == found


def test_what_is_here_keeps_its_priority() -> None:
    rows = [recurring("a"), grant("b"), grant("c", 2)]
    assert ranks(ISSUE, rows, SINCE_S, {ISSUED: 1, "a": 4}) == {ISSUED: 1, "a": 4, "b": 4, "c": 5}


def test_the_last_priority() -> None:
    part = CarriedGrant("a", {"priority": 1}, None)
    assert with_rank(part, 255).body == {"priority": 255}
    found = ranks({}, [grant("a", 255), recurring("b", 255)], SINCE_S, {})
    with pytest.raises(Rejected, match="would need the priority 256"):
        with_rank(part, found["b"])
    with pytest.raises(Rejected, match="would need the priority 256"):
        issues(ISSUE, {ISSUED: 256})
    assert issues(ISSUE, {ISSUED: 3})["issueAfterResetPriority"] == 3 and issues({}, {"a": 1}) == {}


def test_the_order_at_the_source() -> None:
    rows = [
        grant("d", 2),
        grant("c"),
        grant("b"),
        grant("a", createdAt="2026-03-11T00:00:00Z"),
        grant("e", **SOON),
    ]
    assert [row["id"] for row in burn_order(rows)] == ["e", "b", "c", "a", "d"]
