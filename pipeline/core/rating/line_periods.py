"""Which lines an item of a subscription has, for which periods, and when each is put on an invoice.

Owns: service, full and billing periods, the instant of invoicing, the identity of a line. Does not own: subscriptions,
phases and items (the caller cuts an item to its phase and its subscription), what a line costs (rate, proration).
Calendar steps are those of values.calendar: each boundary is counted from the billing anchor at once, in a zone.

A month from the 31st, billed by the month, of which the customer has the item from 10 February on:

>>> from pipeline.core.values import timestamp
>>> from pipeline.core.values.calendar import NAMED
>>> from pipeline.core.values.zone import text_of
>>> def at(day): return timestamp.parse_ns(f"{day}T00:00:00Z") // 10**9
>>> month = Recurrence(NAMED["MONTH"], at("2026-01-31"))
>>> seats = BilledItem("sub", "trial", "seats", 0, at("2026-02-10"), None, at("2026-01-31"), None, month.interval)
>>> [line] = line_periods(seats, month, horizon_of(month, at("2026-02-15")))
>>> line.identity, [text_of(at_s)[:10] for at_s in (*line.service, *line.full)]
('sub/trial/seats/v[0]/period[0]', ['2026-02-10', '2026-02-28', '2026-01-31', '2026-02-28'])

Source: openmeterio/openmeter at 7e57a394, `openmeter/billing/worker/subscriptionsync/service/targetstate`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from pipeline.core.values import calendar
from pipeline.core.values.calendar import Interval, Recurrence


class TimePeriod(NamedTuple):
    """[start, end) in seconds since 1970. Both are one instant for what has no length."""

    start_s: int
    end_s: int

    @property
    def seconds(self) -> int:
        """Its length as time passes: a day on which the clock changes is shorter or longer than others."""
        return self.end_s - self.start_s


class BilledItem(msgspec.Struct, frozen=True):
    """One version of an item of a subscription.

    Attributes:
        subscription: id.
        phase, key: keys of the phase and the item.
        version: counted from 0 among the versions of the key in the phase, those without length too.
        start_s, end_s: when it is in force, cut to its phase and subscription; None: without an end.
        phase_start_s, phase_end_s: of the phase, cut to the subscription.
        cadence: how long a service period is; None: the item is billed once.
        in_advance: a flat price that is billed when its period begins.
    """

    subscription: str
    phase: str
    key: str
    version: int
    start_s: int
    end_s: int | None
    phase_start_s: int
    phase_end_s: int | None
    cadence: Interval | None
    in_advance: bool = False


class PlannedLine(NamedTuple):
    """A line before it has a price.

    Attributes:
        identity: the same whenever the line is computed again.
        service: what is paid for.
        full: the whole period of the cadence that `service` is a part of.
        billing: the period of the subscription in which the service begins, cut to the phase.
        invoice_at_s: when it is put on an invoice.
    """

    identity: str
    service: TimePeriod
    full: TimePeriod
    billing: TimePeriod
    invoice_at_s: int


def horizon_of(billing: Recurrence, now_s: int) -> int:
    """Up to when lines exist: the end of the billing period that holds `now_s`."""
    return calendar.bounds(billing, now_s)[1]


def line_periods(
    item: BilledItem, billing: Recurrence, horizon_s: int, first: int = 0
) -> Iterator[PlannedLine]:
    """The lines of an item that are put on an invoice up to and at a horizon, in order.

    Args:
        billing: cadence and anchor of the subscription, with the zone of its customer.
        horizon_s: see `horizon_of`.
        first: leave out the service periods before this one, which the caller has already.
    """
    if item.cadence is None:
        once = _once(item, billing)
        if not first and once is not None and once.invoice_at_s <= horizon_s:
            yield once
        return
    service_cadence = Recurrence(item.cadence, billing.anchor_s, billing.zone)
    began = calendar.position(service_cadence, item.start_s)
    place = first
    while True:
        full = TimePeriod(*(calendar.tick(service_cadence, began + k) for k in (place, place + 1)))
        service = _cut(full, item.start_s, item.end_s)
        if service.seconds <= 0:
            return
        line = _line(item, billing, service, full, f"/period[{place}]")
        if line.invoice_at_s > horizon_s:
            return
        yield line
        place += 1


def _once(item: BilledItem, billing: Recurrence) -> PlannedLine | None:
    """The line of an item that is billed once; in arrears it has to wait until its phase has an end."""
    if item.end_s is None:
        instant = TimePeriod(item.start_s, item.start_s)
        return _line(item, billing, instant, instant, "") if item.in_advance else None
    service = TimePeriod(item.start_s, item.end_s)
    return _line(item, billing, service, service, "") if service.seconds > 0 else None


def _line(
    item: BilledItem, billing: Recurrence, service: TimePeriod, full: TimePeriod, suffix: str
) -> PlannedLine:
    cycle = TimePeriod(*calendar.bounds(billing, service.start_s))
    cycle = _cut(cycle, item.phase_start_s, item.phase_end_s)
    invoice_at_s = cycle.start_s if item.in_advance else max(service.end_s, cycle.end_s)
    identity = f"{item.subscription}/{item.phase}/{item.key}/v[{item.version}]{suffix}"
    return PlannedLine(identity, service, full, cycle, invoice_at_s)


def _cut(period: TimePeriod, start_s: int, end_s: int | None) -> TimePeriod:
    return TimePeriod(
        max(period.start_s, start_s), period.end_s if end_s is None else min(period.end_s, end_s)
    )
