"""How fast this process reads each account of Stripe.

Owns: waiting for a turn. Does not own: the arithmetic (core.values.token_bucket), the calls (stores.stripe_api).
"""

from __future__ import annotations

import asyncio
import time

from pipeline.core.values import token_bucket
from pipeline.core.values.token_bucket import MICRO, Bucket, BucketPolicy

# Of one process and account. Stripe takes 25 a second of each endpoint; stripe-sync reads up to 12 of them.
READS = BucketPolicy(rate=10, burst=3)


class Pace:
    """How fast this process reads each account of Stripe."""

    def __init__(self, policy: BucketPolicy = READS) -> None:
        self._policy = policy
        self._buckets: dict[str, Bucket] = {}

    async def turn(self, account: str) -> None:
        """Return when one more read of the account is within the rate."""
        while True:
            now_us = time.monotonic_ns() // 1_000
            bucket, status = token_bucket.take(self._buckets.get(account), self._policy, 1, now_us)
            self._buckets[account] = bucket
            if status.allowed:
                return
            await asyncio.sleep(status.wait_us / MICRO)
