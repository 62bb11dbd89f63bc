"""Levels that a balance crosses: Lago's falling cases; when a rule tops up."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.credits.top_up import (
    MOST_TOP_UPS,
    TopUpRule,
    TopUps,
    allowed,
    counted,
    has_crossed,
    is_outstanding,
    top_up,
)
from tests.core.credits.grants_made import DAY_MS, NOW_MS, bought, made

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


def test_a_top_up_is_outstanding_until_it_is_paid_or_taken_back_whether_it_can_be_used_or_not() -> None:
    assert is_outstanding(bought()) and is_outstanding(bought(payment="authorized"))
    assert is_outstanding(bought(given_up="uncollectible"))
    expired = msgspec.structs.replace(bought(), balance=0, expires_ms=NOW_MS, is_expired=True)
    assert is_outstanding(expired)
    assert not is_outstanding(bought(payment="settled")) and not is_outstanding(bought(given_up="withdrawn"))
    assert not is_outstanding(made()) and not is_outstanding(None)


LIMITED = TopUpRule(currency="USD", threshold=1_000, amount=500, target=6_000, max_amount=8_000)


def test_a_rule_adds_no_more_than_its_maximum_in_a_period() -> None:
    assert allowed(LIMITED, None, 9_000, NOW_MS) == 8_000
    before = TopUps("g", NOW_MS + 1, 2, 7_000)
    assert allowed(LIMITED, before, 5_000, NOW_MS) == 1_000
    assert allowed(LIMITED, TopUps("g", NOW_MS + 1, 2, 7_501), 5_000, NOW_MS) == 0
    assert allowed(LIMITED, before, 5_000, NOW_MS + 1) == 5_000
    most = TopUps("g", NOW_MS + 1, MOST_TOP_UPS, 1)
    assert (allowed(RULE, most, 5_000, NOW_MS), allowed(RULE, most, 5_000, NOW_MS + 1)) == (0, 5_000)


@given(st.lists(st.tuples(st.integers(0, DAY_MS), st.integers(1, 4_000)), max_size=30))
def test_no_period_has_more_than_the_maximum(tried: list[tuple[int, int]]) -> None:
    found: TopUps | None = None
    now_ms, in_period = NOW_MS, 0
    for passed_ms, wanted in tried:
        now_ms += passed_ms
        amount = allowed(LIMITED, found, wanted, now_ms)
        if found is None or now_ms >= found.until_ms:
            in_period = 0
        if amount:
            found = counted(found, made(amount=amount, created_ms=now_ms), now_ms + 3 * DAY_MS)
            in_period += amount
        assert in_period <= 8_000
