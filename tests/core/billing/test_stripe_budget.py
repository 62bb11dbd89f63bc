"""A worker's share of Stripe's limit: all workers together stay below it, however busy they are."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.billing.stripe_budget import budget, spend
from pipeline.core.values.token_bucket import Bucket


@given(
    st.sampled_from([25, 100, 1_000]), st.sampled_from([(4, [1, 3]), (4, [4]), (4, [1, 1, 1, 1]), (16, [5, 11])]),
    st.lists(st.integers(0, 400_000), max_size=30),
)  # fmt: skip
def test_no_second_has_more_calls_than_stripe_allows(
    limit_s: int, workers: tuple[int, list[int]], pauses_us: list[int]
) -> None:
    partitions, owned = workers
    calls: list[int] = []
    for share in owned:
        bucket: Bucket | None = None
        now_us = 0
        for pause_us in [*pauses_us, *[0] * 3 * limit_s]:
            now_us += pause_us
            spent = spend(bucket, budget(limit_s, share, partitions), now_us)
            bucket = spent.bucket
            if spent.wait_us:
                now_us += spent.wait_us
                bucket = spend(bucket, budget(limit_s, share, partitions), now_us).bucket
            calls.append(now_us)
    calls.sort()
    start = 0
    for place, at_us in enumerate(calls):
        while calls[start] <= at_us - 1_000_000:
            start += 1
        assert place - start + 1 <= limit_s


def test_a_share_that_always_calls_uses_80_percent() -> None:
    share, bucket, now_us, calls = budget(25, 4, 4), None, 0, 0
    while now_us < 10_000_000:
        bucket, wait_us = spend(bucket, share, now_us)
        calls += not wait_us
        now_us += wait_us
    assert 195 <= calls <= 205
