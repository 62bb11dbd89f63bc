"""Which values of both sides agree."""

from __future__ import annotations

from decimal import Decimal

import pytest

from pipeline.core.migration.comparison import TOTAL, Compared, balance, total_of, usage, windows_of


@pytest.mark.parametrize(
    ("theirs", "ours", "verdict"),
    [
        ("1.5", "1.50", "same"),
        (None, "0", "same"),
        ("0.30000000000000004", "0.3", "rounding"),
        ("-0.30000000000000004", "-0.3", "rounding"),
        ("1000000000.5", "1000000001.5", "rounding"),
        ("1000000000.5", "1000000002.5", "different"),
        ("1000000000", "1000000000.5", "rounding"),
        ("1000000000", "1000000001", "different"),
        ("9007199254740991", "9007199254740990", "different"),
        ("9007199254740992", "9007199254740993", "rounding"),
        ("-9007199254740992", "-9007199254740993", "rounding"),
        ("10", "11", "different"),
        (None, "0.0000000001", "different"),
        ("1", None, "different"),
    ],
)
def test_verdicts(theirs: str | None, ours: str | None, verdict: str) -> None:
    values = (None if one is None else Decimal(one) for one in (theirs, ours))
    assert Compared("m", TOTAL, *values).verdict == verdict


def test_windows_of_both_sides_meet() -> None:
    theirs = windows_of([{"windowStart": "2026-01-01T00:00:00Z", "value": Decimal("1.5")}])
    ours = windows_of([{"windowStart": "2026-01-01T00:00:00.000Z", "value": 1}])
    found = usage("m", theirs | total_of([]), ours | total_of([{"windowStart": "x", "value": 2}]))
    assert found == [
        Compared("m", "2026-01-01T00:00:00Z", Decimal("1.5"), Decimal(1)),
        Compared("m", TOTAL, None, Decimal(2)),
    ]


def test_members_of_a_balance() -> None:
    found = balance("a/f", {"balance": 1, "usage": Decimal("2.5"), "hasAccess": True}, {})
    assert [(one.window, one.theirs, one.ours) for one in found] == [
        ("balance", Decimal(1), None), ("usage", Decimal("2.5"), None), ("overage", None, None)
    ]  # fmt: skip
