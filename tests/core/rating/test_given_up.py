"""Which parts of a line owe nothing after bookings were given up."""

from __future__ import annotations

import pytest

from pipeline.core.rating.booking import by_part
from pipeline.core.rating.detail import RatedDetail
from pipeline.core.rating.given_up import covered_parts
from pipeline.core.values.number import SCALE


def units(count: int) -> list[RatedDetail]:
    """Units at 1 each."""
    return [RatedDetail("unit-price-usage", SCALE, count * SCALE, count * 100)] if count else []


@pytest.mark.parametrize(
    ("worth", "given_up", "moves", "covered"),
    [
        ([5], [0], False, [False]),
        ([5], [5], False, [False]),
        ([4], [5], False, [True]),
        ([5, 20], [30, 0], False, [True, False]),
        ([5, 20], [30, 0], True, [True, True]),
        ([5, 40], [30, 0], True, [False, False]),
        ([30, -10], [30, 0], False, [True, True]),
        ([30, -10], [None, 0], False, [True, True]),
        ([30, -10], [0, 0], False, [False, False]),
        ([30, 10], [None, 0], False, [False, False]),
    ],
)
def test_a_part_owes_nothing_if_what_was_given_up_is_worth_more(
    worth: list[int], given_up: list[int | None], moves: bool, covered: list[bool]
) -> None:
    left = [None if one is None else units(one) for one in given_up]
    assert covered_parts([units(one) for one in worth], left, moves) == covered


@pytest.mark.parametrize(
    ("worth", "given_up", "paid", "billed"),
    [
        (18, 20, 5, -500),
        (22, 20, 0, 200),
        (22, 20, 5, -300),
        (3, 20, 0, 0),
        (13, -7, 20, 0),
        (0, -7, 20, -1300),
    ],
)
def test_what_is_billed_makes_owed_what_goes_beyond(
    worth: int, given_up: int, paid: int, billed: int
) -> None:
    (found,) = by_part([units(worth)], [units(paid)], [units(given_up)])
    assert sum(one.total for one in found) == billed
