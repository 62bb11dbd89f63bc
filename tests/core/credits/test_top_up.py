"""Levels that a balance crosses: Lago's falling cases; when a rule tops up."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.credits.top_up import TopUpRule, has_crossed, top_up

PEERS = json.loads((Path(__file__).parents[2] / "cases/peers-alerts-credits-scenarios.json").read_text())[
    "cases"
]
FALLING = [
    case
    for case in PEERS
    if case["model"] == "alert thresholds"
    and case["in"]["direction"] == "decreasing"
    and case["in"]["oneTime"]
]
# Endless steps (`recurringStep`) are no kind of ours: only the levels that are listed are compared.


@pytest.mark.parametrize("case", FALLING, ids=[case["id"] for case in FALLING])
def test_levels_are_crossed_as_in_lago(case: dict[str, Any]) -> None:
    before, after = int(case["in"]["previous"]), int(case["in"]["current"])
    crossed = [level for level in case["in"]["oneTime"] if has_crossed(before, after, int(level))]
    assert crossed == [level for level in case["out"]["crossed"] if level in case["in"]["oneTime"]]


@given(st.lists(st.integers(-50, 50), min_size=2), st.integers(-50, 50))
def test_a_level_fires_once_until_the_balance_was_above_it(found: list[int], level: int) -> None:
    fired = [place for place in range(1, len(found)) if has_crossed(found[place - 1], found[place], level)]
    for first, second in pairwise(fired):
        assert max(found[first:second]) > level


RULE = TopUpRule(currency="USD", threshold=1_000, amount=5_000)


def test_a_rule_adds_its_amount_or_up_to_its_target() -> None:
    assert [top_up(RULE, balance, ()) for balance in (1_001, 1_000, -200)] == [0, 5_000, 5_000]
    upto = TopUpRule(currency="USD", threshold=1_000, amount=100, target=6_000)
    assert [top_up(upto, balance, ()) for balance in (1_001, 1_000, -200)] == [0, 5_000, 6_200]


def test_what_waits_for_its_payment_counts_as_there() -> None:
    assert top_up(RULE, 0, [5_000]) == 0
    assert top_up(RULE, 0, [900]) == 5_000


@given(
    st.integers(-9_000, 9_000),
    st.integers(0, 5_000),
    st.integers(1, 5_000),
    st.none() | st.integers(0, 9_000),
)
def test_a_target_is_reached_at_once(balance: int, threshold: int, amount: int, target: int | None) -> None:
    rule = TopUpRule(currency="USD", threshold=threshold, amount=amount, target=target)
    added = top_up(rule, balance, ())
    assert (added > 0) == (balance <= threshold)
    if added and target is not None:
        assert balance + added >= target
