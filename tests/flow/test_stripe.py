"""Stripe-sync on a real broker and the sandbox: usage arrives once, whatever happens to workers and calls."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.core.customers.attribution import Holding
from pipeline.core.values.timestamp import text_of
from pipeline.local.stripe_sandbox.call import StripeSandbox
from pipeline.local.stripe_sandbox.clock import SandboxClock
from pipeline.local.stripe_sandbox.form import Form
from pipeline.records import Definition
from pipeline.settings import Settings
from tests.core.billing.stripe_world import HOUR_S, app, customer_app, mapping, meter, usage_window
from tests.core.customers.test_attribution import definition as attribution
from tests.flow.stripe_front import StripeFront
from tests.flow.stripe_line import WAIT_S, StripeLine
from tests.flow.stripe_run import Scale, run
from tests.local.stripe_sandbox.sandbox_server import account

pytestmark = pytest.mark.own_broker  # workers run for a minute
EVENT = "tokens-01MAP"


@pytest.fixture
def line(fresh_topics: Settings, tmp_path: Path) -> Iterator[StripeLine]:
    sandbox = StripeSandbox(account(), SandboxClock())
    with StripeLine(fresh_topics, tmp_path, sandbox) as found:
        yield found


def connected(line: StripeLine, customers: int = 3) -> int:
    """Customers c0, c1, ... that Stripe knows. Returns the start of the hour that is sent first."""
    start_s = (line.now_s() // HOUR_S + 1) * HOUR_S
    sandbox, now_s = line.sandbox.account, line.now_s()
    ids = [sandbox.create_customer({}, now_s).id for _ in range(customers)]
    made = sandbox.create_meter(
        {"display_name": "tokens", "event_name": EVENT, "default_aggregation": {"formula": "sum"}}, now_s
    )
    named = [customer_app(10 + place, f"c{place}", id) for place, id in enumerate(ids)]
    of_meter: Definition = mapping(3, fromAt=text_of(start_s * 1_000), stripeMeterId=made.id)
    line.define(meter(), app(), of_meter, *named)
    return start_s


def test_usage_arrives_and_a_killed_or_frozen_worker_sends_nothing_twice(
    line: StripeLine, tmp_path: Path
) -> None:
    start_s = connected(line)
    armed = tmp_path / "armed"
    armed.mkdir()
    first = line.start(CRASH_DIR=str(armed))
    line.publish(usage_window(f"c{n}", start_s + 60 * n, str(n + 1), 1) for n in range(3))
    line.advance(3 * HOUR_S)
    line.wait_settled(1, 2, 3)
    assert sorted(line.sums().values()) == [1, 2, 3]

    (armed / "stripe.called").write_text("kill")  # Stripe has the event, and no record says so
    line.publish(usage_window(f"c{n}", start_s + 60 * n, str(n + 2), 2) for n in range(3))
    line.advance(60)
    assert first.wait(WAIT_S) == -signal.SIGKILL
    second = line.start(CRASH_DIR=str(armed))
    line.wait_settled(2, 3, 4)
    assert sorted(line.sums().values()) == [2, 3, 4]

    # It sleeps at the last moment of a call, past its session and for longer than Stripe remembers identifiers.
    (armed / "stripe.sending").write_text("stop")
    line.publish(usage_window(f"c{n}", start_s + 60 * n, str(n + 3), 3) for n in range(3))
    line.advance(60)
    line.start()
    line.wait_settled(3, 4, 5)
    line.publish(usage_window(f"c{n}", start_s + 60 * n, str(n + 4), 4) for n in range(3))
    line.advance(26 * HOUR_S)
    line.wait_settled(4, 5, 6)
    assert sorted(line.sums().values()) == [4, 5, 6]
    second.send_signal(signal.SIGCONT)
    line.publish(usage_window(f"c{n}", start_s + 60 * n, str(n + 5), 5) for n in range(3))
    line.advance(60)
    line.wait_settled(5, 6, 7)
    assert sorted(line.sums().values()) == [5, 6, 7]
    assert all(len(bodies) == 1 for bodies in line.sandbox.bodies.values())


def test_usage_of_before_a_mapping_is_loaded_from_clickhouse_and_counted_once(
    line: StripeLine, tmp_path: Path
) -> None:
    """By the real stages: attribute passes on what comes after the mapping, ClickHouse has what came before it."""
    now_s = line.now_s() // HOUR_S * HOUR_S
    ids = [line.sandbox.account.create_customer({}, now_s).id for _ in range(3)]
    form: Form = {"display_name": "t", "event_name": EVENT, "default_aggregation": {"formula": "sum"}}
    made = line.sandbox.account.create_meter(form, now_s)
    hours = [now_s - ago * HOUR_S for ago in (2, 3, 4, 9)]  # the last is before the mapping begins
    named = [attribution(f"of-c{n}", [Holding(0, f"c{n}")]) for n in range(3)]
    named += [customer_app(10 + n, f"c{n}", id) for n, id in enumerate(ids)]
    line.define(meter(), app(), *named)
    with StripeFront(line.settings, tmp_path / "front", ("attribute", "sink")) as front:
        front.publish_usage(usage_window(f"c{n}", hour + 60 * n, "5", 10) for n in range(3) for hour in hours)
        from_at = text_of(hours[2] * 1_000)
        line.define(mapping(20, fromAt=from_at, stripeMeterId=made.id))
        line.start(**front.variables)
        line.wait_settled(*[5] * 9)
        front.publish_usage([usage_window("c1", hours[1] + 120, "1", 11), usage_window("c2", now_s, "7", 12)])
        line.advance(2 * HOUR_S)
        line.wait_settled(*[5] * 8, 6, 7)
    assert line.sums() == {
        (id, EVENT, hour): 6 if (n, hour) == (1, hours[1]) else 5
        for n, id in enumerate(ids)
        for hour in hours[:3]
    } | {(ids[2], EVENT, now_s): 7}


def test_a_refused_key_asks_control_to_stop_the_app_and_a_new_one_starts_it_again(line: StripeLine) -> None:
    start_s = connected(line)
    line.define(app(20, sealedApiKey="sk_test_wrong"))
    line.start()
    line.publish(usage_window(f"c{n}", start_s, "1", 1) for n in range(3))
    line.advance(2 * HOUR_S)
    deadline_s = time.monotonic() + WAIT_S
    while not (found := line.commands()):
        assert time.monotonic() < deadline_s, line.logs()[-3000:]
    assert [(one.kind, one.body["id"], one.body["revision"]) for one in found] == [
        ("app.unauthorized", "01APP", 20)
    ]
    calls = line.sandbox.requests
    assert calls <= 3  # those that were in progress
    line.define(app(21))
    line.wait_settled(1, 1, 1)
    assert sorted(line.sums().values()) == [1, 1, 1]


def test_nothing_is_lost_or_doubled_by_failing_calls_and_a_kill(
    fresh_topics: Settings, tmp_path: Path
) -> None:
    scale = Scale(
        events=1_500,
        customers=12,
        hours=6,
        faults_permille=200,
        kills=1,
        outage_h=0,
        limit_s=250,
        freeze=False,
    )
    lines: list[str] = []
    assert run(fresh_topics, tmp_path, scale, lines.append) == [], lines
