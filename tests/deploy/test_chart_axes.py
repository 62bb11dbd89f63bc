"""The axes of a chart end at round values, and a line has a gap where a value is missing."""

from __future__ import annotations

import pytest

from tests.deploy.chart_axes import clock_ticks, gap_s, value_axis


@pytest.mark.parametrize(
    ("most", "unit", "texts"),
    [
        (6_240, "short", ["0", "2 k", "4 k", "6 k", "8 k"]),
        (8_000, "short", ["0", "2 k", "4 k", "6 k", "8 k"]),
        (0, "short", ["0", "0.25", "0.5", "0.75", "1"]),
        (0.031, "s", ["0", "10 ms", "20 ms", "30 ms", "40 ms"]),
        (90, "s", ["0", "0.5 min", "1 min", "1.5 min"]),
        (230 * 2**20, "bytes", ["0", "100 MiB", "200 MiB", "300 MiB"]),
        (0.14, "percentunit", ["0", "5 %", "10 %", "15 %"]),
        (1, "bool_yes_no", ["no", "yes"]),
    ],
)
def test_an_axis_ends_at_a_round_value(most: float, unit: str, texts: list[str]) -> None:
    axis = value_axis(most, unit)
    assert [text for _, text in axis.ticks] == texts
    assert axis.top == axis.ticks[-1][0] >= most


def test_whole_numbers_have_no_fractions() -> None:
    assert value_axis(2, "short", is_whole=True).ticks == [(0.0, "0"), (1.0, "1"), (2.0, "2")]


def test_times_are_round() -> None:
    assert clock_ticks(1_000, 1_100) == [(1_020, "00:17:00"), (1_050, "00:17:30"), (1_080, "00:18:00")]
    assert [text for _, text in clock_ticks(0, 86_400 * 3)] == ["01 Jan", "02 Jan", "03 Jan", "04 Jan"]


def test_a_missing_value_is_a_gap() -> None:
    assert 5 < gap_s([0, 5, 10, 30, 35]) < 20
    assert gap_s([7]) == 0
