"""A token bucket: how much one key may do now, and when the rest.

Owns: the arithmetic, in whole millionths of a token and microseconds. Pure: "now" is an argument. Does not own: where
a bucket is kept (api.http.rate_limits, which does the same in Redis).
"""

from __future__ import annotations

from typing import NamedTuple

MICRO = 1_000_000


class Bucket(NamedTuple):
    """room: millionths of a token at `at_us`."""

    room: int
    at_us: int


class BucketPolicy(NamedTuple):
    """`rate` tokens come in a second; a bucket holds `burst` of them."""

    rate: int
    burst: int


class BucketStatus(NamedTuple):
    """What was decided. left: whole tokens. wait_us: until what was refused would be allowed, else 0."""

    allowed: bool
    left: int
    wait_us: int


def take(bucket: Bucket | None, policy: BucketPolicy, cost: int, now_us: int) -> tuple[Bucket, BucketStatus]:
    """Take `cost` tokens, at most `burst`, or none. No bucket is a full one; time that runs backwards stands still.

    >>> bucket, status = take(None, BucketPolicy(rate=10, burst=20), 20, 0)
    >>> status
    BucketStatus(allowed=True, left=0, wait_us=0)
    >>> take(bucket, BucketPolicy(rate=10, burst=20), 5, 100_000)[1]
    BucketStatus(allowed=False, left=1, wait_us=400000)
    """
    full = policy.burst * MICRO
    if bucket is None:
        bucket = Bucket(full, now_us)
    passed_us = max(now_us - bucket.at_us, 0)
    room = min(full, bucket.room + passed_us * policy.rate)
    at_us = max(now_us, bucket.at_us)
    need = cost * MICRO
    if room >= need:
        return Bucket(room - need, at_us), BucketStatus(True, (room - need) // MICRO, 0)
    return Bucket(room, at_us), BucketStatus(False, room // MICRO, -((room - need) // policy.rate))
