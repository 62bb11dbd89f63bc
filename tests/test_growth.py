"""Twice as much hostile text takes its reader about twice as long.

`python -m tests.fixtures.growing` prints the table of all readers.
"""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.fixtures.growing import SIZES, Case, cases, measured

MOST = 2.5  # times as long for twice as much, at each doubling: one alone may cross the size of a cache
FLOOR_S = 0.1  # for 1 MiB; below it, memory and the machine decide, not the reader
AGAIN = 3  # a machine that does other things too is slow now and then, but not every time
# It measures time, so that it is left out of a quick run beside other tests.
pytestmark = pytest.mark.services
RANKED_AT = (1 << 17,)  # bytes: the texts of a reader are ranked by its time for so much
WORST = 3  # of each reader
READERS: dict[str, list[Case]] = {}
for one in cases():
    READERS.setdefault(one.reader, []).append(one)


@pytest.mark.parametrize("reader", READERS)
def test_time_grows_with_the_text(reader: str) -> None:
    ranked = sorted(READERS[reader], key=lambda case: measured(case, RANKED_AT, tries=1), reverse=True)
    for case in ranked[:WORST]:
        assert any(not grows_faster(measured(case, SIZES[-3:], tries=1)) for _ in range(AGAIN)), case.kind


def grows_faster(times: list[float]) -> bool:
    return times[-1] > FLOOR_S and all(more > MOST * less for less, more in pairwise(times))


def test_a_quadratic_reader_is_found() -> None:
    text = "x" * 8_000
    quadratic = Case(
        "pairs", "x", lambda size: text[: size >> 7], lambda text: [b for _ in text for b in text]
    )
    assert grows_faster(measured(quadratic, SIZES[-3:], tries=1))
