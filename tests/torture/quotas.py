"""What a run with alerts defines: customers, what they are entitled to, rules, and endpoints that behave badly.

Owns: defining the plan by commands, some of it while the pipeline is hurt; waiting for the end of it. Does not own:
the plan (plan), what must come of it (alerts), the faults (hurting).
Usage of a period lies in its first minute, and is in the balance before its reset is asked for; so what a period has
crossed does not depend on when something arrives.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from random import Random
from typing import Any

import msgspec
import redis
from confluent_kafka import Producer

from pipeline.core.notifications.delivery_table import partition_of
from pipeline.errors import Unavailable
from pipeline.records import Balance, Definition, Delivery, WebhookWork
from pipeline.settings import Settings
from pipeline.stores.kafka.commands import Commands
from pipeline.stores.kafka.definitions import Replies, WorkersView
from pipeline.stores.kafka.view import CompactedView
from tests.fixtures.patience import PATIENCE_S
from tests.flow.webhooks import SECRET
from tests.torture.plan import (
    FEATURES,
    LATE,
    MINUTE_S,
    Customer,
    Entitled,
    Move,
    Plan,
    Rule,
    first_period_s,
)
from tests.torture.receiver import receiving
from tests.torture.rig import WEBHOOK_TIMEOUT_S
from tests.torture.storm import Storm

NAMESPACE = "default"
HANGING_S = 2 * WEBHOOK_TIMEOUT_S


class Quotas:
    """The plan on a running stack. Use as a context manager: inside, the receiver answers."""

    def __init__(self, settings: Settings, made: Plan, storm: Callable[[], Storm]) -> None:
        self.plan = made
        self._settings = settings
        self._storm = storm
        self._rng = Random(made.start_s)
        self._open = ExitStack()
        self._endpoints: dict[str, str] = {}  # path -> id
        self._sent: dict[str, int] = {}  # customer key -> events of the period that is open
        self._last_reset_s = 0
        self._lock = threading.Lock()

    def __enter__(self) -> Quotas:
        enter = self._open.enter_context
        self.receiver, self.refused = enter(receiving())
        self.receiver.answers["/shaky"] = _shaky
        self.receiver.answers["/hanging"] = _hanging
        replies, workers = enter(Replies(self._settings)), enter(WorkersView(self._settings))
        self._commands = Commands(self._settings, replies, workers)
        self.definitions = enter(CompactedView(self._settings, "control", _decoder(Definition)))
        self.balances = enter(CompactedView(self._settings, "balances", _decoder(Balance)))
        self.deliveries = enter(CompactedView(self._settings, "deliveries", _decoder(Delivery)))
        self._producer = Producer({"bootstrap.servers": self._settings.kafka, "log_level": 0})
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def endpoint(self, path: str) -> str:
        """The id of the endpoint on a path of the receiver."""
        return self._endpoints[path]

    def define(self) -> None:
        """All but what comes late."""
        for path in ("/good", "/shaky", "/hanging"):
            url = self.receiver.url + path
            body = {"type": "WEBHOOK", "name": path, "url": url, "signingSecret": SECRET}
            self._endpoints[path] = str(self._run("endpoint", body)["id"])
        for feature in FEATURES:
            sold: dict[str, object] = {"key": feature.key, "name": feature.key, "meterSlug": feature.meter}
            if feature.filters:
                sold["meterGroupByFilters"] = dict(feature.filters)
            self._run("feature", sold)
        for customer in [*self.plan.customers, *(one.customer for one in self.plan.periods)]:
            attributed = {"subjectKeys": list(customer.subjects)}
            self._run("customer", {"key": customer.key, "name": customer.key, "usageAttribution": attributed})
        for entitled in [*self.plan.entitled, *self.plan.periods]:
            self._entitle(entitled)
        for rule in self.plan.rules:
            self._rule(rule)

    def bring(self, what: str) -> str:
        """Brings something late: `entitlement`, `rule`, `subject` (moves to another customer) or `reset`."""
        with self._lock:
            return str(getattr(self, f"_bring_{what}")())

    def _bring_entitlement(self) -> str:
        made = [self._entitle(one) for one in [one for one in self.plan.late if not one.id][: LATE // 2]]
        return f"{len(made)} entitlements"

    def _bring_rule(self) -> str:
        self._rule(self.plan.late_rule)
        return self.plan.late_rule.name

    def _bring_subject(self) -> str:
        """Its events are of minutes before, and stay where they are, but for those without a time of their own."""
        old, new = self.plan.customers[0], self.plan.customers[1]
        moved = old.subjects[0]
        for customer, subjects in ((old, old.subjects[1:]), (new, (*new.subjects, moved))):
            attributed = {"subjectKeys": list(subjects)}
            change = {
                "id": customer.key,
                "key": customer.key,
                "name": customer.key,
                "usageAttribution": attributed,
            }
            self._patiently(lambda change=change: self._commands.run("customer.update", NAMESPACE, change))  # type: ignore[misc]
        self.definitions.wait_for(lambda _: moved in self._subjects(new) - self._subjects(old), PATIENCE_S)
        until_s, from_s = (self._full_minute_after_change(one.key) for one in (old, new))
        self.plan.moves.append(Move(moved, old, until_s, new, from_s))
        return f"{moved} to {new.key}"

    def _subjects(self, customer: Customer) -> set[str]:
        return set(self._customer(customer.key)["usageAttribution"]["subjectKeys"])

    def _full_minute_after_change(self, customer: str) -> int:
        body = self._customer(customer)
        return int(-(-datetime.fromisoformat(body["updatedAt"]).timestamp() // MINUTE_S) * MINUTE_S)

    def _bring_reset(self) -> str:
        """Usage of each periodic customer, and when all of it is in its balance, the reset after it."""
        self.use_period()
        while (at_s := int(time.time()) // MINUTE_S * MINUTE_S) <= self._last_reset_s:
            time.sleep(0.1)  # a period has at least a minute
        self._last_reset_s = at_s
        for entitled in self.plan.periods:
            change: dict[str, object] = {"id": entitled.id, "effectiveAt": text_of(at_s)}
            self._patiently(
                lambda change=change, entitled=entitled: (  # type: ignore[misc]
                    self._known_reset(entitled) >= at_s
                    or self._commands.run("entitlement.reset", NAMESPACE, change)
                )
            )
            entitled.resets.append(at_s)
            self._sent[entitled.customer.key] = 0
        for entitled in self.plan.periods:
            self._until(entitled, lambda found: found.period_from_ms == at_s * 1000, "the reset")
        return f"number {len(self.plan.periods[0].resets)}"

    def use_period(self) -> None:
        """Sends usage in the open period of each periodic customer; returns when it is in the balances."""
        for entitled in self.plan.periods:
            number, period = self._rng.randint(5, 70), len(entitled.resets)
            begun_s = (entitled.resets or [entitled.since_s])[-1]
            for place in range(number):
                at_s = begun_s + self._rng.randrange(MINUTE_S)
                subject = self._rng.choice(entitled.customer.subjects)
                self._storm().send(_event(f"{entitled.customer.key}-{period}-{place}", subject, at_s))
            self._sent[entitled.customer.key] = self._sent.get(entitled.customer.key, 0) + number
        for entitled in self.plan.periods:
            wanted = str(self._sent[entitled.customer.key])
            self._until(entitled, lambda found, wanted=wanted: found.usage == wanted, f"usage of {wanted}")  # type: ignore[misc]

    def _until(self, entitled: Entitled, met: Callable[[Balance], bool], what: str) -> None:
        place = f"{NAMESPACE}/{entitled.customer_id}/{entitled.feature.key}"
        done = self.balances.wait_for(lambda found: place in found and met(found[place]), PATIENCE_S)
        if not done:
            raise TimeoutError(
                f"{what} of {entitled.customer.key} is not in its balance: {self.balances.get(place)}"
            )

    def _known_reset(self, entitled: Entitled) -> int:
        found = self.definitions.get(f"{NAMESPACE}/entitlement/{entitled.id}")
        resets: Any = [] if found is None or found.body is None else found.body["resets"]
        return max((int(datetime.fromisoformat(one["effectiveAt"]).timestamp()) for one in resets), default=0)

    def stir(self) -> None:
        """Work for the webhook stage: something that was delivered is sent again."""
        ended = [one for one in self.deliveries.snapshot().values() if one.state == "SUCCESS"]
        if ended:
            one = self._rng.choice(ended)
            work = WebhookWork("resend", NAMESPACE, one.endpoint, one.id, time.time_ns() // 1_000_000)
            target = partition_of(NAMESPACE, one.endpoint, self._settings.partitions)
            self._producer.produce("webhook-work", msgspec.json.encode(work), one.endpoint, target)
            self._producer.flush(5)

    def flush_redis(self) -> None:
        """The copy of the balances is gone."""
        redis.Redis.from_url(self._settings.redis).flushall()

    def _entitle(self, entitled: Entitled) -> Entitled:
        since = text_of(entitled.since_s)
        begun = text_of(first_period_s(entitled, self.plan.start_s))
        first, *more = entitled.amounts
        usage_period = {"interval": "YEAR", "anchor": since}
        if entitled.anchor:
            usage_period = {"interval": "MONTH", "anchor": entitled.anchor}
        if entitled.zone:
            usage_period["timeZone"] = entitled.zone
        body: dict[str, object] = {
            "type": "metered",
            "customerId": entitled.customer.key,
            "featureKey": entitled.feature.key,
            "usagePeriod": usage_period,
            "measureUsageFrom": since,
            "issueAfterReset": format(first, "f"),
            "grants": [
                {"amount": format(one, "f"), "priority": 5, "effectiveAt": begun}
                for one in more
            ],
        }  # fmt: skip
        made = self._run("entitlement", body)
        entitled.id, entitled.customer_id = str(made["id"]), str(made["customerId"])
        return entitled

    def _rule(self, rule: Rule) -> None:
        channels = [self._endpoints[path] for path in rule.endpoints]
        body: dict[str, object] = {"type": rule.type, "name": rule.name, "channels": channels}
        if rule.thresholds:
            body["thresholds"] = [{"type": kind, "value": value} for kind, value in rule.thresholds]
        if rule.features:
            body["features"] = list(rule.features)
        rule.id = str(self._run("rule", body)["id"])

    def _run(self, kind: str, body: Mapping[str, object]) -> dict[str, Any]:
        """Create an object once: a command without an answer is sent again with its id."""

        id = str(uuid.uuid4())
        return dict(
            self._patiently(
                lambda: self._commands.run(f"{kind}.create", NAMESPACE, dict(body), id=id).body or {}
            )
        )

    def _customer(self, key: str) -> dict[str, Any]:
        for one in self.definitions.snapshot().values():
            if one.kind == "customer" and one.body is not None and one.body.get("key") == key:
                return dict(one.body)
        raise KeyError(key)

    def _patiently(self, do: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                return do()
            except Unavailable:
                if time.monotonic() > deadline:
                    raise
                time.sleep(1)


def text_of(at_s: int) -> str:
    """RFC 3339."""
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _decoder(kind: Any) -> Any:
    return msgspec.json.Decoder(kind).decode


def _event(id: str, subject: str, at_s: int) -> bytes:
    data = {"duration_ms": 1, "method": "PATCH", "route": "/v1/batch", "status": "200"}
    event = {
        "specversion": "1.0", "id": id, "source": "/periodic", "type": "api.request", "subject": subject,
        "time": text_of(at_s), "data": data,
    }  # fmt: skip
    return json.dumps(event).encode()


def _shaky(number: int) -> tuple[int, dict[str, str]]:
    """A third of the answers is an error, and one in forty asks for a pause."""
    if number % 40 == 7:
        return 429, {"Retry-After": "1"}
    return (500 if number % 3 == 1 else 200), {}


def _hanging(number: int) -> tuple[int, dict[str, str]]:
    """One in fifteen is answered when no caller waits any more."""
    if number % 15 == 4:
        time.sleep(HANGING_S)
    return 204, {}
