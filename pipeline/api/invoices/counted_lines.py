"""The stored events of a line, and whether they are what it bills.

Owns: whose events are read, by which meter, what an answer is when they are not what the line counted. Does not own:
which events a line counts and the comparison (core.explain), the SQL (stores.clickhouse).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import msgspec
from prometheus_client import Counter

from pipeline.api.http.services import Services
from pipeline.core.customers.attribution import Holders
from pipeline.core.definitions.changes import Changes
from pipeline.core.definitions.index import key_of
from pipeline.core.explain.line_basis import LineBasis
from pipeline.core.explain.line_recount import LineRecount, UsageOwner
from pipeline.core.explain.line_tally import LineQuantities
from pipeline.core.explain.recount import EventMeasure, MeasuredEvent
from pipeline.core.invoices.stored_invoice import StoredInvoice
from pipeline.core.metering.meter import Meter
from pipeline.errors import Broken, Rejected, Unavailable
from pipeline.stores.clickhouse.events import EventPosition
from pipeline.stores.clickhouse.line_events import RecordedSpan, recorded_events
from pipeline.stores.clickhouse.refused import MeterName
from pipeline.stores.kafka.consumer_groups import lag

UNEXPLAINED = Counter(
    "tallymark_unexplained_lines_total",
    "lines of invoices whose stored events were not what they bill, at the time of the request",
)
_invoice = msgspec.json.Decoder(StoredInvoice).decode


class CountedLine(NamedTuple):
    """A line with what is needed to count its events. subjects: that the customer has or had."""

    basis: LineBasis
    owner: UsageOwner
    meter: Meter
    subjects: list[str]

    def recount(self) -> LineRecount:
        """A new count of its events."""
        return LineRecount(self.basis, self.owner)


def invoices_of(services: Services, namespace: str, customer: str) -> list[StoredInvoice]:
    """All invoices of a customer (id)."""
    return [_invoice(one.body) for one in services.bills.invoices_of(namespace, customer)]


def counted_line(services: Services, namespace: str, customer: str, basis: LineBasis) -> CountedLine:
    """What is needed to count the events of a line.

    Args:
        services: of the process.
        namespace: of the request.
        customer: id, of the invoice.
        basis: the line.

    Raises:
        Rejected: `line_meter_deleted`.
    """
    meter_id = basis.counted.meter_id
    meter = next((one for one in services.definitions.meters(namespace) if one.meter_id == meter_id), None)
    if meter is None:
        raise Rejected(
            "line_meter_deleted",
            f"The meter of the line {basis.line.id} was deleted, so it is not known what it read from its events.",
        )
    attributions = services.definitions.attributions(namespace, customer)
    holders = Holders()
    holders.update(Changes({key_of(one): one for one in attributions}))
    owner = UsageOwner(namespace, customer, holders, services.event_partitions())
    return CountedLine(basis, owner, meter, sorted(one.name for one in attributions))


def events_of(
    services: Services, line: CountedLine, after: EventPosition | None = None
) -> Iterator[MeasuredEvent]:
    """Every event of the span of a line that its meter counted, newest first by time.

    Args:
        after: only those after this position.

    Raises:
        Unavailable: ClickHouse does not answer.
        Broken: the meter cannot take an event that it counted.
    """
    from_s, to_s = line.recount().span
    asked = RecordedSpan(
        line.owner.namespace, MeterName(line.meter.slug, line.meter.meter_id), line.subjects, from_s, to_s
    )
    measure = EventMeasure(line.meter)
    return map(measure.read, recorded_events(services.clickhouse_pages, asked, after))


def checked(services: Services, recount: LineRecount) -> LineQuantities:
    """The quantities of a line, after all of its events were taken.

    Raises:
        Broken: the events are not what the line counted.
        Unavailable: they differ, but not all events are stored yet.
    """
    try:
        return recount.check()
    except Broken:
        if lag(services.settings, ("sink",))["sink"] != 0:
            raise Unavailable(
                "Not all events are stored yet, so the line cannot be compared with them."
            ) from None
        UNEXPLAINED.inc()
        raise
