"""More partitions by customer under running stages: the same bills, alerts, deliveries and Stripe calls, each once."""

from __future__ import annotations

import signal
from collections import Counter
from pathlib import Path

import pytest

from pipeline.agents.raise_customers import POINTS, raise_customer_partitions
from pipeline.core.billing.stripe_found import owner_of
from pipeline.errors import Rejected
from pipeline.local.kafka import Kafka
from pipeline.local.stripe_sandbox.call import StripeSandbox
from pipeline.local.stripe_sandbox.clock import SandboxClock
from pipeline.records import Delivery, StripeItem, StripeOrder, StripeWork
from pipeline.settings import Settings
from tests.core.billing.stripe_world import APP, HOUR_S, NAMESPACE, usage_window
from tests.fixtures.patience import until
from tests.flow.billing_line import STAGES, BillingLine
from tests.flow.billing_story import Disturb
from tests.flow.billing_twice import compare_disturbed
from tests.flow.raising import raise_customers
from tests.flow.stripe_line import WAIT_S, StripeLine
from tests.flow.test_stripe import connected
from tests.flow.webhooks import Webhooks, receiving
from tests.local.stripe_sandbox.sandbox_server import account


def all_tried(found: list[Delivery]) -> bool:
    return all(one.tries for one in found)


def all_succeeded(found: list[Delivery]) -> bool:
    return {one.state for one in found} == {"SUCCESS"}


pytestmark = pytest.mark.own_broker  # it enlarges topics
RAISED = {
    "change": 4,
    "usage of day 20": 8,
}  # the number after a step, while its records are unread or half applied


def test_bills_are_the_same_when_the_number_is_raised_twice(kafka: Kafka, tmp_path: Path) -> None:
    def raising(line: BillingLine) -> Disturb:
        def raise_number(step: str) -> None:
            number = RAISED.get(step, 0)
            if number > line.settings.partitions:
                for stage in STAGES:
                    line.kill(stage)
                points = POINTS if number == 4 else ()
                line.raised(raise_customers(line.settings, number, tmp_path, points))
                line.start()

        return raise_number

    settings = Settings.model_construct(kafka=kafka.address, partitions=2)
    found = compare_disturbed(settings, tmp_path / "run", 8, raising)
    assert found.wrong == []
    assert found.invoices >= 3 * 8


def raised(settings: Settings, number: int) -> Settings:
    """Raise the number in this process, once the workers that were killed have left their groups."""

    def is_done() -> bool:
        try:
            return raise_customer_partitions(settings, number).now == number
        except Rejected as refusal:
            assert refusal.reason == "stages-run", refusal
            return False

    until(is_done)
    return settings.model_copy(update={"partitions": number, "event_partitions": settings.partitions})


def test_stripe_gets_usage_and_invoices_once_that_wait_or_are_on_their_way(
    fresh_topics: Settings, tmp_path: Path
) -> None:
    customers = 12
    with StripeLine(fresh_topics, tmp_path, StripeSandbox(account(), SandboxClock())) as line:
        start_s = connected(line, customers)
        (armed := tmp_path / "armed").mkdir()
        first = line.start(CRASH_DIR=str(armed))
        line.publish(usage_window(f"c{n}", start_s + 60 * n, str(n + 1), 1) for n in range(customers))
        line.advance(3 * HOUR_S)
        line.wait_settled(*range(1, customers + 1))
        (armed / "stripe.called").write_text("kill")  # Stripe has an event, and no record says so
        line.publish(usage_window(f"c{n}", start_s + 60 * n, str(n + 2), 2) for n in range(customers))
        for n in range(customers):
            order = StripeOrder(
                "issue", APP, 9, number=f"INV-{n}", currency="USD", total=50, name="A",
                items=[StripeItem("line", "L", 50, "usage", 0, HOUR_S)],
            )  # fmt: skip
            line.work(
                StripeWork(
                    "order", namespace=NAMESPACE, customer=f"c{n}", mapping=APP, invoice=f"I{n}", order=order
                )
            )
        line.advance(60)
        assert first.wait(WAIT_S) == -signal.SIGKILL
        line.raised(raised(line.settings, 8))
        line.start()
        line.wait_settled(*range(2, customers + 2))
        assert sorted(line.sums().values()) == list(range(2, customers + 2))

        def ordered() -> Counter[str]:
            return Counter(owner_of(one.json()).invoice for one in line.sandbox.invoices.invoices.values())

        until(lambda: len(ordered()) == customers and not line.advance(30), lambda: line.logs()[-3000:])
        assert ordered() == {f"I{n}": 1 for n in range(customers)}
        assert all(len(bodies) == 1 for bodies in line.sandbox.bodies.values())


def test_webhooks_that_wait_for_their_retry_are_sent_by_the_new_owner(
    fresh_topics: Settings, tmp_path: Path
) -> None:
    names = [f"e{n}" for n in range(8)]
    schedule = {"TALLYMARK_WEBHOOK_SCHEDULE_S": "0,8,0.2"}
    with receiving() as receiver, Webhooks(fresh_topics, tmp_path, **schedule) as webhooks:
        for name in names:
            webhooks.endpoint(name, f"{receiver.url}/{name}")
            receiver.answers[f"/{name}"] = lambda number: (500 if number == 1 else 200, {})
        first = webhooks.start()
        for name in names:
            webhooks.alert(name, id=f"a-{name}")
        webhooks.wait(lambda all: len(all) == len(names) and all_tried(all))
        first.terminate()
        first.wait(WAIT_S)
        webhooks.alert(*names, id="unread")
        webhooks.flush()
        webhooks.settings = raised(webhooks.settings, 8)
        webhooks.start()
        with webhooks.listing() as deliveries:
            webhooks.deliveries = deliveries
            found = webhooks.wait(lambda all: len(all) == 2 * len(names) and all_succeeded(all))
        tries = Counter((one.alert, one.tries) for one in found)
        assert tries == {**{(f"a-{name}", 2): 1 for name in names}, ("unread", 1): len(names)}
        for name in names:
            assert receiver.ids(f"/{name}") == {f"a-{name}": 2, "unread": 1}
