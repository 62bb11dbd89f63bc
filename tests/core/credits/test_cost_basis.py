"""Revenue of burns: the parts of a pack add up to its price."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.credits.cost_basis import price_of, revenue_of


def test_a_pack_of_100_sold_at_80() -> None:
    assert price_of(10_000, "0.8") == 8_000
    assert revenue_of(0, 2_500, "0.8") == 2_000


@given(st.lists(st.integers(0, 500), max_size=9), st.sampled_from(["0.8", "0.333", "1", "0", "1.25"]))
def test_parts_add_up(burns: list[int], cost_basis: str) -> None:
    before, revenue = 0, 0
    for amount in burns:
        revenue += revenue_of(before, amount, cost_basis)
        before += amount
    assert revenue == price_of(sum(burns), cost_basis)
