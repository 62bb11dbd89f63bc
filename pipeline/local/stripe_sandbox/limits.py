"""How much Stripe lets an account do: requests a second, and one meter event at a time for a customer and meter.

Owns: the figures and their refusals. Does not own: the arithmetic of a bucket (core.values.token_bucket).
Source: Stripe's documentation, "Rate limits": 100 requests/s live and 25/s in a sandbox, 25/s an endpoint, meter
events 1,000/s by themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from pipeline.core.values.token_bucket import Bucket, BucketPolicy, take
from pipeline.local.stripe_sandbox.errors import too_many

GLOBAL, ENDPOINT, METER_EVENTS = BucketPolicy(100, 100), BucketPolicy(25, 25), BucketPolicy(1_000, 1_000)
METER_EVENT_PATH = "/v1/billing/meter_events"


@dataclass(slots=True)
class SandboxLimits:
    """The buckets of one account, and the meter events in progress. refused: how many requests were over a limit."""

    whole: BucketPolicy = GLOBAL
    endpoint: BucketPolicy = ENDPOINT
    meter_events: BucketPolicy = METER_EVENTS
    refused: int = 0
    _buckets: dict[str, Bucket] = field(default_factory=dict)
    _busy: set[tuple[str, str]] = field(default_factory=set)

    def take(self, method: str, path: str, now_us: int) -> None:
        """Count one request. Raises StripeRefusal 429, with the reason in a header."""
        if path == METER_EVENT_PATH:
            self._take("meter events", self.meter_events, "endpoint-rate", now_us)
            return
        self._take("", self.whole, "global-rate", now_us)
        self._take(f"{method} {path}", self.endpoint, "endpoint-rate", now_us)

    @contextmanager
    def alone(self, customer: str, event_name: str) -> Iterator[None]:
        """Hold a customer and meter while a meter event runs. Raises StripeRefusal 429 where another one does."""
        pair = (customer, event_name)
        if pair in self._busy:
            self.refused += 1
            raise too_many("resource-specific")
        self._busy.add(pair)
        try:
            yield
        finally:
            self._busy.discard(pair)

    def _take(self, name: str, policy: BucketPolicy, reason: str, now_us: int) -> None:
        self._buckets[name], status = take(self._buckets.get(name), policy, 1, now_us)
        if not status.allowed:
            self.refused += 1
            raise too_many(reason)
