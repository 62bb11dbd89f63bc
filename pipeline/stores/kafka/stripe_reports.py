"""What Stripe reports, published once it arrives; error reports of the last weeks in memory.

Owns: on which topics a report is published, the view. Does not own: the form of a report (core.billing.stripe_report),
what stripe-sync does with the identifiers that it names (core.billing.stripe_table).
"""

from __future__ import annotations

import asyncio

import msgspec

from pipeline.core.metering.identity import customer_hash
from pipeline.core.values.json_value import reader_of
from pipeline.records import BillingWork, StripeReport, StripeWork
from pipeline.settings import Settings
from pipeline.stores.kafka import topics
from pipeline.stores.kafka.view import CompactedView
from pipeline.stores.kafka.writer import KafkaWriter, WrittenRecord

TOPIC, WORK, BILLING = "stripe-reports", "stripe-work", "billing-work"
DELIVERY_S = 5.0


class StripeReportsView(CompactedView[StripeReport]):
    """`stripe-reports` by key. An event that arrives twice has one key."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, TOPIC, reader_of(StripeReport))

    def of(self, namespace: str) -> list[StripeReport]:
        """Those of a namespace, the newest first."""
        found = [one for one in self.snapshot().values() if one.namespace == namespace]
        return sorted(found, key=lambda one: (-one.created_ms, one.event))


class StripeReportLog:
    """Publishes reports, and events about invoices. Use it from one event loop.

    The meter events that a report names go to every partition of `stripe-work`: an identifier does not show whose it
    is, and the partition that made the event is the only one that knows it.
    """

    def __init__(self, settings: Settings) -> None:
        declared = topics.load(settings)
        self._partitions, self._billing = declared[WORK].partitions, declared[BILLING].partitions
        self._writer = KafkaWriter(settings, "reports of Stripe", DELIVERY_S)

    async def append(self, report: StripeReport) -> None:
        """Return when the broker has stored the report. Raises Unavailable: it is not stored, or that is unknown."""
        key = f"{report.namespace}/{report.app}/{report.event}"
        records = [WrittenRecord(TOPIC, msgspec.json.encode(report), key)]
        for identifier, message in report.identifiers.items():
            value = msgspec.json.encode(
                StripeWork("reported", namespace=report.namespace, identifier=identifier, message=message)
            )
            records += [WrittenRecord(WORK, value, "reported", place) for place in range(self._partitions)]
        await asyncio.gather(*map(self._writer.append, records))

    async def note(self, work: BillingWork) -> None:
        """Return when the broker has stored what Stripe reports of an invoice. Raises as `append`."""
        place = customer_hash(work.namespace, work.customer) % self._billing
        await self._writer.append(WrittenRecord(BILLING, msgspec.json.encode(work), work.kind, place))

    def close(self) -> None:
        """Wait for the outcome of records in progress, then stop."""
        self._writer.close()
