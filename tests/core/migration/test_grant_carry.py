"""Which grants are given, with which amount, from when and until when."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.migration.grant_carry import (
    MARK,
    carried,
    counterparts,
    is_complete,
    is_issued,
    needs_balance,
)
from pipeline.core.values import calendar
from pipeline.core.values.timestamp import minute_s
from pipeline.core.values.zone import text_of
from pipeline.errors import Rejected

SINCE, NOW = "2026-03-10T00:00:00Z", "2026-03-20T12:00:00Z"
SINCE_S, NOW_S = minute_s(SINCE), minute_s(NOW)
GRANT: dict[str, Any] = {
    "id": "01G", "entitlementId": "01E", "amount": 50, "priority": 2, "minRolloverAmount": 0, "maxRolloverAmount": 40,
    "metadata": {"note": "a"}, "createdAt": SINCE, "updatedAt": SINCE,
}  # fmt: skip
KEPT = {
    "priority": 2,
    "minRolloverAmount": 0,
    "maxRolloverAmount": 40,
    "metadata": {"note": "a", MARK: "01G"},
}
REST = KEPT | {"metadata": {"note": "a", MARK: "01G@rest"}}
MONTHLY = {"interval": "MONTH", "intervalISO": "P1M", "anchor": "2026-01-15T00:00:00Z"}


def given_at(at: str, **more: Any) -> dict[str, Any]:
    return GRANT | {"effectiveAt": at} | more


def test_one_of_this_period_stays_as_it_is() -> None:
    row = given_at(
        "2026-03-12T00:00:00Z", expiration={"duration": "MONTH", "count": 1}, expiresAt="2026-04-12T00:00:00Z",
        recurrence=MONTHLY, voidedAt="2026-03-19T00:00:00Z",
    )  # fmt: skip
    (found,) = carried(row, SINCE_S, NOW_S, None)
    assert found.body == KEPT | {
        "amount": 50, "effectiveAt": "2026-03-12T00:00:00.000Z", "expiration": {"duration": "MONTH", "count": 1},
        "recurrence": {"interval": "MONTH", "anchor": "2026-01-15T00:00:00Z"},
    }  # fmt: skip
    assert (found.expires_s, found.void_at) == (minute_s("2026-04-12T00:00:00Z"), "2026-03-19T00:00:00Z")


def test_one_of_before_comes_with_what_was_left() -> None:
    (found,) = carried(given_at("2026-02-01T00:00:00Z"), SINCE_S, NOW_S, Decimal("12.5"))
    assert found.body == REST | {"amount": Decimal("12.5"), "effectiveAt": "2026-03-10T00:00:00.000Z"}


def test_one_that_recurs_is_two() -> None:
    rest, whole = carried(given_at("2026-02-01T00:00:00Z", recurrence=MONTHLY), SINCE_S, NOW_S, Decimal(3))
    assert rest.body == REST | {
        "amount": Decimal(3), "effectiveAt": "2026-03-10T00:00:00.000Z",
        "expiration": {"duration": "HOUR", "count": 120},
    }  # fmt: skip
    assert whole.body == KEPT | {
        "amount": 50, "effectiveAt": "2026-03-15T00:00:00.000Z",
        "recurrence": {"interval": "MONTH", "anchor": "2026-01-15T00:00:00Z"},
    }  # fmt: skip


def test_one_that_recurs_at_the_start_of_the_period_is_whole() -> None:
    row = given_at("2026-02-01T00:00:00Z", recurrence=MONTHLY | {"anchor": SINCE})
    (found,) = carried(row, SINCE_S, NOW_S, Decimal(50))
    assert (found.mark, found.body["amount"]) == ("01G", 50)


@pytest.mark.parametrize(
    ("row", "left"),
    [
        (given_at("2026-02-01T00:00:00Z", expiresAt=SINCE), "5"),
        (given_at("2026-02-01T00:00:00Z", voidedAt="2026-03-09T00:00:00Z"), "5"),
        (given_at("2026-03-12T00:00:00Z", deletedAt="2026-02-01T00:00:00Z"), None),
        (given_at("2026-02-01T00:00:00Z"), "0"),
        (given_at("2026-03-12T00:00:00Z", annotations={"issueAfterReset": True}), None),
        (given_at("2026-03-12T00:00:00Z", issuedAfterReset=True), None),
    ],
)
def test_what_gives_nothing_any_more_is_left_out(row: dict[str, Any], left: str | None) -> None:
    assert carried(row, SINCE_S, NOW_S, None if left is None else Decimal(left)) == []


def test_without_a_balance_it_is_refused() -> None:
    row = given_at("2026-02-01T00:00:00Z")
    assert needs_balance(row, SINCE_S)
    with pytest.raises(Rejected, match="shows no balance"):
        carried(row, SINCE_S, NOW_S, None)


@given(st.integers(1, 60 * 24 * 2000))
def test_the_rest_ends_when_the_grant_ends(minutes: int) -> None:
    """Exactly, unless it would have to begin in the future; then it ends at most a day later, and that is noted."""
    ends_s = SINCE_S + minutes * 60
    (found,) = carried(
        given_at("2026-02-01T00:00:00Z", expiresAt=text_of(ends_s)), SINCE_S, NOW_S, Decimal(3)
    )
    expiration, begins_s = found.body["expiration"], minute_s(found.body["effectiveAt"])
    found_s = calendar.add(begins_s, calendar.NAMED[expiration["duration"]], expiration["count"])
    assert SINCE_S <= begins_s <= NOW_S and 1 <= expiration["count"] <= 1000
    if found.note:
        assert ends_s < found_s <= ends_s + 86_400
    else:
        assert found_s == ends_s == found.expires_s


def test_marks_lead_back_to_the_source() -> None:
    row = given_at("2026-02-01T00:00:00Z", recurrence=MONTHLY)
    rest, whole = ({"effectiveAt": at} for at in (SINCE, "2026-03-15T00:00:00Z"))
    assert counterparts(row, {"01G@rest": rest, "01G": whole, "01H": {}}) == [whole, rest]
    assert not is_complete(row, SINCE_S, []) and not is_complete(row, SINCE_S, [rest])
    assert is_complete(row, SINCE_S, [whole, rest])
    assert is_complete(row, minute_s("2026-04-10T00:00:00Z"), [whole])  # it was made in the period before
    assert is_complete(given_at("2026-03-12T00:00:00Z"), SINCE_S, [whole])


@pytest.mark.parametrize("annotations", [None, {}, {"issueAfterReset": False}])
def test_other_annotations_do_not_make_it_an_issued_one(annotations: dict[str, Any] | None) -> None:
    assert not is_issued({"annotations": annotations, "metadata": None})
