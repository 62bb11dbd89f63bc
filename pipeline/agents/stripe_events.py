"""Meter events: how one is sent, and what the summaries of Stripe have of it.

Owns: the calls for a request of usage, and their records. Does not own: when a call is made (stripe_dispatch), the
states of a request (core.billing.stripe_window).
"""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.agents.stripe_outcomes import attempt_of, outcome_record
from pipeline.core.billing.stripe_state import StripeFlight, in_progress
from pipeline.core.billing.stripe_window import must_look
from pipeline.core.values.table import ScannedBytes
from pipeline.errors import Rejected, Unavailable
from pipeline.records import StripeWork
from pipeline.stores.stripe_api import GroupingWindow, MeterEvent, StripeApi
from pipeline.stores.stripe_http import MayWrite

HOUR_S = 3_600


class StripeEvents:
    """A stripe_dispatch.CallKind."""

    name = "usage"

    def in_progress(self, table: ScannedBytes) -> Iterator[list[StripeFlight]]:
        """Those of a partition, in batches."""
        return in_progress(table)

    def must_look(self, flight: StripeFlight, now_ms: int) -> bool:
        """Whether the summaries decide."""
        return must_look(flight.request, now_ms)

    def is_later(self, flight: StripeFlight, before: StripeFlight) -> bool:
        """Whether the outcome of the call of `before` was applied."""
        if flight.key != before.key:
            return True
        now, then = flight.request, before.request
        return (now.attempts, now.seen, now.seen_at_ms) != (then.attempts, then.seen, then.seen_at_ms) or (
            now.seen is not None and now.next_at_ms != then.next_at_ms
        )

    async def send(self, api: StripeApi, flight: StripeFlight, may_write: MayWrite) -> StripeWork | None:
        """The outcome; None: it was not sent."""
        sent = flight.sent
        event = MeterEvent(sent.event_name, sent.payload, sent.identifier, sent.start_s)
        answer = await api.send(event, may_write)
        return None if answer is None else attempt_of(flight, answer)

    async def look(self, api: StripeApi, flight: StripeFlight) -> StripeWork | None:
        """What the summaries hold; None: they could not be read."""
        sent = flight.sent
        size: GroupingWindow = "hour" if sent.window_s == HOUR_S else "day"
        try:
            found = await api.summaries(
                sent.stripe_meter, sent.stripe_customer, sent.start_s, sent.start_s + sent.window_s, size
            )
        except Unavailable:
            return None
        except Rejected as refusal:
            if refusal.reason == "stripe-key-refused":
                return outcome_record(flight, "unauthorized", 0, refusal.detail)
            work = outcome_record(flight, "refused", 0, refusal.detail)
            work.kind = "seen"
            return work
        units = sum(one.value for one in found)
        whole = str(int(units)) if units == int(units) else "0.5"  # no whole number: it matches nothing
        work = outcome_record(flight, "", 200, "")
        work.kind, work.units = "seen", whole
        return work
