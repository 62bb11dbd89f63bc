"""Doubling a hostile JSON text doubles the time of its reader; `python -m tests.fixtures.growing` shows all readers."""

from __future__ import annotations

import pytest

from tests.fixtures.growing import SIZES, Case, cases, measured

MOST = 2.5  # times as long for twice as much
FLOOR_S = 0.06  # below it, memory and the machine decide, not the reader
AGAIN = 3  # a machine that does other things too is slow now and then, but not every time
READERS = ("strict_json.parse", "json_value.read", "event, structured", "event, binary", "batch over HTTP")
CASES = [case for case in cases() if case.reader in READERS]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.reader}, {case.kind}")
def test_time_grows_with_the_text(case: Case) -> None:
    assert any(not grows_faster(measured(case, SIZES[-2:], tries=1)) for _ in range(AGAIN))


def grows_faster(times: list[float]) -> bool:
    return times[-1] > max(MOST * times[0], FLOOR_S)


def test_a_quadratic_reader_is_found() -> None:
    text = "x" * 8_000
    quadratic = Case(
        "pairs", "x", lambda size: text[: size >> 7], lambda text: [b for _ in text for b in text]
    )
    assert grows_faster(measured(quadratic, SIZES[-2:], tries=1))
