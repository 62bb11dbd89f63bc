"""What subscriptions would have cost by other prices or under another plan, by the lines that billing would issue.

Owns: which lines are due in a span, their sums by past usage. Does not own: lines (invoices.subscription_lines), the
law by which they are rated (bills.line_group), usage (bills.recounted_usage), what is changed (price_list,
plan_replay).

Billing bills the difference between a rating and what was booked, so the sum of all that is issued for a line, with its
parts and corrections, is the rating of its usage as it is known in the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import msgspec

from pipeline.core.bills.line_group import GroupFeature, GroupPart, LineGroup, rate_parts
from pipeline.core.bills.usage import BilledFeature
from pipeline.core.invoices.line import InvoiceLine
from pipeline.core.invoices.subscription_lines import subscription_lines
from pipeline.core.invoices.workflow import BillingWorkflow
from pipeline.core.subscriptions.subscription import Subscription
from pipeline.core.subscriptions.timeline import placed_items
from pipeline.core.values import money
from pipeline.core.values.currency import digits_of
from pipeline.errors import Rejected

Alternative = Callable[[Subscription], Subscription]  # a subscription as it would be
FeatureOf = Callable[[str | None, str | None], BilledFeature | None]  # by the id and the key of a feature
ReplayedUsage = Callable[[BilledFeature, int, int], int]  # in [from, to), in seconds since 1970, in atto


class ReplaySpan(NamedTuple):
    """[from_s, to_s) in seconds since 1970: the lines whose period begins in it, if they were due at now_s."""

    from_s: int
    to_s: int
    now_s: int


class ReplayedMoney(msgspec.Struct, frozen=True):
    """What a customer's lines cost in one currency, without taxes and credits; decimal text.

    Attributes:
        lines: how many were rated either way.
        old, new: as the subscriptions are, and as they would be.
    """

    currency: str
    lines: int
    old: str
    new: str
    difference: str


class PriceReplay(NamedTuple):
    """What a replay needs to know of a namespace and a customer.

    Attributes:
        workflow: in force for the customer.
        feature_of: the feature of a line.
        usage: of the customer, as it is known now.
    """

    workflow: BillingWorkflow
    feature_of: FeatureOf
    usage: ReplayedUsage

    def compare(
        self, subscriptions: Iterable[Subscription], changed: Alternative, span: ReplaySpan
    ) -> list[ReplayedMoney]:
        """The cost of a customer's subscriptions as they are and as they would be, by currency.

        Args:
            subscriptions: of the customer.
            changed: a subscription with other prices or another plan.
            span: which lines are rated.

        Raises:
            Rejected: a price cannot be rated; `not-found`: a line by usage has no feature that is known.
        """
        old: dict[str, int] = {}
        new: dict[str, int] = {}
        references: dict[str, set[str]] = {}
        for subscription in subscriptions:
            for totals, one in ((old, subscription), (new, changed(subscription))):
                for line, total in self._lines(one, span):
                    totals[line.currency] = totals.get(line.currency, 0) + total
                    references.setdefault(line.currency, set()).add(line.reference or line.id)
        return [
            _money(currency, len(references[currency]), old.get(currency, 0), new.get(currency, 0))
            for currency in sorted(references)
        ]

    def _lines(self, subscription: Subscription, span: ReplaySpan) -> Iterator[tuple[InvoiceLine, int]]:
        """The lines of a span and what each costs, in minor units."""
        features = {one.item.id: one.item.card.feature_id for one in placed_items(subscription)}
        for line in subscription_lines(subscription, self.workflow, span.now_s * 1000):
            begins = span.from_s <= line.period.start_s < span.to_s
            if begins and line.invoice_at_s <= span.now_s:
                item = "" if line.subscription is None else line.subscription.item.id
                yield line, self._cost(line, features.get(item))

    def _cost(self, line: InvoiceLine, feature_id: str | None) -> int:
        found = self.feature_of(feature_id, line.rate_card.feature_key) if line.is_metered else None
        if line.is_metered and found is None:
            raise Rejected(
                "not-found",
                f"The usage of {line.rate_card.feature_key} from {line.period.start} is not known: its feature is not "
                "found.",
            )
        # Its filters are in `found` already, which is what the usage is asked for.
        feature = None if found is None else GroupFeature(found.meter_id, found.aggregation)
        part = GroupPart(line.period.start_s, line.period.end_s)
        group = LineGroup(line.id, line, feature, (part,))

        def quantity(_: BilledFeature, from_s: int, to_s: int) -> int:
            return 0 if found is None else self.usage(found, from_s, to_s)

        return rate_parts(group, 1, quantity)[0].total


def _money(currency: str, lines: int, old: int, new: int) -> ReplayedMoney:
    digits = digits_of(currency)
    return ReplayedMoney(
        currency, lines, money.text(old, digits), money.text(new, digits), money.text(new - old, digits)
    )
