"""Doubling a hostile text at most doubles the time of its reader; `python -m tests.fixtures.growing` shows figures."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.fixtures.growing import SIZES, Case, cases, measured

MOST = 2.5  # times as long for twice as much
FLOOR_S = 0.02  # what takes less may do so by any factor
AGAIN = 3  # a machine that does other things too is slow now and then, but not every time


@pytest.mark.parametrize("case", cases(), ids=lambda case: f"{case.reader}, {case.kind}")
def test_time_grows_with_the_text(case: Case) -> None:
    assert any(not grows_faster(measured(case, SIZES[-3:], tries=2)) for _ in range(AGAIN))


def grows_faster(times: list[float]) -> bool:
    return any(after > max(MOST * before, FLOOR_S) for before, after in pairwise(times))


def test_it_sees_what_is_quadratic() -> None:
    text = "x" * 4_000
    quadratic = Case(
        "square", "x", lambda size: text[: size >> 8], lambda text: [other for _ in text for other in text]
    )
    assert grows_faster(measured(quadratic, SIZES[-3:], tries=1))
