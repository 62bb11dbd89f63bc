"""Meter events as Stripe takes and counts them.

Owns: what makes an event valid, the identifiers of a rolling day, sums by customer and hour, reports of what could not
be counted, cancellations. Does not own: the objects of the account (account), transport. Instants are seconds since
1970 and are arguments.

An event that is accepted is not yet counted: where its customer or its meter cannot be found, the answer is a success
all the same and an error report follows. So the answer to a call proves nothing but that the event was stored.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from pipeline.local.stripe_sandbox.account import SandboxAccount, SandboxMeter
from pipeline.local.stripe_sandbox.errors import invalid
from pipeline.local.stripe_sandbox.form import Form, integer, only, text, texts

HOUR_S, DAY_S = 3_600, 86_400
IDENTIFIER_S = 24 * HOUR_S  # for which an identifier is not taken again
PAST_S, FUTURE_S = 35 * DAY_S, 300  # how far the time of an event may be off
MOST_DIGITS = 15  # significant ones of a value
MOST_SAMPLES = 5  # of each kind of error in a report

_WHOLE = re.compile(r"-?[0-9]+").fullmatch


@dataclass(frozen=True, slots=True)
class AcceptedEvent:
    """One event that was taken.

    Attributes:
        at_s, created_s: its own time, and when it was taken.
        visible_at_s: from when summaries count it.
        meter, customer, units: what counts it; `problem` is Stripe's code where nothing does, else empty.
    """

    identifier: str
    event_name: str
    payload: dict[str, str]
    at_s: int
    created_s: int
    visible_at_s: int
    meter: str
    customer: str
    units: int
    problem: str

    def json(self) -> dict[str, object]:
        return {
            "object": "billing.meter_event", "created": self.created_s, "livemode": False,
            "event_name": self.event_name, "identifier": self.identifier, "payload": self.payload,
            "timestamp": self.at_s,
        }  # fmt: skip


@dataclass(slots=True)
class ErrorReport:
    """What could not be counted of one meter: by code, how often, and identifiers as samples."""

    meter: str  # id; empty: there is no meter of the event's name
    counts: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    samples: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, code: str, identifier: str) -> None:
        self.counts[code] += 1
        if len(self.samples[code]) < MOST_SAMPLES:
            self.samples[code].append(identifier)


class MeterEvents:
    """Events of one account.

    delay_s: how much later than its acceptance an event shows in summaries.
    """

    def __init__(self, account: SandboxAccount, delay_s: int = 0) -> None:
        self.delay_s = delay_s
        self.events: list[AcceptedEvent] = []
        self._account = account
        self._identifiers: dict[str, int] = {}  # and when it was last taken, in order
        self._counted: dict[tuple[str, str], list[AcceptedEvent]] = {}  # by meter and customer
        self._failed: list[AcceptedEvent] = []  # not yet in a report

    def create(self, form: Form, now_s: int) -> AcceptedEvent:
        """Take one event.

        Raises:
            StripeRefusal: 400 for what Stripe checks at once: names, time, value, a repeated identifier.
        """
        only(form, "event_name", "payload", "identifier", "timestamp")
        event_name, payload = text(form, "event_name", 100), texts(form, "payload")
        if not payload:
            raise invalid("Missing required param: payload.", "parameter_missing", "payload")
        at_s = integer(form, "timestamp", now_s)
        if at_s < now_s - PAST_S:
            raise invalid("The timestamp must be within the past 35 calendar days.", "timestamp_too_far_in_past",
                          "timestamp")  # fmt: skip
        if at_s > now_s + FUTURE_S:
            raise invalid("The timestamp must not be more than 5 minutes in the future.", "timestamp_in_future",
                          "timestamp")  # fmt: skip
        meter = self._account.meter_of_event(event_name)
        _check_value(payload.get(meter.value_key if meter else "value"))
        identifier = text(form, "identifier", 100) if "identifier" in form else f"auto_{len(self.events)}"
        self._forget_identifiers(now_s)
        if identifier in self._identifiers:
            raise invalid(f"An event already exists with identifier {identifier}.")
        self._identifiers[identifier] = now_s
        made = self._process(identifier, event_name, payload, at_s, now_s)
        self.events.append(made)
        if made.problem:
            self._failed.append(made)
        else:
            self._counted.setdefault((made.meter, made.customer), []).append(made)
        return made

    def cancel(self, form: Form, now_s: int) -> dict[str, object]:
        """Take back one event within a day of its acceptance. Raises StripeRefusal 400."""
        only(form, "event_name", "type", "cancel")
        event_name, identifier = text(form, "event_name", 100), texts(form, "cancel").get("identifier", "")
        if text(form, "type") != "cancel":
            raise invalid("Invalid type: must be cancel", param="type")
        for counted in self._counted.values():
            for event in counted:
                young = now_s - event.created_s < IDENTIFIER_S
                if young and (event.event_name, event.identifier) == (event_name, identifier):
                    counted.remove(event)
                    return {
                        "object": "billing.meter_event_adjustment", "event_name": event_name, "status": "pending",
                        "type": "cancel", "cancel": {"identifier": identifier}, "livemode": False,
                    }  # fmt: skip
        raise invalid(f"No event of the last 24 hours has the identifier {identifier}.", param="cancel")

    def summaries(self, meter: SandboxMeter, form: Form, now_s: int) -> dict[str, object]:
        """Sums of one customer, the newest window first, as Stripe's list of summaries."""
        only(form, "customer", "start_time", "end_time", "value_grouping_window", "limit", "starting_after")
        customer, window = text(form, "customer"), form.get("value_grouping_window", "")
        start_s, end_s, limit = (
            integer(form, "start_time"),
            integer(form, "end_time"),
            integer(form, "limit", 10),
        )
        size_s = {"hour": HOUR_S, "day": DAY_S}.get(window if isinstance(window, str) else "", 60)
        if start_s % size_s or end_s % size_s or start_s >= end_s:
            raise invalid(
                f"start_time and end_time must be aligned to {size_s} seconds, the end after the start"
            )
        if not 1 <= limit <= 100:
            raise invalid("Invalid limit: must be from 1 to 100", param="limit")
        step_s = size_s if window else end_s - start_s
        sums = self._sums(meter, customer, start_s, end_s, step_s, now_s)
        rows = [_summary(meter, at_s, at_s + step_s, sums[at_s]) for at_s in sorted(sums, reverse=True)]
        after = form.get("starting_after")
        if after is not None:
            rows = rows[next((n + 1 for n, row in enumerate(rows) if row["id"] == after), 0) :]
        url = f"/v1/billing/meters/{meter.id}/event_summaries"
        return {"object": "list", "url": url, "has_more": len(rows) > limit, "data": rows[:limit]}

    def counted(self, now_s: int) -> Iterator[AcceptedEvent]:
        """The events that summaries count at `now_s`."""
        for events in self._counted.values():
            yield from (event for event in events if event.visible_at_s <= now_s)

    def reports(self) -> list[ErrorReport]:
        """What could not be counted since the last call, by meter."""
        reports: dict[str, ErrorReport] = {}
        for event in self._failed:
            reports.setdefault(event.meter, ErrorReport(event.meter)).add(event.problem, event.identifier)
        self._failed = []
        return list(reports.values())

    def _process(
        self, identifier: str, event_name: str, payload: dict[str, str], at_s: int, now_s: int
    ) -> AcceptedEvent:
        meter = self._account.meter_of_event(event_name)
        customer = payload.get(meter.customer_key, "") if meter else ""
        value = payload.get(meter.value_key) if meter else None
        return AcceptedEvent(
            identifier, event_name, payload, at_s, now_s, now_s + self.delay_s, meter.id if meter else "", customer,
            int(value or 0), self._problem(meter, customer, value),
        )  # fmt: skip

    def _problem(self, meter: SandboxMeter | None, customer_id: str, value: str | None) -> str:
        if meter is None:
            return "no_meter"
        if not meter.active:
            return "archived_meter"
        if not customer_id:
            return "meter_event_no_customer_defined"
        customer = self._account.customers.get(customer_id)
        if customer is None or customer.deleted:
            return "meter_event_customer_not_found"
        return "meter_event_invalid_value" if value is None else ""

    def _sums(
        self, meter: SandboxMeter, customer: str, start_s: int, end_s: int, step_s: int, now_s: int
    ) -> dict[int, int]:
        sums: dict[int, int] = {}
        for event in self._counted.get((meter.id, customer), ()):
            if event.visible_at_s > now_s or not start_s <= event.at_s < end_s:
                continue
            at_s = start_s + (event.at_s - start_s) // step_s * step_s
            if meter.formula == "last":
                sums[at_s] = event.units
            else:
                sums[at_s] = sums.get(at_s, 0) + (event.units if meter.formula == "sum" else 1)
        return sums

    def _forget_identifiers(self, now_s: int) -> None:
        while self._identifiers:
            oldest = next(iter(self._identifiers))
            if self._identifiers[oldest] > now_s - IDENTIFIER_S:
                return
            del self._identifiers[oldest]


def _check_value(value: str | None) -> None:
    if value is None:
        return  # an error report names it later
    if not _WHOLE(value):
        raise invalid(
            f"Invalid value: {value[:32]} is no whole number.", "meter_event_invalid_value", "payload"
        )
    if len(value.lstrip("-").strip("0")) > MOST_DIGITS:
        raise invalid(
            f"The value {value[:32]} has more than {MOST_DIGITS} digits.",
            "meter_event_value_too_many_digits",
            "payload",
        )


def _summary(meter: SandboxMeter, start_s: int, end_s: int, units: int) -> dict[str, object]:
    """As Stripe has it: the sum is a JSON number, so above 2^53 its last digits are lost."""
    return {
        "id": f"mtrusg_{meter.id[4:]}_{start_s}_{end_s}", "object": "billing.meter_event_summary",
        "aggregated_value": float(units), "start_time": start_s, "end_time": end_s, "livemode": False,
        "meter": meter.id,
    }  # fmt: skip
