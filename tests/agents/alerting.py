"""The alert stage without Kafka: definitions by real commands, windows as aggregate writes them, chunks by hand.

Owns: a desk to which events, time and commands are brought, and what it told. Does not own: any expectation.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import msgspec

from pipeline.agents import alert
from pipeline.agents.alert import Known, Timers
from pipeline.agents.alert_seeding import Job
from pipeline.agents.clock import KEY, Agenda
from pipeline.core.notifications import rule
from pipeline.core.values import number
from pipeline.engine.chunk import Chunk
from pipeline.records import Alert, Balance, CustomerWindow, LateUsage, Window
from tests.agents.working import DictTable, FakeRecord, Working
from tests.core.deciding import AT_MS, Log

AT_S = AT_MS // 1000
MINUTE_S, HOUR_S, DAY_S = 60, 3_600, 86_400
METER: dict[str, Any] = {
    "slug": "tokens", "eventType": "prompt", "aggregation": "SUM", "valueProperty": "$.tokens",
    "groupBy": {"model": "$.model"},
}  # fmt: skip
ENDPOINT = {"name": "mine", "url": "https://example.com/hook", "signingSecret": "whsec_" + "A" * 32}
METERED: dict[str, Any] = {
    "customerId": "acme",
    "featureKey": "gpt",
    "type": "metered",
    "usagePeriod": {"interval": "MONTH"},
    "issueAfterReset": 100,
}


class Usage:
    """Minute windows as they grow, event by event. Each has the newest revision."""

    def __init__(self, meter_id: int, meter: str = "tokens") -> None:
        self.meter = meter
        self.meter_id = meter_id
        self.windows: dict[tuple[str, str, int], Window] = {}
        self._revision = itertools.count()

    def event(self, subject: str, at_s: int, value: int = 1, model: str = "small", id: str = "") -> Window:
        start_s, revision = at_s // MINUTE_S * MINUTE_S, next(self._revision)
        before = self.windows.get((subject, model, start_s))
        total = value + (int(before.value) if before else 0)
        count = 1 + (before.count if before else 0)
        events = [("/source", id or f"e{revision}", str(value))]
        window = Window(
            "default", self.meter, self.meter_id, subject, {"model": model}, start_s, str(total), count,
            str(value), "", [], revision, at_s * 1000, 0, events,
        )  # fmt: skip
        self.windows[subject, model, start_s] = window
        return window

    def stored(self) -> list[Window]:
        """What ClickHouse has: without events."""
        return [
            msgspec.structs.replace(one, events=[], change=one.value)
            for place, one in sorted(self.windows.items())
        ]


class Desk:
    """One partition of the stage. `alerts`: all that were told, in order; `jobs`: usage that was asked for;
    `late`: late usage by key; `read`: the newest chunk's records."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.known = Known(Agenda(), 1)
        self.table = DictTable()
        self.timers = Timers()
        self.offset = 0
        self.alerts: list[Alert] = []
        self.balances: dict[tuple[str, str], Balance] = {}
        self.jobs: list[Job] = []
        self.late: dict[str, LateUsage] = {}
        self.read: list[FakeRecord] = []
        self._revision = 0
        self.follow()

    def follow(self) -> None:
        """Reads what is new on the control log; the agenda gets what it touches."""
        self.known.agenda._next_ms.setdefault(0, 0)
        self.known.agenda._items.setdefault(0, {})
        new = [(key, one) for key, one in self.log.state.items() if one.revision > self._revision]
        new.sort(key=lambda one: one[1].revision)
        self.known.update(dict(new))
        self._revision = self.log.revision

    def do(self, kind: str, body: dict[str, Any], at_s: int = AT_S) -> Any:
        """A command, then a clock record that looks at what it touched."""
        made = self.log.do(kind, body, at_ms=at_s * 1000)
        self.follow()
        self.clock(at_s)
        return made

    def clock_value(self) -> bytes:
        """What the clock would say now."""
        items = list(self.known.agenda._items[0])
        self.known.agenda._items[0] = {}
        return alert.clock_value(0, items)

    def clock(self, at_s: int) -> list[Alert]:
        return self.chunk([(at_s, None)])

    def use(self, windows: Sequence[Window], at_s: int, customer: str | None = None) -> list[Alert]:
        """Windows in one record."""
        return self.chunk([(at_s, self.record(windows, customer))])

    def record(self, windows: Sequence[Window], customer: str | None = None) -> list[CustomerWindow]:
        return [
            CustomerWindow(customer or self.known.holders.of("default", one.subject, one.start_s), one)
            for one in windows
        ]

    def chunk(self, records: Sequence[tuple[int, list[CustomerWindow] | None]]) -> list[Alert]:
        """Records (time, windows or None for the clock) as one chunk; gives what it told."""
        made = []
        for at_s, windows in records:
            value = self.clock_value() if windows is None else msgspec.json.encode(windows)
            key = KEY if windows is None else None
            made.append(FakeRecord(self.offset, value, at_s * 1000, key))
            self.offset += 1
        alerts, _ = self.run(made)
        self.alerts += alerts
        self.read = made
        return alerts

    def run(
        self, records: Sequence[FakeRecord], counted_offset: int = -1
    ) -> tuple[list[Alert], dict[str, int]]:
        """The chunk of these records; gives what it told, and its counts."""
        chunk = Chunk(alert.INPUT, 0, records[0].offset, records[-1].offset + 1, list(records), 1)
        working = Working(chunk, self.table, counted_offset)
        self.jobs += alert.fill(working.transaction, self.known, self.timers)
        for sent in working.to("balances"):
            balance = msgspec.json.decode(sent.value or b"", type=Balance)
            self.balances[balance.customer, balance.feature] = balance
        for sent in working.to("late-usage"):
            self.late[(sent.key or b"").decode()] = msgspec.json.decode(sent.value or b"", type=LateUsage)
        alerts = [msgspec.json.decode(one.value or b"", type=Alert) for one in working.to("alerts")]
        return alerts, working.counts.get("default", {})

    def restart(self) -> None:
        """The process dies; another one takes over."""
        self.timers = Timers()
        self.timers.load(self.table)  # type: ignore[arg-type]

    def balance_of(self) -> Balance:
        """The only one there is."""
        (balance,) = self.balances.values()
        return balance

    def balance(self, customer: str, feature: str = "gpt") -> Balance:
        return self.balances[customer, feature]


def log() -> tuple[Log, str, str]:
    """A log with a meter, a feature, a customer with two subjects; the ids of customer and endpoint."""
    made = Log()
    made.do("meter.apply", METER)
    for key, more in {"gpt": {"meterSlug": "tokens"}, "sso": {}}.items():
        made.do("feature.create", {"key": key, "name": key, **more})
    acme = {"key": "acme", "name": "Acme", "usageAttribution": {"subjectKeys": ["a", "b"]}}
    customer = made.do("customer.create", acme)
    return made, str(customer["id"]), str(made.do("endpoint.create", ENDPOINT)["id"])


def desk() -> tuple[Desk, str, str]:
    made, customer, endpoint = log()
    return Desk(made), customer, endpoint


def watch(endpoint: str, *values: int, kind: str = "usage_value", **more: Any) -> dict[str, Any]:
    """A rule about thresholds."""
    thresholds = [{"type": kind, "value": value} for value in values]
    return {
        "type": rule.BALANCE, "name": "watch", "channels": [endpoint], "thresholds": thresholds, **more
    }  # fmt: skip


def volume(endpoint: str, limit: int, size: str = "HOUR", **more: Any) -> dict[str, Any]:
    """A rule about a meter's volume."""
    return {
        "type": rule.VOLUME, "name": "volume", "channels": [endpoint], "meterSlug": "tokens", "windowSize": size,
        "limit": limit, **more,
    }  # fmt: skip


def data(alert_: Alert) -> Any:
    """What a payload says."""
    return msgspec.json.decode(alert_.payload)["data"]


def fired(alerts: Sequence[Alert]) -> list[str]:
    """Of alerts about thresholds: each threshold that was told as met, those that passed with another too."""
    found: list[str] = []
    for one in alerts:
        if one.type == rule.BALANCE:
            found += [*data(one)["passed"], one.annotations["threshold"]]
    return sorted(found)


def amount(text: str) -> int:
    return number.exact(text) // number.SCALE
