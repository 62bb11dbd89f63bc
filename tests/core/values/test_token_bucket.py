"""A token bucket allows no more than its burst and its rate, and refuses only what it must."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.values.token_bucket import MICRO, Bucket, BucketPolicy, BucketStatus, take

POLICIES = st.builds(BucketPolicy, rate=st.integers(1, 10_000), burst=st.integers(1, 10_000))
ASKED = st.lists(st.tuples(st.integers(0, 3 * MICRO), st.integers(1, 50)), min_size=1, max_size=60)


@given(POLICIES, ASKED)
def test_never_more_than_burst_and_rate_allow(policy: BucketPolicy, asked: list[tuple[int, int]]) -> None:
    bucket: Bucket | None = None
    now_us = given_out = 0
    for pause_us, cost in asked:
        now_us += pause_us
        bucket, standing = take(bucket, policy, cost, now_us)
        given_out += cost * standing.allowed
        assert 0 <= bucket.room <= policy.burst * MICRO
    first_us = asked[0][0]
    assert given_out * MICRO <= policy.burst * MICRO + (now_us - first_us) * policy.rate


@given(POLICIES, ASKED, st.integers(1, 50))
def test_what_is_refused_is_allowed_after_the_wait_and_not_before(
    policy: BucketPolicy, asked: list[tuple[int, int]], cost: int
) -> None:
    bucket: Bucket | None = None
    now_us = 0
    for pause_us, before in asked:
        now_us += pause_us
        bucket, _ = take(bucket, policy, before, now_us)
    bucket, standing = take(bucket, policy, cost, now_us)
    if standing.allowed or cost > policy.burst:
        return
    assert not take(bucket, policy, cost, now_us + standing.wait_us - 1)[1].allowed
    assert take(bucket, policy, cost, now_us + standing.wait_us)[1].allowed


def test_a_clock_that_goes_back_brings_no_tokens() -> None:
    policy = BucketPolicy(rate=1, burst=1)
    bucket, _ = take(None, policy, 1, 5 * MICRO)
    bucket, standing = take(bucket, policy, 1, 0)
    assert standing == BucketStatus(False, 0, MICRO)
    assert not take(bucket, policy, 1, 5 * MICRO)[1].allowed
    assert take(bucket, policy, 1, 6 * MICRO)[1].allowed
