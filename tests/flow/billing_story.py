"""Customers with plans, usage, changes of plan and months that pass, on a BillingLine.

Owns: what happens and when, in the time of the story, and when a step is complete. Does not own: workers and records
(billing_line), what is expected (test_billing, billing_run). A disturbance is called in the middle of each step.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import msgspec

from pipeline.core.values.timestamp import ms_of, text_of
from pipeline.errors import Unavailable
from pipeline.records import CustomerWindow, Reply, Window
from pipeline.stores.kafka.consumer_groups import lag
from tests.fixtures.catalog_bodies import FEE, METER, PLAN, TOKENS
from tests.flow.billing_line import NAMESPACE, STAGES, START_MS, BillingLine

MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
FINAL = {"gathering", "paid", "deleted", "voided"}
RESTING = {*FINAL, "draft.waiting_for_collection"}  # what changes when time passes, and by nothing else
LOOK_S = 0.2
STEP_S = 600.0  # a thousand customers on a loaded machine
NUMBER = re.compile(r"(INV|DRAFT|GATHER)-[A-Z0-9]+(-[A-Z0-9]+)+")
ANY_ID = re.compile(rb"[0-9A-HJKMNP-TV-Z]{26}")
Disturb = Callable[[str], None]

_BASIC_FEE = {**FEE, "price": {"type": "flat", "amount": "20", "paymentTerm": "in_advance"}}
_PRO_FEE = {**FEE, "price": {"type": "flat", "amount": "99.99", "paymentTerm": "in_advance"}}
_PRO_TOKENS = {
    **TOKENS,
    "price": {
        "type": "tiered",
        "mode": "graduated",
        "tiers": [
            {"upToAmount": "1000", "unitPrice": {"type": "unit", "amount": "0.008"}, "flatPrice": None},
            {"upToAmount": None, "unitPrice": {"type": "unit", "amount": "0.0071"}, "flatPrice": None},
        ],
    },
}


def plan(key: str, *cards: dict[str, Any]) -> dict[str, Any]:
    """A plan of one phase."""
    phase = {"key": "paid", "name": "Paid", "duration": None, "rateCards": list(cards)}
    return {**PLAN, "key": key, "name": key.title(), "phases": [phase]}


def calm(_: str) -> None:
    """Nothing happens."""


class BillingStory:
    """What happens to some customers. disturb: called with the name of a step while its records are read."""

    def __init__(self, line: BillingLine, customers: int, disturb: Disturb = calm) -> None:
        self.line = line
        self.customers: list[str] = []  # ids
        self.subscriptions: dict[str, str] = {}  # the first one of each customer
        self._many = customers
        self._disturb = disturb
        self._meter_id = 0
        self._revision = 0

    def define(self) -> None:
        """A meter, a feature, two plans and the customers."""
        line = self.line
        (meter,) = self._controlled([line.control("meter", "meter.apply", METER)])
        self._meter_id = meter.revision  # a meter is numbered by the revision that made it
        self._controlled(
            [
                line.control(
                    "feature", "feature.create", {"key": "tokens", "name": "Tokens", "meterSlug": "tokens"}
                )
            ]
        )
        plans = [
            plan("basic", _BASIC_FEE, TOKENS),
            plan("pro", _PRO_FEE, _PRO_TOKENS),
            plan("fee", _BASIC_FEE),
        ]
        self._controlled([line.control(f"plan-{one['key']}", "plan.create", one) for one in plans])
        self._controlled(
            [line.control(f"sold-{one['key']}", "plan.publish", {"id": one["key"]}) for one in plans]
        )
        # Without a key a customer has no subject, so no usage of before is looked for in ClickHouse.
        made = self._controlled(
            [
                line.control(f"c{n}", "customer.create", {"name": f"Customer {n}", "currency": "EUR"})
                for n in range(self._many)
            ]
        )
        self.customers = [str((reply.body or {})["id"]) for reply in made]

    def subscribe(self, key: str) -> None:
        """Every customer subscribes to a plan."""
        sent = {"plan": {"key": key}, "timing": "immediate"}
        ids = [
            self.line.command(f"new-{n}", id, "subscription.create", {"customerId": id, **sent})
            for n, id in enumerate(self.customers)
        ]
        made = self._replied("subscribe", ids)
        for id, reply in zip(self.customers, made, strict=True):
            self.subscriptions[id] = str((reply.body or {})["subscription"])

    def grant_credits(self) -> None:
        """Every customer gets credits that pay a part of its invoices, some of which end, and more by a rule."""
        pack = {"name": "Pack", "currency": "EUR", "amount": "30", "expires_after": "P40D"}
        rule = {"currency": "EUR", "threshold": "1", "amount": "5", "funding_method": "none"}
        sent = (("grant", pack), ("rule", rule))
        ids = [
            self.line.command(f"{kind}-{n}", customer, f"credit.{kind}", body)
            for n, customer in enumerate(self.customers)
            for kind, body in sent
        ]
        self._replied("grant", ids)

    def use(self, day: int, late_from: int | None = None) -> None:
        """A window of usage for each customer. late_from: the day it arrives on; None: the same."""
        start_s = (START_MS + day * DAY_MS + 7 * HOUR_MS) // 1_000
        arrives_ms = START_MS + (day if late_from is None else late_from) * DAY_MS + 8 * HOUR_MS
        self.pass_to(text_of(arrives_ms))
        self.line.windows(
            self._window(id, start_s, 37 * n + 101 * day) for n, id in enumerate(self.customers)
        )
        self._disturb(f"usage of day {day}")
        self._complete()

    def change_plans(self) -> None:
        """Every second customer changes to the plan pro, at once or with the next month; every fifth one leaves."""
        ids = []
        for n, customer in enumerate(self.customers):
            subscription = self.subscriptions[customer]
            if n % 5 == 4:
                sent: dict[str, Any] = {"timing": "next_billing_cycle"}
                ids.append(
                    self.line.command(f"end-{n}", customer, "subscription.cancel", sent, id=subscription)
                )
            elif n % 2 == 0:
                sent = {"plan": {"key": "pro"}, "timing": "immediate" if n % 4 else "next_billing_cycle"}
                ids.append(
                    self.line.command(f"pro-{n}", customer, "subscription.change", sent, id=subscription)
                )
        self._replied("change", ids)

    def pass_to(self, text: str) -> None:
        """Time passes to an instant at which no invoice is on its way."""
        self.line.clock(ms_of(text))
        self._disturb(f"clock {text}")
        self._quiet(is_final=True)

    def end_month(self, text: str) -> None:
        """A month ends at an instant (midnight): its lines are drafts then, and paid an hour later."""
        for after_ms in (0, HOUR_MS):
            self.line.clock(ms_of(text) + after_ms)
            self._disturb(f"clock {text} + {after_ms // HOUR_MS} h")
            self._quiet(is_final=after_ms > 0)

    def numbers(self) -> list[str]:
        """The numbers of all invoices that have one, sorted by their count."""
        found = [
            str(body["progress"]["number"])
            for body in self.line.bodies("invoices").values()
            if body["progress"].get("number")
        ]
        return sorted(found, key=lambda number: int(number.rpartition("-")[2]))

    def wrong_numbers(self) -> list[str]:
        """Why the numbers are not 1..n, one for each invoice that asked for one."""
        places = [int(number.rpartition("-")[2]) for number in self.numbers()]
        asked = {request.invoice for request in self.line.asked}
        wrong = []
        if places != list(range(1, len(places) + 1)):
            wrong.append(f"the numbers are not 1..n: {len(places)} of them, the last is {places[-1:]}")
        if len(asked) != len(places):
            wrong.append(f"{len(asked)} invoices asked for a number, {len(places)} have one")
        return wrong

    def contents(self) -> dict[str, list[str]]:
        """The bytes of every document in its newest state, by topic and customer.

        Without what the order of records of several partitions decides, and their offsets: the numbers of invoices, and
        the ids of invoices and grants.
        """
        made = ("invoices/", "credit-grants/")
        ids = {one.id for key, one in self.line.documents.items() if key.startswith(made)}

        def replaced(match: re.Match[bytes]) -> bytes:
            return b"ID" if match[0].decode() in ids else match[0]

        def plain(text: bytes) -> str:
            return NUMBER.sub("NUMBER", ANY_ID.sub(replaced, text).decode())

        found: dict[str, list[str]] = {}
        for key, one in self.line.documents.items():
            topic = key.partition("/")[0]
            found.setdefault(f"{topic}/{one.customer}", []).append(plain(bytes(one.body)))
        for booked in self.line.ledger.values():
            text = plain(repr(msgspec.structs.replace(booked, id="")).encode())
            found.setdefault(f"ledger/{booked.customer}", []).append(text)
        return {key: sorted(texts) for key, texts in sorted(found.items())}

    def _window(self, customer: str, start_s: int, value: int) -> CustomerWindow:
        window = Window(
            NAMESPACE, "tokens", self._meter_id, f"of-{customer}", {}, start_s, str(value), 1, str(value), "", [],
            start_s // 60, self.line.now_ms,
        )  # fmt: skip
        return CustomerWindow(customer, window)

    def _controlled(self, ids: list[str]) -> list[Reply]:
        replies = self.line.wait_replied(ids)
        self.line.revision = max(self.line.revision, *(reply.revision for reply in replies))
        return replies

    def _replied(self, step: str, ids: list[str]) -> list[Reply]:
        self.line.flush()
        self._disturb(step)
        replies = self.line.wait_replied(ids)
        self._complete()
        return replies

    def _complete(self) -> None:
        """Do what is due at the time of the story.

        A worker that starts asks for a record of the clock at once, so what is due is done then. With one at the end of
        each step it is done at the same time of the story, whether workers start or not.
        """
        self.line.clock(self.line.now_ms)
        self._quiet(is_final=False)

    def _quiet(self, *, is_final: bool) -> None:
        """Wait until the stages have read everything and no invoice changes by itself. is_final: each is at its end."""
        line, deadline_s = self.line, time.monotonic() + STEP_S
        calm_looks = 0
        while calm_looks < 2:
            line.read(LOOK_S)
            line.revive()
            unread = self._unread()
            line.read(0.05)
            is_calm = not any(unread.values()) and line.counted().keys() <= (FINAL if is_final else RESTING)
            calm_looks = calm_looks + 1 if is_calm else 0
            assert time.monotonic() < deadline_s, (unread, line.counted(), line.logs()[-6000:])

    def _unread(self) -> dict[str, int | None]:
        """Records that a stage has not read, by stage; while the broker starts again, it is not known."""
        try:
            return lag(self.line.settings, STAGES)
        except Unavailable:
            return dict.fromkeys(STAGES, 1)
