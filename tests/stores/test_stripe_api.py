"""The client of Stripe against the sandbox: what comes back for each call, and for each way in which one fails."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from decimal import Decimal
from typing import TypeVar

import httpx
import pytest

from pipeline.core.billing.stripe_outcome import StripeAnswer, outcome_of
from pipeline.errors import Rejected, Unavailable
from pipeline.local.stripe_sandbox.call import StripeSandbox
from pipeline.local.stripe_sandbox.clock import SandboxClock
from pipeline.local.stripe_sandbox.meter_events import ErrorReport
from pipeline.stores.stripe_api import MeterEvent, StripeApi
from tests.fixtures.patience import PATIENCE_S
from tests.local.stripe_sandbox.sandbox_server import KEY, RESTRICTED, ServedSandbox, account
from tests.local.stripe_sandbox.test_meter_events import METER

T = TypeVar("T")
HOUR_S = 3_600


@pytest.fixture
def served() -> Iterator[ServedSandbox]:
    sandbox = StripeSandbox(account(frozenset({"account_read"})), SandboxClock())
    sandbox.account.create_meter(METER, 0)
    sandbox.account.create_customer({"name": "ACME"}, 0)
    with ServedSandbox(sandbox) as served:
        yield served


def ask(
    served: ServedSandbox,
    call: Callable[[StripeApi], Awaitable[T]],
    key: str = KEY,
    timeout_s: float = PATIENCE_S,
) -> T:
    async def run() -> T:
        api = StripeApi(key, served.url, timeout_s)
        try:
            return await call(api)
        finally:
            await api.close()

    return asyncio.run(run())


async def send(api: StripeApi) -> StripeAnswer:
    answer = await api.send(event(), lambda: True)
    assert answer is not None
    return answer


def event(
    value: int = 3, identifier: str = "tm1:a", customer: str = "cus_sandbox00000001", at_s: int = 0
) -> MeterEvent:
    at_s = SandboxClock().now_s()
    return MeterEvent("tokens", {"stripe_customer_id": customer, "value": str(value)}, identifier, at_s)


def test_an_event_is_done_once_and_its_repeat_is_done_too(served: ServedSandbox) -> None:
    first = ask(served, send)
    again = ask(served, send)
    assert (first.status, again.status) == (200, 400)
    assert again.message == "An event already exists with identifier tm1:a."
    assert outcome_of(again, "tm1:a") == "done"
    assert len(served.sandbox.events.events) == 1


@pytest.mark.parametrize(
    ("kind", "outcome"),
    [
        ("rate-limited", "later"),
        ("error-stored", "unknown"),
        ("error-not-stored", "unknown"),
        ("timeout-before", "unknown"),
        ("timeout-after", "unknown"),
        ("reset-before", "unknown"),
        ("reset-after", "unknown"),
        ("unavailable", "unknown"),
    ],
)
def test_each_fault_has_its_outcome_and_the_repeat_is_done_once(
    served: ServedSandbox, kind: str, outcome: str
) -> None:
    httpx.post(f"{served.url}/sandbox/faults", json={"rules": [{"kinds": [kind], "times": 1}]})
    answer = ask(served, send, timeout_s=0.5 if kind.startswith("timeout") else PATIENCE_S)
    assert outcome_of(answer, "tm1:a") == outcome
    assert answer.message
    assert outcome_of(ask(served, send), "tm1:a") == "done"
    assert [one.units for one in served.sandbox.events.events] == [3]


@pytest.mark.parametrize("checks", [1, 2])  # before the headers, before the body
def test_an_event_that_may_not_be_sent_any_more_when_its_bytes_are_written_is_not_executed(
    served: ServedSandbox, checks: int
) -> None:
    """As after a freeze between the decision to call and the write, or while the call waited for a connection."""
    allowed = iter([True] * (checks - 1) + [False])

    async def run(api: StripeApi) -> StripeAnswer:
        assert await api.send(event(), lambda: next(allowed)) is None
        assert not served.sandbox.bodies and next(allowed, None) is None
        return await send(api)

    assert ask(served, run).status == 200
    assert [one.units for one in served.sandbox.events.events] == [3]


def test_a_success_that_is_not_of_stripe_proves_nothing() -> None:
    """Such as the page of a proxy, with status 200."""

    async def page(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = b"<html>Log in</html>"
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(body), body)
        )
        await writer.drain()
        writer.close()

    async def run() -> str:
        async with await asyncio.start_server(page, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            api = StripeApi(KEY, f"http://127.0.0.1:{port}", 2.0)
            answer = await send(api)
            await api.close()
            return outcome_of(answer, "tm1:a")

    assert asyncio.run(run()) == "unknown"


def test_a_wrong_key_and_a_key_without_the_right_are_unauthorized(served: ServedSandbox) -> None:
    wrong = ask(served, send, key="sk_test_wrong")
    restricted = ask(served, send, key=RESTRICTED)
    assert outcome_of(wrong, "") == outcome_of(restricted, "") == "unauthorized"
    assert "billing_meter_event_write" in restricted.message


def test_the_account_its_meters_and_customers_are_read(served: ServedSandbox) -> None:
    found = ask(served, lambda api: api.account())
    (meter,) = ask(served, lambda api: api.meters())
    assert (found.id, found.livemode) == ("acct_sandbox", False)
    assert (meter.event_name, meter.active, meter.formula, meter.value_key) == (
        "tokens",
        True,
        "sum",
        "value",
    )
    assert ask(served, lambda api: api.customer_exists("cus_sandbox00000001"))
    assert not ask(served, lambda api: api.customer_exists("cus_other"))
    served.sandbox.account.customers["cus_sandbox00000001"].deleted = True
    assert not ask(served, lambda api: api.customer_exists("cus_sandbox00000001"))


def test_a_refused_key_and_an_unavailable_stripe_are_distinguished_with_stripes_own_text(
    served: ServedSandbox,
) -> None:
    with pytest.raises(Rejected, match="Stripe refused to read the account: Invalid API Key") as refused:
        ask(served, lambda api: api.account(), key="sk_test_wrong")
    assert refused.value.reason == "stripe-key-refused"
    with pytest.raises(Rejected, match="'billing_meter_read'"):
        ask(served, lambda api: api.meters(), key=RESTRICTED)
    httpx.post(f"{served.url}/sandbox/faults", json={"rules": [{"kinds": ["unavailable"]}]})
    with pytest.raises(Unavailable, match=r"Stripe is unavailable, could not read the account: .*upstream"):
        ask(served, lambda api: api.account())


def test_the_content_of_a_thin_event_is_read(served: ServedSandbox) -> None:
    report = ErrorReport("mtr_1")
    report.add("archived_meter", "tm1:a")
    id = str(served.sandbox.webhooks.report(report, 7)["id"])
    content = ask(served, lambda api: api.event(id))
    assert content["reason"]["error_types"][0]["code"] == "archived_meter"  # type: ignore[index,call-overload]
    assert ask(served, lambda api: api.event("evt_none")) == {}
    with pytest.raises(Rejected) as refused:
        ask(served, lambda api: api.event(id), key="sk_test_wrong")
    assert refused.value.reason == "stripe-key-refused"
    with pytest.raises(Unavailable):
        httpx.post(
            f"{served.url}/sandbox/faults", json={"rules": [{"kinds": ["unavailable"], "path": "/v2/core"}]}
        )
        ask(served, lambda api: api.event(id))


def test_summaries_of_many_windows_come_whole_and_name_values_that_a_float_loses(
    served: ServedSandbox,
) -> None:
    start_s = served.sandbox.clock.now_s() // HOUR_S * HOUR_S - 250 * HOUR_S
    for hour in range(250):
        served.sandbox.events.create(
            {
                "event_name": "tokens",
                "payload": {"stripe_customer_id": "cus_sandbox00000001", "value": str(hour + 1)},
                "identifier": f"e{hour}",
                "timestamp": str(start_s + hour * HOUR_S),
            },
            served.sandbox.clock.now_s(),
        )
    (meter,) = served.sandbox.account.meters
    rows = ask(
        served,
        lambda api: api.summaries(meter, "cus_sandbox00000001", start_s, start_s + 250 * HOUR_S, "hour"),
    )
    assert {row.start_s: row.value for row in rows} == {
        start_s + hour * HOUR_S: Decimal(hour + 1) for hour in range(250)
    }
    assert all(row.exact for row in rows)
