"""A customer whose commands about subscriptions are decided, one after the other, by a catalog: for tests.

Owns: the catalog with the plan `pro`, what the customer has, commands as the API makes them. Does not own: any test.
"""

from __future__ import annotations

from typing import Any

import msgspec

from pipeline.core.catalog.catalog_now import CatalogNow
from pipeline.core.customers.customer import Customer
from pipeline.core.subscriptions.decide import SubscriptionDecision, decide_subscription
from pipeline.core.subscriptions.subscription import Subscription
from pipeline.errors import Rejected
from pipeline.records import Command
from tests.fixtures.catalog_bodies import ADDON, ASSIGNED, FEE, PLAN, Body, log, without_key
from tests.fixtures.control_log import AT_MS

NOW = "2026-01-15T10:00:00Z"
NOW_MS = AT_MS + (14 * 24 + 10) * 3_600_000
DAY_MS = 86_400_000
CUSTOM = {**without_key(PLAN), "currency": "EUR"}
CARD = {**FEE, "key": "support", "name": "Support"}
STATES: dict[str, Body] = {
    "scheduled": {"timing": "2026-03-01T00:00:00Z"},
    "active": {},
    "canceled": {},
    "inactive": {},
}


class Subscriber:
    """`subscriptions`: by id, as the commands left them."""

    def __init__(self, **customer: Any) -> None:
        self.log = log()
        self.plan = self.log.do("plan.create", PLAN)
        self.addon = self.log.do("addon.create", ADDON)
        self.log.do("addon.publish", {"id": "more"})
        self.log.do("plan-addon.create", {"planId": "pro", "addonId": self.addon["id"], **ASSIGNED})
        self.log.do("plan.publish", {"id": "pro"})
        made = self.log.do("customer.create", {"name": "ACME", "key": "acme", **customer})
        self.customer = Customer.read(made)
        self.subscriptions: dict[str, Subscription] = {}
        self._sent = 0

    def decide(self, kind: str, sent: object, at_ms: int = NOW_MS, **named: str) -> SubscriptionDecision:
        self._sent += 1
        id = named.pop("command", f"c{self._sent}")
        body = {"customer": self.customer.id, "sent": sent, **named}
        command = Command(id, f"subscription.{kind}", "default", "ann", at_ms, body)
        catalog = CatalogNow(self.log.catalog, "default", at_ms)
        have = list(self.subscriptions.values())
        decision = decide_subscription(command, self.customer, have, catalog, at_ms)
        again = decide_subscription(command, self.customer, have, catalog, at_ms)
        assert decision == again
        return decision

    def do(self, kind: str, sent: object = None, at_ms: int = NOW_MS, **named: str) -> Body:
        """The reply of a command that must be done."""
        decision = self.decide(kind, sent, at_ms, **named)
        for one in decision.changed:
            self.subscriptions[one.id] = msgspec.json.decode(msgspec.json.encode(one), type=Subscription)
            assert self.subscriptions[one.id] == one
        return decision.body

    def refused(self, kind: str, sent: object = None, at_ms: int = NOW_MS, **named: str) -> tuple[str, str]:
        """The reason and the sentence of a command that must be refused."""
        try:
            self.decide(kind, sent, at_ms, **named)
        except Rejected as refusal:
            return refusal.reason, refusal.detail
        raise AssertionError(f"subscription.{kind} was not refused")

    def subscribe(self, at_ms: int = NOW_MS, **sent: Any) -> str:
        """The id of a new subscription to the plan `pro`."""
        body = {"customerId": self.customer.id, "plan": {"key": "pro"}, **sent}
        id = self.do("create", body, at_ms)["subscription"]
        assert isinstance(id, str)
        return id

    def one(self, id: str) -> Subscription:
        return self.subscriptions[id]


def in_state(state: str) -> tuple[Subscriber, str]:
    have = Subscriber()
    id = have.subscribe(**STATES[state])
    if state in ("canceled", "inactive"):
        have.do("cancel", {"timing": "next_billing_cycle" if state == "canceled" else "immediate"}, id=id)
    return have, id


def order(**sent: Any) -> dict[str, Any]:
    body = {"customerKey": "acme", "plan": {"key": "pro"}, **sent}
    return {name: value for name, value in body.items() if value is not ...}


def edited(**op: Any) -> dict[str, Any]:
    return {"customizations": [op]}
