"""How many calls to Stripe a worker may make: its share of what Stripe allows an account.

Owns: the share, and what is left unused of Stripe's limit. Does not own: the bucket's arithmetic (values.token_bucket),
Stripe's figures (settings).

All workers of a stage share one limit without asking one another: a worker has as large a part of it as it has of the
partitions. Calls are counted in pieces, one call is `partitions` of them, so that no share is rounded. In any second
the shares together are at most Stripe's limit: a bucket begins empty, and holds what the used part of the limit leaves.
A worker with a share of less than one call keeps one; so a limit of 25 is kept by up to five workers, and one of 1,000
by up to 200.
"""

from __future__ import annotations

from typing import NamedTuple

from pipeline.core.values.token_bucket import Bucket, BucketPolicy, take

USED_PERCENT = 80


class StripeBudget(NamedTuple):
    """cost: of one call, in pieces."""

    policy: BucketPolicy
    cost: int


def budget(limit_s: int, owned: int, partitions: int) -> StripeBudget:
    """The share of a worker.

    Args:
        limit_s: calls a second that Stripe allows the account.
        owned: how many partitions the worker has.
        partitions: how many there are.

    >>> budget(25, 1, 4)   # 5 of 20 calls a second
    StripeBudget(policy=BucketPolicy(rate=20, burst=5), cost=4)
    """
    used = max(1, limit_s * USED_PERCENT // 100)
    return StripeBudget(BucketPolicy(used * owned, max(partitions, (limit_s - used) * owned)), partitions)


class Spent(NamedTuple):
    """bucket: after the call. wait_us: until a call that was not allowed would be; 0: it was."""

    bucket: Bucket
    wait_us: int


def spend(bucket: Bucket | None, share: StripeBudget, now_us: int) -> Spent:
    """Take one call from a bucket. None: the bucket of a worker that begins.

    >>> spend(None, budget(25, 1, 4), 0).wait_us
    200000
    """
    before = Bucket(0, now_us) if bucket is None else bucket
    after, status = take(before, share.policy, share.cost, now_us)
    return Spent(after, 0 if status.allowed else max(1, status.wait_us))
