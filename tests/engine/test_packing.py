"""Packing: nothing lost, nothing reordered, no record longer than allowed unless one part is."""

from __future__ import annotations

import json
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from pipeline.engine.packing import arrays, slices


@given(sizes=st.lists(st.integers(0, 50), max_size=40), limit=st.integers(1, 100))
def test_slices_cover_everything_once_in_order(sizes: list[int], limit: int) -> None:
    cuts = list(slices(sizes, limit))
    assert [place for cut in cuts for place in range(cut.start, cut.stop)] == list(range(len(sizes)))
    for cut in cuts:
        assert sum(sizes[cut]) <= limit or cut.stop - cut.start == 1


@given(sizes=st.lists(st.integers(1, 50), max_size=40), limit=st.integers(1, 100))
def test_no_two_adjacent_parts_would_fit_together(sizes: list[int], limit: int) -> None:
    cuts = list(slices(sizes, limit))
    for left, right in pairwise(cuts):
        assert sum(sizes[left]) + sizes[right.start] > limit


@given(parts=st.lists(st.integers(0, 10**9), max_size=50))
def test_arrays_are_json_arrays_of_the_parts(parts: list[int]) -> None:
    packed = list(arrays([str(part).encode() for part in parts], limit=30))
    assert [part for array in packed for part in json.loads(array)] == parts
