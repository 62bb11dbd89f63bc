"""The bills of one customer compared with the usage of all its features.

Owns: which lines are those of which feature, over which time usage is counted, usage that is on no line. Does not own:
the comparison of a feature (money_reconcile), reading usage and documents.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from pipeline.core.bills.billed_parts import BilledPart, billed_parts
from pipeline.core.bills.money_reconcile import (
    MoneyRow,
    ReconciledFeature,
    ReconciledPeriod,
    missing_lines,
    reconcile_feature,
)
from pipeline.core.bills.recounted_usage import RecountedUsage
from pipeline.core.catalog.feature import Feature
from pipeline.core.invoices.stored_invoice import StoredInvoice
from pipeline.core.invoices.subscription_lines import subscription_lines
from pipeline.core.invoices.workflow import BillingWorkflow
from pipeline.core.subscriptions.subscription import Subscription
from pipeline.core.subscriptions.timeline import placed_items
from pipeline.core.values.calendar import floor_minute

UsageOf = Callable[[int, int, int], RecountedUsage]  # of the meter of a number, in [from_s, to_s)


class CustomerDocuments(NamedTuple):
    """What billing published of a customer. customer: id."""

    customer: str
    invoices: Sequence[StoredInvoice]
    subscriptions: Sequence[Subscription]


class CustomerMoney(NamedTuple):
    """rows: by meter and feature. missing: sentences on usage that is on no line."""

    rows: list[MoneyRow]
    missing: list[str]

    @property
    def differences(self) -> list[str]:
        return [*(sentence for row in self.rows for sentence in row.differences), *self.missing]


class FeaturesById:
    """The features of a namespace that have a meter, archived ones too."""

    def __init__(self, features: Iterable[tuple[Feature, ReconciledFeature]]) -> None:
        self.all: dict[str, ReconciledFeature] = {}
        self._by_key: dict[str, str] = {}
        for feature, reconciled in sorted(features, key=lambda one: (one[0].archived_at is None, one[0].id)):
            self.all[feature.id] = reconciled
            self._by_key[feature.key] = feature.id

    def find(self, id: str | None, key: str | None) -> str | None:
        """The id of a feature that is named by its id, or by a key: the one in force, else the newest."""
        return id if id is not None else self._by_key.get(key or "")


def reconcile_customer(
    documents: CustomerDocuments,
    features: FeaturesById,
    period: ReconciledPeriod,
    usage_of: UsageOf,
    now_ms: int,
) -> CustomerMoney:
    """Compare what a customer used in a period with its bills.

    Args:
        features: of the namespace.
        period: whole minutes.
        usage_of: counted independently of the documents.
        now_ms: lines that exist by then are expected.
    """
    by_feature = _by_feature(documents, features)
    rows = []
    for id, feature in sorted(features.all.items(), key=lambda one: (one[1].meter, one[1].key, one[0])):
        groups = by_feature.get(id, [])
        from_s, to_s = _extent(groups, period)
        usage = usage_of(feature.billed.meter_id, from_s, to_s)
        row = reconcile_feature(documents.customer, feature, groups, period, usage.quantity)
        if row.usage not in (None, "0") or row.amounts or row.differences:
            rows.append(row)
    lines = [line for stored in documents.invoices for line in stored.content.lines]
    wanted = [
        line for one in documents.subscriptions for line in subscription_lines(one, BillingWorkflow(), now_ms)
    ]
    return CustomerMoney(rows, missing_lines(documents.customer, wanted, lines, period))


def _by_feature(
    documents: CustomerDocuments, features: FeaturesById
) -> dict[str, list[tuple[BilledPart, ...]]]:
    of_item = {
        placed.item.id: placed.item.card.feature_id
        for one in documents.subscriptions
        for placed in placed_items(one)
    }
    found: dict[str, list[tuple[BilledPart, ...]]] = defaultdict(list)
    for group in billed_parts(documents.invoices):
        line = group[0].line
        item = None if line.subscription is None else line.subscription.item.id
        id = features.find(of_item.get(item or ""), line.rate_card.feature_key)
        if id is not None:
            found[id].append(group)
    return found


def _extent(groups: Iterable[Sequence[BilledPart]], period: ReconciledPeriod) -> tuple[int, int]:
    """From the first to the last minute that a line of the period needs."""
    shared = [
        (group[0].line.period.start_s, group[-1].line.period.end_s)
        for group in groups
        if group[0].line.period.start_s < period.to_s and group[-1].line.period.end_s > period.from_s
    ]
    starts, ends = [floor_minute(start_s) for start_s, _ in shared], [end_s for _, end_s in shared]
    return min([period.from_s, *starts]), max([period.to_s, *ends])
