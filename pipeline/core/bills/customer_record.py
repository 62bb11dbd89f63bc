"""What every part of the bills of one customer has: its head, the rows, the time of the record, its usage.

Owns: these. Does not own: groups of lines (customer_groups), invoices (customer_invoices), subscriptions and writing
(customer_bills).
"""

from __future__ import annotations

import msgspec

from pipeline.core.bills.bill_moment import BillMoment
from pipeline.core.bills.bill_rows import HEAD, BillRows, CustomerHead
from pipeline.core.bills.definitions import BillingDefinitions
from pipeline.core.bills.line_group import QuantityOf
from pipeline.core.bills.problem_notes import NO_PROBLEMS, CustomerProblems
from pipeline.core.bills.usage import BilledFeature, BilledUsage
from pipeline.core.bills.usage_rows import customer_key
from pipeline.core.invoices.line_usage import SeenPositions
from pipeline.core.values import timestamp
from pipeline.errors import Rejected


class CustomerRecord:
    """The head of one customer within one record."""

    def __init__(
        self,
        rows: BillRows,
        usage: BilledUsage,
        definitions: BillingDefinitions,
        namespace: str,
        customer: str,
        moment: BillMoment,
    ) -> None:
        self.namespace, self.customer, self.moment = namespace, customer, moment
        self.key = customer_key(namespace, customer)
        self.definitions = definitions
        self._rows, self._usage = rows, usage
        self.head = rows.heads.get(HEAD + self.key) or CustomerHead(namespace, customer)
        self.had_problems = self.head.problems is not None  # before the record
        self._since_s: int | None = None  # nothing changes it before `save`
        self._begin()

    def _begin(self) -> None:
        """Begin with what each further part has: nothing was read or changed yet."""

    def change(self, **values: object) -> None:
        """Change members of the head."""
        self.head = msgspec.structs.replace(self.head, **values)

    @property
    def has_stale(self) -> bool:
        """Whether bookings of lines have to be compared again."""
        return bool(self.head.stale_groups or self.head.stale_meters)

    @property
    def problems(self) -> CustomerProblems:
        """What could not be done for the customer."""
        return self.head.problems or NO_PROBLEMS

    @property
    def quantity_of(self) -> QuantityOf:
        """The usage of the customer."""
        since_s = self._counts_since_s()

        def quantity(feature: BilledFeature, from_s: int, to_s: int) -> int:
            if from_s < since_s:
                at = timestamp.text_of(since_s * 1000)
                sentence = f"Usage before {at} is not kept, so it cannot be billed."
                raise Rejected("invoice_usage_not_kept", sentence)
            return self._usage.quantity(self.namespace, self.customer, feature, from_s, to_s)

        return quantity

    def seen(self, feature: BilledFeature, from_s: int, to_s: int) -> SeenPositions:
        """Up to which positions `quantity_of` counts events."""
        return self._usage.seen(self.namespace, self.customer, feature, from_s, to_s)

    def _counts_since_s(self) -> int:
        if self._since_s is None:
            self._since_s = self._usage.counts_since_s(self.namespace, self.customer, self.moment.now_s)
        return self._since_s

    def _forget_rated(self, *ids: str) -> None:
        if self.head.rated:
            self.change(rated={id: end_s for id, end_s in self.head.rated.items() if ids and id not in ids})
