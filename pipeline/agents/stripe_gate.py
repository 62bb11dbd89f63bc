"""When calls to one account of Stripe may start.

Owns: the queue of lanes that are due, the budget of calls, pauses that Stripe asks for or that failures earn. Does not
own: the calls (stripe_dispatch), the pause of a single request (core.billing.stripe_window).
"""

from __future__ import annotations

import random
from collections import deque

from pipeline.core.billing.stripe_budget import StripeBudget, spend
from pipeline.core.billing.stripe_outcome import Outcome
from pipeline.core.values.token_bucket import Bucket

AT_ONCE = 64  # calls in progress of one worker to one account
FAILURES = 5  # in a row, after which the account rests
REST_MS, REST_MOST_MS = 1_000, 60_000
STOPPED_AGAIN_MS = 1_000  # how soon an account is checked again whose key cannot be used


class StripeGate:
    """One account. share: of its meter events; reads: of reading summaries, which count as meter events too."""

    def __init__(self, share: StripeBudget, reads: StripeBudget) -> None:
        self.ready: deque[bytes] = deque()  # lanes
        self.running = 0
        self.refused_revision = -1  # of the definition whose key was refused
        self._share = share
        self._reads = reads
        self._bucket: Bucket | None = None
        self._read_bucket: Bucket | None = None
        self._not_before_ms = 0
        self._failures = 0

    def wait_ms(self, now_ms: int, reads: bool = False) -> int | None:
        """Until the next call may start; 0: now, and it is counted. None: when a call in progress has ended.

        reads: whether the call reads summaries. A call that may not start is not counted in any budget.
        """
        if now_ms < self._not_before_ms:
            return self._not_before_ms - now_ms
        if self.running >= (1 if self._failures >= FAILURES else AT_ONCE):
            return None
        read_bucket, wait_us = self._read_bucket, 0
        if reads:
            read_bucket, wait_us = spend(self._read_bucket, self._reads, now_ms * 1_000)
        if not wait_us:
            self._bucket, wait_us = spend(self._bucket, self._share, now_ms * 1_000)
            if wait_us:
                return -(-wait_us // 1_000)
        self._read_bucket = read_bucket
        return -(-wait_us // 1_000)

    def note(self, outcome: Outcome, retry_after_ms: int, now_ms: int) -> None:
        """A call has ended. Failures in a row make the account rest, longer each time; one call then tries it."""
        if outcome in ("done", "refused", "unauthorized"):
            self._failures = 0
            return
        self._failures += 1
        pause_ms = retry_after_ms
        if self._failures >= FAILURES:
            rest_ms = min(REST_MOST_MS, REST_MS << min(self._failures - FAILURES, 10))
            pause_ms = max(pause_ms, int(rest_ms * random.uniform(0.5, 1)))
        if pause_ms:
            self._not_before_ms = max(self._not_before_ms, now_ms + pause_ms)
