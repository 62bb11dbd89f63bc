"""The windows of one customer and mapping, put together from the three counts that have to agree.

Owns: which windows are compared, and which numbers belong to a window. Does not own: reading the numbers
(api.billing.stripe_drift), why they differ (stripe_drift).

The three counts: minute windows of the events by subject, attributed to the customer here and independently of the
stages; the states that stripe-sync published; the sums of Stripe.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

import msgspec

from pipeline.core.billing.stripe_drift import (
    ComparedWindow,
    CountedUsage,
    DriftPart,
    SentWindow,
    difference_of,
    explain,
)
from pipeline.core.billing.stripe_units import UNIT
from pipeline.core.customers.attribution import Holders
from pipeline.core.values import number
from pipeline.core.values.calendar import DAY_S
from pipeline.records import StripeReport, Window

HOUR_S = 3_600
WINDOW_S = {"HOUR": HOUR_S, "DAY": DAY_S}


class ComparedSpan(NamedTuple):
    """Whole windows of `window_s` seconds in [from_s, to_s)."""

    from_s: int
    to_s: int
    window_s: int

    @property
    def is_empty(self) -> bool:
        return self.from_s >= self.to_s

    def starts(self) -> range:
        """The start of each window."""
        return range(self.from_s, self.to_s, self.window_s)


def span_of(from_s: int, to_s: int, window_s: int) -> ComparedSpan:
    """The windows that lie as a whole in [from_s, to_s).

    >>> span_of(1, 10_800, 3_600)
    ComparedSpan(from_s=3600, to_s=10800, window_s=3600)
    """
    return ComparedSpan(-(-from_s // window_s) * window_s, to_s // window_s * window_s, window_s)


class DriftRow(NamedTuple):
    """A window whose counts differ. parts: of the difference, which is in 10^-36 of a unit."""

    window: ComparedWindow
    difference: int
    parts: list[DriftPart]


class ComparedCounts(msgspec.Struct, frozen=True):
    """What is known of a customer and mapping in a span.

    Attributes:
        sent: by start of the window, in each combination of dimensions.
        counted: by start of the window; None: the meter is gone, and nothing is counted independently.
        stripe: Stripe's sums by start of the window; None: the customer has no id at Stripe.
        elsewhere: units that other mappings have sent to the same meter of Stripe, by start of the window.
        whole: of each combination of dimensions, exact usage in atto and whole units of all windows ever; empty: the
            remainders are not doubtful.
        held, ended_ms: as of ComparedWindow.
    """

    multiplier: int
    sent: Mapping[int, Sequence[SentWindow]]
    counted: Mapping[int, CountedUsage] | None
    stripe: Mapping[int, Decimal] | None
    elsewhere: Mapping[int, int]
    whole: Sequence[tuple[int, int]] = ()
    held: str = ""
    ended_ms: int = 0


def counted_usage(
    windows: Iterable[Window], holders: Holders, customer: str, window_s: int
) -> dict[int, CountedUsage]:
    """Minute windows by the window of the mapping that has them.

    Args:
        windows: of the meter, of any subjects.
        holders: which customer had which subject when.
        customer: id; usage of others is left out.
        window_s: of the mapping.
    """
    sums: defaultdict[int, list[int]] = defaultdict(lambda: [0, 0])
    for one in windows:
        if holders.of(one.namespace, one.subject, one.start_s) == customer:
            sum_of = sums[one.start_s // window_s * window_s]
            sum_of[0] += number.exact(one.value)
            sum_of[1] = max(sum_of[1], one.received_at_ms)
    return {start_s: CountedUsage(atto, newest_ms) for start_s, (atto, newest_ms) in sums.items()}


def remainders_are_doubtful(counts: ComparedCounts) -> bool:
    """Whether a window's whole units differ from its usage by a unit or more: then all windows have to be summed."""
    return any(
        abs(sum(one.wanted for one in sent) * UNIT - sum(one.exact for one in sent) * counts.multiplier)
        >= UNIT * len(sent)
        for sent in counts.sent.values()
    )


def compare(
    span: ComparedSpan, counts: ComparedCounts, reports: Sequence[StripeReport], now_ms: int
) -> list[DriftRow]:
    """The windows of a span that differ, oldest first.

    Args:
        span: its windows have ended.
        counts: of one customer and mapping.
        reports: of Stripe, about the mapping's meter.
        now_ms: the time of the comparison.
    """
    seen = any(counts.stripe.values()) if counts.stripe else False
    carried = _is_carried(counts)
    rows = []
    for start_s in span.starts():
        sent = tuple(counts.sent.get(start_s, ()))
        window = ComparedWindow(
            start_s, start_s + span.window_s, counts.multiplier, sent,
            _counted(counts, start_s, sent), _at_stripe(counts, start_s), seen, carried, counts.held,
            counts.ended_ms,
        )  # fmt: skip
        if parts := explain(window, reports, now_ms):
            rows.append(DriftRow(window, difference_of(window), parts))
    return rows


def _counted(counts: ComparedCounts, start_s: int, sent: Sequence[SentWindow]) -> CountedUsage:
    if counts.counted is None:
        return CountedUsage(sum(one.exact for one in sent), 0)
    return counts.counted.get(start_s, CountedUsage(0, 0))


def _at_stripe(counts: ComparedCounts, start_s: int) -> Decimal | None:
    if counts.stripe is None:
        return None
    return counts.stripe.get(start_s, Decimal(0)) - counts.elsewhere.get(start_s, 0)


def _is_carried(counts: ComparedCounts) -> bool:
    """Whether the remainders of all windows sum to less than a unit for each combination of dimensions."""
    return all(0 <= exact * counts.multiplier - wanted * UNIT < UNIT for exact, wanted in counts.whole)
