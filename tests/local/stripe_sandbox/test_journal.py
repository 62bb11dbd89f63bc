"""A sandbox after a restart: the same objects, sums, identifiers and secrets, also after a kill while it wrote."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.local.stripe_sandbox.call import StripeSandbox
from pipeline.local.stripe_sandbox.clock import SandboxClock
from pipeline.local.stripe_sandbox.journal import SandboxJournal
from tests.local.stripe_sandbox.sandbox_server import ServedSandbox, account
from tests.local.stripe_sandbox.test_server import prepared, script, send, total


def opened(path: Path) -> ServedSandbox:
    return ServedSandbox(StripeSandbox(account(), SandboxClock(), journal=SandboxJournal(path)), lost_s=0.1)


def test_everything_is_there_again(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with opened(path) as served:
        client, customer, meter = prepared(served)
        hook = client.v1.webhook_endpoints.create(
            params={"url": "https://example.com/a", "enabled_events": ["*"]}
        )
        send(client, customer, 3, "tm1:a")
        script(served, {"kinds": ["reset-after"], "times": 1})
        with pytest.raises(Exception, match="connection"):
            send(client, customer, 4, "tm1:b")
        served.sandbox.clock.advance(7_200)
        client.v1.billing.meters.deactivate(meter)
        later_s = served.sandbox.clock.now_s()
    with path.open("ab") as file:
        file.write(b'{"at_us":17,"meth')  # kill -9
    with opened(path) as again:
        sandbox = again.sandbox
        assert total(again) == 7
        assert [event.identifier for event in sandbox.events.events] == ["tm1:a", "tm1:b"]
        assert sandbox.webhooks.endpoints[hook.id] == ("https://example.com/a", hook.secret)
        assert not sandbox.account.meters[meter].active
        assert sandbox.clock.now_s() >= later_s  # Stripe's time only grows
        with pytest.raises(Exception, match="An event already exists with identifier tm1:a"):
            send(again.client(), customer, 3, "tm1:a")
        assert again.client().v1.customers.create(params={"name": "B"}).id != customer
    with opened(path) as third:
        assert len(third.sandbox.account.customers) == 2
